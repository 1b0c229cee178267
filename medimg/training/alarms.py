"""What the course of a training should make its reader distrust, while it runs and at its end."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from medimg.core.types import Finding

if TYPE_CHECKING:
    from medimg.core.loader import Loader
    from medimg.training.checkpoints import Progress


# times the loss of knowing nothing, ln K, that no training which learns comes near
DIVERGED = 10.0


def alarms(progress: Progress, val: Loader | None) -> list[Finding]:
    """What the history of a run should make its reader distrust.

    What its answers say is told by `answers.alarms`, at the threshold that the metrics use.
    """
    found: list[Finding] = []
    if not progress.history or val is None:
        return found
    last = progress.history[-1]
    if gone := diverged(last, val.classes):
        return [gone]
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


def diverged(row: dict[str, Any], classes: int) -> Finding | None:
    """`diverged`, a warning, where both losses of an epoch are far above knowing nothing's."""
    chance = math.log(classes)
    if min(row["loss"], row["val_loss"]) <= DIVERGED * chance:
        return None
    return Finding(
        "diverged",
        "warning",
        f"in epoch {row['epoch']:.0f} the loss is {row['loss']:.3g} in training and "
        f"{row['val_loss']:.3g} on validation, where knowing nothing gives {chance:.3f}: it "
        "diverged",
        hint=f"The learning rate {row['learning_rate']:.2g} is too high: --lr auto, or medimg "
        "lr-find DATASET",
    )


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
