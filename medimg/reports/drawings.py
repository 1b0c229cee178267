"""Small drawings as SVG: they take the page's colours, so that they can be read in the dark."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from html import escape

WIDTH, HEIGHT = 360, 250
LEFT, RIGHT, TOP, BOTTOM = 58, 12, 10, 38
# letters that fit a drawing's width, alone and with some room between two texts
MOST_LETTERS, MOST_SIDE_BY_SIDE, MOST_OF_A_LABEL = 56, 50, 26
# about how wide a letter is
LETTER = 6.2
Point = tuple[float, float]
Numbers = Callable[[float], str]


def ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Round numbers from low to high.

    >>> ticks(0, 1), ticks(3, 14)
    ([0.0, 0.2, 0.4, 0.6, 0.8, 1.0], [4.0, 6.0, 8.0, 10.0, 12.0, 14.0])
    """
    span = high - low
    if span <= 0:
        return [low]
    step = 10 ** math.floor(math.log10(span / most))
    step = next(step * m for m in (1, 2, 5, 10) if span / (step * m) <= most + 0.5)
    first = math.ceil(low / step - 1e-9)
    return [round(n * step, 10) for n in range(first, math.floor(high / step + 1e-9) + 1)]


@dataclass
class Drawing:
    """Axes of an x and a y range, filled piece by piece; y grows upwards.

    Args:
        x, y: (low, high) of what is shown.
        words: how a number on an axis is written.
        log: the x axis is logarithmic.
        whole: x is counted: marks at whole numbers alone.
    """

    x: tuple[float, float]
    y: tuple[float, float]
    x_label: str
    y_label: str
    words: Numbers = "{:g}".format
    log: bool = False
    whole: bool = False
    height: int = HEIGHT
    pieces: list[str] = field(default_factory=list)

    def at(self, point: Point) -> Point:
        """Where a point lies in the drawing."""
        low, high = self.x
        across = (
            math.log(point[0] / low) / math.log(high / low)
            if self.log
            else (point[0] - low) / ((high - low) or 1)
        )
        up = (point[1] - self.y[0]) / ((self.y[1] - self.y[0]) or 1)
        return (
            round(LEFT + across * (WIDTH - LEFT - RIGHT), 1),
            round(self.height - BOTTOM - up * (self.height - TOP - BOTTOM), 1),
        )

    def line(self, points: Sequence[Point | None], series: int, dotted: bool = False) -> None:
        """A line through points; it is broken where one is missing."""
        runs: list[list[Point]] = [[]]
        for point in points:
            if point is None:
                runs.append([])
            else:
                runs[-1].append(self.at(point))
        style = f"s{series}" + (" dotted" if dotted else "")
        for run in runs:
            if len(run) > 1:
                text = " ".join(f"{x},{y}" for x, y in run)
                self.pieces.append(f'<polyline class="line {style}" points="{text}"/>')
            elif run and not dotted:
                self.dot_at(run[0], series)

    def band(
        self, x: Sequence[float], low: Sequence[float], high: Sequence[float], series: int
    ) -> None:
        """The area between two curves over the same x."""
        above = [self.at(point) for point in zip(x, high, strict=True)]
        below = [self.at(point) for point in zip(x, low, strict=True)]
        text = " ".join(f"{x},{y}" for x, y in [*above, *reversed(below)])
        self.pieces.append(f'<polygon class="band s{series}" points="{text}"/>')

    def dot(self, point: Point, series: int, hollow: bool = False, radius: float = 3.2) -> None:
        self.dot_at(self.at(point), series, hollow, radius)

    def dot_at(self, place: Point, series: int, hollow: bool = False, radius: float = 3.2) -> None:
        kind = "ring" if hollow else "dot"
        self.pieces.append(
            f'<circle class="{kind} s{series}" cx="{place[0]}" cy="{place[1]}" r="{radius}"/>'
        )

    def segment(self, first: Point, second: Point, series: int, thin: bool = False) -> None:
        (x1, y1), (x2, y2) = self.at(first), self.at(second)
        style = f"line s{series}" + (" thin" if thin else "")
        self.pieces.append(f'<line class="{style}" x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}"/>')

    def bar(self, x1: float, x2: float, share: float) -> None:
        """A bar from the floor, as high as a share of the drawing."""
        left, floor = self.at((x1, self.y[0]))
        right, _ = self.at((x2, self.y[0]))
        tall = round(share * (self.height - TOP - BOTTOM), 1)
        self.pieces.append(
            f'<rect class="bar" x="{left + 1}" y="{floor - tall}" width="{right - left - 2:.1f}" '
            f'height="{tall}"/>'
        )

    def label(self, point: Point, text: str) -> None:
        """A short text beside a point, within the drawing."""
        x, y = self.at(point)
        text = shortened(text, MOST_OF_A_LABEL)
        wide = LETTER * len(text)
        left = x + 6 if x + 6 + wide < WIDTH else max(2.0, x - 6 - wide)
        self.pieces.append(f'<text class="halo" x="{left:.1f}" y="{y - 6}">{escape(text)}</text>')

    def svg(self, title: str) -> str:
        """The drawing; `title` is what a screen reader says."""
        return (
            f'<svg viewBox="0 0 {WIDTH} {self.height}" role="img" aria-label="{escape(title)}">'
            f"{''.join(self._axes())}{''.join(self.pieces)}</svg>"
        )

    def _axes(self) -> list[str]:
        floor, right = self.height - BOTTOM, WIDTH - RIGHT
        made = []
        for value in ticks(*self.y):
            _, y = self.at((self.x[0], value))
            made.append(f'<line class="grid" x1="{LEFT}" y1="{y}" x2="{right}" y2="{y}"/>')
            made.append(
                f'<text x="{LEFT - 5}" y="{y + 3.5}" text-anchor="end">{self.words(value)}</text>'
            )
        for value in self._x_ticks():
            x, _ = self.at((value, self.y[0]))
            made.append(f'<line class="grid" x1="{x}" y1="{TOP}" x2="{x}" y2="{floor}"/>')
            made.append(
                f'<text x="{x}" y="{floor + 14}" text-anchor="middle">{self.words(value)}</text>'
            )
        middle = (LEFT + right) / 2
        made.append(
            f'<text x="{middle}" y="{self.height - 6}" text-anchor="middle">'
            f"{escape(self.x_label)}</text>"
        )
        centre = (TOP + floor) / 2
        made.append(
            f'<text transform="translate(11 {centre}) rotate(-90)" text-anchor="middle">'
            f"{escape(self.y_label)}</text>"
        )
        return made

    def _x_ticks(self) -> list[float]:
        if not self.log:
            return [t for t in ticks(*self.x) if not self.whole or t == int(t)]
        low, high = (math.log10(v) for v in self.x)
        powers = [10.0**n for n in range(math.ceil(low), math.floor(high) + 1)]
        return powers if len(powers) > 1 else [self.x[0], self.x[1]]


@dataclass(frozen=True)
class Bar:
    """A row of a forest: its name, value, interval, and how it is meant."""

    name: str
    value: float
    low: float | None
    high: float | None
    told: str
    filled: bool = True
    series: int = 1


def forest(rows: Sequence[Bar], title: str, words: Numbers, zero: float | None = None) -> str:
    """Values with their intervals, a row each: the name above, the number at the right."""
    bounds = [b for r in rows for b in (r.value, r.low, r.high) if b is not None]
    bounds += [] if zero is None else [zero]
    low, high = min(bounds), max(bounds)
    margin = 0.06 * ((high - low) or 0.1)
    low, high = low - margin, high + margin
    # a name that would run into its number has a line of its own
    long = max((len(row.name) + len(row.told) for row in rows), default=0) > MOST_SIDE_BY_SIDE
    tall = 50 if long else 34
    height = TOP + tall * len(rows) + 24

    def across(value: float) -> float:
        return round(8 + (value - low) / (high - low) * (WIDTH - 16), 1)

    made = []
    floor = TOP + tall * len(rows)
    lines = [(across(value), "grid") for value in ticks(low, high)]
    lines += [(across(zero), "line s0 dotted")] if zero is not None else []
    for value in ticks(low, high):
        x = across(value)
        made.append(f'<text x="{x}" y="{floor + 14}" text-anchor="middle">{words(value)}</text>')
    for place, row in enumerate(rows):
        y = TOP + tall * (place + 1) - 10
        # beside the intervals alone: a line through the names would strike them out
        made += [
            f'<line class="{style}" x1="{x}" y1="{y - 7}" x2="{x}" y2="{y + 7}"/>'
            for x, style in lines
        ]
        name = shortened(row.name)
        made.append(
            f'<text class="halo" x="8" y="{y - (26 if long else 10)}">{escape(name)}</text>'
        )
        made.append(
            f'<text class="halo" x="{WIDTH - 8}" y="{y - 10}" text-anchor="end">'
            f"{escape(row.told)}</text>"
        )
        if row.low is not None and row.high is not None:
            made.append(
                f'<line class="line s{row.series}" x1="{across(row.low)}" y1="{y}" '
                f'x2="{across(row.high)}" y2="{y}"/>'
            )
        kind = "dot" if row.filled else "ring"
        made.append(
            f'<circle class="{kind} s{row.series}" cx="{across(row.value)}" cy="{y}" r="4"/>'
        )
    return (
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(title)}">'
        f"{''.join(made)}</svg>"
    )


def shortened(name: str, most: int = MOST_LETTERS) -> str:
    """The ends of a name too long for a drawing: runs differ at both.

    >>> shortened("20261121T151404-train-cnn3-chest_xray", 21)
    '20261121T1…chest_xray'
    """
    half = (most - 1) // 2
    return name if len(name) <= most else f"{name[:half]}…{name[-half:]}"


def thinned(points: Sequence[Point], most: int = 300) -> list[Point]:
    """As many points of a curve as can be seen; the ends stay."""
    if len(points) <= most:
        return list(points)
    step = (len(points) - 1) / (most - 1)
    return [points[round(n * step)] for n in range(most)]
