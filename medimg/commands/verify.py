"""What is wrong with a dataset: every check, the files named"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from medimg.commands._job import Job
from medimg.commands._options import (
    comma_lists,
    dataset_options,
    key_values,
    report_options,
    typed,
)

if TYPE_CHECKING:
    from medimg.commands._scan import Scanned
    from medimg.core.checking import CheckContext, Checked
    from medimg.core.interrupts import Interrupts
    from medimg.core.scan_cache import Judged
    from medimg.core.types import DatasetIndex, Finding, Sample

PAGE = "page.html"
# who pressed Ctrl-C does not wait for pictures
PICTURES_AFTER_INTERRUPT_S = 0.3
# under these the classes that were read may not be those of the dataset
MISREAD = ("wrong-level", "nested-copy")
Checks = Mapping[str, Callable[..., "list[Finding]"]]


@dataclass(frozen=True)
class Verified:
    """A dataset's checks by name; findings worst first.

    Args:
        known: what a baseline has already, no longer among the findings.
        unchecked: names of the baseline's checks that were not run to their end this time.
    """

    checks: dict[str, Checked]
    findings: tuple[Finding, ...]
    known: tuple[Finding, ...] = field(default=())
    unchecked: tuple[str, ...] = field(default=())

    @property
    def errors(self) -> int:
        return sum(f.severity == "error" for f in self.findings)

    @property
    def warnings(self) -> int:
        return sum(f.severity == "warning" for f in self.findings)

    @property
    def not_run(self) -> list[str]:
        """The checks that an interrupt left out."""
        from medimg.core.checking import NOT_RUN

        return [name for name, outcome in self.checks.items() if outcome.reason == NOT_RUN]

    def beside(self, accepted: list[dict[str, Any]]) -> Verified:
        """The same without what an earlier report's findings name already."""
        from medimg.core.baseline import beside

        new, old = beside(self.findings, accepted)
        done = {name for name, outcome in self.checks.items() if not outcome.failed}
        unchecked = sorted({str(finding["check"]) for finding in accepted} - done)
        return replace(self, findings=new, known=old, unchecked=tuple(unchecked))

    def fails(self, on: str) -> bool:
        """Whether there is an error, or a warning where those count too."""
        return bool(
            self.errors if on == "error" else on == "warning" and self.errors + self.warnings
        )


def verify(
    context: CheckContext,
    checks: Checks,
    wanted: Callable[[str], bool] = lambda name: True,
    outcomes: dict[str, Checked] | None = None,
    interrupts: Interrupts | None = None,
) -> Verified:
    """Runs the checks over a scanned dataset.

    Args:
        wanted: whether a check that the layout's reader makes was asked for, by its name.
        outcomes: what they said of it before, where it has not changed.
        interrupts: minds them; without it an interrupt ends all.
    """
    from medimg.core.checking import RANK, run_checks

    if outcomes is None:
        outcomes = run_checks(checks, context, lambda name: not wanted(name), interrupts)
    outcomes = {name: c for name, c in outcomes.items() if name in checks or wanted(name)}
    findings = [f for outcome in outcomes.values() for f in outcome.findings]
    findings.sort(key=lambda f: (RANK[f.severity], f.check))
    return Verified(outcomes, tuple(findings))


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
    if only and not set(only) - set(skip):
        raise UsageError("--skip leaves out all that --only names", "Leave one of them away.")
    return lambda name: (not only or name in only) and name not in skip


def settings(given: Mapping[str, str], job: Job, known: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Check to parameter to value, of `--set`.

    Raises:
        UsageError: no such check or parameter, or a value that is none.
    """
    from medimg.core.parameters import settings_of

    offered = job.manager.checks()
    named = {key.rpartition(".")[0] for key in given}
    checks = job.manager.functions({n: info for n, info in offered.items() if n in named})
    return settings_of(given, checks, known)


def baseline_of(file: str | None) -> list[dict[str, Any]] | None:
    """The findings that were accepted, read before the work begins."""
    from medimg.core.baseline import read_accepted

    return read_accepted(file) if file else None


def warn_of_another(job: Job, baseline: str, index: DatasetIndex) -> None:
    """Says so where the baseline is about other data: nothing of it is known here."""
    from medimg.core.baseline import other_dataset

    other = other_dataset(baseline, index.name, index.classes)
    if other is not None:
        job.note(
            f"the baseline {baseline} is about {other}, with other classes than {index.name}",
            severity="warning",
        )


def next_step(dataset: str, verified: Verified) -> str:
    """The command to go on with."""
    from medimg.core.checking import GATE
    from medimg.core.clean_index import CLEANABLE

    errors = {f.check for f in verified.findings if f.severity == "error"}
    misread = [f.check for f in verified.findings if f.check in MISREAD and f.severity != "info"]
    if misread:
        # whatever else is found may be a fault of the reading
        return f"Next: see to {' and '.join(misread)} first: the dataset may be read wrongly."
    if errors & CLEANABLE:
        return f"Next: medimg verify {dataset} --write-clean clean.csv"
    if errors:
        return "Next: see to the errors above; leaving files out would not mend them."
    if verified.unchecked:
        return f"Next: medimg verify {dataset}, which runs all checks"
    known = {f.check for f in verified.known if f.severity == "error"}
    allowed = "".join(f" --allow {name}" for name in GATE if name in known)
    return f"Next: medimg train {dataset}{allowed}"


def list_checks(job: Job, known: Mapping[str, str], as_json: bool) -> None:
    """Names, summaries, parameters with their defaults."""
    import json

    from tabulate import tabulate

    from medimg.core.parameters import parameters_of

    functions = job.manager.functions(job.manager.checks())
    parameters = {
        name: list(parameters_of(functions[name]).values()) if name in functions else []
        for name in sorted(known)
    }
    if as_json:
        rows = [
            {
                "check": name,
                "summary": known[name],
                "parameters": {p.name: {"default": p.default, "meaning": p.meaning} for p in own},
            }
            for name, own in parameters.items()
        ]
        click.echo(json.dumps(rows, indent=2))
        return
    table = [
        (name, known[name], "\n".join(f"{p.name}={p.default}" for p in own))
        for name, own in parameters.items()
    ]
    headers = ["check", "what it looks for", "parameters (--set CHECK.NAME=VALUE)"]
    click.echo(tabulate(table, headers=headers))
    click.echo("\nWhat each parameter means: medimg verify --list --json")


def result_of(
    verified: Verified,
    scanned: Scanned,
    clean_file: str | None,
    baseline: str | None,
    page: str | None,
) -> dict[str, Any]:
    """The report's `result`."""
    from dataclasses import asdict

    from medimg.core.baseline import beyond_report
    from medimg.core.report import cut

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
        "files": len(scanned.records),
        "images_per_second": scanned.images_per_second,
        "clean": clean_file,
        "from_cache": scanned.cached,
        "partial": scanned.missing,
        "interrupted": bool(scanned.missing or verified.not_run),
        "page": page,
        "beyond": beyond_report((*verified.findings, *verified.known)),
        "baseline": baseline
        and {
            "file": baseline,
            "findings": [asdict(cut(f)) for f in verified.known],
            "unchecked": list(verified.unchecked),
        },
    }


@click.command("verify", epilog="Example: medimg verify ./chest_xray --write-clean clean.csv")
@click.argument("dataset", metavar="DATASET", required=False)
@dataset_options
@click.option("--splits", metavar="FILE", help="Verify the dataset under this splits.csv.")
@click.option(
    "--only",
    multiple=True,
    metavar="CHECK",
    callback=comma_lists,
    help="Run this check (repeatable; a,b).",
)
@click.option(
    "--skip",
    multiple=True,
    metavar="CHECK",
    callback=comma_lists,
    help="Leave this check out (repeatable; a,b).",
)
@click.option("--list", "listing", is_flag=True, help="List the checks and their parameters.")
@click.option(
    "--set",
    "given",
    multiple=True,
    metavar="CHECK.NAME=VALUE",
    callback=key_values("--set", "near-duplicates.distance=6"),
    help="Set a parameter of a check (repeatable).",
)
@click.option(
    "--fail-on",
    type=click.Choice(["error", "warning", "never"]),
    default="error",
    show_default=True,
    help="What ends with exit code 1.",
)
@click.option(
    "--baseline",
    metavar="REPORT",
    help="Show only what this earlier report.json (or its run folder) does not have.",
)
@click.option(
    "--write-clean",
    metavar="CSV",
    help="Write an index without the files in error; every command takes it as DATASET.",
)
@click.option("--html", "html", is_flag=True, help="Write a page that shows what was found, too.")
@click.option("--no-cache", is_flag=True, help="Read every file again, changed or not.")
@report_options
def command(
    dataset: str | None,
    layout: str | None,
    options: dict[str, str],
    positive: str | None,
    splits: str | None,
    only: tuple[str, ...],
    skip: tuple[str, ...],
    listing: bool,
    given: dict[str, str],
    fail_on: str,
    baseline: str | None,
    write_clean: str | None,
    html: bool,
    no_cache: bool,
    **common: Any,
) -> None:
    """Verify a dataset: run every check and name the files. Exit code 1 when there are errors.

    Your files are never moved or changed. Files that have not changed since the last time are not
    read again.
    """
    from medimg.commands._scan import scan_dataset, unchanged
    from medimg.core.checking import READER_CHECKS, CheckContext, PartialScan
    from medimg.core.errors import UsageError
    from medimg.core.interrupts import Interrupts
    from medimg.core.scan_cache import ScanCache, judged_key
    from medimg.core.split import apply_splits_file
    from medimg.reports.findings import say_dataset, say_findings, say_fine

    job = Job("verify", **common, writes=not listing)
    offered = job.manager.checks()
    known = READER_CHECKS | {name: info.summary for name, info in offered.items()}
    if listing:
        list_checks(job, known, job.as_json)
        return
    if dataset is None:
        raise UsageError("no DATASET was given", "For example: medimg verify ./chest_xray")
    wanted = choice(known, only, skip)
    accepted = baseline_of(baseline)
    own = settings(given, job, known)
    checks = job.manager.functions({n: info for n, info in offered.items() if wanted(n)})
    try:
        index = job.open(dataset, layout, options, positive, splits)
        index = apply_splits_file(index, splits) if splits else index
        if write_clean:
            check_clean_file(Path(write_clean), index)
        card = job.manager.registry().datasets.get(index.card) if index.card else None
        cache = ScanCache(index.source)
        stamps = cache.stamps({s.path for s in index.samples})
        key = judged_key(CheckContext(index, {}, own, card), stamps, checks, (only, skip))
        judged = None if no_cache else cache.judged(key)
    except KeyboardInterrupt:
        job.note("Interrupted before a file was read: no report was written.", severity="warning")
        raise
    # from here on a report is left, whenever somebody interrupts
    with Interrupts() as interrupts:
        if judged:
            scanned = unchanged(index, cache, stamps)
        else:
            scanned = scan_dataset(job, index, cache, interrupts, stamps, read_all=no_cache)
        if scanned.missing:
            warn_of_missing(job, scanned)
        records = scanned.records
        seen = PartialScan(records, scanned.missing) if scanned.missing else records
        context = CheckContext(index, seen, own, card)
        verified = verify(context, checks, wanted, judged.outcomes if judged else None, interrupts)
        if judged is None and not scanned.missing:
            judged = judged_now(index, scanned, verified)
            if scanned.all_read:
                cache.keep_judged(key, judged)
        if accepted is not None and baseline:
            verified = verified.beside(accepted)
            warn_of_another(job, baseline, index)
        say_dataset(job.say, index)
        say_findings(job.say, verified.findings)
        say_fine(job.say, verified.checks)
        say_summary(job, verified, scanned)
        if scanned.missing or verified.not_run:
            say_partial(job, verified, scanned)
        elif not write_clean:
            job.say(next_step(typed(dataset, layout, options, positive, splits), verified))
        if write_clean and not write_clean_index(job, context, write_clean, verified, interrupts):
            write_clean = None
        print_of_it = judged.fingerprint if judged else None
        finish(job, index, verified, scanned, print_of_it, write_clean, baseline, html, interrupts)
    if interrupts.pressed:
        raise KeyboardInterrupt
    if verified.fails(fail_on):
        raise click.exceptions.Exit(1)


def warn_of_missing(job: Job, scanned: Scanned) -> None:
    """How far an interrupted scan came."""
    paths = len(scanned.records)
    done = paths - scanned.missing
    job.note(
        f"Interrupted after {done:,} of {paths:,} images"
        + (": the report will be about those." if done else ", before any was read."),
        severity="warning",
    )


def say_partial(job: Job, verified: Verified, scanned: Scanned) -> None:
    """What an interrupt left undone."""
    from medimg.reports.findings import counted

    left = [f"{counted(scanned.missing, 'file')} not read"] if scanned.missing else []
    left += [f"{counted(len(verified.not_run), 'check')} not run"] if verified.not_run else []
    job.say(f"Partial, because it was interrupted: {', '.join(left)}. What is missing may be there")


def say_summary(job: Job, verified: Verified, scanned: Scanned) -> None:
    """How many there are, beside the baseline's, and how fast it went."""
    from medimg.reports.findings import counted

    rate = scanned.images_per_second
    # of reading alone: some checks take longer than that
    words = [f"read at {rate:,.0f} images/s" if rate else ""]
    words += [f"{scanned.cached:,} unchanged since the last time" if scanned.cached else ""]
    words += [f"{scanned.missing:,} not read" if scanned.missing else ""]
    aside = "; ".join(w for w in words if w)
    if verified.known:
        job.say(f"Known from the baseline: {', '.join(sorted({f.check for f in verified.known}))}")
    if verified.unchecked:
        job.say(f"Not checked this time: {', '.join(verified.unchecked)} (in the baseline)")
    job.say(
        f"{counted(verified.errors, 'error')}, {counted(verified.warnings, 'warning')} in "
        f"{counted(len(scanned.records), 'image')}" + (f" ({aside})" if aside else "")
    )


def judged_now(index: DatasetIndex, scanned: Scanned, verified: Verified) -> Judged:
    """What the next run need not find out again."""
    from medimg.core.index import fingerprint
    from medimg.core.scan_cache import Judged

    return Judged(verified.checks, fingerprint(index, scanned.digests))


def finish(
    job: Job,
    index: DatasetIndex,
    verified: Verified,
    scanned: Scanned,
    fingerprint: str | None,
    clean_file: str | None,
    baseline: str | None,
    html: bool,
    interrupts: Interrupts,
) -> None:
    """The report, and the page about it."""
    from medimg.core.runs import write_run_splits
    from medimg.core.split import split_hash
    from medimg.training.version_images import FILE as IMAGES

    result = result_of(verified, scanned, clean_file, baseline, PAGE if html else None)
    if not scanned.missing:
        # what a later comparison of two versions of the dataset goes by
        write_run_splits(job.folder / IMAGES, index.samples, scanned.digests)
    report = job.finish(
        result,
        index=index,
        fingerprint=fingerprint,
        split_hash=split_hash(index.samples) if index.splits() else None,
        findings=verified.findings,
    )
    if html:
        from medimg.core.report import read_report
        from medimg.reports.html import size_in_words, verify_page, write_page

        page = job.folder / PAGE
        made = verify_page(read_report(report), index, enough=enough_pictures(interrupts))
        size = write_page(page, made)
        job.say(f"Page: {page} ({size_in_words(size)})")


def enough_pictures(interrupts: Interrupts) -> Callable[[], bool]:
    """Whether somebody waits for the page: at once after an interrupt from now on, after a moment
    where there was one before."""
    before = interrupts.pressed
    until = time.monotonic() + PICTURES_AFTER_INTERRUPT_S
    return lambda: interrupts.pressed and (not before or time.monotonic() > until)


def check_clean_file(file: Path, index: DatasetIndex) -> None:
    """Raises InputError where the index can't be written, before anything is read for it."""
    from medimg.core.index import refuse_replacing
    from medimg.core.runs import check_writable

    refuse_replacing(file, index)
    check_writable(file.parent)


def write_clean_index(
    job: Job, context: CheckContext, file: str, verified: Verified, interrupts: Interrupts
) -> bool:
    """Writes the CSV file and says what it leaves out, and which errors that does not mend.

    Returns:
        False where there was an interrupt before it is known what belongs there.
    Raises:
        InputError: nothing is left, or the file can't be written.
    """
    from medimg.core.clean_index import CLEANABLE, clean
    from medimg.core.errors import InputError
    from medimg.core.index import write_index_csv
    from medimg.reports.findings import counted

    found: list[tuple[list[Sample], list[str]]] = []
    interrupts.leave_off(lambda: found.append(clean(context)))
    if not found:
        job.note(f"{file} is not written: not all is known", severity="warning")
        return False
    kept, words = found[0]
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
    if Path(file).resolve().is_relative_to(context.index.root.resolve()):
        job.note(f"{file} lies in the dataset's own folder, where it may be taken for its table")
    lost = set(context.index.class_counts()) - {s.label for s in kept}
    if lost:
        job.note(f"no image of {', '.join(sorted(lost))} is left", severity="warning")
    emptied = set(context.index.splits()) - {s.split for s in kept}
    if emptied:
        job.note(
            f"no image of {' and '.join(sorted(map(str, emptied)))} is left: all of them are of "
            "patients or pictures that stand in evaluation too. A new split keeps more: "
            "medimg split DATASET --keep-duplicates-together",
            severity="warning",
        )
    positive = job.settings.get("positive")
    left = {f.check for f in verified.findings if f.severity == "error"} - CLEANABLE
    if left:
        job.note(
            f"leaving files out does not mend {', '.join(sorted(left))}: see to it first",
            severity="warning",
        )
    # the index is a dataset of its own: what stands in it is what a training run would meet
    job.say(
        f"Next: medimg {'verify' if left or emptied else 'train'} {typed(file, positive=positive)}"
    )
    return True
