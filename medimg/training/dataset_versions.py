"""Verify reports of two versions of a dataset: what is new, what is gone, what is the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medimg.core.baseline import beside, read_baseline
from medimg.core.report import read_report
from medimg.core.types import Finding
from medimg.training.version_images import Names, images_changed, matched, read_images

FACTS = ("images", "groups", "fingerprint", "layout", "split_hash")


def read_verified(folder: Path) -> dict[str, Any]:
    """The report of a verify run, with the findings that its own baseline hid.

    Raises:
        InputError: it can't be read.
    """
    report = read_report(folder / "report.json")
    known = {"findings": read_baseline(folder), "name": folder.name}
    return report | known | {"listed": read_images(folder)}


def as_findings(rows: Sequence[Mapping[str, Any]]) -> list[Finding]:
    return [
        Finding(
            row["check"],
            row["severity"],
            row["message"],
            row.get("count") or 0,
            tuple(row.get("items") or ()),
            row.get("hint") or "",
        )
        for row in rows
    ]


def compare_versions(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """What became of a dataset between two verify reports.

    Items are the same where they name the same files (or class, split, patient) under the same
    check; a file that was renamed is the same, where both reports list their images. A check that
    ran in one report only is named, because its findings are neither new nor gone.

    Returns:
        a, b: the reports' names; same_data; images, classes and splits as `{name: [old, new]}`;
        images: which were added, removed, changed, None where a report lists none; new, gone,
        same: findings with these items only; only_in_one: checks by report.
    """
    ran = {side: checks_run(report) for side, report in (("a", old), ("b", new))}
    both = ran["a"] & ran["b"]
    before, after = (
        [row for row in report["findings"] if row["check"] in both or not ran[side]]
        for side, report in (("a", old), ("b", new))
    )
    images, there, back = None, Names({}), Names({})
    if old.get("listed") is not None and new.get("listed") is not None:
        pairs, left, came = matched(old["listed"], new["listed"])
        images = images_changed(pairs, left, came)
        there = Names({was.path: now.path for was, now in pairs})
        back = Names({now.path: was.path for was, now in pairs})
    fresh, same = beside(as_findings(after), called(before, there))
    gone, _ = beside(as_findings(before), called(after, back), "gone")
    first, second = old.get("dataset") or {}, new.get("dataset") or {}
    prints = [d.get("fingerprint") for d in (first, second)]
    return {
        "a": old["name"],
        "b": new["name"],
        "images": images,
        "same_data": None if None in prints else prints[0] == prints[1],
        "facts": {k: [first.get(k), second.get(k)] for k in FACTS},
        "classes": side_by_side(first.get("classes"), second.get("classes")),
        "splits": side_by_side(totals(first.get("splits")), totals(second.get("splits"))),
        "new": [row_of(f) for f in fresh],
        "gone": [row_of(f) for f in gone],
        "same": [row_of(f) for f in same],
        "only_in_one": {"a": sorted(ran["a"] - both), "b": sorted(ran["b"] - both)},
    }


def called(rows: Sequence[Mapping[str, Any]], names: Names) -> list[dict[str, Any]]:
    """Findings with their files as the other version calls them."""
    return [{**row, "items": [names.item(i) for i in row.get("items") or ()]} for row in rows]


def checks_run(report: Mapping[str, Any]) -> set[str]:
    """The checks that looked at something in a report."""
    checks = report["result"].get("checks") or {}
    return {name for name, check in checks.items() if check["status"] != "skipped"}


def totals(splits: Mapping[str, Mapping[str, int]] | None) -> dict[str, int]:
    return {name: sum(counts.values()) for name, counts in (splits or {}).items()}


def side_by_side(
    first: Mapping[str, int] | None, second: Mapping[str, int] | None
) -> dict[str, list[int]]:
    """Counts of both, 0 where one has none."""
    first, second = first or {}, second or {}
    return {name: [first.get(name, 0), second.get(name, 0)] for name in {**first, **second}}


def row_of(finding: Finding) -> dict[str, Any]:
    return {
        "check": finding.check,
        "severity": finding.severity,
        "message": finding.message,
        "count": finding.count or len(finding.items),
        "items": [dict(item) for item in finding.items],
        "hint": finding.hint,
    }
