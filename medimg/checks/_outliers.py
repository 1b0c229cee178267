"""What is odd in a dataset, judged by the dataset itself: robust distances from its middle.

An image is odd where it lies far from the middle of all images and, in a class that is large
enough, from the middle of its own class too: a whole class that differs is a shortcut, and
`shortcut` tells it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from medimg.api import CheckContext, Sample
from medimg.core.checking import MOST_ITEMS, item
from medimg.core.scan import ScanRecord

# fewer images have no middle and no spread to speak of
FEWEST = 20
# in units of a normal distribution's standard deviation
QUARTILE, TENTH = 0.6745, 1.2816
WHERE = (0.1, 0.25, 0.5, 0.75, 0.9)


class Odd(NamedTuple):
    """An image far from the others.

    Args:
        value: the number that is odd; usual: the dataset's median of it.
        spreads: how far it lies from the median, in robust standard deviations of its side.
    """

    sample: Sample
    value: float
    usual: float
    spreads: float

    @property
    def low(self) -> bool:
        return self.value < self.usual


def odd_ones(
    context: CheckContext,
    samples: Sequence[Sample],
    measure: Callable[[ScanRecord], float],
    *,
    spreads: float,
    least: float,
    log: bool = False,
) -> list[Odd]:
    """The samples that lie far from the others, the farthest first.

    Args:
        measure: the number to look at, of a record that can be decoded.
        spreads: how many robust standard deviations are far.
        least: what distance is never far, however alike the rest is: a difference, or with
            `log` a ratio above 1.
        log: compare ratios, for positive numbers.
    Raises:
        NotApplicable: fewer than twenty samples.
    """
    if len(samples) < FEWEST:
        context.not_applicable(f"it takes {FEWEST} readable images to tell what is odd")
    records = context.scan
    values = np.array([measure(records[s.path]) for s in samples], dtype=np.float64)
    scale = np.log(values) if log else values
    floor = float(np.log(least)) if log else least
    whole = distances(scale, spreads, floor)
    far = (whole > spreads) & (own_class(samples, scale, spreads, floor) > spreads)
    usual = float(np.median(values))
    found = [
        Odd(samples[i], float(values[i]), usual, float(whole[i]))
        for i in np.flatnonzero(far).tolist()
    ]
    return sorted(found, key=lambda odd: (-odd.spreads, odd.sample.path))


def own_class(
    samples: Sequence[Sample], scale: np.ndarray, spreads: float, floor: float
) -> np.ndarray:
    """Float[N]: distances from each sample's own class; infinite in classes that are too small."""
    numbers: dict[str | None, int] = {}
    classes = np.array([numbers.setdefault(s.label, len(numbers)) for s in samples])
    order, sizes = np.argsort(classes, kind="stable"), np.bincount(classes)
    found = np.full(len(samples), np.inf)
    for own in np.split(order, np.cumsum(sizes)[:-1]):
        if len(own) >= FEWEST:
            found[own] = distances(scale[own], spreads, floor)
    return found


def distances(scale: np.ndarray, spreads: float, floor: float) -> np.ndarray:
    """Float[N]: distances from the median in robust standard deviations of the value's side.

    Each side has a spread of its own, because brightness, size and sharpness are skewed. It is
    the larger of what the quartile and the tenth say, so that up to one image in ten may be odd;
    where more are, it is the dataset's nature. `spreads` of it are at least `floor`.
    """
    tenth, quarter, middle, three, nine = np.quantile(scale, WHERE)
    below = max((middle - quarter) / QUARTILE, (middle - tenth) / TENTH, floor / spreads)
    above = max((three - middle) / QUARTILE, (nine - middle) / TENTH, floor / spreads)
    away = scale - middle
    return np.where(away < 0, -away / below, away / above)


def odd_items(
    context: CheckContext, odd: Sequence[Odd], **measures: Callable[[ScanRecord], float]
) -> tuple[dict[str, Any], ...]:
    """Items with the numbers named, to three digits, and how many spreads each is away."""
    rows = []
    for one in odd[:MOST_ITEMS]:
        record = context.record(one.sample)
        numbers = {name: shortened(measure(record)) for name, measure in measures.items()}
        rows.append(item(one.sample, **numbers, spreads=round(one.spreads, 1)))
    return tuple(rows)


def shortened(number: float) -> float:
    return number if isinstance(number, int) else float(f"{number:.3g}")
