"""Whether probabilities are what they promise."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from medimg.reports.document import Block, Figure, Table, Text
from medimg.reports.drawings import Drawing
from medimg.reports.language import Words
from medimg.reports.methods import methods_said
from medimg.reports.run_document.intervals import interval_or_why, listed_methods
from medimg.reports.study import Study


def calibration(study: Study, words: Words) -> Iterator[Block]:
    found = study.evaluated.get("calibration")
    if not found:
        yield Text(words("say.no_calibration"))
        return
    names = ("ece", "slope", "intercept", "brier", "log_loss")
    known = study.evaluated.get("metrics") or {}
    cells = {name: dict(known.get(name) or of_calibration(found, name)) for name in names}
    cells = {name: cell for name, cell in cells.items() if cell["value"] is not None}
    rows = [
        (words.metric(name), words.number(cell["value"]), interval_or_why(cell, words))
        for name, cell in cells.items()
    ]
    columns = (words("column.metric"), words("column.value"), words("column.interval"))
    yield Table(columns, tuple(rows), "", frozenset({1, 2}))
    if methods_said({"": cells}, names):
        yield Text(words("say.by_methods", told=listed_methods({"": cells}, names, words)), "soft")
    yield from temperature(study, words)
    if study.positive:
        yield Text(words("say.calibration", name=study.positive), "soft")
    yield from reliability(found.get("bins") or (), study, words)


def of_calibration(found: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Slope and intercept have an interval beside them; older reports may hold whole cells."""
    value = found.get(name)
    if isinstance(value, Mapping):
        return dict(value)
    return {"value": value, "ci95": found.get(f"{name}_ci95"), "method": found.get("method")}


def temperature(study: Study, words: Words) -> Iterator[Block]:
    """What a temperature did to both errors of the probabilities, on validation."""
    found = study.evaluated.get("temperature")
    if not found:
        return
    told = {
        f"{name}_{when}": words.number(found[key][when], 4)
        for name, key in (("loss", "log_loss"), ("error", "ece"))
        for when in ("before", "after")
    }
    told |= {"value": words.number(found["value"]), "images": words.count(found["images"])}
    worse = found["ece"]["after"] > found["ece"]["before"]
    yield Text(words("say.temperature", part=words.part(found["fitted_on"]), **told))
    if worse:
        yield Text(words("say.temperature_worse"), "warning")


def reliability(bins: Sequence[Mapping[str, Any]], study: Study, words: Words) -> Iterator[Block]:
    """Observed share against predicted probability, with the counts as bars."""
    filled = [b for b in bins if b.get("count")]
    if not filled:
        return
    drawing = Drawing(
        (0, 1), (0, 1), words("say.predicted"), words("say.observed"), words.brief, height=320
    )
    most = max(b["count"] for b in filled)
    for b in filled:
        low, high = b.get("low"), b.get("high")
        if low is None or high is None:
            low, high = b["confidence"] - 0.02, b["confidence"] + 0.02
        drawing.bar(max(0, low), min(1, high), 0.25 * b["count"] / most)
    drawing.line([(0, 0), (1, 1)], 0, dotted=True)
    points = [(b["confidence"], b["observed"]) for b in filled]
    drawing.line(points, 1)
    for point in points:
        drawing.dot(point, 1)
    caption = words("say.chart_reliability")
    yield Figure(caption, drawing.svg(caption), file=study.plot("plots/reliability.png"))
    rows = [
        (words.number(b["confidence"]), words.number(b["observed"]), words.count(b["count"]))
        for b in filled
    ]
    columns = (words("column.bin"), words("column.observed"), words("column.images"))
    yield Table(columns, tuple(rows), "", frozenset({0, 1, 2}))
