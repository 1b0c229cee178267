"""Whether going on from a run helped: its validation predictions before and after, as pairs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from medimg.training.paired_tests import SMALL
from medimg.training.run import operating_point, scored_at

if TYPE_CHECKING:
    from medimg.core.runs import Predictions
    from medimg.core.scored import Scored
    from medimg.statistics.comparison import Comparison

# the first that is defined decides; the others stand beside it
METRICS = ("auroc", "balanced_accuracy", "accuracy", "macro_f1", "log_loss")
LOWER_IS_BETTER = ("log_loss",)
RESAMPLES = 1000


def change_of(
    before: Predictions | None,
    after: Predictions | None,
    positive: int | None,
    metrics: Mapping[str, Callable[..., float]],
    seed: int = 0,
) -> dict[str, Any] | None:
    """What the report says of the change; None without a validation part.

    `helped` is True or False where the 95 % interval of the deciding metric's difference lies on
    one side of 0, None where it holds 0 or there is none. Each network decides at its own
    threshold.

    Args:
        before, after: on the same images in the same order.
        metrics: name to function.
        seed: of the bootstrap.
    """
    if before is None or after is None:
        return None
    first, second = (scored_at(p, positive, operating_point(p, positive)) for p in (after, before))
    rows = {
        name: row
        for name in METRICS
        if name in metrics and (row := one(name, metrics[name], first, second, before, seed))
    }
    decides = next(iter(rows), None)
    return {
        "metric": decides,
        "helped": helped(decides, rows[decides]["ci95"]) if decides else None,
        "differences": rows,
    }


def one(
    name: str,
    function: Callable[..., float],
    first: Scored,
    second: Scored,
    pairs: Predictions,
    seed: int,
) -> dict[str, Any] | None:
    """After, before, and their difference with its interval; None where a value is undefined."""
    from medimg.core.scored import UndefinedMetric

    try:
        new, old = float(function(first)), float(function(second))
    except UndefinedMetric:
        return None
    row = {"before": old, "after": new, "difference": new - old, "ci95": None, "p": None}
    try:
        test = tested(name, function, first, second, pairs.group_names(), seed)
    except UndefinedMetric as error:
        return {**row, "test": None, "reason": str(error)}
    return {**row, "ci95": test.ci95, "p": test.p, "test": test.method, "reason": test.reason}


def tested(
    name: str,
    function: Callable[..., float],
    first: Scored,
    second: Scored,
    groups: list[str] | None,
    seed: int,
) -> Comparison:
    """DeLong for AUROC on enough independent images, else the paired bootstrap, by patient where
    patients are known."""
    from medimg.statistics.delong import paired_delong
    from medimg.statistics.paired_bootstrap import paired_bootstrap

    if name == "auroc" and groups is None and first.positive is not None:
        positive = first.labels == first.positive
        if min(positive.sum(), (~positive).sum()) >= SMALL:
            new, old = (s.probabilities[:, first.positive] for s in (first, second))
            return paired_delong(positive, new, old)
    return paired_bootstrap(first, second, function, groups=groups, resamples=RESAMPLES, seed=seed)


def helped(metric: str, interval: Any) -> bool | None:
    if interval is None:
        return None
    low, high = interval
    if low <= 0 <= high:
        return None
    return bool((low > 0) != (metric in LOWER_IS_BETTER))


def in_words(change: Mapping[str, Any]) -> str:
    """`It helped: validation auroc 0.910 → 0.932 (+0.022, 95 % 0.004 to 0.041)`"""
    name = change["metric"]
    if name is None:
        return "Whether it helped can't be told: no metric is defined on validation"
    row = change["differences"][name]
    verdict = {True: "It helped", False: "It made things worse", None: "No clear difference"}
    interval = f", 95 % {row['ci95'][0]:+.4f} to {row['ci95'][1]:+.4f}" if row["ci95"] else ""
    return (
        f"{verdict[change['helped']]}: validation {name} {row['before']:.4f} → {row['after']:.4f} "
        f"({row['difference']:+.4f}{interval})"
    )
