"""What is new beside an earlier report: a known fault can be accepted, a new one not."""

from __future__ import annotations

import json
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from medimg.core.checking import MOST_ITEMS
from medimg.core.errors import InputError
from medimg.core.types import Finding

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
    baseline's check says something, too; so is what exceeds the thousand items that a report
    holds, as long as there are no more of them.

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
        fresh = [row for row in finding.items if identity(row) not in met]
        cut_off = any(k["count"] > len(k["items"]) >= MOST_ITEMS for k in before)
        most = max((k["count"] for k in before), default=0)
        if before and (not fresh or (cut_off and finding.count <= most)):
            old.append(finding)
        elif len(fresh) == len(finding.items):
            new.append(finding)
        else:
            count = max(finding.count - most, len(fresh)) if cut_off else len(fresh)
            words = f"{finding.message} ({count:,} of them {told})"
            new.append(replace(finding, message=words, count=count, items=tuple(fresh)))
            rest = [row for row in finding.items if identity(row) in met]
            old.append(replace(finding, count=len(rest), items=tuple(rest)))
    return tuple(new), tuple(old)


def identity(row: Mapping[str, Any]) -> Hashable:
    """What an item is about: its files, else everything that is no measured number."""
    if "files" in row:
        return frozenset(row["files"])
    if "file" in row:
        return row["file"]
    return frozenset((k, str(v)) for k, v in row.items() if not isinstance(v, (int, float)))
