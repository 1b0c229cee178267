"""What a network's answers should make their reader distrust."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from medimg.core.types import Finding

if TYPE_CHECKING:
    from medimg.statistics.bootstrap import Interval

MORE = "more images would tell, or train longer, or balance."


def alarms(
    counts: Sequence[Sequence[int]],
    classes: Sequence[str],
    part: str,
    threshold: Mapping[str, Any] | None,
    interval: tuple[float, float] | None = None,
    *,
    elsewhere: bool = False,
    constant: bool = False,
) -> list[Finding]:
    """`one-class-predicted` (error) or `no-better-than-majority` (warning), or nothing.

    Args:
        counts: Int[K, K], rows true classes, columns the answers.
        part: whose images these are, in words.
        threshold: the one at which the answers were given, as it stands in the report; None in a
            task without one.
        interval: of the accuracy; where it reaches the share of the commonest class, the two can't
            be told apart. None: the accuracy alone is compared.
        elsewhere: the model was trained elsewhere; only its predictions are known.
        constant: all images have the same probabilities.
    """
    answered = [sum(column) for column in zip(*counts, strict=True)]
    total = sum(answered)
    present = sum(1 for row in counts if sum(row))
    if present < 2:
        return []
    at = in_words(threshold)
    accuracy = sum(counts[k][k] for k in range(len(counts))) / total
    if max(answered) == total:
        only = classes[answered.index(total)]
        return [
            Finding(
                "one-class-predicted",
                "error",
                f"the network answers {only} for all {total:,} {part} images{at}: its accuracy "
                f"{accuracy:.3f} is the share of that class",
                total,
                ({"class": only},),
                way_out(only, threshold, elsewhere, constant),
            )
        ]
    sizes = [sum(row) for row in counts]
    majority = max(sizes) / total
    told = f"{part} accuracy {accuracy:.3f}{at}"
    commonest = f"always answering {classes[sizes.index(max(sizes))]} ({majority:.3f})"
    if accuracy <= majority:
        return [no_better(f"{told} is no better than {commonest}")]
    if interval is not None and interval[0] <= majority:
        low, high = interval
        told = f"{told}, 95 % interval {low:.3f} to {high:.3f},"
        return [no_better(f"{told} can't be told from {commonest}", MORE)]
    return []


def way_out(only: str, threshold: Mapping[str, Any] | None, elsewhere: bool, constant: bool) -> str:
    """What to do about one answer for all: the training is to blame only where neither the
    scores nor a threshold that was given explain it."""
    if constant and elsewhere:
        return "All images have the same probabilities: look at how the predictions were written."
    if threshold is not None and not threshold["chosen_on"] and not constant:
        return (
            f"All probabilities lie on one side of the threshold {threshold['value']:.4g}: give "
            "another, or let predictions of validation choose it (--threshold youden)."
        )
    if elsewhere:
        return f"Look at the probabilities of {only}: are the columns those of the right classes?"
    return (
        "Lower the learning rate (medimg lr-find DATASET) or balance the classes "
        "(--balance class-weight)."
    )


def guessing(area: Interval, part: str, threshold: Mapping[str, Any] | None) -> list[Finding]:
    """`no-better-than-majority`, a warning, where the AUROC may be that of guessing.

    Args:
        area: the AUROC with its interval.
    """
    if area.value is None or area.low is None or area.low > 0.5:
        return []
    flattered = ""
    if threshold and threshold["chosen_on"]:
        flattered = ", and the threshold was chosen on these images, which flatters the accuracy"
    return [
        no_better(
            f"{part} AUROC {area.value:.3f}, 95 % interval {area.low:.3f} to {area.high:.3f} "
            f"({area.method}), can't be told from guessing (0.5){flattered}",
            MORE,
        )
    ]


def no_better(message: str, hint: str = "train longer, or balance.") -> Finding:
    look = "Look at AUROC, balanced accuracy and the confusion matrix; "
    return Finding("no-better-than-majority", "warning", message, hint=look + hint)


def in_words(threshold: Mapping[str, Any] | None) -> str:
    """` at the threshold 0.0312 (youden on val)`; empty where there is none."""
    if threshold is None:
        return ""
    on = f" on {threshold['chosen_on']}" if threshold["chosen_on"] else ""
    rule = threshold["rule"]
    told = f" ({rule}{on})" if rule != str(threshold["value"]) else ""
    return f" at the threshold {threshold['value']:.4g}{told}"
