"""The epoch loop: train, validate, keep the best, stop early, checkpoint, resume.

It reads top to bottom. The backend owns the steps inside an epoch; everything that decides
stands here, so that runs of two backends differ in the framework alone.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from medimg.core.errors import BackendError, MedimgError, Refused
from medimg.core.runs import RECIPE
from medimg.core.types import Finding
from medimg.training.alarms import alarms, running_alarms
from medimg.training.checkpoints import Checkpoints, Progress
from medimg.training.prediction import cross_entropy, predict_logits, softmax
from medimg.training.schedule import epoch_rates, stage_shares
from medimg.training.steering import Steering
from medimg.training.unfreezing import cuts

if TYPE_CHECKING:
    from medimg.core.loader import Loader
    from medimg.core.recipe import Recipe
    from medimg.core.types import Network, Objective, Optimizer

PREDICT_BATCH = 64


@dataclass(frozen=True)
class Outcome:
    """A finished training: the network holds the best weights."""

    progress: Progress
    seconds: float
    images: int
    findings: tuple[Finding, ...]

    @property
    def images_per_second(self) -> float | None:
        return self.images / self.seconds if self.seconds > 0 else None


def validate(network: Network, loader: Loader, positive: int | None) -> dict[str, float | None]:
    """Loss, accuracy and AUROC of a part, and the share of its commonest answer.

    Logits that are no numbers have a loss that is none, and nothing else.
    """
    from medimg.core.scored import Scored, UndefinedMetric
    from medimg.metrics.accuracy import accuracy
    from medimg.metrics.auroc import auroc

    logits = predict_logits(network, loader.images(PREDICT_BATCH), loader.classes)
    if not np.isfinite(logits).all():
        return {"val_loss": math.nan}
    scored = Scored(loader.labels, softmax(logits), positive, 0.5 if loader.classes == 2 else None)
    try:
        area: float | None = float(auroc(scored))
    except UndefinedMetric:
        area = None
    answers = np.bincount(scored.decided, minlength=loader.classes)
    return {
        "val_loss": cross_entropy(logits, loader.labels),
        "val_accuracy": float(accuracy(scored)),
        "val_auroc": area,
        "val_commonest_answer": float(answers.max() / len(loader)),
    }


def fit(
    network: Network,
    train: Loader,
    val: Loader | None,
    recipe: Recipe,
    *,
    objective: Objective,
    optimizer: Optimizer,
    trainable_from: int,
    checkpoints: Checkpoints,
    positive: int | None = None,
    resume: Progress | None = None,
    features: str | None = None,
    on_step: Callable[[int, int, float], object] | None = None,
    on_epoch: Callable[[dict[str, float | None]], object] | None = None,
    on_alarm: Callable[[Finding], object] | None = None,
) -> Outcome:
    """Trains the network and leaves the best weights in it.

    Args:
        train, val: the two parts; without val the training loss steers.
        trainable_from: index of the lowest trained stage; with `gradual` in the recipe it is
            reached over the epochs, and every opening starts the optimizer anew.
        resume: go on from this state.
        features: key of the features that the parts hold.
        on_step: called with (epoch, step, loss).
        on_epoch: called with each row of the history.
        on_alarm: called once with each thing that goes wrong while it runs.

    Raises:
        Refused: the loss is no number (`non-finite-loss`).
        BackendError: a batch is larger than memory.
    """
    progress = resume or Progress(features=features)
    stages = len(network.stages)
    cut_of = cuts(trainable_from, stages, recipe.epochs, recipe.gradual)
    cut = cut_of[max(progress.epoch - 1, 0)]
    network.prepare(objective, optimizer, cut)
    if progress.last:
        restore(network, checkpoints.folder / progress.last)
    steering = Steering.of(recipe, progress)
    told: set[str] = set()
    checkpoints.expect(network)

    while progress.epoch < recipe.epochs and progress.stopped_by is None:
        if cut_of[progress.epoch] != cut:
            cut = cut_of[progress.epoch]
            network.prepare(objective, optimizer, cut)
        rates = rates_of(recipe, progress, train.steps, trainable_from, stages)
        before = progress.elapsed_s
        try:
            row = run_epoch(network, train, val, recipe, progress, rates, positive, on_step)
        except Refused:
            checkpoints.give_up(progress)
            raise
        progress.history.append(row)
        progress.epoch += 1
        improved = steering.judge(row, progress.elapsed_s - before)
        checkpoints.keep(network, progress, improved)
        if on_epoch:
            on_epoch(row)
        for alarm in running_alarms(progress, val) if val else ():
            if on_alarm and alarm.check not in told:
                told.add(alarm.check)
                on_alarm(alarm)

    best_cut = cut_of[max(progress.best_epoch - 1, 0)]
    if best_cut != cut:
        # its checkpoint holds the optimizer's state of fewer stages
        network.prepare(objective, optimizer, best_cut)
    checkpoints.restore_best(network, progress)
    if best_cut != cut:
        network.prepare(objective, optimizer, cut)
    found = tuple(alarms(progress, val))
    return Outcome(progress, progress.seconds, progress.images, found)


def restore(network: Network, checkpoint: Path) -> None:
    """Takes a checkpoint back; where it is damaged, the error says how to begin again."""
    try:
        network.restore(checkpoint)
    except MedimgError as error:
        run = checkpoint.parent.parent
        hint = f"It can't be gone on with; train anew on the same settings: {run / RECIPE}"
        raise BackendError(error.message, error.hint or hint) from error


def rates_of(
    recipe: Recipe, progress: Progress, steps: int, trainable_from: int, stages: int
) -> np.ndarray:
    """Float32[S, 1] rates of the next epoch's steps, or Float32[S, G] where the stages' differ."""
    peak = float(recipe.learning_rate)
    rates = epoch_rates(
        recipe.schedule, peak, progress.epoch, recipe.epochs, steps, progress.factor
    )
    if recipe.lr_spread <= 1:
        return rates
    shares = stage_shares(recipe.lr_spread, trainable_from, stages)
    return (rates * shares).astype(np.float32)


def run_epoch(
    network: Network,
    train: Loader,
    val: Loader | None,
    recipe: Recipe,
    progress: Progress,
    rates: np.ndarray,
    positive: int | None,
    on_step: Callable[[int, int, float], object] | None,
) -> dict[str, float | None]:
    """Trains for an epoch and validates: its row of the history. Counts the time in `progress`.

    Raises:
        Refused: a loss, or what validation gives, is no number.
    """
    epoch, peak = progress.epoch, float(recipe.learning_rate)
    losses = Losses(epoch, on_step)
    started = time.perf_counter()
    with memory_said(train, "training on"):
        result = network.train_epoch(
            train.epoch(epoch), rates, seed=recipe.seed * 1_000_003 + epoch, on_step=losses
        )
    took = time.perf_counter() - started
    if losses.broken_at is not None or not math.isfinite(result.loss):
        raise not_finite(epoch, losses.broken_at, peak)
    with memory_said(train, "validating after"):
        measured = validate(network, val, positive) if val else {}
    if not all(v is None or math.isfinite(v) for v in measured.values()):
        raise not_finite(epoch, train.steps - 1, peak)
    progress.seconds += took
    progress.images += result.images
    progress.elapsed_s += time.perf_counter() - started
    return {
        "epoch": epoch + 1,
        "loss": result.loss,
        **measured,
        "learning_rate": float(rates.max()),
        "seconds": took,
    }


@contextmanager
def memory_said(loader: Loader, doing: str) -> Iterator[None]:
    """Memory that ran out, as an error that says what to lower.

    Backends tell of their device's memory themselves; this is about the batches.
    """
    try:
        yield
    except MemoryError as error:
        shape = "×".join(map(str, (min(loader.batch_size, len(loader)), *loader.pixels.shape[1:])))
        raise BackendError(
            f"memory ran out {doing} batches of {shape}",
            "Give a smaller --batch-size, or a smaller --image-size.",
        ) from error


class Losses:
    """Passes each step's loss on and stops the epoch at the first that is no number."""

    def __init__(self, epoch: int, on_step: Callable[[int, int, float], object] | None) -> None:
        self.epoch, self.on_step = epoch, on_step
        self.broken_at: int | None = None

    def __call__(self, step: int, loss: float) -> bool:
        if self.broken_at is not None:
            return False
        if not math.isfinite(loss):
            self.broken_at = step
            return False
        if self.on_step:
            self.on_step(self.epoch, step, loss)
        return True


def not_finite(epoch: int, step: int | None, rate: float) -> Refused:
    message = f"the loss is no number any more (epoch {epoch + 1}, step {(step or 0) + 1})"
    hint = (
        f"The learning rate {rate:g} is probably too high: try --lr {rate / 10:g}, "
        "or medimg lr-find DATASET"
    )
    return Refused(message, hint, (Finding("non-finite-loss", "error", message, 1, (), hint),))
