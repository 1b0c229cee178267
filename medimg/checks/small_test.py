"""A test part too small for the interval wanted"""

from __future__ import annotations

from medimg.api import CheckContext, Finding, UsageError
from medimg.checks._larger_part import cut_hint
from medimg.checks.small_class import units
from medimg.core.checking import grouped
from medimg.statistics.wilson import wilson


def check(context: CheckContext, *, width: float = 0.2, expected: float = 0.9) -> list[Finding]:
    """A warning that tells how wide the 95 % interval of a class's sensitivity will be.

    Args:
        width: how wide that interval may be (0.2 is ten points to each side).
        expected: the sensitivity to reckon with (0 to 1).
    """
    if not 0 < width < 1 or not 0 <= expected <= 1:
        raise UsageError("small-test: width stands between 0 and 1, expected in 0 to 1")
    test = context.index.part("test")
    if not test:
        context.not_applicable("there is no test part")
    unit = "patients" if any(s.group is not None for s in test) else "images"
    numbers = {
        str(label): (units(own), len(own))
        for label, own in grouped(test, lambda s: s.label).items()
    }
    small = {c: n for c, n in numbers.items() if interval_width(n[0], expected) > width}
    if not small:
        return []
    name, (least, images) = min(small.items(), key=lambda c: c[1])
    low, high = wilson(expected * least, least)
    number = f"{least:,} {unit if least != 1 else unit[:-1]}"
    of = f", {images:,} images" if unit == "patients" else ""
    return [
        Finding(
            "small-test",
            "warning",
            f"test holds {number} of {name}{of}: a sensitivity of {expected:.0%} will have a 95 % "
            f"interval of {low:.0%} to {high:.0%}, {high - low:.2f} wide; {width:g} takes "
            f"{needed(width, expected):,} {unit} a class",
            sum(own for _, own in small.values()),
            tuple(
                {"class": c, "split": "test", "images": own}
                | ({"patients": n} if unit == "patients" else {})
                | {"width": round(interval_width(n, expected), 3)}
                for c, (n, own) in sorted(small.items(), key=lambda c: c[1])
            ),
            cut_hint(context, test=needed(width, expected)),
        )
    ]


def interval_width(n: int, expected: float) -> float:
    """Width of Wilson's 95 % interval at so many independent images."""
    low, high = wilson(expected * n, n)
    return high - low


def needed(width: float, expected: float) -> int:
    """The fewest independent images whose interval is no wider.

    >>> interval_width(needed(0.1, 0.9), 0.9) <= 0.1 < interval_width(needed(0.1, 0.9) - 1, 0.9)
    True
    """
    most = 1
    while interval_width(most, expected) > width:
        most *= 2
    least = most // 2
    while most - least > 1:
        middle = (least + most) // 2
        least, most = (
            (middle, most) if interval_width(middle, expected) > width else (least, middle)
        )
    return most
