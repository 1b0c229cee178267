"""A trained run on a split that training did not see, or on another dataset."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from medimg.core.errors import InputError, UsageError
from medimg.core.runs import MODEL, Predictions, Run, predictions_of, read_predictions
from medimg.core.types import Finding
from medimg.training.experiment import Data, load_parts, loader_of, spec_of
from medimg.training.loop import PREDICT_BATCH
from medimg.training.prediction import predict_logits, softmax
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
    check_classes(run, data)
    unreadable = [s.path for s in samples if data.records[s.path].error]
    if unreadable:
        raise InputError(
            f"{len(unreadable)} of the {len(samples)} {split} images can't be read, "
            f"the first {unreadable[0]}",
            "Leave them out: medimg verify DATASET --write-clean clean.csv, then evaluate on it.",
        )
    # the run's own order of classes is the order of its outputs
    data = replace(data, index=replace(data.index, classes=tuple(run.card["classes"])))
    name, backend = manager.backend(run.card["backend"])
    spec = spec_of(run.card)
    network = backend.load(run.folder / MODEL, spec)
    pixels = load_parts(data, samples, spec, run.card["resize"], bar)
    loader = loader_of(data, samples, pixels, PREDICT_BATCH, 0)
    with bar("Predicting", len(samples)) as progress:
        logits = predict_logits(network, loader.images(), loader.classes, progress.update)
    predictions = predictions_of(
        samples,
        softmax(logits),
        run.card["classes"],
        (data.records[s.path].sha256 for s in samples),
        split,
    )
    return Evaluated(predictions, replace(backend.runtime(), precision=run.card["precision"]))


def check_classes(run: Run, data: Data) -> None:
    """Raises InputError where the data hold a class that the run never learnt."""
    unknown = [c for c in data.index.classes if c not in run.card["classes"]]
    if unknown:
        raise InputError(
            f"{data.index.name} holds the class {unknown[0]!r}, which {run.name} does not know "
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
            raise UsageError("--threshold is for two classes of which one is positive")
        return None
    if asked is None:
        return run.card["threshold"] or {"value": 0.5, "rule": "0.5", "chosen_on": None}
    try:
        value = float(asked)
    except ValueError:
        pass
    else:
        if not 0 <= value <= 1:
            raise UsageError(f"the threshold {asked} is not between 0 and 1")
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


def seen_in_training(run: Run, data: Data, split: str) -> Finding | None:
    """Pictures of the evaluated part that stand, byte by byte, in train or val too.

    The run's validation pictures are known by content, so that its own data are recognised under
    other names.
    """
    if split != "test":
        return None
    trained = {
        data.records[s.path].sha256
        for s in data.index.samples
        if s.split in ("train", "val") and s.path in data.records
    }
    if (run.folder / VAL_PREDICTIONS).is_file():
        trained |= set(read_predictions(run.folder / VAL_PREDICTIONS).sha256)
    again = [s for s in data.index.part(split) if data.records[s.path].sha256 in trained]
    if not again:
        return None
    return Finding(
        "training-images-in-test",
        "error",
        f"{len(again)} of the {len(data.index.part(split))} {split} images are, byte by byte, "
        "images that training or validation saw",
        len(again),
        tuple({"file": s.path, "class": s.label, "split": s.split} for s in again[:1000]),
        "Leave them out: medimg verify DATASET --write-clean clean.csv",
    )


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
