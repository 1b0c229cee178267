"""After training on other class shares than the data's: probabilities are put right, then the
operating point is chosen on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from medimg.core.scored import Scored, UndefinedMetric
from medimg.core.types import Finding
from medimg.statistics.recalibration import Shift, fit_shift, prior_shift
from medimg.training.prediction import softmax

if TYPE_CHECKING:
    from medimg.balance._planning import Balance
    from medimg.core.recipe import Recipe

# images of each class for every number that is fitted, below which it says little
IMAGES_A_PARAMETER = 5
# of the classes' shares: less is the rounding of class weights
SAME = 1e-6


@dataclass(frozen=True)
class Recalibration:
    """What is done to a run's logits.

    Args:
        method: `prior`, `slope-and-intercept`, `intercept`, or `approximate-prior` where nothing
            could be fitted.
        reason: why this one, in words.
        shift: the correction.
    """

    method: str
    reason: str
    shift: Shift

    def card(self) -> dict[str, Any]:
        """What stands in model.json."""
        return {
            "method": self.method,
            "slope": self.shift.slope,
            "intercepts": list(self.shift.intercepts),
        }


def needed(recipe: Recipe, balance: Balance | None) -> bool:
    """Whether balancing moved the classes' shares, or drew images that are none."""
    if recipe.recalibrate == "none" or balance is None:
        return False
    moved = abs(balance.trained_shares() - balance.natural_shares()).max()
    return bool(moved > SAME) or len(balance.parents) > 0


def recalibration_of(
    recipe: Recipe,
    balance: Balance | None,
    logits: np.ndarray | None,
    labels: np.ndarray | None,
    inherited: Mapping[str, Any] | None = None,
) -> Recalibration | None:
    """How probabilities are put right after a training; None where nothing is to be done.

    The exact correction by the classes' shares holds for cross-entropy and images that stand for
    their class: oversampling, undersampling, weights. All else (synthetic images, focal loss,
    smoothed labels) is fitted on validation.

    Args:
        logits, labels: of the validation part, Float[N, K] and Int[N]; None where there is none.
        inherited: what the run that these weights come from does to its logits (its model.json).
    """
    if balance is not None and needed(recipe, balance):
        by_shares = prior_shift(balance.trained_shares(), balance.natural_shares())
        inexact = why_inexact(recipe, balance)
    elif inherited is not None and recipe.recalibrate != "none":
        by_shares = Shift(inherited["slope"], tuple(inherited["intercepts"]))
        inexact = "the weights come from a run on other class shares than the data's"
    else:
        return None
    if not inexact:
        return Recalibration(
            "prior",
            f"{recipe.balance} changed the classes' shares and nothing else: the correction is "
            "exact, and nothing is fitted",
            by_shares,
        )
    if logits is None or labels is None:
        why = "there is no validation part to fit on"
    else:
        found = fitted(logits, labels, inexact)
        if not isinstance(found, str):
            return found
        why = found
    reason = f"{inexact}, and {why}: corrected by the classes' shares all the same"
    return Recalibration("approximate-prior", reason, by_shares)


def why_inexact(recipe: Recipe, balance: Balance) -> str:
    """Why shares alone don't tell the correction, in words; empty where they do."""
    if len(balance.parents):
        return f"{recipe.balance} adds synthetic images, which lie closer together than real ones"
    if not balance.at_random:
        return f"{recipe.balance} does not say that it chooses at random within a class"
    if recipe.focal_gamma:
        return "the focal loss bends probabilities besides"
    if recipe.label_smoothing:
        return "label smoothing bends probabilities besides"
    return ""


def fitted(logits: np.ndarray, labels: np.ndarray, inexact: str) -> Recalibration | str:
    """Slope and intercept where validation can tell them, else the intercept alone, else why
    not."""
    least = int(np.bincount(labels, minlength=logits.shape[1]).min())
    few = f"{least} validation images of the smallest class are too few to fit "
    why = few + "a slope"
    if least < IMAGES_A_PARAMETER:
        return few + "anything"
    if least >= 2 * IMAGES_A_PARAMETER:
        try:
            shift = fit_shift(logits, labels)
            reason = f"{inexact}: fitted on {len(labels):,} validation images"
            return Recalibration("slope-and-intercept", reason, shift)
        except UndefinedMetric as error:
            why = error.reason
    try:
        shift = fit_shift(logits, labels, slope=False)
    except UndefinedMetric as error:
        return error.reason
    reason = f"{inexact}; {why}: the intercept alone is fitted on {len(labels):,} images"
    return Recalibration("intercept", reason, shift)


def recalibration_result(
    found: Recalibration | None,
    balance: Balance | None,
    logits: np.ndarray | None,
    labels: np.ndarray | None,
    classes: Sequence[str],
    positive: int | None,
) -> dict[str, Any] | None:
    """What the report says; None where nothing was to be done."""
    if found is None:
        return None
    shift, shares = found.shift, {}
    if balance is not None:
        shares = {"data": balance.natural_shares(), "training": balance.trained_shares()}
    before = after = None
    if logits is not None and labels is not None and len(labels):
        shares["validation"] = np.bincount(labels, minlength=len(classes)) / len(labels)
        before = loss_and_error(softmax(logits), labels, positive)
        after = loss_and_error(softmax(shift.apply(logits)), labels, positive)
    of_positive = None
    if positive is not None and len(classes) == 2:
        of_positive = shift.intercepts[positive] - shift.intercepts[1 - positive]
    return {
        "method": found.method,
        "reason": found.reason,
        "order": order_of(found),
        "parameters": {
            "slope": shift.slope,
            "intercept": of_positive,
            "intercepts": dict(zip(classes, shift.intercepts, strict=True)),
        },
        "shares": {
            name: dict(zip(classes, values.tolist(), strict=True))
            for name, values in shares.items()
        },
        "images": None if labels is None else len(labels),
        "before": before,
        "after": after,
    }


def order_of(found: Recalibration) -> list[str]:
    """What was done after training, in order."""
    done = {
        "prior": "probabilities corrected by the classes' shares",
        "slope-and-intercept": "slope and intercept fitted on validation",
        "intercept": "intercept fitted on validation",
        "approximate-prior": "probabilities corrected by the classes' shares, approximately",
    }[found.method]
    return [
        "weights of the best epoch restored",
        done,
        "operating point chosen on validation, at these probabilities",
    ]


def loss_and_error(
    probabilities: np.ndarray, labels: np.ndarray, positive: int | None
) -> dict[str, float | None]:
    from medimg.metrics.ece import ece
    from medimg.metrics.log_loss import log_loss

    about = positive if probabilities.shape[1] == 2 else None
    scored = Scored(labels, probabilities, about, 0.5 if about is not None else None)
    return {"log_loss": float(log_loss(scored)), "ece": float(ece(scored))}


def in_words(result: Mapping[str, Any] | None) -> str:
    """One line for the end of a training; empty where there is nothing to say."""
    if result is None:
        return ""
    before, after = result["before"], result["after"]
    told = ""
    if before is not None:
        told = (
            f"; validation log loss {before['log_loss']:.4f} → {after['log_loss']:.4f}, "
            f"ece {before['ece']:.4f} → {after['ece']:.4f}"
        )
    return f"Probabilities recalibrated ({result['method']}: {result['reason']}){told}"


def alarm(result: Mapping[str, Any] | None) -> list[Finding]:
    """The warning that probabilities are put right by a rule that does not quite hold."""
    if result is None or result["method"] != "approximate-prior":
        return []
    return [
        Finding(
            "recalibration-approximate",
            "warning",
            f"probabilities are corrected roughly: {result['reason']}",
            hint="Ranking (AUROC) is not touched. Give a larger validation part, or --balance "
            "class-weight, which is corrected exactly without one.",
        )
    ]
