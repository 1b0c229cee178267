"""One training run: what stands in its folder, from the first epoch to the report's numbers."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medimg.core.recipe import write_recipe
from medimg.core.report import cannot_write, forget_unfinished, write_atomically
from medimg.core.runs import (
    MODEL,
    MODEL_CARD,
    RECIPE,
    SPLITS,
    Predictions,
    predictions_of,
    write_predictions,
    write_run_splits,
)
from medimg.core.types import Finding, LoadReport, Network
from medimg.training.checkpoints import Checkpoints, Progress
from medimg.training.events import FOLDER as EVENTS
from medimg.training.events import Events
from medimg.training.experiment import Experiment, model_card
from medimg.training.features import Learner
from medimg.training.loop import PREDICT_BATCH, fit
from medimg.training.prediction import predict_logits, probabilities_of
from medimg.training.recalibration import alarm, recalibration_of, recalibration_result
from medimg.training.unfreezing import cuts, openings

if TYPE_CHECKING:
    import numpy as np

    from medimg.balance._planning import Balance
    from medimg.core.scored import Scored
    from medimg.core.types import RuntimeInfo

HISTORY = "history.csv"
BALANCE = "balance.json"
VAL_PREDICTIONS = "predictions/val.csv"


@dataclass(frozen=True)
class Finished:
    """What a run came to.

    Args:
        result: the report's `result`.
        findings: of the data that were allowed, and the alarms of training.
        runtime: what it ran on.
        predictions: on validation, where there is one.
    """

    result: dict[str, Any]
    findings: tuple[Finding, ...]
    runtime: RuntimeInfo
    predictions: Predictions | None


def start_folder(experiment: Experiment, folder: Path) -> None:
    """Writes the recipe, the split and the balance, so that a killed run can be gone on with."""
    data = experiment.data
    write_run_splits(folder / SPLITS, data.index.samples, data.sha256(), data.pixel_hash())
    if experiment.balance is not None:
        write_atomically(folder / BALANCE, experiment.balance.file_text(data.split_hash))
    # last: a folder that holds a recipe can be gone on with
    write_recipe(folder / RECIPE, experiment.recipe)


def train_run(
    learner: Learner,
    network: Network,
    folder: Path,
    metrics: Mapping[str, Callable[..., float]],
    *,
    resume: Progress | None = None,
    parent: str | None = None,
    before: dict[str, float | None] | None = None,
    inherited: Mapping[str, Any] | None = None,
    loaded: LoadReport | None = None,
    on_step: Callable[[int, int, float], object] | None = None,
    on_epoch: Callable[[dict[str, float | None]], object] | None = None,
    on_alarm: Callable[[Finding], object] | None = None,
) -> Finished:
    """Trains, and fills the run folder with all but report.json.

    Args:
        network: the whole of what is trained.
        metrics: name to function, computed on validation.
        before, inherited: the parent's validation metrics and recalibration, for finetune.
    """
    experiment = learner.experiment
    start_folder(experiment, folder)
    rows: list[dict[str, float | None]] = list(resume.history) if resume else []
    forget_unfinished(folder)
    if rows:
        # the run may have been killed between its last checkpoint and this file
        write_history(folder / HISTORY, rows)
    events = Events(folder / EVENTS, rows) if experiment.recipe.tensorboard else None

    def epoch_done(row: dict[str, float | None]) -> None:
        rows.append(row)
        write_history(folder / HISTORY, rows)
        if events:
            events.add(row)
        if on_epoch:
            on_epoch(row)

    outcome = fit(
        learner.network,
        experiment.train,
        experiment.val,
        experiment.recipe,
        objective=experiment.objective,
        optimizer=experiment.optimizer,
        trainable_from=learner.trainable_from,
        checkpoints=Checkpoints(folder / "checkpoints"),
        positive=experiment.positive,
        resume=resume,
        features=learner.key,
        on_step=on_step,
        on_epoch=epoch_done,
        on_alarm=on_alarm,
    )
    logits = validation_logits(experiment, learner.network)
    truth = experiment.val.labels if experiment.val is not None else None
    recalibration = recalibration_of(
        experiment.recipe, experiment.balance, logits, truth, inherited
    )
    told = recalibration_result(
        recalibration, experiment.balance, logits, truth, experiment.classes, experiment.positive
    )
    card = recalibration.card() if recalibration else None
    predictions = predictions_from(experiment, logits, card)
    threshold = operating_point(predictions, experiment.positive)
    values: dict[str, float | None] = {}
    if predictions is not None:
        write_predictions(folder / VAL_PREDICTIONS, predictions)
        values = metric_values(predictions, experiment.positive, threshold, metrics)
    save_model(experiment, network, folder, threshold, card)
    result = {
        "model": experiment.spec.name,
        "parameters": {
            "total": network.parameters().total,
            "trainable": learner.network.parameters().trainable,
        },
        "epochs": outcome.progress.epoch,
        "best_epoch": outcome.progress.best_epoch,
        "stopped_by": outcome.progress.stopped_by or "epochs",
        "history": columns(outcome.progress.history),
        "metrics": values,
        "threshold": threshold,
        "images_per_second": outcome.images_per_second,
        "parent": parent,
        "before": before,
        "learning_rate": float(experiment.recipe.learning_rate),
        "opened": opened_stages(learner, outcome.progress.epoch),
        "weights": weights_taken(loaded),
        "features": learner.told,
        "split": experiment.data.split_note,
        "resize": experiment.recipe.resize,
        "balance": balance_result(experiment.balance),
        "recalibration": told,
        "artifacts": [RECIPE, SPLITS, HISTORY, MODEL_CARD]
        + ([BALANCE] if experiment.balance is not None else [])
        + ([VAL_PREDICTIONS] if predictions is not None else []),
    }
    findings = (
        *experiment.findings,
        *alarm(told),
        *answers_of(predictions, experiment.positive, threshold),
        *outcome.findings,
    )
    return Finished(result, findings, experiment.runtime, predictions)


def opened_stages(learner: Learner, epochs: int) -> list[dict[str, Any]]:
    """The stages that were trained, by the epoch that opened them."""
    recipe, stages = learner.experiment.recipe, learner.network.stages
    by_epoch = cuts(learner.trainable_from, len(stages), recipe.epochs, recipe.gradual)
    return openings(by_epoch[:epochs], [stage.name for stage in stages])


def weights_taken(loaded: LoadReport | None) -> dict[str, Any] | None:
    if loaded is None:
        return None
    return {
        "loaded": len(loaded.loaded),
        "missing": list(loaded.missing),
        "unexpected": list(loaded.unexpected),
    }


def balance_result(balance: Balance | None) -> dict[str, Any] | None:
    """What the report says of balancing; None where there was none."""
    from medimg.balance._planning import note_on_patients

    if balance is None:
        return None
    result = balance.result()
    return {**result, "file": BALANCE, "note": note_on_patients(result) or None}


def validation_logits(experiment: Experiment, network: Network) -> np.ndarray | None:
    """Float32[N, K] on the validation part; None where there is none."""
    if experiment.val is None:
        return None
    return predict_logits(network, experiment.val.images(PREDICT_BATCH), len(experiment.classes))


def validation_predictions(
    experiment: Experiment, network: Network, recalibration: Mapping[str, Any] | None = None
) -> Predictions | None:
    """Predictions on the validation part; None where there is none.

    Args:
        recalibration: as it stands in a model.json.
    """
    return predictions_from(experiment, validation_logits(experiment, network), recalibration)


def predictions_from(
    experiment: Experiment, logits: np.ndarray | None, recalibration: Mapping[str, Any] | None
) -> Predictions | None:
    if logits is None:
        return None
    records = experiment.data.records
    return predictions_of(
        experiment.val_samples,
        probabilities_of(logits, {"recalibration": recalibration}),
        experiment.classes,
        (records[s.path].sha256 for s in experiment.val_samples),
        "val",
    )


def operating_point(predictions: Predictions | None, positive: int | None) -> dict[str, Any] | None:
    """Youden's threshold on validation, in a two-class task that has both classes there."""
    from medimg.statistics.operating_point import youden

    if predictions is None or positive is None or len(predictions.classes) != 2:
        return None
    is_positive = predictions.label_numbers() == positive
    if is_positive.all() or not is_positive.any():
        return None
    value = youden(is_positive, predictions.probabilities[:, positive])
    return {"value": float(value), "rule": "youden", "chosen_on": "val"}


def scored_at(
    predictions: Predictions, positive: int | None, threshold: Mapping[str, Any] | None
) -> Scored:
    """Predictions beside the truth, decided at a threshold; at 0.5 where there is none."""
    from medimg.core.scored import Scored

    two = len(predictions.classes) == 2 and positive is not None
    cut = (threshold["value"] if threshold else 0.5) if two else None
    return Scored(
        predictions.label_numbers(), predictions.probabilities, positive, cut, predictions.classes
    )


def answers_of(
    predictions: Predictions | None, positive: int | None, threshold: Mapping[str, Any] | None
) -> list[Finding]:
    """What the answers to the validation images should make a reader distrust, at the threshold
    that the run's metrics are printed at."""
    from medimg.statistics.auroc_interval import auroc_interval
    from medimg.training.answers import alarms, guessing

    if predictions is None:
        return []
    scored = scored_at(predictions, positive, threshold)
    counts = scored.confusion().astype(int).tolist()
    area = auroc_interval(scored, predictions.group_names())
    return alarms(counts, predictions.classes, "validation", threshold) or guessing(
        area, "validation", threshold
    )


def metric_values(
    predictions: Predictions,
    positive: int | None,
    threshold: Mapping[str, Any] | None,
    metrics: Mapping[str, Callable[..., float]],
) -> dict[str, float | None]:
    """Each metric's value on some predictions; None where it is undefined."""
    from medimg.core.scored import UndefinedMetric, suited

    scored = scored_at(predictions, positive, threshold)
    values: dict[str, float | None] = {}
    for name, function in suited(metrics, scored).items():
        try:
            values[name] = float(function(scored))
        except UndefinedMetric:
            values[name] = None
    return values


def save_model(
    experiment: Experiment,
    network: Network,
    folder: Path,
    threshold: Mapping[str, Any] | None,
    recalibration: Mapping[str, Any] | None = None,
) -> None:
    try:
        (folder / MODEL).mkdir(parents=True, exist_ok=True)
        network.save(folder / MODEL, training=False)
    except OSError as error:
        raise cannot_write(folder / MODEL, error) from error
    # the backend may have settled what the spec left open
    card = model_card(replace(experiment, spec=network.spec), threshold, recalibration)
    write_atomically(folder / MODEL_CARD, card)


def columns(history: list[dict[str, float | None]]) -> dict[str, list[float | None]]:
    """A list a column, in the order of the first row."""
    names = list(history[0]) if history else []
    return {name: [row.get(name) for row in history] for name in names}


def write_history(path: Path, rows: list[dict[str, float | None]]) -> None:
    """history.csv, a row an epoch."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomically(path, text.getvalue())


def with_learning_rate(experiment: Experiment, rate: float) -> Experiment:
    """The same experiment with the learning rate resolved."""
    return replace(experiment, recipe=experiment.recipe.model_copy(update={"learning_rate": rate}))
