"""What a network's answers should make their reader distrust."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from medimg.core.types import Finding


def alarms(
    counts: Sequence[Sequence[int]],
    classes: Sequence[str],
    part: str,
    threshold: Mapping[str, Any] | None,
) -> list[Finding]:
    """`one-class-predicted` (error) or `no-better-than-majority` (warning), or nothing.

    Args:
        counts: Int[K, K], rows true classes, columns the answers.
        part: whose images these are, in words.
        threshold: the one at which the answers were given, as it stands in the report; None in a
            task without one.
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
                "Lower the learning rate (medimg lr-find DATASET) or balance the classes "
                "(--balance class-weight).",
            )
        ]
    majority = max(sum(row) for row in counts) / total
    if accuracy > majority:
        return []
    return [
        Finding(
            "no-better-than-majority",
            "warning",
            f"{part} accuracy {accuracy:.3f}{at} is no better than always answering the "
            f"commonest class ({majority:.3f})",
            hint="Look at AUROC, balanced accuracy and the confusion matrix; train longer, or "
            "balance.",
        )
    ]


def in_words(threshold: Mapping[str, Any] | None) -> str:
    """` at the threshold 0.0312 (youden on val)`; empty where there is none."""
    if threshold is None:
        return ""
    on = f" on {threshold['chosen_on']}" if threshold["chosen_on"] else ""
    rule = threshold["rule"]
    told = f" ({rule}{on})" if rule != str(threshold["value"]) else ""
    return f" at the threshold {threshold['value']:.4g}{told}"
