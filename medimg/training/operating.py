"""The operating point of an evaluation: a temperature, then a threshold, both from validation
predictions and never from test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from medimg.core.errors import InputError, Refused, UsageError
from medimg.core.index import counted
from medimg.core.operating import Operating
from medimg.core.runs import Predictions
from medimg.core.types import Finding

CHECK = "threshold-on-test"
# a probability of 0 that was written has no logarithm
LEAST = 1e-12


def choose_threshold(
    asked: str | None,
    *,
    name: str,
    classes: Sequence[str],
    positive: str | None,
    val: Predictions | None,
    kept: Mapping[str, Any] | None,
) -> dict[str, Any] | None:
    """A value, a rule on validation predictions, or what was kept; None in a task without one.

    Args:
        asked: what the user wants; None takes `kept`, else 0.5.
        name: whose predictions these are, for messages.
        val: predictions of the validation part, None where there are none.
    Raises:
        UsageError: no such rule, or a rule where there are no validation predictions.
    """
    if positive is None or len(classes) != 2:
        if asked is not None:
            raise UsageError(
                "--threshold is for two classes of which one is positive",
                "Leave it out: the class is the one with the highest probability.",
            )
        return None
    if asked is None:
        return dict(kept) if kept else {"value": 0.5, "rule": "0.5", "chosen_on": None}
    value = given_value(asked)
    if value is not None:
        return {"value": value, "rule": "given", "chosen_on": None}
    if val is None:
        raise UsageError(
            f"{name} has no validation predictions to choose a threshold on",
            "Choosing it on test would flatter the test. Give a value: --threshold 0.5",
        )
    return chosen_on_validation(asked, val, positive)


def given_value(asked: str) -> float | None:
    """The number that was asked for; None where it is a rule.

    Raises:
        UsageError: a number that is no probability.
    """
    try:
        value = float(asked)
    except ValueError:
        return None
    if not 0 <= value <= 1:
        raise UsageError(
            f"the threshold {asked} is not between 0 and 1",
            "For example --threshold 0.5, youden, sensitivity=0.95, fbeta=2 or cost=10:1",
        )
    return value


def chosen_on_validation(rule: str, val: Predictions, positive: str) -> dict[str, Any]:
    """The rule's threshold on validation predictions, as it stands in the report."""
    from medimg.statistics.operating_point import operating_point

    place = val.classes.index(positive)
    chosen = operating_point(rule, val.label_numbers() == place, val.probabilities[:, place])
    return {"value": float(chosen), "rule": rule, "chosen_on": "val"}


# -- what a run keeps -----------------------------------------------------------------------------


def kept_point(
    operating: Operating, threshold: Mapping[str, Any], val: Predictions, positive: str
) -> tuple[Operating, dict[str, Any]]:
    """A threshold that was chosen on validation, as the run keeps it; the one that it has kept
    before, where it was chosen on the same predictions.

    Returns:
        what the run keeps from now on, and the threshold.
    """
    digest = digest_of(val)
    known = operating.points.get(threshold["rule"])
    if known and known["predictions"] == digest:
        return operating, {**threshold, "value": known["value"]}
    place = val.classes.index(positive)
    ill = val.label_numbers() == place
    called = val.probabilities[:, place] >= threshold["value"]
    point = {
        "value": threshold["value"],
        "chosen_on": "val",
        "predictions": digest,
        "images": len(ill),
        "sensitivity": float(called[ill].mean()),
        "specificity": float((~called[~ill]).mean()),
    }
    points = {**operating.points, threshold["rule"]: point}
    return replace(operating, points=points), dict(threshold)


def digest_of(predictions: Predictions) -> str:
    """One line that tells predictions from others: their images, labels and probabilities."""
    import hashlib

    text = "\n".join(map("\t".join, zip(predictions.sha256, predictions.labels, strict=True)))
    whole = hashlib.sha256(text.encode("utf-8", "replace"))
    whole.update(predictions.probabilities.tobytes())
    return f"sha256:{whole.hexdigest()}"


def fitted_temperature(
    val: Predictions | None, name: str, positive: str | None = None
) -> dict[str, Any]:
    """The temperature fitted on validation predictions, with what it does to them.

    Args:
        positive: the class whose calibration error is told, as in an evaluate report; None: that
            of the likeliest class.
    Raises:
        InputError: there are none, or they can't tell a temperature.
    """
    import numpy as np

    from medimg.core.scored import UndefinedMetric
    from medimg.statistics.recalibration import fit_temperature
    from medimg.training.recalibration import loss_and_error

    if val is None:
        raise UsageError(
            f"{name} has no validation predictions to calibrate on",
            "A temperature fitted on test would flatter the test. Leave out --calibrate.",
        )
    labels = val.label_numbers()
    try:
        value = fit_temperature(logarithms(val.probabilities), labels)
    except UndefinedMetric as undefined:
        raise InputError(
            f"{name} can't be calibrated on its {len(labels):,} validation images: "
            f"{undefined.reason}",
            "Leave out --calibrate, or give it a larger validation part.",
        ) from undefined
    place = val.classes.index(positive) if positive in val.classes else None
    before = loss_and_error(val.probabilities, labels, place)
    after = loss_and_error(tempered(val, value).probabilities, labels, place)
    return {
        "value": value,
        "fitted_on": "val",
        "images": int(np.size(labels)),
        "log_loss": {"before": before["log_loss"], "after": after["log_loss"]},
        "ece": {"before": before["ece"], "after": after["ece"]},
    }


def logarithms(probabilities: Any) -> Any:
    """Float[N, K] logits that give Float[N, K] probabilities."""
    import numpy as np

    return np.log(np.maximum(probabilities, LEAST))


def tempered(predictions: Predictions, temperature: float | None) -> Predictions:
    """The same predictions at a temperature; None leaves them."""
    from medimg.training.prediction import softmax

    if temperature is None:
        return predictions
    moved = softmax(logarithms(predictions.probabilities) / temperature)
    return replace(predictions, probabilities=moved)


def refuse_test_as_validation(
    threshold: Mapping[str, Any] | None,
    val: Predictions | None,
    evaluated: Predictions,
    *,
    allow: Sequence[str] = (),
    patients: bool = True,
    pixels: Mapping[str, str] | None = None,
) -> None:
    """A threshold chosen on validation predictions that are the evaluated images, or images of
    the same patients, is chosen on test, whatever the part is called.

    Args:
        allow: `patient-leakage` lets patients be on both sides.
        patients: the two parts are of one dataset, so that equal names are equal patients.
        pixels: SHA-256 of files to the hash of their pixels, by which pictures that were written
            again without loss are told.
    Raises:
        Refused: images of the evaluated part are among those that chose, or are of the patients
            of those.
    """
    if not threshold or from_part(threshold) != "val" or val is None or evaluated.split == "val":
        return
    if patients and "patient-leakage" not in allow:
        refuse_patients(threshold, val, evaluated)
    known = pixels or {}
    chosen = {known.get(d, d) for d in val.sha256} - {""}
    pairs = zip(evaluated.paths, evaluated.sha256, strict=True)
    again = [path for path, digest in pairs if known.get(digest, digest) in chosen]
    if not again:
        return
    message = (
        f"{len(again):,} of the {len(evaluated.paths):,} {evaluated.split} images are among the "
        f"validation images that {in_words(threshold)} on, the first "
        f"{again[0]}: that would be choosing it on {evaluated.split}"
    )
    hint = "Give a value (--threshold 0.5), or a validation part of other images."
    rows = tuple({"file": path, "split": evaluated.split} for path in again[:1000])
    raise Refused(message, hint, (Finding(CHECK, "error", message, len(again), rows, hint),))


def refuse_patients(threshold: Mapping[str, Any], val: Predictions, evaluated: Predictions) -> None:
    """Raises Refused where patients of the evaluated part have images among those that chose."""
    both = {g for g in set(val.groups) & set(evaluated.groups) if g}
    if not both:
        return
    again = [p for p, g in zip(evaluated.paths, evaluated.groups, strict=True) if g in both]
    message = (
        f"{counted(len(both), 'patient')} of {evaluated.split}, with {len(again):,} of its "
        f"{len(evaluated.paths):,} images, {'is' if len(both) == 1 else 'are'} among the "
        "validation patients that "
        f"{in_words(threshold)} on, the first {min(both)}: that would be choosing it on "
        f"{evaluated.split}"
    )
    hint = (
        "Give a value (--threshold 0.5), or parts that share no patient: medimg split DATASET\n"
        "Evaluate all the same: --allow patient-leakage"
    )
    rows = tuple({"file": path, "split": evaluated.split} for path in again[:1000])
    raise Refused(message, hint, (Finding(CHECK, "error", message, len(again), rows, hint),))


def from_part(chosen: Mapping[str, Any]) -> str | None:
    """Which part a threshold was chosen on, or a temperature fitted."""
    return chosen.get("chosen_on") or chosen.get("fitted_on")


def in_words(chosen: Mapping[str, Any]) -> str:
    rule = chosen.get("rule")
    return f"the threshold ({rule}) is chosen" if rule else "the temperature is fitted"
