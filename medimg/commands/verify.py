"""What is wrong with a dataset: every check, the files named"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from medimg.commands._job import COLOURS, Job
from medimg.commands._options import dataset_options, report_options
from medimg.commands.split import typed

if TYPE_CHECKING:
    from medimg.core.checking import CheckContext, Checked
    from medimg.core.types import DatasetIndex, Finding, Sample

# a file stands in evaluation for what training must not have seen: it is kept where it judges
KEPT_FIRST = {"test": 0, "val": 1, "train": 2, None: 3}
SHOWN_ITEMS = 3
SHOWN_FILES = 3
INDENT = 8
# errors that leaving files out mends
CLEANABLE = {
    "unreadable",
    "truncated",
    "empty-file",
    "decompression-bomb",
    "patient-leakage",
    "duplicates-across-splits",
    "duplicates-across-classes",
}


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
    context: CheckContext,
    checks: Mapping[str, Callable[..., list[Finding]]],
    seconds: float = 0.0,
    wanted: Callable[[str], bool] = lambda name: True,
) -> Verified:
    """Runs the checks over a scanned dataset.

    Args:
        seconds: what the scan took.
        wanted: whether a check that the layout's reader makes was asked for, by its name.
    """
    from medimg.core.checking import RANK, run_checks

    outcomes = run_checks(checks, context, lambda name: not wanted(name))
    findings = [f for outcome in outcomes.values() for f in outcome.findings]
    findings.sort(key=lambda f: (RANK[f.severity], f.check))
    rate = len(context.scan) / seconds if seconds > 0 else None
    return Verified(outcomes, tuple(findings), len(context.scan), rate)


def choice(
    known: Iterable[str], only: tuple[str, ...], skip: tuple[str, ...]
) -> Callable[[str], bool]:
    """Whether a check is to be run, by its name.

    Raises:
        UsageError: a name that no check has.
    """
    from medimg.core.errors import UsageError, near_misses

    names = sorted(known)
    for name in (*only, *skip):
        if name not in names:
            raise UsageError(f"no check is called {name!r}", near_misses(name, names))
    return lambda name: (not only or name in only) and name not in skip


# -- a clean index ---------------------------------------------------------------------------


def clean(context: CheckContext) -> tuple[list[Sample], list[str]]:
    """(samples without those in error, what was left out in words).

    Unreadable files go. Of copies in two classes all go, since one label is wrong. Of copies and
    of patients on two sides of the split only those of one side stay, test before val before
    train: evaluation stays as published.
    """
    from medimg.core.checking import grouped
    from medimg.core.near_copies import keys_of

    kept = context.readable()
    picture = keys_of(kept, context.scan, context.near_copies)
    words = [left_out(len(context.index) - len(kept), "unreadable")]
    same = grouped(kept, lambda s: picture[s.path])
    ambiguous = {p for p, own in same.items() if len({s.label for s in own}) > 1}
    before = len(kept)
    kept = [s for s in kept if picture[s.path] not in ambiguous]
    words.append(left_out(before - len(kept), "in two classes"))
    kept, dropped = keep_one_side(kept, lambda s: picture[s.path])
    words.append(left_out(dropped, "copies of images that stand in evaluation"))
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
    classes = f"{len(index.classes)} class{'es' * (len(index.classes) != 1)}"
    job.say(
        f"{index.name}: {counted(len(index), 'image')}, {classes}, "
        f"layout {index.layout} ({index.reason})"
    )
    if index.recognised_by:
        job.say(f"Known as {index.card}: {index.recognised_by}")
    if index.patients:
        job.say(f"Patients: {len(index.groups()):,}, {index.patients}")
    else:
        job.say(
            "Patients: unknown, so nothing can be said about leakage "
            "(-o group_regex=… or -o group=COLUMN names them)"
        )
    job.say("")
    for finding in verified.findings:
        say_finding(job, finding)
    fine = [n for n, c in verified.checks.items() if not c.findings and c.status == "ok"]
    if fine:
        job.say(wrapped("ok", ", ".join(fine)))
    aside: dict[str, list[str]] = {}
    for name, outcome in verified.checks.items():
        if outcome.status == "skipped":
            aside.setdefault(outcome.reason or "", []).append(name)
    for reason, names in aside.items():
        job.say(wrapped("skipped", f"{', '.join(names)}: {reason}"))
    job.say("")
    rate = verified.images_per_second
    job.say(
        f"{counted(verified.errors, 'error')}, {counted(verified.warnings, 'warning')} in "
        f"{counted(verified.files, 'image')}" + (f" ({rate:,.0f} images/s)" if rate else "")
    )


def say_finding(job: Job, finding: Finding) -> None:
    """What is wrong, the first few items, the next step."""
    label = click.style(f"{finding.severity:<{INDENT}}", fg=COLOURS[finding.severity])
    job.say(f"{label}{finding.check}: {finding.message}")
    shown = finding.items[:SHOWN_ITEMS] if finding.severity != "info" else ()
    for row in shown:
        job.say(" " * INDENT + "  " + in_words(row))
    if len(finding.items) > len(shown) > 0:
        job.say(" " * INDENT + f"  … and {len(finding.items) - len(shown):,} more in the report")
    if finding.hint:
        job.say(" " * INDENT + f"→ {finding.hint}")


def wrapped(label: str, text: str) -> str:
    """A label and a text over several lines, indented like the findings."""
    import textwrap

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
            sign = {"nearly": " ≈ ", None: ", "}.get(row.get("identical"), " = ")
            parts.append(sign.join(map(str, shown)) + (f" (and {more} more)" if more else ""))
        elif key == "file":
            parts.append(str(value))
        elif isinstance(value, (list, tuple)):
            parts += [f"{key} {', '.join(map(str, value))}"] if value else []
        else:
            parts.append(f"{key} {value}")
    return "  ".join(parts)


def next_step(dataset: str, verified: Verified) -> str:
    """The command to go on with."""
    errors = {f.check for f in verified.findings if f.severity == "error"}
    if errors & CLEANABLE:
        return f"Next: medimg verify {dataset} --write-clean clean.csv"
    if errors:
        return "Next: see to the errors above; no file can be left out that would mend them."
    return f"Next: medimg train {dataset}"


def list_checks(known: Mapping[str, str]) -> None:
    """Names and summaries."""
    from tabulate import tabulate

    click.echo(tabulate(sorted(known.items()), headers=["check", "what it looks for"]))


def result_of(verified: Verified, clean_file: str | None) -> dict[str, Any]:
    """The report's `result`."""
    return {
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
        "clean": clean_file,
    }


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
    from medimg.core.checking import READER_CHECKS, CheckContext
    from medimg.core.errors import UsageError
    from medimg.core.index import fingerprint
    from medimg.core.split import split_hash

    job = Job("verify", **common)
    offered = job.manager.checks()
    known = {name: info.summary for name, info in offered.items()} | READER_CHECKS
    if listing:
        list_checks(known)
        return
    if dataset is None:
        raise UsageError("no DATASET was given", "For example: medimg verify ./chest_xray")
    wanted = choice(known, only, skip)
    checks = job.manager.functions({n: info for n, info in offered.items() if wanted(n)})
    index = job.open(dataset, layout, options, positive)
    started = time.perf_counter()
    records = job.scan(index)
    context = CheckContext(index, records)
    verified = verify(context, checks, time.perf_counter() - started, wanted)
    say(job, index, verified)
    for name, outcome in verified.checks.items():
        if outcome.failed:
            job.note(f"the check {name} failed: {outcome.reason}", severity="warning")
    if write_clean:
        write_clean_index(job, context, write_clean)
    else:
        job.say(next_step(typed(dataset, layout, options), verified))
    job.finish(
        result_of(verified, write_clean),
        index=index,
        fingerprint=fingerprint(index, {p: r.sha256 for p, r in records.items()}),
        split_hash=split_hash(index.samples) if index.splits() else None,
        findings=verified.findings,
    )
    failing = {"error": verified.errors, "warning": verified.errors + verified.warnings}
    if failing.get(fail_on):
        raise click.exceptions.Exit(1)


def write_clean_index(job: Job, context: CheckContext, file: str) -> None:
    """Writes the CSV file and says what it leaves out.

    Raises:
        InputError: nothing is left, or the file can't be written.
    """
    from medimg.core.errors import InputError
    from medimg.core.index import write_index_csv

    kept, words = clean(context)
    if not kept:
        raise InputError(
            f"no image of {context.index.name} is without an error: {file} is not written",
            "medimg verify DATASET, without --write-clean, says what is wrong.",
        )
    write_index_csv(context.index.with_samples(kept), Path(file))
    job.say(
        f"{file}: {len(kept):,} of {counted(len(context.index), 'image')}; left out: "
        + ("; ".join(words) or "none")
    )
    lost = set(context.index.class_counts()) - {s.label for s in kept}
    if lost:
        job.note(f"no image of {', '.join(sorted(lost))} is left", severity="warning")
    job.say(f"Next: medimg train {file}")
