"""Class weights, over- and under-sampling: counts before and after; writes balance.json"""

from __future__ import annotations

from shlex import quote
from typing import TYPE_CHECKING, Any

import click

from medimg.commands._job import Job
from medimg.commands._options import (
    dataset_argument,
    dataset_options,
    report_options,
    split_options,
)
from medimg.commands.split import typed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from medimg.core.types import DatasetIndex, SamplingPlan
    from medimg.manager import PluginManager

FILE = "balance.json"
# of the classes' weighted shares: below it balancing changed nothing to speak of
SHIFT = 0.005


def balance(
    index: DatasetIndex, method: str, seed: int, manager: PluginManager
) -> tuple[dict[str, Any], SamplingPlan]:
    """What a method makes of the training part: the report's numbers, and the plan itself.

    Args:
        index: split; only its training part is looked at.

    Raises:
        UsageError: no such method.
        InputError: the training part holds fewer than two classes.
        PluginError: the method's plan does not fit the training part.
    """
    import numpy as np

    train = index.part("train")
    before = index.class_counts(train)
    sampler = sampler_of(method, manager)
    check_classes(index, before)
    number = {name: place for place, name in enumerate(index.classes)}
    labels = np.array([number[str(s.label)] for s in train], dtype=np.int64)
    plan = sampler.plan(labels, group_numbers([s.group for s in train]), seed)
    check_plan(plan, labels, method)
    after = np.bincount(labels[plan.indices], minlength=len(index.classes))
    weights = dict(zip(index.classes, map(float, plan.class_weights), strict=False))
    return {
        "method": method,
        "before": before,
        "after": dict(zip(index.classes, after.tolist(), strict=True)),
        "class_weights": {name: weights.get(name, 1.0) for name in index.classes},
        "synthetic": 0,
    }, plan


def sampler_of(method: str, manager: PluginManager) -> Any:
    from medimg.core.errors import UsageError, near_misses

    samplers = manager.samplers()
    if method not in samplers:
        raise UsageError(
            f"no way to balance is called {method!r}", near_misses(method, list(samplers))
        )
    return manager.resolve(samplers[method])()


def check_classes(index: DatasetIndex, before: Mapping[str, int]) -> None:
    from medimg.core.errors import InputError

    present = [name for name, images in before.items() if images]
    if len(present) < 2:
        held = f"one class, {present[0]}" if present else "no image"
        raise InputError(
            f"there is nothing to balance: the training part of {index.name} holds {held}",
            "medimg inspect DATASET shows the classes by split.",
        )


def check_plan(plan: SamplingPlan, labels: Any, method: str) -> None:
    """Raises PluginError where a plan names images or classes that do not exist."""
    import numpy as np

    from medimg.core.errors import PluginError

    indices = np.asarray(plan.indices)
    if len(indices) and not (0 <= indices.min() and indices.max() < len(labels)):
        raise PluginError(
            f"{method} names images {indices.min()} to {indices.max()} of {len(labels)}"
        )
    if len(plan.class_weights) <= labels.max():
        raise PluginError(
            f"{method} gives {len(plan.class_weights)} weights for {labels.max() + 1} classes"
        )


def group_numbers(groups: list[str | None]) -> Any:
    """Int[N], each patient's number; None unless every image has one."""
    import numpy as np

    if any(group is None for group in groups):
        return None
    return np.unique([str(group) for group in groups], return_inverse=True)[1]


def shares(result: Mapping[str, Any]) -> dict[str, tuple[float, float]]:
    """Class to its share of the loss, without and with balancing."""
    before, after, weights = result["before"], result["after"], result["class_weights"]
    weighted = {name: after[name] * weights[name] for name in after}
    total, total_after = sum(before.values()), sum(weighted.values())
    return {name: (before[name] / total, weighted[name] / total_after) for name in before}


def note_on_probabilities(result: Mapping[str, Any]) -> str:
    """What training on other shares than the data's does to probabilities."""
    moved = {name: pair for name, pair in shares(result).items() if abs(pair[1] - pair[0]) > SHIFT}
    if not moved:
        return "The classes' shares stay as they are, and so do probabilities."
    name = max(moved, key=lambda n: moved[n][1] - moved[n][0])
    was, now = moved[name]
    return (
        f"A network trained so learns class {name} as {100 * now:.0f} % of the cases instead of "
        f"{100 * was:.0f} %: its probabilities of {name} come out too high for data with the "
        "dataset's shares. Ranking (AUROC) need not change; choose the threshold on validation, "
        "which is not balanced, and look at the calibration in medimg evaluate."
    )


def table(result: Mapping[str, Any]) -> str:
    """A row a class: images before and after, weight, share of the loss before and after."""
    from tabulate import tabulate

    rows = [
        [
            name,
            result["before"][name],
            result["after"][name],
            f"{result['class_weights'][name]:.3f}",
            f"{100 * was:.1f} %",
            f"{100 * now:.1f} %",
        ]
        for name, (was, now) in shares(result).items()
    ]
    headers = ["class", "before", "after", "weight", "share of the loss", "balanced"]
    return tabulate(rows, headers=headers, disable_numparse=True, colalign=("left", *["right"] * 5))


def file_text(result: Mapping[str, Any], index: DatasetIndex, plan: SamplingPlan, seed: int) -> str:
    """balance.json: the numbers, and how often each image of the training part is used."""
    import json
    from collections import Counter

    from medimg.core.split import split_hash

    times = Counter(plan.indices.tolist())
    train = index.part("train")
    used = {s.path: times[place] for place, s in enumerate(train)}
    content = {**result, "seed": seed, "split_hash": split_hash(index.samples), "images": used}
    return json.dumps(content, indent=1) + "\n"


@click.command("balance", epilog="Example: medimg balance ./chest_xray --method oversample")
@dataset_argument
@dataset_options
@split_options
@click.option(
    "--method",
    default="class-weight",
    show_default=True,
    metavar="METHOD",
    help="class-weight, oversample, undersample, or a plugin's.",
)
@report_options
def command(
    dataset: str,
    layout: str | None,
    options: dict[str, str],
    positive: str | None,
    splits: str | None,
    split_ratios: str | None,
    method: str,
    seed: int,
    **common: Any,
) -> None:
    """Show what balancing the classes of DATASET does, before training with --balance METHOD.

    Only the training part is balanced, after the split: validation and test keep the shares
    that the data have. No picture is made or changed.
    """
    from medimg.core.report import write_atomically
    from medimg.core.split import ensure_splits, split_hash

    job = Job("balance", seed=seed, **common)
    sampler_of(method, job.manager)
    index = job.open(dataset, layout, options, positive)
    index, words = ensure_splits(index, splits, split_ratios, seed)
    result, plan = balance(index, method, seed, job.manager)
    result |= {"split": words, "note": note_on_probabilities(result)}
    job.say(f"{index.name}: {words}")
    job.say(f"Training part, {sum(result['before'].values()):,} images, by {method}:")
    job.say()
    job.say(table(result))
    job.say()
    job.say(str(result["note"]))
    file = job.folder / FILE
    write_atomically(file, file_text(result, index, plan, seed))
    job.say(f"Balance: {file}")
    split_given = [f"--splits {quote(splits)}"] if splits else []
    split_given += [f"--split-ratios {split_ratios}"] if split_ratios else []
    shown = " ".join([typed(dataset, layout, options), *split_given])
    job.say(f"Next: medimg train {shown} --balance {method}")
    job.finish(result | {"file": FILE}, index=index, split_hash=split_hash(index.samples))
