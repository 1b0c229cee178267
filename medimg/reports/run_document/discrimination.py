"""ROC curves."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from medimg.reports.document import Block, Figure
from medimg.reports.drawings import Drawing, thinned
from medimg.reports.language import Words
from medimg.reports.study import Study


def roc(study: Study, words: Words) -> Iterator[Block]:
    """ROC of the positive class, or of each class against the rest."""
    predictions = study.predictions
    if predictions is None:
        return
    labels = predictions.label_numbers()
    positive = study.positive if len(predictions.classes) == 2 else None
    shown = [positive] if positive in predictions.classes else list(predictions.classes)
    drawing = Drawing(
        (0, 1), (0, 1), words("say.false_positives"), words("say.true_positives"),
        words.brief, height=320,
    )  # fmt: skip
    drawing.line([(0, 0), (1, 1)], 0, dotted=True)
    legend = []
    for series, name in enumerate(shown[:6], 1):
        place = predictions.classes.index(str(name))
        truth, scores = labels == place, predictions.probabilities[:, place]
        if truth.any() and not truth.all():
            drawing.line(list(thinned(roc_points(truth, scores))), series)
            legend.append((series, str(name)))
    if not legend:
        return
    cut = study.threshold
    if positive and cut and len(shown) == 1:
        place = predictions.classes.index(positive)
        called = predictions.probabilities[:, place] >= cut["value"]
        truth = labels == place
        drawing.dot((called[~truth].mean(), called[truth].mean()), 2, hollow=True, radius=6)
    caption = words("say.chart_roc", name=words.listed([name for _, name in legend]))
    file = "plots/roc.png"
    yield Figure(
        caption, drawing.svg(caption), legend=tuple(legend) if len(legend) > 1 else (),
        file=study.plot(file),
    )  # fmt: skip


def roc_points(truth: np.ndarray, scores: np.ndarray) -> list[tuple[float, float]]:
    from sklearn.metrics import roc_curve

    false, true, _ = roc_curve(truth, scores)
    return [(float(x), float(y)) for x, y in zip(false, true, strict=True)]
