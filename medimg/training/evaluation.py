"""A trained run on a split that training did not see, or on another dataset."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medimg.core.errors import InputError, UsageError
from medimg.core.recipe import read_recipe
from medimg.core.runs import (
    MODEL,
    RECIPE,
    SPLITS,
    Predictions,
    Run,
    Seen,
    predictions_of,
    read_predictions,
    read_run_splits,
)
from medimg.core.types import DatasetIndex, Finding, Sample
from medimg.training.experiment import Data, load_parts, loader_of, spec_of
from medimg.training.loop import PREDICT_BATCH
from medimg.training.prediction import predict_logits, probabilities_of
from medimg.training.run import VAL_PREDICTIONS

if TYPE_CHECKING:
    from medimg.core.types import RuntimeInfo
    from medimg.manager import PluginManager
    from medimg.training.experiment import Bar


@dataclass(frozen=True)
class Evaluated:
    """Predictions of one part, and what they were made on."""

    predictions: Predictions
    runtime: RuntimeInfo


def predict_part(
    run: Run, data: Data, split: str, *, manager: PluginManager, bar: Bar
) -> Evaluated:
    """The run's probabilities for one part of a dataset.

    Raises:
        InputError: the part is empty, or its classes are not the run's.
        BackendError: the run's backend does not work here.
    """
    from dataclasses import replace

    samples = data.index.part(split)
    if not samples:
        present = ", ".join(data.index.splits()) or "none"
        raise InputError(
            f"{data.index.name} has no {split} part (it has: {present})",
            f"Choose another: --split {data.index.splits()[-1] if data.index.splits() else 'val'}",
        )
    check_classes(run, data.index)
    unreadable = [s.path for s in samples if data.records[s.path].error]
    if unreadable:
        raise InputError(
            f"{len(unreadable)} of the {len(samples)} {split} images can't be read, "
            f"the first {unreadable[0]}",
            "Leave them out: medimg verify DATASET --write-clean clean.csv, then evaluate on it.",
        )
    # the run's own order of classes is the order of its outputs
    data = replace(data, index=replace(data.index, classes=tuple(run.card["classes"])))
    backend = manager.backend_of(run)
    spec = spec_of(run.card)
    network = backend.load(run.folder / MODEL, spec)
    pixels = load_parts(data, samples, spec, run.card["resize"], bar)
    loader = loader_of(data, samples, pixels, PREDICT_BATCH, 0)
    with bar("Predicting", len(samples)) as progress:
        logits = predict_logits(network, loader.images(), loader.classes, progress.update)
    predictions = predictions_of(
        samples,
        probabilities_of(logits, run.card),
        run.card["classes"],
        (data.records[s.path].sha256 for s in samples),
        split,
    )
    return Evaluated(predictions, replace(backend.runtime(), precision=run.card["precision"]))


def check_classes(run: Run, index: DatasetIndex) -> None:
    """Raises InputError where the data hold a class that the run never learnt."""
    unknown = [c for c in index.classes if c not in run.card["classes"]]
    if unknown:
        raise InputError(
            f"{index.name} holds the class {unknown[0]!r}, which {run.name} does not know "
            f"(it knows {', '.join(run.card['classes'])})",
            "Evaluate on data with the run's classes.",
        )


def choose_threshold(run: Run, asked: str | None) -> dict[str, Any] | None:
    """The operating point: a value, a rule on the run's validation predictions, or the run's own.

    Raises:
        UsageError: no such rule, or a rule where there are no validation predictions.
    """
    from medimg.statistics.operating_point import operating_point

    positive = run.card["positive"]
    if positive is None or len(run.card["classes"]) != 2:
        if asked is not None:
            raise UsageError(
                "--threshold is for two classes of which one is positive",
                "Leave it out: the class is the one with the highest probability.",
            )
        return None
    if asked is None:
        return run.card["threshold"] or {"value": 0.5, "rule": "0.5", "chosen_on": None}
    try:
        value = float(asked)
    except ValueError:
        pass
    else:
        if not 0 <= value <= 1:
            raise UsageError(
                f"the threshold {asked} is not between 0 and 1",
                "For example --threshold 0.5, youden or sensitivity=0.95",
            )
        return {"value": value, "rule": "given", "chosen_on": None}
    file = run.folder / VAL_PREDICTIONS
    if not file.is_file():
        raise UsageError(
            f"{run.name} has no validation predictions to choose a threshold on",
            "Choosing it on test would flatter the test. Give a value: --threshold 0.5",
        )
    val = read_predictions(file)
    place = val.classes.index(positive)
    is_positive = val.label_numbers() == place
    chosen = operating_point(asked, is_positive, val.probabilities[:, place])
    return {"value": float(chosen), "rule": asked, "chosen_on": "val"}


# -- what training saw ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Memory:
    """The images that shaped a run's weights and choices, its parents' included.

    Args:
        trained, chosen: SHA-256 of the images of training and validation parts.
        own: path to what the run's own splits.csv says; empty where the data are not the run's.
        lost: runs that this one goes on from and whose folders can't be read any more.
    """

    trained: frozenset[str]
    chosen: frozenset[str]
    own: Mapping[str, Seen]
    lost: tuple[str, ...] = ()


def remembered(run: Run, data: Data, own: bool) -> Memory:
    """What a run and its parents saw, by content.

    Args:
        own: the data are the run's, so that in a run which wrote no hashes its paths tell.
    """
    seen: dict[str, set[str]] = {"train": set(), "val": set()}
    folders, lost = lineage(run)
    for folder in folders:
        for path, image in read_run_splits(folder).items():
            digest = image.sha256
            if digest is None and own and path in data.records:
                digest = data.records[path].sha256
            if digest and image.split in seen:
                seen[image.split].add(digest)
        if (folder / VAL_PREDICTIONS).is_file():
            seen["val"].update(read_predictions(folder / VAL_PREDICTIONS).sha256)
    here = read_run_splits(run.folder) if own else {}
    return Memory(frozenset(seen["train"]), frozenset(seen["val"]), here, tuple(lost))


def lineage(run: Run) -> tuple[list[Path], list[str]]:
    """The folders of a run and of the runs that it goes on from, and those that are gone."""
    folders, lost = [run.folder], []
    recipes: list[Mapping[str, Any]] = [run.recipe]
    while recipes:
        recipe = recipes.pop()
        for given in (recipe.get("parent"), recipe.get("weights")):
            if not given or given in ("none", "imagenet"):
                continue
            # run folders that were moved together still lie side by side
            places = [Path(given), run.folder.parent / Path(given).name]
            found = next((p for p in places if (p / SPLITS).is_file()), None)
            if found is None:
                lost.append(str(given))
            elif not any(found.samefile(folder) for folder in folders):
                folders.append(found)
                recipes.append(read_recipe(found / RECIPE))
    return folders, lost


def seen_in_training(memory: Memory, data: Data, split: str) -> list[Finding]:
    """What the evaluated part owes to training, by content, wherever the images lie.

    `training-images-in-test`, an error: images that the weights were fitted to; in a part other
    than val also those that chose epoch and threshold. `threshold-on-test`, a warning: the part
    is wholly or partly what epoch and threshold were chosen on. `data-changed`, a warning:
    images of the run's own data that are not the files that stood there in training.
    """
    samples = data.index.part(split)
    digest = {s.path: data.records[s.path].sha256 for s in samples}
    fitted = [s for s in samples if digest[s.path] in memory.trained]
    only_chosen = memory.chosen - memory.trained
    steering = [s for s in samples if digest[s.path] in only_chosen]
    found = []
    if fitted or (steering and split != "val"):
        again = fitted + (steering if split != "val" else [])
        found.append(training_images(again, len(fitted), len(samples), split, bool(memory.own)))
    if steering and split == "val":
        found.append(chosen_on_this(steering, len(samples)))
    found += changed_since(memory.own, data, samples)
    if memory.lost:
        found.append(
            Finding(
                "training-images-in-test",
                "warning",
                f"the run starts from {', '.join(memory.lost)}, which can't be read: what that "
                "run was trained on is not known",
                len(memory.lost),
                hint="Evaluate where the run folders lie together.",
            )
        )
    return found


def rows_of(samples: Sequence[Sample]) -> tuple[dict[str, Any], ...]:
    return tuple({"file": s.path, "class": s.label, "split": s.split} for s in samples[:1000])


def training_images(again: list[Sample], fitted: int, total: int, split: str, own: bool) -> Finding:
    if split == "train":
        hint = "Evaluate the test part: --split test"
    elif own:
        hint = "Leave the copies out and train again: medimg verify DATASET --write-clean clean.csv"
    else:
        hint = "Evaluate images that it has not seen: its own test part (no DATASET), or others."
    parts = [f"{fitted:,} by training"] if fitted else []
    parts += [f"{len(again) - fitted:,} by validation"] if len(again) > fitted else []
    return Finding(
        "training-images-in-test",
        "error",
        f"{len(again):,} of the {total:,} {split} images are, byte by byte, images that the run "
        f"has seen ({', '.join(parts)}): these numbers say nothing about new images",
        len(again),
        rows_of(again),
        hint,
    )


def chosen_on_this(samples: list[Sample], total: int) -> Finding:
    return Finding(
        "threshold-on-test",
        "warning",
        f"{len(samples):,} of the {total:,} images chose the epoch and the threshold: these "
        "numbers flatter the run",
        len(samples),
        rows_of(samples),
        "Evaluate images that chose nothing: --split test",
    )


def changed_since(then: Mapping[str, Seen], data: Data, samples: Sequence[Sample]) -> list[Finding]:
    """`data-changed`, a warning, where some images are not the files that a run knew.

    Args:
        then: path to what the run's splits.csv says; old runs wrote no hash, and say nothing.
    """
    was = {path: image.sha256 for path, image in then.items() if image.sha256}
    changed = [s for s in samples if s.path in was and was[s.path] != data.records[s.path].sha256]
    if not changed:
        return []
    return [
        Finding(
            "data-changed",
            "warning",
            f"{len(changed):,} of these {len(samples):,} images are not the files that stood there "
            f"when the run was trained, the first {changed[0].path}",
            len(changed),
            rows_of(changed),
            "Train anew on the data as they are now, or give the DATASET as it was.",
        )
    ]


def evaluation(
    run: Run,
    evaluated: Evaluated,
    threshold: Mapping[str, Any] | None,
    metrics: Mapping[str, Callable[..., float]],
    *,
    seed: int = 0,
    resamples: int = 2000,
) -> dict[str, Any]:
    """The numbers of an evaluate report."""
    from medimg.statistics.evaluation import evaluate_predictions

    predictions = evaluated.predictions
    positive = run.card["positive"]
    place = predictions.classes.index(positive) if positive in predictions.classes else None
    return evaluate_predictions(
        predictions.label_numbers(),
        predictions.probabilities,
        predictions.group_names(),
        list(predictions.classes),
        place if len(predictions.classes) == 2 else None,
        threshold["value"] if threshold else None,
        seed=seed,
        resamples=resamples,
        metrics=metrics,
        prior=training_prior(run),
    )


def training_prior(run: Run) -> list[float] | None:
    """The class shares of the training part: what the majority baseline knows."""
    counts = (run.report.get("dataset") or {}).get("splits", {}).get("train")
    if not counts or not sum(counts.values()):
        return None
    return [counts.get(c, 0) / sum(counts.values()) for c in run.card["classes"]]
