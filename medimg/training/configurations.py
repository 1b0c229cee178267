"""What runs were made with: the settings that differ, seeds of one configuration, sweeps."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from medimg.training.comparison import Entry

# settings that say where things lie, or who asked, not how the network was trained
NOT_SETTINGS = frozenset(
    {
        "dataset",
        "splits",
        "split_ratios",
        "layout",
        "options",
        "allow",
        "parent",
        "tensorboard",
        "preflight",
    }
)
# what makes one framework's run another framework's
OF_THE_BACKEND = frozenset({"backend", "numeric precision"})
# settings that are called like a metric
CALLED = {"precision": "numeric precision"}


def settings_of(entry: Entry) -> dict[str, Any]:
    """How the run was made: its recipe, its model and what it was trained on."""
    recipe = {CALLED.get(k, k): v for k, v in entry.recipe.items() if k not in NOT_SETTINGS}
    scaled = "temperature" if entry.temperature else "none"
    told = {"model": entry.model, "backend": entry.backend, **recipe, "calibration": scaled}
    return told | {f"trained on {k}": v for k, v in entry.data.items()}


def settings_that_differ(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """For each entry its settings that are not the same in all of them.

    Predictions made elsewhere have no settings: they differ from the others in their model alone.
    """
    told = [settings_of(entry) for entry in entries]
    trained = [s for s, entry in zip(told, entries, strict=True) if entry.recipe] or told
    names = dict.fromkeys(name for settings in trained for name in settings)
    differing = [n for n in names if len({as_text(settings.get(n)) for settings in trained}) > 1]
    if "model" not in differing and len({as_text(settings["model"]) for settings in told}) > 1:
        differing.insert(0, "model")
    return [{name: settings.get(name) for name in differing} for settings in told]


def as_text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)


@dataclass(frozen=True)
class Configuration:
    """Runs that differ in their seed alone.

    Args:
        settings: of those that differ among all runs compared, all but the seed.
    """

    entries: tuple[Entry, ...]
    settings: dict[str, Any]

    def spread(self, metric: str) -> dict[str, Any]:
        """Mean and standard deviation over the seeds that have a value."""
        values = [(e.metrics.get(metric) or {}).get("value") for e in self.entries]
        known = [float(v) for v in values if v is not None]
        return {
            "mean": statistics.fmean(known) if known else None,
            "sd": statistics.stdev(known) if len(known) > 1 else None,
            "n": len(known),
        }


def configurations(entries: Sequence[Entry]) -> list[Configuration]:
    """Configurations of which more than one seed was run."""
    differ = settings_that_differ(entries)
    found: dict[str, list[int]] = {}
    for place, entry in enumerate(entries):
        alike = {k: v for k, v in settings_of(entry).items() if k != "seed"}
        # what depends on the threshold is of one rule, or no spread of seeds
        alike["threshold rule"] = entry.rule()
        if "seed" in entry.recipe:
            found.setdefault(as_text(alike), []).append(place)
    return [
        Configuration(
            tuple(entries[p] for p in places),
            {k: v for k, v in differ[places[0]].items() if k != "seed"},
        )
        for places in found.values()
        if len({entries[p].recipe["seed"] for p in places}) > 1
    ]


def agreements(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """How near two backends come to one another with one recipe: a row a pair of such runs.

    `same_answers` is the share of images with the same answer, `probability` the mean and the
    largest distance of their probabilities.
    """
    alike: dict[str, list[Entry]] = {}
    for entry in entries:
        if entry.recipe:
            told = {k: v for k, v in settings_of(entry).items() if k not in OF_THE_BACKEND}
            alike.setdefault(as_text(told), []).append(entry)
    return [
        agreement(first, second)
        for runs in alike.values()
        for place, first in enumerate(runs)
        for second in runs[place + 1 :]
        if first.backend != second.backend
    ]


def agreement(first: Entry, second: Entry) -> dict[str, Any]:
    """One row of `agreements`."""
    apart = np.abs(first.probabilities - second.probabilities).max(axis=1)
    same = first.scored().decided == second.scored().decided
    return {
        "a": first.name,
        "b": second.name,
        "backends": [first.backend, second.backend],
        "images": len(apart),
        "same_answers": float(same.mean()),
        "probability": {"mean": float(apart.mean()), "largest": float(apart.max())},
    }


@dataclass(frozen=True)
class Grid:
    """A sweep of two settings: Float[rows, columns], NaN where no run stands."""

    row_setting: str
    column_setting: str
    rows: tuple[Any, ...]
    columns: tuple[Any, ...]
    values: np.ndarray


def grid(entries: Sequence[Entry], metric: str) -> Grid | None:
    """Means of a metric over a sweep of two settings; None where it isn't one."""
    values = [(entry.metrics.get(metric) or {}).get("value") for entry in entries]
    return grid_of(settings_that_differ(entries), values)


def grid_of(differ: Sequence[Mapping[str, Any]], values: Sequence[float | None]) -> Grid | None:
    """The sweep of two settings that runs are, from their settings that differ and their values.

    Seeds of one cell are averaged. At least half of the cells have to be filled.
    """
    names = [name for name in differ[0] if name != "seed"] if differ else []
    if len(names) != 2:
        return None
    axes = [sorted({as_text(d[name]) for d in differ}, key=in_order) for name in names]
    cells: dict[tuple[int, int], list[float]] = {}
    for value, settings in zip(values, differ, strict=True):
        if value is not None:
            row, column = (a.index(as_text(settings[n])) for a, n in zip(axes, names, strict=True))
            cells.setdefault((row, column), []).append(float(value))
    size = len(axes[0]) * len(axes[1])
    if min(len(a) for a in axes) < 2 or size < 4 or 2 * len(cells) < size:
        return None
    means = np.full((len(axes[0]), len(axes[1])), np.nan)
    for cell, found in cells.items():
        means[cell] = statistics.fmean(found)
    rows, columns = ([json.loads(text) for text in axis] for axis in axes)
    return Grid(names[0], names[1], tuple(rows), tuple(columns), means)


def in_order(text: str) -> tuple[int, float, str]:
    """Numbers by size, then words."""
    try:
        return (0, float(text), text)
    except ValueError:
        return (1, 0.0, text)
