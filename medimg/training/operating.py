"""The operating point of an evaluation: a value, or a rule on validation predictions, never on
test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from medimg.core.errors import Refused, UsageError
from medimg.core.runs import Predictions
from medimg.core.types import Finding

CHECK = "threshold-on-test"


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
            "For example --threshold 0.5, youden or sensitivity=0.95",
        )
    return value


def chosen_on_validation(rule: str, val: Predictions, positive: str) -> dict[str, Any]:
    """The rule's threshold on validation predictions, as it stands in the report."""
    from medimg.statistics.operating_point import operating_point

    place = val.classes.index(positive)
    chosen = operating_point(rule, val.label_numbers() == place, val.probabilities[:, place])
    return {"value": float(chosen), "rule": rule, "chosen_on": "val"}


def refuse_test_as_validation(
    threshold: Mapping[str, Any] | None, val: Predictions | None, evaluated: Predictions
) -> None:
    """A threshold chosen on validation predictions that are the evaluated images is chosen on
    test, whatever the part is called.

    Raises:
        Refused: images of the evaluated part are, byte by byte, among those that chose.
    """
    if not threshold or threshold["chosen_on"] != "val" or val is None or evaluated.split == "val":
        return
    chosen = set(val.sha256) - {""}
    again = [p for p, d in zip(evaluated.paths, evaluated.sha256, strict=True) if d in chosen]
    if not again:
        return
    message = (
        f"{len(again):,} of the {len(evaluated.paths):,} {evaluated.split} images are among the "
        f"validation images that the threshold ({threshold['rule']}) is chosen on, the first "
        f"{again[0]}: that would be choosing it on {evaluated.split}"
    )
    hint = "Give a value (--threshold 0.5), or a validation part of other images."
    rows = tuple({"file": path, "split": evaluated.split} for path in again[:1000])
    raise Refused(message, hint, (Finding(CHECK, "error", message, len(again), rows, hint),))
