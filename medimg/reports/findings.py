"""What verify prints: findings, worst first, then a line for what is fine."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import click

from medimg.core.checking import NOT_RUN, Checked
from medimg.core.types import MOST_IN_REPORT, DatasetIndex, Finding, on_one_line

COLOURS = {"error": "red", "warning": "yellow", "info": "cyan"}
SHOWN_ITEMS = 3
SHOWN_FILES = 3
INDENT = 8
SIGNS = {"bytes": " = ", "pixels": " = ", "nearly": " ≈ ", "once moved": " ≈ ", "no, alike": " ~ "}
Say = Callable[[str], None]


def say_dataset(say: Say, index: DatasetIndex) -> None:
    """What was read, and how."""
    classes = f"{len(index.classes)} class{'es' * (len(index.classes) != 1)}"
    say(
        f"{index.name}: {counted(len(index), 'image')}, {classes}, "
        f"layout {index.layout} ({index.reason})"
    )
    if index.recognised_by:
        say(f"Known as {index.card}: {index.recognised_by}")
    if index.patients:
        say(f"Patients: {len(index.groups()):,}, {index.patients}")
    else:
        say(
            "Patients: unknown, so nothing can be said about leakage "
            "(-o group_regex=… or -o group=COLUMN names them)"
        )
    say("")


def say_findings(say: Say, findings: Iterable[Finding]) -> None:
    """What is wrong: the first few items of each, the next step."""
    for finding in findings:
        label = click.style(f"{finding.severity:<{INDENT}}", fg=COLOURS[finding.severity])
        say(f"{label}{finding.told}")
        shown = finding.items[:SHOWN_ITEMS] if finding.severity != "info" else ()
        for row in shown:
            say(" " * INDENT + "  " + on_one_line(in_words(row)))
        if len(finding.items) > len(shown) > 0:
            say(" " * INDENT + f"  … and {more_in_report(finding, len(shown))}")
        if finding.hint:
            say(" " * INDENT + f"→ {on_one_line(finding.hint)}")


def more_in_report(finding: Finding, shown: int) -> str:
    """How many items stand in the report beside those shown, and whether these are all.

    >>> more_in_report(Finding("blur", "info", "", 5, ({},) * 5), 3)
    '2 more in the report'
    >>> more_in_report(Finding("blur", "info", "", 1302, ({},) * 1302), 3)
    '997 more of the first 1,000, which the report lists'
    """
    held = min(len(finding.items), MOST_IN_REPORT)
    if finding.count > held >= MOST_IN_REPORT:
        return f"{held - shown:,} more of the first {held:,}, which the report lists"
    return f"{held - shown:,} more in the report"


def say_fine(say: Say, checks: Mapping[str, Checked]) -> None:
    """The checks that found nothing, and those that had nothing to look at."""
    fine = [n for n, c in checks.items() if not c.findings and c.status == "ok"]
    if fine:
        say(wrapped("ok", ", ".join(fine)))
    aside: dict[str, list[str]] = {}
    for name, outcome in checks.items():
        if outcome.status == "skipped":
            aside.setdefault(outcome.reason or "", []).append(name)
    for reason, names in aside.items():
        label = "not run" if reason == NOT_RUN else "skipped"
        say(wrapped(label, f"{', '.join(names)}: {reason}"))
    say("")


def wrapped(label: str, text: str) -> str:
    """A label and a text over several lines, indented like the findings."""
    return textwrap.fill(
        text,
        96,
        initial_indent=f"{label:<{INDENT}}",
        subsequent_indent=" " * INDENT,
        break_on_hyphens=False,
    )


def counted(count: int, word: str) -> str:
    return f"{count:,} {word}{'s' * (count != 1)}"


def in_words(row: Mapping[str, Any]) -> str:
    """An item on one line: files first, then what is said of them."""
    parts = []
    for key, value in row.items():
        if key == "files":
            # one side's file and another's say more than two of the same folder
            shown = list(value) if len(value) <= SHOWN_FILES else [value[0], value[-1]]
            more = len(value) - len(shown)
            sign = SIGNS.get(str(row.get("identical")), ", ")
            parts.append(sign.join(map(str, shown)) + (f" (and {more} more)" if more else ""))
        elif key == "file":
            parts.append(str(value))
        elif isinstance(value, (list, tuple)):
            parts += [f"{key} {', '.join(map(str, value))}"] if value else []
        elif isinstance(value, float):
            parts.append(f"{key} {value:.4g}")
        else:
            parts.append(f"{key} {value}")
    return "  ".join(parts)
