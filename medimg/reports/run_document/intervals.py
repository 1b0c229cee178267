"""How intervals are said: their methods, and why some are missing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from medimg.reports.document import Block, Text
from medimg.reports.language import Words
from medimg.reports.methods import Said, methods_said, reasons_said


def interval_or_why(cell: Mapping[str, Any], words: Words) -> str:
    """`0.609 to 0.811`, or why there is none."""
    told, why = words.interval(cell.get("ci95")), words.phrase(cell.get("reason"))
    return told or (words("say.no_interval", why=why) if why else "–")


def how_computed(result: Mapping[str, Any], words: Words) -> Iterator[Block]:
    """The methods behind the intervals; one for all, or each that was used."""
    methods: dict[str, list[str]] = {}
    for name, cell in (result.get("metrics") or {}).items():
        if cell.get("method") and cell.get("ci95"):
            methods.setdefault(cell["method"], []).append(name)
    resamples = (result.get("ci") or {}).get("resamples")
    if not methods:
        return
    most = max(methods, key=lambda method: len(methods[method]))
    told = words.phrase(most)
    if resamples and "bootstrap" in most:
        count = words.count(resamples)
        yield Text(words("say.intervals", method=told, resamples=count), "soft")
    else:
        yield Text(words("say.intervals_only", method=told), "soft")
    for method, names in methods.items():
        if method != most:
            metrics = words.listed([words.inside(n) for n in names], 20)
            yield method_of(metrics, method, words)
    if "stratified" in most:
        yield Text(words("say.strata"), "soft")


def method_of(metrics: str, method: str, words: Words) -> Text:
    """`AUROC: DeLong.`"""
    told = words("say.method_of", metrics=metrics, method=words.phrase(method))
    return Text(told[:1].upper() + told[1:], "soft")


def how_each(
    table: Mapping[str, Mapping[str, Any]], names: Sequence[str], words: Words
) -> Iterator[Block]:
    """Under a table: the methods of its intervals, and why some are missing."""
    told = [words("say.by_methods", told=listed_methods(table, names, words))]
    told = told if methods_said(table, names) else []
    for found in reasons_said(table, names):
        where = said_where(found, words)
        told.append(words("say.no_interval_where", where=where, why=words.phrase(found.what)))
    if told:
        yield Text(" ".join(told), "soft")


def listed_methods(
    table: Mapping[str, Mapping[str, Any]], names: Sequence[str], words: Words
) -> str:
    """`Wilson (recall, precision); DeLong (AUROC of A)`."""
    found = methods_said(table, names)
    return "; ".join(f"{words.phrase(f.what)} ({said_where(f, words)})" for f in found)


def said_where(found: Said, words: Words) -> str:
    """`recall, F1`, or `recall of A and B`."""
    metrics = ", ".join(words.inside(name) for name in found.metrics)
    if not found.rows:
        return metrics
    return words("say.metrics_of", metrics=metrics, rows=words.listed(list(found.rows)))
