"""What is wrong with a dataset: every check, the files named"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from medimg.commands._job import COLOURS, Job
from medimg.commands._options import dataset_options, report_options

if TYPE_CHECKING:
    from medimg.core.checking import Checked
    from medimg.core.scan import ScanRecord
    from medimg.core.types import DatasetIndex, Finding, Sample

# a file stands in evaluation for what training must not have seen: it is kept where it judges
KEPT_FIRST = {"test": 0, "val": 1, "train": 2, None: 3}
SHOWN_ITEMS = 3


@dataclass(frozen=True)
class Verified:
    """A dataset's checks by name, worst first in `findings`."""

    checks: dict[str, Checked]
    findings: tuple[Finding, ...]
    files: int
    images_per_second: float | None

    @property
    def errors(self) -> int:
        return sum(f.severity == "error" for f in self.findings)

    @property
    def warnings(self) -> int:
        return sum(f.severity == "warning" for f in self.findings)


def verify(
    index: DatasetIndex,
    records: Mapping[str, ScanRecord],
    checks: Mapping[str, Callable[..., list[Finding]]],
    seconds: float = 0.0,
) -> Verified:
    """Runs the checks over a scanned dataset.

    Args:
        seconds: what the scan took.
    """
    from medimg.core.checking import RANK, CheckContext, run_checks

    outcomes = run_checks(checks, CheckContext(index, records))
    findings = [f for outcome in outcomes.values() for f in outcome.findings]
    findings.sort(key=lambda f: (RANK[f.severity], f.check))
    rate = len(records) / seconds if seconds > 0 else None
    return Verified(outcomes, tuple(findings), len(records), rate)


def chosen_checks(
    known: Mapping[str, Any], only: tuple[str, ...], skip: tuple[str, ...]
) -> dict[str, Any]:
    """The checks to run.

    Raises:
        UsageError: a name that no check has.
    """
    from medimg.core.errors import UsageError, near_misses

    for name in (*only, *skip):
        if name not in known:
            raise UsageError(f"no check is called {name!r}", near_misses(name, list(known)))
    return {n: i for n, i in known.items() if (not only or n in only) and n not in skip}


# -- a clean index ---------------------------------------------------------------------------


def clean(index: DatasetIndex, records: Mapping[str, ScanRecord]) -> tuple[list[Sample], list[str]]:
    """(samples without those in error, what was left out in words).

    Unreadable files go. Of copies in two classes all go, since one label is wrong. Of copies and
    of patients on two sides of the split the training side goes: evaluation stays as published.
    """
    from medimg.core.checking import grouped

    kept = [s for s in index.samples if not records[s.path].error]
    words = [left_out(len(index) - len(kept), "unreadable")]

    same = grouped(kept, lambda s: records[s.path].pixel_hash)
    ambiguous = {h for h, own in same.items() if len({s.label for s in own}) > 1}
    before = len(kept)
    kept = [s for s in kept if records[s.path].pixel_hash not in ambiguous]
    words.append(left_out(before - len(kept), "in two classes"))

    kept, dropped = keep_one_side(kept, lambda s: records[s.path].pixel_hash)
    words.append(left_out(dropped, "copies of evaluation images in training"))
    kept, dropped = keep_one_side(kept, lambda s: s.group)
    words.append(left_out(dropped, "of patients who are in evaluation too"))
    return kept, [w for w in words if w]


def left_out(count: int, why: str) -> str:
    return f"{count} {why}" if count else ""


def keep_one_side(
    samples: list[Sample], key: Callable[[Sample], str | None]
) -> tuple[list[Sample], int]:
    """Samples whose key stands in one split alone: test before val before train."""
    side: dict[str, str | None] = {}
    for s in samples:
        k = key(s)
        if k is not None and (k not in side or KEPT_FIRST[s.split] < KEPT_FIRST[side[k]]):
            side[k] = s.split
    kept = [s for s in samples if (k := key(s)) is None or side[k] == s.split]
    return kept, len(samples) - len(kept)


# -- printing --------------------------------------------------------------------------------


def say(job: Job, index: DatasetIndex, verified: Verified) -> None:
    """Findings, worst first, then a line for what is fine."""
    job.say(f"{index.name}: {len(index):,} images, {len(index.classes)} classes, "
            f"layout {index.layout} ({index.reason})")
    if index.recognised_by:
        job.say(f"Known as {index.card}: {index.recognised_by}")
    if index.patients:
        job.say(f"Patients: {len(index.groups()):,}, {index.patients}")
    else:
        job.say("Patients: unknown, so nothing can be said about leakage "
                "(-o group_regex=… or -o group=COLUMN names them)")
    job.say("")
    for finding in verified.findings:
        label = click.style(f"{finding.severity:<8}", fg=COLOURS[finding.severity])
        job.say(f"{label}{finding.check}: {finding.message}")
        for row in finding.items[:SHOWN_ITEMS] if finding.severity != "info" else ():
            job.say(f"          {in_words(row)}")
        more = finding.count - SHOWN_ITEMS
        if finding.severity != "info" and len(finding.items) > SHOWN_ITEMS and more > 0:
            job.say(f"          … and {more:,} more in the report")
        if finding.hint:
            job.say(f"          → {finding.hint}")
    fine = [n for n, c in verified.checks.items() if not c.findings and c.status == "ok"]
    skipped = {n: c.reason for n, c in verified.checks.items() if c.status == "skipped"}
    if fine:
        job.say(f"ok      {', '.join(fine)}")
    for name, reason in skipped.items():
        job.say(f"skipped {name}: {reason}")
    job.say("")
    rate = verified.images_per_second
    job.say(f"{verified.errors} errors, {verified.warnings} warnings in {verified.files:,} images"
            + (f" ({rate:,.0f} images/s)" if rate else ""))


def in_words(row: Mapping[str, Any]) -> str:
    parts = []
    for key, value in row.items():
        text = " = ".join(value) if key == "files" else value
        text = ", ".join(map(str, text)) if isinstance(text, (list, tuple)) else text
        parts.append(str(text) if key in ("file", "files") else f"{key} {text}")
    return "  ".join(parts)


def list_checks(known: Mapping[str, Any]) -> None:
    from tabulate import tabulate

    click.echo(tabulate([[n, i.summary] for n, i in sorted(known.items())],
                        headers=["check", "what it looks for"]))


@click.command("verify", epilog="Example: medimg verify ./chest_xray --write-clean clean.csv")
@click.argument("dataset", metavar="DATASET", required=False)
@dataset_options
@click.option("--only", multiple=True, metavar="CHECK", help="Run this check (repeatable).")
@click.option("--skip", multiple=True, metavar="CHECK", help="Leave this check out (repeatable).")
@click.option("--list", "listing", is_flag=True, help="List the checks and stop.")
@click.option(
    "--fail-on",
    type=click.Choice(["error", "warning", "never"]),
    default="error",
    show_default=True,
    help="What ends with exit code 1.",
)
@click.option(
    "--write-clean",
    metavar="CSV",
    help="Write an index without the files in error; every command takes it as DATASET.",
)
@report_options
def command(
    dataset: str | None,
    layout: str | None,
    options: dict[str, str],
    positive: str | None,
    only: tuple[str, ...],
    skip: tuple[str, ...],
    listing: bool,
    fail_on: str,
    write_clean: str | None,
    **common: Any,
) -> None:
    """Verify a dataset: run every check and name the files. Exit code 1 when there are errors.

    Your files are never moved or changed.
    """
    from medimg.core.errors import UsageError
    from medimg.core.index import fingerprint, write_index_csv
    from medimg.core.split import split_hash

    job = Job("verify", **common)
    known = job.manager.checks()
    if listing:
        list_checks(known)
        return
    if dataset is None:
        raise UsageError("no DATASET was given", "For example: medimg verify ./chest_xray")
    checks = job.manager.functions(chosen_checks(known, only, skip))
    index = job.open(dataset, layout, options, positive)
    started = time.perf_counter()
    records = job.scan(index)
    verified = verify(index, records, checks, time.perf_counter() - started)
    say(job, index, verified)
    if write_clean:
        kept, words = clean(index, records)
        write_index_csv(index.with_samples(kept), Path(write_clean))
        job.say(f"{write_clean}: {len(kept):,} of {len(index):,} images; left out: "
                + ("; ".join(words) or "none"))
        job.say(f"Next: medimg train {write_clean}")
    elif verified.errors:
        job.say(f"Next: medimg verify {dataset} --write-clean clean.csv")
    else:
        job.say(f"Next: medimg train {dataset}")
    job.finish(
        {
            "checks": {
                name: {
                    "status": c.status,
                    "count": c.count,
                    "seconds": round(c.seconds, 4),
                    "reason": c.reason,
                }
                for name, c in verified.checks.items()
            },
            "files": verified.files,
            "images_per_second": verified.images_per_second,
            "clean": write_clean,
        },
        index=index,
        fingerprint=fingerprint(index, {p: r.sha256 for p, r in records.items()}),
        split_hash=split_hash(index.samples) if index.splits() else None,
        findings=verified.findings,
    )
    failing = {"error": verified.errors, "warning": verified.errors + verified.warnings}
    if failing.get(fail_on):
        raise click.exceptions.Exit(1)
