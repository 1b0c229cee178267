"""Matthews correlation of answers and classes."""

from __future__ import annotations

import numpy as np

from medimg.core.scored import Array, Scored, Value, metric, where_defined


@metric(vectorised=True)
def mcc(scored: Scored, weights: Array | None = None) -> Value:
    """Matthews correlation coefficient, -1..1; 0 is chance.

    Undefined where every image has one class or gets one answer: the correlation with a constant
    does not exist (scikit-learn answers 0 there).

    Source:
        Gorodkin 2004, Comparing two K-category assignments by a K-category correlation
        coefficient.
    """
    counts = scored.confusion(weights)
    true, answered = counts.sum(axis=-1), counts.sum(axis=-2)
    total = true.sum(axis=-1)
    right = counts.trace(axis1=-2, axis2=-1)
    covariance = right * total - (true * answered).sum(axis=-1)
    spread_true = total**2 - (true**2).sum(axis=-1)
    spread_answered = total**2 - (answered**2).sum(axis=-1)
    defined = (spread_true > 0) & (spread_answered > 0)
    scale = np.sqrt(np.where(defined, spread_true, 1.0)) * np.sqrt(
        np.where(defined, spread_answered, 1.0)
    )
    reason = "every image has the same class or gets the same answer"
    return where_defined(covariance / scale, defined, reason)
