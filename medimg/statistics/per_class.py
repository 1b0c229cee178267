"""Each class against the rest, with intervals."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from medimg.core.scored import Scored, Value, metric, ratio, ratio_or_zero, where_defined
from medimg.statistics.auroc_interval import auroc_interval
from medimg.statistics.intervals import Metrics, independent
from medimg.statistics.metric_rows import Rows, row
from medimg.statistics.ranking import auroc_or_none

# what each class has beside the number of its images and its AUROC
SHARES = ("precision", "recall", "specificity", "f1")


def against_the_rest(scored: Scored) -> Metrics:
    """Metrics `CLASS/precision`, `CLASS/recall`, … by the number of the class, in the order of
    the report."""
    return {
        f"{number}/{name}": function
        for number in range(scored.outputs)
        for name, function in of_class(scored, number).items()
    }


def of_class(scored: Scored, number: int) -> dict[str, Callable[..., Any]]:
    """The shares of one class; what has no image to be of is undefined."""
    name = scored.name(number)
    missing, every = f"no image of {name} in this part", f"every image in this part is {name}"

    def counts(scored: Scored, weights: Any) -> tuple[Any, Any, Any, Any]:
        """Hits, images of the class, images called so, all images."""
        cells = scored.confusion(weights)
        of, called = cells[..., number, :].sum(axis=-1), cells[..., :, number].sum(axis=-1)
        return cells[..., number, number], of, called, cells.sum(axis=(-2, -1))

    @metric(vectorised=True, share_of=lambda scored: scored.decided == number)
    def precision(scored: Scored, weights: Any = None) -> Value:
        hits, of, called, total = counts(scored, weights)
        # without images of the class, or of others, it is 0 or 1 whatever the model answers
        found = where_defined(ratio_or_zero(hits, called), of > 0, missing)
        found = where_defined(found, total > of, every)
        return where_defined(found, called > 0, f"no image was called {name}")

    @metric(vectorised=True, share_of=lambda scored: scored.labels == number)
    def recall(scored: Scored, weights: Any = None) -> Value:
        hits, of, _, _ = counts(scored, weights)
        return ratio(hits, of, missing)

    @metric(vectorised=True, share_of=lambda scored: scored.labels != number)
    def specificity(scored: Scored, weights: Any = None) -> Value:
        hits, of, called, total = counts(scored, weights)
        return ratio(total - of - called + hits, total - of, every)

    @metric(vectorised=True)
    def f1(scored: Scored, weights: Any = None) -> Value:
        hits, of, called, _ = counts(scored, weights)
        return where_defined(ratio_or_zero(2 * hits, of + called), of > 0, missing)

    return dict(zip(SHARES, (precision, recall, specificity, f1), strict=True))


def split_rows(rows: Rows, scored: Scored) -> tuple[Rows, Rows]:
    """(rows of the whole, rows of `against_the_rest`)."""
    own = set(against_the_rest(scored))
    return (
        {name: cell for name, cell in rows.items() if name not in own},
        {name: cell for name, cell in rows.items() if name in own},
    )


def class_intervals(
    scored: Scored, shares: Rows, groups: Sequence[Any] | None, level: float
) -> dict[str, Rows]:
    """`{class: {precision, recall, specificity, f1, auroc}}`, a row of the report each.

    Args:
        shares: of `against_the_rest`.
        groups: the patient of each image, None where patients are unknown.
    """
    patients = None if independent(groups) else groups
    return {
        scored.name(number): {
            **{name: shares[f"{number}/{name}"] for name in SHARES},
            "auroc": row(auroc_interval(one_class(scored, number), patients, level), len(scored)),
        }
        for number in range(scored.outputs)
    }


def one_class(scored: Scored, number: int) -> Scored:
    """A class against the rest as a task of two classes."""
    import numpy as np

    inside = np.clip(scored.probabilities[:, number], 0, 1)
    pair = np.stack([1 - inside, inside], axis=1)
    labels = (scored.labels == number).astype(np.int64)
    return Scored(labels, pair, 1, None, ("the rest", scored.name(number)))


def points_by_class(
    scored: Scored, intervals: Mapping[str, Rows]
) -> dict[str, dict[str, float | int | None]]:
    """`{class: {precision, recall, specificity, f1, support, auroc}}`; None where undefined."""
    found: dict[str, dict[str, float | int | None]] = {}
    for number in range(scored.outputs):
        cells = intervals[scored.name(number)]
        of_it = scored.labels == number
        found[scored.name(number)] = {
            **{name: cells[name]["value"] for name in SHARES},
            "support": int(of_it.sum()),
            "auroc": auroc_or_none(of_it, scored.probabilities[:, number]),
        }
    return found
