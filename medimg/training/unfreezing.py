"""Gradual unfreezing: which stages of a network are trained in which epoch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def cuts(first: int, stages: int, epochs: int, gradual: bool = False) -> tuple[int, ...]:
    """The lowest trained stage of each epoch.

    Args:
        first: the lowest stage that is trained in the end.
        stages: how many there are, the head among them.
        gradual: stages under the head open one after another, from the head down, at even
            intervals over the epochs; else all from the start.
    Returns:
        a number an epoch, never rising; the last is `first`.
    Source:
        Howard and Ruder 2018, ULMFiT, section 3.3 (gradual unfreezing).

    >>> cuts(2, 5, epochs=4, gradual=True)
    (3, 3, 2, 2)
    >>> cuts(2, 5, epochs=4)
    (2, 2, 2, 2)
    """
    head = stages - 1
    opening = head - first
    if not gradual or opening < 1:
        return (first,) * epochs
    return tuple(head - -(-(epoch + 1) * opening // epochs) for epoch in range(epochs))


def openings(by_epoch: Sequence[int], names: Sequence[str]) -> list[dict[str, Any]]:
    """The epochs, from 1, in which stages began to be trained, and which.

    Args:
        by_epoch: the lowest trained stage of each epoch.
        names: of the stages, from the stem to the head.

    >>> openings((1, 1, 0), ["stem", "stage1", "head"])
    [{'epoch': 1, 'stages': ['stage1', 'head']}, {'epoch': 3, 'stages': ['stem']}]
    """
    found, above = [], len(names)
    for epoch, cut in enumerate(by_epoch, 1):
        if cut < above:
            found.append({"epoch": epoch, "stages": list(names[cut:above])})
            above = cut
    return found


def in_words(opened: Sequence[dict[str, Any]], names: Sequence[str]) -> str:
    """`Trained: stage4, head; from epoch 3 stage3; frozen: stem, stage1, stage2`"""
    trained = [
        (f"from epoch {row['epoch']} " if row["epoch"] > 1 else "") + ", ".join(row["stages"])
        for row in opened
    ]
    known = {name for row in opened for name in row["stages"]}
    frozen = [name for name in names if name not in known]
    return f"Trained: {'; '.join(trained)}; frozen: {', '.join(frozen) or 'nothing'}"
