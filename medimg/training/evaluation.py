"""A trained run on a split that training did not see, or on another dataset."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from medimg.core.errors import InputError
from medimg.core.runs import MODEL, Predictions, Run, predictions_of, read_predictions
from medimg.core.types import DatasetIndex
from medimg.training.experiment import Data, load_parts, loader_of, spec_of
from medimg.training.given_predictions import hint_for_classes
from medimg.training.loop import PREDICT_BATCH
from medimg.training.operating import tempered
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
            hint_for_classes(unknown, run.card["classes"]),
        )


@dataclass(frozen=True)
class Subject:
    """Whose predictions are evaluated: a run's, or those of a model that medimg did not train.

    Args:
        name: of the run, or of the file of predictions.
        classes: K names, in the order of the outputs.
        positive: the class that sensitivity is about, None in a task without one.
        val: predictions on validation, for what is chosen there; None where there are none.
        threshold: what was kept for it in training.
        prior: Float[K], class shares of the part `prior_of`, None where they are not known.
    """

    name: str
    classes: tuple[str, ...]
    positive: str | None
    val: Predictions | None = None
    threshold: Mapping[str, Any] | None = None
    prior: Sequence[float] | None = None
    prior_of: str = "train"


def subject_of(run: Run) -> Subject:
    """A trained run as what is evaluated."""
    file = run.folder / VAL_PREDICTIONS
    val = read_predictions(file) if file.is_file() else None
    return Subject(
        run.name,
        tuple(run.card["classes"]),
        run.card["positive"],
        # training wrote them before there was a temperature
        None if val is None else tempered(val, run.card.get("temperature")),
        run.card["threshold"],
        training_prior(run),
    )


def evaluation(
    subject: Subject,
    predictions: Predictions,
    threshold: Mapping[str, Any] | None,
    metrics: Mapping[str, Callable[..., float]],
    *,
    columns: Mapping[str, Sequence[str | None]] | None = None,
    least: int | None = None,
    pooling: str = "mean",
    seed: int = 0,
    resamples: int = 2000,
) -> dict[str, Any]:
    """The numbers of an evaluate report.

    Args:
        columns: what each column of `--by` says of each image.
        least: patients (images where they are unknown), below which a subgroup's numbers are not
            given; None: 20 images, and 5 patients.
        pooling: a patient's probability: `mean` or `max` of that of the images.
    """
    from medimg.statistics.evaluation import evaluate_predictions

    positive = subject.positive
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
        prior=subject.prior,
        prior_of=subject.prior_of,
        columns=columns,
        contents=predictions.sha256,
        least=least,
        pooling=pooling,
    )


def training_prior(run: Run) -> list[float] | None:
    """The class shares of the training part: what the majority baseline knows."""
    counts = (run.report.get("dataset") or {}).get("splits", {}).get("train")
    if not counts or not sum(counts.values()):
        return None
    return [counts.get(c, 0) / sum(counts.values()) for c in run.card["classes"]]
