"""What is new beside an earlier report: a known fault can be accepted, a new one not."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from medimg.core.errors import InputError
from medimg.core.types import MOST_IN_REPORT, Finding

RANK = {"info": 0, "warning": 1, "error": 2}


def read_baseline(path: str | Path) -> list[dict[str, Any]]:
    """The findings of an earlier verify report, those that its own baseline hid among them.

    Args:
        path: report.json, or the run folder that holds it.
    Raises:
        InputError: it can't be read, or is no report of verify.
    """
    report = read_verify_report(path)
    return list(report.get("findings") or []) + list(
        (report.get("result", {}).get("baseline") or {}).get("findings") or []
    )


def read_accepted(path: str | Path) -> list[dict[str, Any]]:
    """As `read_baseline`, with the digests of the items that a report does not hold (`beyond`)."""
    beyond = read_verify_report(path).get("result", {}).get("beyond") or {}
    return [
        row | {"beyond": beyond.get(row["check"], [])} if row["count"] > len(row["items"]) else row
        for row in read_baseline(path)
    ]


def beyond_report(findings: Iterable[Finding]) -> dict[str, list[str]]:
    """Check to the digests of its items that a report does not hold."""
    found: dict[str, list[str]] = {}
    for finding in findings:
        if rest := finding.items[MOST_IN_REPORT:]:
            found.setdefault(finding.check, []).extend(digest(identity(row)) for row in rest)
    return found


def digest(about: Hashable) -> str:
    """48 bits of what an item is about: in a million items two are alike once in 500 times."""
    text = json.dumps(sorted(map(str, about)) if isinstance(about, frozenset) else str(about))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def other_dataset(path: str | Path, name: str, classes: Iterable[str]) -> str | None:
    """The name of the dataset that a baseline is about, where it is called otherwise than this one
    and has other classes.

    Raises:
        InputError: as `read_baseline`.
    """
    about = read_verify_report(path).get("dataset") or {}
    same = about.get("name") == name or set(about.get("classes") or ()) == set(classes)
    return None if same else str(about.get("name"))


def read_verify_report(path: str | Path) -> dict[str, Any]:
    """A verify report as it is written.

    Args:
        path: report.json, or the run folder that holds it.
    Raises:
        InputError: it can't be read, or is no report of verify.
    """
    file = Path(path)
    file = file / "report.json" if file.is_dir() else file
    hint = "Give the report.json of an earlier medimg verify."
    try:
        report = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"the baseline {file} can't be read: {error.strerror}", hint) from error
    except ValueError as error:
        raise InputError(f"the baseline {file} is no JSON: {error}", hint) from error
    if not isinstance(report, dict) or report.get("command") != "verify":
        raise InputError(f"the baseline {file} is no report of medimg verify", hint)
    return report


def beside(
    findings: Iterable[Finding], known: Sequence[Mapping[str, Any]], told: str = "new"
) -> tuple[tuple[Finding, ...], tuple[Finding, ...]]:
    """(findings with their new items only, findings and items that the baseline has).

    An item is known where the baseline names the same files (or class, split, patient) under the
    same check, at the same severity or a higher one. What names no items is known where the
    baseline's check says something, too. Items that the baseline's report does not hold are known
    by their digests; where it has none, as long as there are no more of them.

    Args:
        told: what the message says of items that the baseline does not have, where it has others.
    """
    new, old = [], []
    for finding in findings:
        before = [
            k
            for k in known
            if k["check"] == finding.check and RANK[k["severity"]] >= RANK[finding.severity]
        ]
        met = {identity(row) for k in before for row in k["items"]}
        beyond = {mark for k in before for mark in k.get("beyond", ())}
        abouts = [identity(row) for row in finding.items]
        known_items = [a in met or bool(beyond and digest(a) in beyond) for a in abouts]
        fresh = [row for row, old in zip(finding.items, known_items, strict=True) if not old]
        cut_off = any(
            len(k["items"]) >= MOST_IN_REPORT and k["count"] > len(k["items"]) + len(beyond)
            for k in before
        )
        most = max((k["count"] for k in before), default=0)
        # of what no list holds the count tells
        count = max(finding.count - most, len(fresh)) if cut_off else len(fresh)
        if before and (not count or (cut_off and finding.count <= most)):
            old.append(finding)
        elif not before or (fresh and len(fresh) == len(finding.items)):
            new.append(finding)
        else:
            words = f"{finding.message} ({count:,} of them {told})"
            new.append(replace(finding, message=words, count=count, items=tuple(fresh)))
            rest = [row for row, was in zip(finding.items, known_items, strict=True) if was]
            others = finding.count - count if cut_off else len(rest)
            old.append(replace(finding, count=others, items=tuple(rest)))
    return tuple(new), tuple(old)


def identity(row: Mapping[str, Any]) -> Hashable:
    """What an item is about: its files, else everything that is no measured number."""
    if "files" in row:
        return frozenset(row["files"])
    if "file" in row:
        return row["file"]
    return frozenset((k, str(v)) for k, v in row.items() if not isinstance(v, (int, float)))
