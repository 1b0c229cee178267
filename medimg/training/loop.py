"""The epoch loop: train, validate, keep the best, stop early, checkpoint, resume.

It reads top to bottom. The backend owns the steps inside an epoch; everything that decides
stands here, so that runs of two backends differ in the framework alone.
"""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from medimg.core.errors import BackendError, InputError, Refused
from medimg.core.report import cannot_write, write_atomically
from medimg.core.runs import HOPELESS
from medimg.core.types import Finding
from medimg.training.prediction import cross_entropy, predict_logits, softmax
from medimg.training.schedule import Watch, epoch_rates, stage_shares
from medimg.training.unfreezing import cuts

if TYPE_CHECKING:
    from medimg.core.loader import Loader
    from medimg.core.recipe import Recipe
    from medimg.core.types import Network, Objective, Optimizer

STATE = "state.json"
PREDICT_BATCH = 64
TIE_BREAK = 1e-6
# a checkpoint is written after every epoch where that takes so long at most; else it takes a
# twentieth of the time
SOON_WRITTEN_S = 0.2
# until one was written, how fast a disk is thought to be; a weight has two moments beside it
BYTES_A_SECOND, BYTES_A_WEIGHT = 200e6, 12
WRITING_SHARE = 0.05


@dataclass
class Progress:
    """Where a run stands; what a checkpoint keeps beside the weights.

    Args:
        epoch: epochs finished.
        history: a row an epoch.
        best_epoch: counted from 1; 0 before the first.
        best, waited: of early stopping; plateau_best, plateau_waited, factor: of the plateau rule.
        last, kept: names of the checkpoint folders that hold the last and the best weights.
        features: key of the kept features that the head is trained on; None for pictures.
        seconds, images: of the training steps alone; elapsed_s: with validation and checkpoints.
    """

    epoch: int = 0
    history: list[dict[str, float | None]] = field(default_factory=list)
    best_epoch: int = 0
    best: float | None = None
    waited: int = 0
    plateau_best: float | None = None
    plateau_waited: int = 0
    factor: float = 1.0
    last: str | None = None
    kept: str | None = None
    features: str | None = None
    stopped_by: str | None = None
    seconds: float = 0.0
    images: int = 0
    elapsed_s: float = 0.0


@dataclass
class Checkpoints:
    """Folders of weights beside a state file that is written last: a killed run leaves the old
    state or the new one, and the folders that it names.

    Large networks are not written after every epoch: a run goes on from the last that was, to the
    same end.

    Args:
        best: the best weights, where no file holds them yet.
        took_s: how long writing took the last time; `ended` is the clock when it ended.
    """

    folder: Path
    best: dict[str, Any] | None = None
    took_s: float = 0.0
    ended: float = 0.0

    def read(self) -> Progress | None:
        """The last state; None before the first epoch ended."""
        try:
            data = json.loads((self.folder / STATE).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise InputError(f"{self.folder / STATE} is damaged: {error}", "Train again.") from None
        return Progress(**data)

    def expect(self, network: Network) -> None:
        """Guesses how long writing will take, so that large networks are not written at once."""
        self.took_s = network.parameters().trainable * BYTES_A_WEIGHT / BYTES_A_SECOND
        self.ended = time.perf_counter()

    def keep(self, network: Network, progress: Progress, improved: bool) -> None:
        """After an epoch: files where they are due, else the best weights in memory."""
        idle = time.perf_counter() - self.ended
        quick = self.took_s <= SOON_WRITTEN_S or idle * WRITING_SHARE >= self.took_s
        # where the clock ended the training, going on would not end at the same epoch
        if quick or progress.stopped_by == "minutes":
            self.write(network, progress, improved)
        elif improved:
            # the ones before go first: large heads would not fit twice
            self.best = None
            self.best = network.weights()

    def write(self, network: Network, progress: Progress, improved: bool) -> None:
        """The last weights with the optimizer's state, and the best."""
        started = time.perf_counter()
        progress.last = self.save(network, progress.epoch, training=True)
        if improved:
            progress.kept = progress.last
        elif self.best is not None:
            now = network.weights()
            network.set_weights(self.best)
            progress.kept = self.save(network, progress.best_epoch, training=False)
            network.set_weights(now)
        self.best = None
        write_atomically(self.folder / STATE, json.dumps(asdict(progress), indent=1))
        self.forget_all_but({progress.last, progress.kept})
        self.ended = time.perf_counter()
        self.took_s = self.ended - started

    def save(self, network: Network, epoch: int, training: bool) -> str:
        """The name of a new folder with the network's weights."""
        name = f"epoch-{epoch:04d}"
        try:
            shutil.rmtree(self.folder / name, ignore_errors=True)
            (self.folder / name).mkdir(parents=True)
            network.save(self.folder / name, training=training)
        except OSError as error:
            # half a checkpoint is of no use, and the disk may be full
            shutil.rmtree(self.folder / name, ignore_errors=True)
            raise cannot_write(self.folder / name, error) from error
        return name

    def restore_best(self, network: Network, progress: Progress) -> None:
        """Leaves the best weights in the network, which holds the last."""
        if progress.best_epoch == progress.epoch:
            return
        if self.best is not None:
            network.set_weights(self.best)
        elif progress.kept:
            network.restore(self.folder / progress.kept)

    def give_up(self, progress: Progress) -> None:
        """Writes down that the training broke down, so that nobody goes on with it."""
        progress.stopped_by = HOPELESS
        write_atomically(self.folder / STATE, json.dumps(asdict(progress), indent=1))

    def forget_all_but(self, names: set[str | None]) -> None:
        for folder in self.folder.glob("epoch-*"):
            if folder.name not in names:
                shutil.rmtree(folder, ignore_errors=True)


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
    cut_of = cuts(trainable_from, len(network.stages), recipe.epochs, recipe.gradual)
    cut = cut_of[max(progress.epoch - 1, 0)]
    network.prepare(objective, optimizer, cut)
    if progress.last:
        network.restore(checkpoints.folder / progress.last)
    stopper = watch(recipe.min_delta, progress.best, progress.waited)
    plateau = watch(recipe.min_delta, progress.plateau_best, progress.plateau_waited)
    best = Watch(0.0, stopper.best if progress.best_epoch else math.inf)
    if progress.best_epoch:
        best.best = steer(progress.history[progress.best_epoch - 1], recipe.monitor)
    told: set[str] = set()
    checkpoints.expect(network)

    while progress.epoch < recipe.epochs and progress.stopped_by is None:
        epoch = progress.epoch
        if cut_of[epoch] != cut:
            cut = cut_of[epoch]
            network.prepare(objective, optimizer, cut)
        rates = epoch_rates(
            recipe.schedule,
            float(recipe.learning_rate),
            epoch,
            recipe.epochs,
            train.steps,
            progress.factor,
        )
        if recipe.lr_spread > 1:
            rates = rates * stage_shares(recipe.lr_spread, trainable_from, len(network.stages))
            rates = rates.astype(np.float32)
        losses = Losses(epoch, on_step)
        started = time.perf_counter()
        with memory_said(train, "training on"):
            result = network.train_epoch(
                train.epoch(epoch), rates, seed=recipe.seed * 1_000_003 + epoch, on_step=losses
            )
        took = time.perf_counter() - started
        if losses.broken_at is not None or not math.isfinite(result.loss):
            checkpoints.give_up(progress)
            raise not_finite(epoch, losses.broken_at, float(recipe.learning_rate))
        with memory_said(train, "validating after"):
            measured = validate(network, val, positive) if val else {}
        if not all(v is None or math.isfinite(v) for v in measured.values()):
            checkpoints.give_up(progress)
            raise not_finite(epoch, train.steps - 1, float(recipe.learning_rate))

        row: dict[str, float | None] = {
            "epoch": epoch + 1,
            "loss": result.loss,
            **measured,
            "learning_rate": float(rates.max()),
            "seconds": took,
        }
        progress.history.append(row)
        progress.epoch = epoch + 1
        progress.seconds += took
        progress.images += result.images
        lasted = time.perf_counter() - started
        progress.elapsed_s += lasted
        value = steer(row, recipe.monitor)
        improved = best.improved(value)
        if improved:
            progress.best_epoch = epoch + 1
        stopper.improved(value)
        if not plateau.improved(value) and plateau.waited >= recipe.plateau_patience:
            lower_rate(progress, plateau, recipe)
        progress.best, progress.waited = stopper.best, stopper.waited
        progress.plateau_best, progress.plateau_waited = plateau.best, plateau.waited
        if recipe.patience is not None and stopper.waited >= recipe.patience:
            progress.stopped_by = "patience"
        elif progress.epoch == recipe.epochs:
            progress.stopped_by = "epochs"
        elif recipe.minutes and progress.elapsed_s + lasted > recipe.minutes * 60:
            # another epoch would end after the time
            progress.stopped_by = "minutes"
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


def watch(min_delta: float, best: float | None, waited: int) -> Watch:
    return Watch(min_delta, math.inf if best is None else best, waited)


def steer(row: dict[str, Any], monitor: str) -> float:
    """The number, lower for better, that early stopping and the choice of the best epoch follow.

    With `val_auroc` and `val_accuracy` it is 1 minus that, and validation loss decides between
    equals; where the metric is undefined, or validation is missing, it is a loss.
    """
    if monitor == "loss" or row.get("val_loss") is None:
        return float(row["loss"])
    if monitor in ("val_auroc", "val_accuracy") and row.get(monitor) is not None:
        return 1.0 - float(row[monitor]) + TIE_BREAK * float(row["val_loss"])
    return float(row["val_loss"])


def lower_rate(progress: Progress, plateau: Watch, recipe: Recipe) -> None:
    """Reduce-on-plateau; a schedule other than plateau takes no notice of the factor."""
    peak = float(recipe.learning_rate)
    lowest = min(1.0, recipe.plateau_floor / peak)
    progress.factor = max(progress.factor * recipe.plateau_factor, lowest)
    plateau.waited = 0


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


def alarms(progress: Progress, val: Loader | None) -> list[Finding]:
    """What the history of a run should make its reader distrust.

    What its answers say is told by `answers.alarms`, at the threshold that the metrics use.
    """
    found: list[Finding] = []
    if not progress.history or val is None:
        return found
    last = progress.history[-1]
    lowest = min(progress.history, key=lambda r: float(r["val_loss"] or 0))
    if is_overfitted(lowest, last, len(progress.history) - int(lowest["epoch"] or 0)):
        found.append(
            Finding(
                "overfitting",
                "warning",
                f"validation loss rose from {lowest['val_loss']:.3f} (epoch "
                f"{lowest['epoch']:.0f}) to {last['val_loss']:.3f} while training loss fell to "
                f"{last['loss']:.3f}",
                hint=f"The weights of epoch {progress.best_epoch} were kept. More augmentation, "
                "dropout or data helps; more epochs don't.",
            )
        )
    return found


def running_alarms(progress: Progress, val: Loader) -> list[Finding]:
    """What looks wrong after an epoch, at the threshold 0.5 in two classes.

    An epoch or two may go wrong at the start; the report's own alarms are about the end.
    """
    counts = np.bincount(val.labels, minlength=val.classes)
    history = progress.history
    if np.count_nonzero(counts) < 2 or len(history) < 2:
        return alarms(progress, val)
    found = alarms(progress, val)
    epoch, majority = progress.epoch, float(counts.max() / len(val))
    best = max(float(row["val_accuracy"] or 0) for row in history)
    if all(row["val_commonest_answer"] == 1 for row in history[-2:]):
        found.append(
            Finding(
                "one-class-predicted",
                "warning",
                f"after epoch {epoch} the network answers one class for all {len(val):,} "
                "validation images",
                hint="If it stays so: a lower learning rate (medimg lr-find DATASET) or "
                "--balance class-weight.",
            )
        )
    elif len(history) > 2 and best <= majority:
        found.append(
            Finding(
                "no-better-than-majority",
                "warning",
                f"after {epoch} epochs validation accuracy {best:.3f} is no better than always "
                f"answering the commonest class ({majority:.3f})",
                hint="If it stays so: another learning rate (medimg lr-find DATASET), more "
                "epochs, or --balance class-weight.",
            )
        )
    return found


def is_overfitted(best: dict[str, Any], last: dict[str, Any], epochs_since: int) -> bool:
    """Three epochs or more past the best, training loss down and validation loss a tenth up."""
    return (
        epochs_since >= 3
        and last["loss"] < best["loss"]
        and last["val_loss"] > 1.1 * best["val_loss"]
    )
