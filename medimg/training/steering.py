"""What an epoch's numbers decide: the best epoch, when to stop, when to lower the rate."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from medimg.training.schedule import Watch

if TYPE_CHECKING:
    from medimg.core.recipe import Recipe
    from medimg.training.checkpoints import Progress

TIE_BREAK = 1e-6


@dataclass
class Steering:
    """Follows one number, lower for better, for three ends; what it counts stands in `progress`,
    so that a run which goes on decides as one that was not stopped.

    Args:
        best: of the epoch whose weights are kept, which any improvement makes.
        stopper: of early stopping, which asks for `min_delta`; plateau: of the plateau rule.
    """

    recipe: Recipe
    progress: Progress
    best: Watch
    stopper: Watch
    plateau: Watch

    @classmethod
    def of(cls, recipe: Recipe, progress: Progress) -> Steering:
        """As the run left off."""
        best = Watch(0.0)
        if progress.best_epoch:
            best.best = steer(progress.history[progress.best_epoch - 1], recipe.monitor)
        stopper = watch(recipe.min_delta, progress.best, progress.waited)
        plateau = watch(recipe.min_delta, progress.plateau_best, progress.plateau_waited)
        return cls(recipe, progress, best, stopper, plateau)

    def judge(self, row: dict[str, float | None], lasted: float) -> bool:
        """Whether the epoch of this row is the best so far; what else follows is in `progress`.

        Args:
            lasted: seconds of the epoch with its validation.
        """
        progress, recipe = self.progress, self.recipe
        value = steer(row, recipe.monitor)
        improved = self.best.improved(value)
        if improved:
            progress.best_epoch = progress.epoch
        self.stopper.improved(value)
        if not self.plateau.improved(value) and self.plateau.waited >= recipe.plateau_patience:
            lower_rate(progress, self.plateau, recipe)
        progress.best, progress.waited = self.stopper.best, self.stopper.waited
        progress.plateau_best, progress.plateau_waited = self.plateau.best, self.plateau.waited
        progress.stopped_by = self.ended_by(lasted)
        return improved

    def ended_by(self, lasted: float) -> str | None:
        """Why no epoch follows; None where one does."""
        progress, recipe = self.progress, self.recipe
        if recipe.patience is not None and progress.waited >= recipe.patience:
            return "patience"
        if progress.epoch == recipe.epochs:
            return "epochs"
        if recipe.minutes and progress.elapsed_s + lasted > recipe.minutes * 60:
            # another epoch would end after the time
            return "minutes"
        return None


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
