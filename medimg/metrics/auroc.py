"""Area under the ROC curve: how well probabilities rank the classes."""

from __future__ import annotations

import numpy as np

from medimg.core.scored import Array, Scored, Value, metric, where_defined


@metric(threshold_free=True, vectorised=True, area=True)
def auroc(scored: Scored, weights: Array | None = None) -> Value:
    """Chance that an image of the class is ranked above one that is not, ties counting half, 0..1.

    Two classes: of the positive class. More: the unweighted mean over the classes, each against
    the rest. Undefined where a class has no image or every image.
    """
    areas = [area(scored, number, weights) for number in scored.about]
    return sum(areas[1:], start=areas[0]) / len(areas)


def area(scored: Scored, number: int, weights: Array | None) -> Value:
    """AUROC of one class against the rest."""
    inside, outside = scored.by_score(number, weights)
    total, rest = inside.sum(axis=-1), outside.sum(axis=-1)
    # pairs: each image outside the class with those of the class above it, half of its equals
    above = np.cumsum(inside, axis=-1)
    above -= 0.5 * inside
    pairs = np.einsum("...d,...d->...", outside, above)
    scale = np.where((total > 0) & (rest > 0), total * rest, 1.0)
    name = scored.name(number)
    found = where_defined(pairs / scale, total > 0, f"no image of {name} in this part")
    return where_defined(found, rest > 0, f"every image in this part is {name}")
