"""Every number of an evaluation, from predictions alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from medimg.core.errors import InputError
from medimg.core.scored import Array, Scored, suited
from medimg.statistics.auroc_interval import NEWCOMBE
from medimg.statistics.bootstrap import Interval, points, too_few
from medimg.statistics.calibration import calibration
from medimg.statistics.copies import by_picture, joined
from medimg.statistics.intervals import WILSON, independent
from medimg.statistics.metric_rows import Metrics, Rows, metric_rows, row, rows_at
from medimg.statistics.per_class import (
    against_the_rest,
    class_intervals,
    points_by_class,
    split_rows,
)
from medimg.statistics.resampling import method_of
from medimg.statistics.subgroups import subgroups

UNKNOWN = (
    "patients are unknown, so that images are taken as independent: where patients have several, "
    "intervals are too narrow"
)
NO_PRIOR = "the class shares of training are not known, and those of this part would be cheating"
STRATA = (
    "patients (images where they are unknown) are drawn among those that show the same classes: "
    "the prevalence is held as it is here, and intervals do not hold its uncertainty"
)


def evaluate_predictions(
    labels: Any,
    probabilities: Any,
    groups: Sequence[Any] | None,
    classes: Sequence[str],
    positive: int | None,
    threshold: float | None,
    *,
    metrics: Metrics,
    prior: Sequence[float] | None = None,
    prior_of: str = "train",
    columns: Mapping[str, Sequence[str | None]] | None = None,
    contents: Sequence[str] | None = None,
    pooling: str = "mean",
    least: int | None = None,
    seed: int = 0,
    resamples: int = 2000,
    level: float = 0.95,
) -> dict[str, Any]:
    """The parts of an evaluate report that come from numbers, ready for JSON.

    Args:
        labels: Int[N], numbers of the true classes.
        probabilities: Float[N, K].
        groups: the patient of each image, None where patients are unknown.
        classes: K names.
        positive: number of the positive class in a two-class task, else None.
        threshold: an image is called positive from here on; None: the likeliest class.
        metrics: name to function; those about another kind of task are left out.
        prior: Float[K], class shares of the training part, for the majority baseline; None: not
            known, and what asks for probabilities has no value there.
        prior_of: the part that they are of.
        columns: what each column that subgroups are made of says of each image.
        contents: the hash of each picture: copies of one are drawn together.
        pooling: a patient's probability: `mean` or `max` of that of the images.
        least: patients (images where they are unknown), below which a subgroup is named but its
            numbers are not given; None: 20 images, and 5 patients.
        level: coverage of the intervals.
    Returns:
        images, groups, positive, metrics, metrics_at_half (None without a positive class),
        per_class, per_class_intervals, confusion_matrix, baseline, calibration, by_group,
        subgroups, ci.
    Raises:
        InputError: no image, or shapes that don't fit.
    """
    scored = Scored(labels, probabilities, positive, threshold, tuple(classes))
    check(scored, classes)
    copies = joined(groups, contents) if contents else None
    units = groups if copies is None else copies
    rows, half, shares = rows_and_half(scored, metrics, units, resamples, level, seed)
    by_class = class_intervals(scored, shares, units, level)
    found: dict[str, Any] = {
        "images": len(scored),
        "groups": None if groups is None else len(set(groups) - {None}),
        "positive": None if positive is None else classes[positive],
        "metrics": rows,
        "metrics_at_half": half,
        "per_class": points_by_class(scored, by_class),
        "per_class_intervals": by_class,
        "confusion_matrix": {
            "labels": list(classes),
            "counts": scored.confusion().astype(int).tolist(),
        },
        "baseline": baseline(scored, metrics, prior, prior_of),
        "calibration": {
            **asdict(calibration(scored, groups=None if independent(units) else units)),
            **{n: rows[n]["value"] for n in ("brier", "log_loss") if n in rows},
        },
        "by_group": by_group(scored, groups, metrics, resamples, level, seed, pooling),
        "subgroups": {
            name: subgroups(
                scored,
                values,
                units,
                metrics,
                least=least,
                resamples=resamples,
                level=level,
                seed=seed,
            )
            for name, values in (columns or {}).items()
        },
        "ci": {
            "method": method_of(None if independent(units) else units),
            "resamples": resamples,
            "level": level,
            "note": STRATA if groups is not None else f"{STRATA}; {UNKNOWN}",
        },
    }
    return found if copies is None or groups is not None else without_patients(found)


def without_patients(found: dict[str, Any]) -> dict[str, Any]:
    """Where pictures are drawn and patients are unknown, nothing is said of patients."""
    told = by_picture(found)
    for table in told["subgroups"].values():
        for part in table["groups"].values():
            part["patients"] = None
    return dict(told)


def check(scored: Scored, classes: Sequence[str]) -> None:
    if not len(scored):
        raise InputError("there is no prediction to evaluate")
    if len(classes) != scored.outputs:
        raise InputError(f"{scored.outputs} columns of probabilities for {len(classes)} classes")


def rows_and_half(
    scored: Scored,
    metrics: Metrics,
    groups: Sequence[Any] | None,
    resamples: int,
    level: float,
    seed: int,
) -> tuple[Rows, Rows | None, Rows]:
    """The metrics; those at a threshold of 0.5 where there is a positive class; those of each
    class. What looks at no threshold is not computed twice, and all share the resamples."""
    wanted = {**metrics, **against_the_rest(scored)}
    at_half = scored.task == "binary" and scored.threshold != 0.5
    moved = {n: f for n, f in metrics.items() if not getattr(f, "threshold_free", False)}
    several = [(scored, wanted)] + [(replace(scored, threshold=0.5), moved)] * at_half
    found, *rest = rows_at(several, groups, resamples, level, seed)
    rows, shares = split_rows(found, scored)
    if scored.task != "binary":
        return rows, None, shares
    return rows, {**rows, **rest[0]} if at_half else dict(rows), shares


def baseline(
    scored: Scored, metrics: Metrics, prior: Sequence[float] | None, prior_of: str = "train"
) -> dict[str, Any]:
    """What always answering the commonest class gives on the same images.

    Its probabilities are the class shares for every image: certainty would make the log loss
    infinite for no better reason than arrogance. Where the shares before this part are not known,
    errors of probabilities have no value: this part's own would know what they are to predict.
    """
    counts = np.bincount(scored.labels, minlength=scored.outputs)
    shares = np.asarray(counts if prior is None else prior, dtype=np.float64)
    shares = shares / shares.sum()
    constant = Scored(
        scored.labels,
        np.tile(shares, (len(scored), 1)),
        scored.positive,
        None,
        scored.classes,
    )
    values, reasons = points(suited(metrics, constant), constant)
    for name in values if prior is None else ():
        if is_probability_error(metrics[name]):
            values[name], reasons[name] = None, NO_PRIOR
    unsaid = "no interval is computed for the baseline"
    told = "this part" if prior is None else prior_of
    method = f"always {scored.name(int(shares.argmax()))}, at the class shares of {told}"
    return {
        name: {
            **row(Interval(value, None, None, "", reasons.get(name, unsaid)), len(scored)),
            "method": method,
        }
        for name, value in values.items()
    }


def is_probability_error(function: Any) -> bool:
    """Whether a metric is an error of the probabilities themselves: log loss, Brier, ECE."""
    free = getattr(function, "threshold_free", False)
    return bool(free and not getattr(function, "higher_is_better", True))


def by_group(
    scored: Scored,
    groups: Sequence[Any] | None,
    metrics: Metrics,
    resamples: int,
    level: float,
    seed: int,
    pooling: str = "mean",
) -> dict[str, Any] | None:
    """Metrics of patients: one probability a patient against the patient's class.

    Patients without a class of their own, and images without a patient, are left out and counted.
    The threshold is that of the images. Patients are independent of one another.
    """
    if groups is None:
        return None
    labels, probabilities, mixed = patients(scored, groups, pooling)
    result: dict[str, Any] = {
        "unit": "patient",
        "groups": len(labels),
        "left_out": mixed,
        "images_without_group": sum(1 for group in groups if group is None),
        "pooling": pooling,
        "rule": rule_of(scored, pooling),
        "metrics": {},
    }
    if len(labels):
        pooled = replace(scored, labels=labels, probabilities=probabilities)
        rows = metric_rows(pooled, metrics, None, resamples, level, seed)
        few = too_few(range(len(labels)), len(labels))
        result["metrics"] = {name: of_patients(cell, few) for name, cell in rows.items()}
    return result


def of_patients(cell: dict[str, Any], few: str | None = None) -> dict[str, Any]:
    """A row whose units are patients, where method and reason would call them images.

    Args:
        few: why so few patients have no interval but one that holds for any number of them.
    """
    method, reason = cell["method"], cell["reason"]
    if few and cell["ci95"] and not method.startswith((WILSON, NEWCOMBE)):
        return {**cell, "ci95": None, "method": None, "reason": few}
    return {
        **cell,
        "method": method
        and method.replace("by image", "by patient").replace("images)", "patients)"),
        "reason": reason and reason.replace("image", "patient"),
    }


def rule_of(scored: Scored, pooling: str) -> str:
    """How a patient's probability and class come about, in words."""
    if pooling == "max" and scored.task == "binary" and scored.positive is not None:
        name = scored.name(scored.positive)
        return f"highest probability of {name} among the images; one {name} image makes the patient"
    of = "highest" if pooling == "max" else "mean"
    scaled = ", scaled to sum to 1" if pooling == "max" else ""
    return (
        f"{of} probability of the images{scaled}; patients with images of several classes left out"
    )


def patients(scored: Scored, groups: Sequence[Any], pooling: str) -> tuple[Array, Array, int]:
    """Labels Int[P] and probabilities Float[P, K] of the patients that have a class, and how many
    have none."""
    numbers: dict[Any, int] = {}
    rows = np.array([i for i, g in enumerate(groups) if g is not None], dtype=np.int64)
    unit = np.array([numbers.setdefault(groups[i], len(numbers)) for i in rows], dtype=np.int64)
    counts = np.zeros((len(numbers), scored.outputs))
    np.add.at(counts, (unit, scored.labels[rows]), 1)
    highest = np.zeros((len(numbers), scored.outputs))
    sums = np.zeros((len(numbers), scored.outputs))
    np.maximum.at(highest, unit, scored.probabilities[rows])
    np.add.at(sums, unit, scored.probabilities[rows])
    labels, fine = counts.argmax(axis=1), (counts > 0).sum(axis=1) == 1
    if pooling == "mean":
        return (
            labels[fine],
            (sums / np.maximum(counts.sum(axis=1, keepdims=True), 1))[fine],
            int((~fine).sum()),
        )
    if scored.task == "binary" and scored.positive is not None:
        # one ill image makes an ill patient, as the highest probability does
        yes = highest[:, scored.positive]
        ill = counts[:, scored.positive] > 0
        pair = np.stack([1 - yes, yes], axis=1)
        told = np.where(ill, scored.positive, 1 - scored.positive)
        return told, pair if scored.positive == 1 else pair[:, ::-1].copy(), 0
    highest = highest[fine]
    return labels[fine], highest / highest.sum(axis=1, keepdims=True), int((~fine).sum())
