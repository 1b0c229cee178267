"""How well the classes are told apart: ROC and precision-recall curves with their bands."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from medimg.core.scored import Scored
from medimg.reports.document import Figure
from medimg.reports.drawings import Drawing, Point, thinned
from medimg.reports.language import Words
from medimg.reports.study import Study
from medimg.statistics.curves import Curve, precision_recall, roc

# curves that can be told apart, and bands that do not hide one another
MOST_CURVES, MOST_BANDS = 6, 3


def discrimination(study: Study, words: Words) -> Iterator[Figure]:
    """Both curves, of the positive class or of each class against the rest."""
    predictions = study.predictions
    if predictions is None:
        return
    two = len(predictions.classes) == 2 and study.positive in predictions.classes
    place = predictions.classes.index(str(study.positive)) if two else None
    cut = study.threshold["value"] if study.threshold and two else None
    labels = predictions.label_numbers()
    scored = Scored(labels, predictions.probabilities, place, cut, predictions.classes)
    shown = [k for k in scored.about if 0 < int((labels == k).sum()) < len(labels)]
    if not shown:
        return
    groups = predictions.group_names()
    yield roc_figure(study, scored, shown[:MOST_CURVES], groups, words)
    yield precision_recall_figure(study, scored, shown[:MOST_CURVES], groups, words)


def roc_figure(
    study: Study, scored: Scored, shown: Sequence[int], groups: list[str] | None, words: Words
) -> Figure:
    """Sensitivity against 1 − specificity; the threshold in use is a ring."""
    drawing = square(words("say.false_positives"), words("say.true_positives"), words)
    drawing.line([(0, 0), (1, 1)], 0, dotted=True)
    curves(drawing, roc, scored, shown, groups)
    if scored.threshold is not None:
        said, ill = scored.decided == scored.positive, scored.labels == scored.positive
        drawing.dot((float(said[~ill].mean()), float(said[ill].mean())), 2, hollow=True, radius=6)
    key = "say.chart_roc" if scored.threshold is not None else "say.chart_roc_classes"
    return figure(study, drawing, scored, shown, groups, words, key, "plots/roc.png")


def precision_recall_figure(
    study: Study, scored: Scored, shown: Sequence[int], groups: list[str] | None, words: Words
) -> Figure:
    """Precision against recall; chance is the share of the class."""
    drawing = square(words("say.true_positives"), words.metric("precision"), words)
    for series, number in enumerate(shown, 1):
        share = float((scored.labels == number).mean())
        drawing.line([(0, share), (1, share)], series, dotted=True)
    curves(drawing, precision_recall, scored, shown, groups)
    file = "plots/precision-recall.png"
    return figure(study, drawing, scored, shown, groups, words, "say.chart_pr", file)


def square(x: str, y: str, words: Words) -> Drawing:
    """Axes from 0 to 1."""
    return Drawing((0, 1), (0, 1), x, y, words.brief, height=320)


def curves(
    drawing: Drawing,
    curve_of: Callable[..., Curve],
    scored: Scored,
    shown: Sequence[int],
    groups: list[str] | None,
) -> None:
    """A line a class, over the bands where they are few."""
    found = [(n, curve_of(scored, number, groups)) for n, number in enumerate(shown, 1)]
    for series, curve in found if len(found) <= MOST_BANDS else ():
        known = np.isfinite(curve.low) & np.isfinite(curve.high)
        grid, low, high = (values[known].tolist() for values in (curve.grid, curve.low, curve.high))
        drawing.band(grid, low, high, series)
    for series, curve in found:
        drawing.line(thinned(points_of(curve)), series)


def points_of(curve: Curve) -> list[Point]:
    return list(zip(curve.x.tolist(), curve.y.tolist(), strict=True))


def figure(
    study: Study,
    drawing: Drawing,
    scored: Scored,
    shown: Sequence[int],
    groups: list[str] | None,
    words: Words,
    key: str,
    file: str,
) -> Figure:
    """The drawing with its caption, which says what the band is."""
    names = [scored.name(number) for number in shown]
    caption = words(key, name=words.listed(names))
    if len(shown) <= MOST_BANDS:
        caption += words("say.band_images" if groups is None else "say.band_patients")
    legend = tuple(enumerate(names, 1)) if len(names) > 1 else ()
    return Figure(caption, drawing.svg(caption), legend=legend, file=study.plot(file))


def roc_points(truth: np.ndarray, scores: np.ndarray) -> list[Point]:
    """The ROC curve from (0, 0) to (1, 1).

    Args:
        truth: Bool[N], which images are of the class.
        scores: Float[N].
    """
    from sklearn.metrics import roc_curve

    false, true, _ = roc_curve(truth, scores)
    return [(float(x), float(y)) for x, y in zip(false, true, strict=True)]
