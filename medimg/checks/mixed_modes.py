"""Colour modes: grey beside colour, 16 bit beside 8, palettes, transparency"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from medimg.api import CheckContext, Finding, Sample
from medimg.checks._modes import GREY_AS_RGB, kinds
from medimg.checks.blank import filled_ones
from medimg.core.checking import MOST_ITEMS, item

# a mode of which this share is of one class gives that class away, unless this share of all is
PURE, LARGE = 0.95, 0.7


def check(context: CheckContext, *, association: float = 0.5, fewest: int = 10) -> list[Finding]:
    """A warning where modes are mixed, the louder where they tell the class.

    They tell it where mode and class hang together, or where a mode is nearly only found in one
    class that is no large part of the dataset. Information where every picture is grey stored as
    RGB. Blank pictures are left out: they are grey in any modality.

    Args:
        association: of mode and class, from which on the mode tells the class; Cramér's V, 0 to 1.
        fewest: images of other modes than the commonest that it takes to say so.
    """
    samples = filled_ones(context)
    stored = {s.path: name for s, name in zip(samples, kinds(context, samples), strict=True)}
    counts = Counter(stored.values())
    if len(counts) < 2:
        return grey_as_rgb(len(samples)) if GREY_AS_RGB in counts else []
    by_class = Counter((stored[s.path], str(s.label)) for s in samples)
    rarer = len(samples) - max(counts.values())
    tells = giveaway(by_class, fewest)
    if not tells and rarer >= fewest and cramers_v(by_class) >= association:
        tells = "the colour mode tells the class"
    return [
        Finding(
            "mixed-modes",
            "warning",
            f"{tells or 'colour modes are mixed'}: {listed(counts, by_class)}",
            rarer,
            rows(samples, stored, counts, by_class),
            hint(bool(tells)),
        )
    ]


def giveaway(by_class: Counter[tuple[str, str]], fewest: int) -> str:
    """In words, that a mode is nearly only found in one class; empty where none is."""
    classes: Counter[str] = Counter()
    modes: Counter[str] = Counter()
    for (mode, label), images in by_class.items():
        classes[label] += images
        modes[mode] += images
    for (mode, label), images in by_class.most_common():
        alone = images >= max(fewest, PURE * modes[mode])
        if alone and classes[label] <= LARGE * classes.total():
            return (
                f"the colour mode tells the class ({mode}: {images:,} of {modes[mode]:,} {label})"
            )
    return ""


def grey_as_rgb(images: int) -> list[Finding]:
    return [
        Finding(
            "mixed-modes",
            "info",
            f"all {images:,} images are grey but stored as RGB: three equal channels",
            images,
            hint="Nothing to do: medimg reads them as what the model takes, one channel or three.",
        )
    ]


def listed(counts: Counter[str], by_class: Counter[tuple[str, str]]) -> str:
    """`790 grey (glioma 200, none 590) and 103 colour (none 103)`."""
    parts = []
    for name, images in counts.most_common():
        own = Counter({label: n for (mode, label), n in by_class.items() if mode == name})
        shown = ", ".join(f"{label} {n:,}" for label, n in own.most_common(4))
        more = f", {len(own) - 4} more classes" if len(own) > 4 else ""
        parts.append(f"{images:,} {name} ({shown}{more})")
    return ", ".join(parts[:-1]) + " and " + parts[-1]


def hint(tells: bool) -> str:
    if tells:
        return (
            "A network may learn how the files were stored: bring all to one mode, and ask whether "
            "the classes come from two sources (medimg verify DATASET --only shortcut)."
        )
    return (
        "medimg drops transparency and repeats grey in three channels; do the few come from "
        "another source? Other programs may fail on them."
    )


def rows(
    samples: list[Sample],
    stored: dict[str, str],
    counts: Counter[str],
    by_class: Counter[tuple[str, str]],
) -> tuple[dict[str, Any], ...]:
    """Images by mode and class, then the files of all modes but the commonest, rarest first."""
    table = [
        {"mode": mode, "class": label, "images": n} for (mode, label), n in by_class.most_common()
    ]
    (commonest, _), *_ = counts.most_common(1)
    rare = sorted(
        (s for s in samples if stored[s.path] != commonest),
        key=lambda s: (counts[stored[s.path]], stored[s.path], s.path),
    )
    return (*table, *(item(s, mode=stored[s.path]) for s in rare))[:MOST_ITEMS]


def cramers_v(pairs: Counter[tuple[str, str]]) -> float:
    """How much mode and class hang together, 0 to 1.

    Source:
        Cramér 1946, Mathematical Methods of Statistics, chapter 21.

    >>> cramers_v(Counter({("L", "a"): 5, ("RGB", "b"): 5}))
    1.0
    """
    modes, labels = sorted({m for m, _ in pairs}), sorted({c for _, c in pairs})
    if len(modes) < 2 or len(labels) < 2:
        return 0.0
    table = np.array([[pairs[m, c] for c in labels] for m in modes], dtype=np.float64)
    expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / table.sum()
    chi_squared = ((table - expected) ** 2 / expected).sum()
    return float(np.sqrt(chi_squared / (table.sum() * (min(table.shape) - 1))))
