"""Running checks: what they are given, how they are kept apart, and the gate before training.

A check is a function `(CheckContext, *, parameters) -> list[Finding]` in a file of its own; its
keyword-only arguments are what `--set CHECK.PARAMETER=VALUE` sets. What a dataset's
reader met already (rows without a file, nested copies) stands in `index.findings` and is merged
in under the name of its check.
"""

from __future__ import annotations

import signal
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NoReturn, TypeVar

from medimg.core.errors import PluginError, UsageError
from medimg.core.interrupts import Interrupts
from medimg.core.near_copies import NearCopies, NearCopy, find_near_copies, keys_of
from medimg.core.scan import ScanRecord
from medimg.core.types import DatasetIndex, Finding, Sample

Key = TypeVar("Key", bound=Hashable)
Found = TypeVar("Found")
Check = Callable[..., list[Finding]]
# that a check names; a report holds fewer
MOST_ITEMS = 20_000
# errors under which a result means nothing; `train` refuses them
GATE = (
    "one-class",
    "empty-class",
    "class-missing-in-split",
    "small-class",
    "unreadable",
    "decompression-bomb",
    "patient-leakage",
    "duplicates-across-splits",
    "duplicates-across-classes",
    "csv-contradictions",
)
# parameters of `near-duplicates` that the search for copies has, for all checks
SEARCHED = ("distance", "correlation", "mirror")
UNREADABLE_TOO = ("truncated", "empty-file", "multi-frame")
NOT_RUN = "the command was interrupted"
# who pressed Ctrl-C waits for what is known, not for a search: a check has this long then, and all
# of them have so long
AFTER_INTERRUPT_S, CHECKS_AFTER_INTERRUPT_S = 0.4, 1.0
RANK = {"error": 0, "warning": 1, "info": 2}
# told by the reader of the layout, which has to look anyway
READER_CHECKS = {
    "csv-contradictions": "Rows of a table that give one image two labels",
    "csv-duplicate-rows": "Rows of a table that say the same twice",
    "csv-encoding": "Tables that are not UTF-8, or rows that break the table",
    "csv-missing-files": "Rows of a table whose image is not there",
    "csv-unlisted-files": "Images that no row of the table names",
    "nested-copy": "A copy of the dataset inside itself",
    "several-label-columns": "Columns beside the label's that look like labels too",
}
# they have nothing to look at where the labels come from folders
TABLE_CHECKS = frozenset(READER_CHECKS) - {"nested-copy"}


class PartialScan(Mapping[str, ScanRecord]):
    """The records of a scan that was interrupted, and whether a check has looked at them.

    Args:
        missing: how many files were not read; their records are of kind "not-read".
    """

    def __init__(self, records: Mapping[str, ScanRecord], missing: int) -> None:
        self.records = records
        self.missing = missing
        self.looked_at = False

    def __getitem__(self, path: str) -> ScanRecord:
        self.looked_at = True
        return self.records[path]

    def __iter__(self) -> Iterator[str]:
        self.looked_at = True
        return iter(self.records)

    def __len__(self) -> int:
        return len(self.records)

    @property
    def reason(self) -> str:
        """Why a check that found nothing in them is not said to be fine."""
        if self.missing == len(self):
            return "the files were not read"
        return f"{self.missing:,} of {len(self):,} files were not read; nothing in the others"


class TimeUp(KeyboardInterrupt):
    """A check took too long for somebody who interrupted."""


class NotApplicable(Exception):
    """A check has nothing to look at in this dataset."""


@dataclass(frozen=True)
class CheckContext:
    """What a check may look at.

    Args:
        index: the dataset.
        scan: path to ScanRecord, one decode an image shared by all checks.
        settings: check to parameter to value, where something else than the default is wanted
            (`parameters.settings_of`); a check gets its own as keyword arguments.
        card: what the registry knows of the dataset (`registry.DatasetCard`); None where it was
            not recognised.
    """

    index: DatasetIndex
    scan: Mapping[str, ScanRecord]
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    card: Any = None

    def record(self, sample: Sample) -> ScanRecord:
        return self.scan[sample.path]

    def readable(self) -> list[Sample]:
        """Samples that could be decoded."""
        return [*self.once(decoded)]

    def once(self, find: Callable[[CheckContext], Found]) -> Found:
        """What `find` makes of this; several checks that ask for it get the same, found once."""
        self.looks_at_files()
        if find not in self._found:
            self._found[find] = find(self)
        return self._found[find]

    @cached_property
    def _found(self) -> dict[Callable[[CheckContext], Any], Any]:
        return {}

    def not_applicable(self, reason: str) -> NoReturn:
        """Ends the check: it has nothing to look at here. Its status is `skipped`."""
        raise NotApplicable(reason)

    def copies(self) -> list[tuple[Sample, ...]]:
        """Groups of samples that show the same pixels, largest first; each has two or more."""
        groups = [tuple(g) for g in self.same_pixels.values() if len(g) > 1]
        return sorted(groups, key=lambda g: (-len(g), g[0].path))

    @property
    def near_search(self) -> NearCopies:
        """The search for near copies: what it found and what it left out."""
        self.looks_at_files()
        return self._near_search

    @cached_property
    def _near_search(self) -> NearCopies:
        given = self.settings.get("near-duplicates", {})
        own = {name: given[name] for name in SEARCHED if name in given}
        return find_near_copies(self.readable(), self.scan, self.index.source, **own)

    @property
    def near_copies(self) -> tuple[NearCopy, ...]:
        """Pairs that look alike without being pixel-identical, the likest first."""
        return self.near_search.pairs

    def copy_groups(self) -> list[tuple[Sample, ...]]:
        """Groups of samples that show one picture: the same pixels, or confirmed near copies.

        Those of the same pixels first, then the largest.
        """
        groups = self.once(same_picture).values()
        return sorted(
            (tuple(g) for g in groups if len(g) > 1),
            key=lambda g: (not self.same_in_pixels(g), -len(g), g[0].path),
        )

    def same_in_pixels(self, group: Sequence[Sample]) -> bool:
        return len({self.pixels(s) for s in group}) == 1

    def pictures_of(self, pair: NearCopy) -> tuple[Sample, ...]:
        """Every sample that shows one of the pair's two pictures, pixel by pixel."""
        return tuple(
            s for one in (pair.first, pair.second) for s in self.same_pixels[self.pixels(one)]
        )

    @property
    def same_pixels(self) -> dict[str, list[Sample]]:
        """Pixel hash to the readable samples that have it."""
        self.looks_at_files()
        return self._same_pixels

    @cached_property
    def _same_pixels(self) -> dict[str, list[Sample]]:
        return grouped(self.readable(), self.pixels)

    def looks_at_files(self) -> None:
        """Notes that a check stands on the files, where what it asks for is kept from before."""
        if isinstance(self.scan, PartialScan):
            self.scan.looked_at = True

    def pixels(self, sample: Sample) -> str:
        return self.scan[sample.path].pixel_hash


@dataclass(frozen=True)
class Checked:
    """One check's outcome.

    Args:
        status: ok (information included), warning, error or skipped.
        reason: why it was skipped.
        failed: it raised what it should not, or was not run to its end, so that nothing is known.
    """

    status: str
    findings: tuple[Finding, ...]
    seconds: float
    reason: str | None = None
    failed: bool = False

    @property
    def count(self) -> int:
        return sum(f.count for f in self.findings)


def decoded(context: CheckContext) -> list[Sample]:
    """The samples that could be decoded, in their order."""
    return [s for s in context.index.samples if not context.scan[s.path].error]


def same_picture(context: CheckContext) -> dict[str, list[Sample]]:
    """Readable samples by the picture that they show, confirmed near copies together."""
    readable, near = context.readable(), context.near_copies
    keys = keys_of(readable, context.scan, [pair for pair in near if pair.confirmed])
    return grouped(readable, lambda s: keys[s.path])


def grouped(samples: Iterable[Sample], key: Callable[[Sample], Key]) -> dict[Key, list[Sample]]:
    """Samples by key, in their order."""
    groups: dict[Key, list[Sample]] = defaultdict(list)
    for sample in samples:
        groups[key(sample)].append(sample)
    return dict(groups)


def item(sample: Sample, **more: Any) -> dict[str, Any]:
    """A sample as an item of a finding."""
    row: dict[str, Any] = {"file": sample.path, "class": sample.label}
    if sample.split is not None:
        row["split"] = sample.split
    if sample.group is not None:
        row["patient"] = sample.group
    return row | more


def items(samples: Iterable[Sample]) -> tuple[dict[str, Any], ...]:
    """The samples as items, up to the most that a check names."""
    return tuple(item(s) for s, _ in zip(samples, range(MOST_ITEMS), strict=False))


def copy_items(groups: Sequence[Sequence[Sample]], scan: Mapping[str, ScanRecord]) -> tuple:
    """A row for each group of copies: the files, and whether bytes or only pixels agree."""
    return tuple(
        copied(group, identical="bytes" if same_bytes(group, scan) else "pixels")
        for group in groups[:MOST_ITEMS]
    )


def same_bytes(group: Sequence[Sample], scan: Mapping[str, ScanRecord]) -> bool:
    """Whether the files are the same byte by byte; of pixels that a plugin gives, nobody knows."""
    records = [scan[s.path] for s in group]
    return len({r.sha256 for r in records}) == 1 and all(r.format != "ARRAY" for r in records)


def near_items(pairs: Sequence[NearCopy], context: CheckContext) -> tuple:
    """A row for each pair of near copies: all files that show them, and their correlation."""
    return tuple(
        copied(
            context.pictures_of(pair),
            identical="nearly" if pair.confirmed else "once moved" if pair.moved else "no, alike",
            correlation=round(pair.correlation, 5),
            **({"mirrored": True} if pair.mirrored else {}),
        )
        for pair in pairs[:MOST_ITEMS]
    )


def near_group_items(groups: Sequence[Sequence[Sample]], context: CheckContext) -> tuple:
    """A row for each group of near copies: its files, and the least correlation that joins them."""
    least: dict[str, NearCopy] = {}
    for pair in context.near_copies:  # the likest first
        if pair.confirmed:
            least |= {context.pixels(one): pair for one in (pair.first, pair.second)}
    rows = []
    for group in groups[:MOST_ITEMS]:
        pairs = [least[key] for key in map(context.pixels, group) if key in least]
        mirrored = {"mirrored": True} if any(pair.mirrored for pair in pairs) else {}
        correlation = round(min(pair.correlation for pair in pairs), 5)
        rows.append(copied(group, identical="nearly", correlation=correlation, **mirrored))
    return tuple(rows)


def copied(group: Sequence[Sample], **more: Any) -> dict[str, Any]:
    row: dict[str, Any] = {
        "files": [s.path for s in group],
        "classes": sorted({str(s.label) for s in group}),
        "splits": sorted({s.split for s in group if s.split}),
    }
    return row | more


def apart(group: Sequence[Sample], side: Callable[[Sample], str | None]) -> bool:
    """Whether they stand on two sides; None counts for none."""
    return len({side(s) for s in group} - {None}) > 1


def copies_across(
    context: CheckContext, check: str, where: str, side: Callable[[Sample], str | None], hint: str
) -> list[Finding]:
    """The finding of both checks of copies that stand on two sides of something.

    Args:
        where: the sides in words ("in two classes").
        side: which side a sample is on, as `apart` takes it.
    """
    groups = [g for g in context.copies() if apart(g, side)]
    pictures = [g for g in context.copy_groups() if apart(g, side)]
    if not pictures:
        return []
    near = [g for g in pictures if not context.same_in_pixels(g)]
    total = len(groups) + len(near)
    bytewise = sum(same_bytes(g, context.scan) for g in groups)
    kinds = [f"{bytewise} byte-identical", f"{len(groups) - bytewise} pixel-identical"]
    kinds += [f"{len(near)} nearly identical"] if near else []
    subject = "1 picture stands" if len(pictures) == 1 else f"{len(pictures)} pictures stand"
    # near copies of pictures that have copies of the same pixels, too
    where += f", in {total} groups of copies" if total > len(pictures) else ""
    return [
        Finding(
            check,
            "error",
            f"{subject} {where} ({', '.join(kinds)})",
            total,
            (*copy_items(groups, context.scan), *near_group_items(near, context))[:MOST_ITEMS],
            hint,
        )
    ]


def unreadable_by_kind(
    context: CheckContext, kind: str, verbs: tuple[str, str], what: str, hint: str
) -> list[Finding]:
    """The finding of the checks that name files which can't be decoded, always an error.

    Args:
        kind: the check, as the scan's records name it.
        verbs, what: the sentence after "1 image" and after "2 images".
    """
    bad = [
        s
        for s in context.index.samples
        if context.scan[s.path].kind == kind
        # what is cut short or empty can't be decoded either
        or (kind == "unreadable" and context.scan[s.path].kind in UNREADABLE_TOO)
    ]
    if not bad:
        return []
    rows = tuple(item(s, reason=context.scan[s.path].error) for s in bad[:MOST_ITEMS])
    subject = f"1 image {verbs[0]}" if len(bad) == 1 else f"{len(bad):,} images {verbs[1]}"
    others = Counter(context.scan[s.path].kind for s in bad if context.scan[s.path].kind != kind)
    told = ", ".join(f"{count} {name}" for name, count in sorted(others.items()))
    aside = f" (of them by their own check: {told})" if told else ""
    message = f"{subject} {what}{aside}: {bad[0].path}"
    return [Finding(kind, "error", message, len(bad), rows, hint)]


def run_checks(
    checks: Mapping[str, Check],
    context: CheckContext,
    leave_out: Callable[[str], bool] = lambda name: False,
    interrupts: Interrupts | None = None,
) -> dict[str, Checked]:
    """Each check by name, and what the reader met; one that raises is skipped with its reason.

    Args:
        leave_out: tells names of reader's findings that nobody asked for.
        interrupts: minds them: one ends the checks that are left and not the report; they are
            skipped, with `NOT_RUN` as the reason. After one before, all have a second.
    """
    met = defaultdict(list)
    for finding in context.index.findings:
        met[finding.check].append(finding)
    outcomes: dict[str, Checked] = {}
    soon = isinstance(context.scan, PartialScan) or bool(interrupts and interrupts.pressed)
    until = time.monotonic() + CHECKS_AFTER_INTERRUPT_S if soon else None

    def run_all() -> None:
        for name, check in checks.items():
            outcomes[name] = run_in_time(name, check, context, met[name], until)

    if interrupts:
        interrupts.leave_off(run_all, after_all=True)
    else:
        run_all()
    for name in checks:
        own = met.pop(name, [])
        outcomes.setdefault(name, not_run(own))
    for name in (*READER_CHECKS, *(n for n in met if n not in READER_CHECKS)):
        if leave_out(name):
            continue
        if name in TABLE_CHECKS and name not in met and context.index.layout != "csv":
            outcomes[name] = Checked("skipped", (), 0.0, "the labels come from no table")
        else:
            outcomes[name] = Checked(status_of(met[name]), tuple(met[name]), 0.0)
    return outcomes


def run_in_time(
    name: str, check: Check, context: CheckContext, met: list[Finding], until: float | None
) -> Checked:
    """One check's outcome; after an interrupt it is stopped when it takes long.

    Args:
        until: when all checks are to be done then, on the monotonic clock; None without one.
    """
    if until is None:
        return run_one(name, check, context, met)
    left = until - time.monotonic()
    if left <= 0:
        return not_run(met)
    try:
        with time_limit(min(AFTER_INTERRUPT_S, left)):
            return run_one(name, check, context, met)
    except TimeUp:
        return not_run(met)


def not_run(met: Iterable[Finding]) -> Checked:
    """The outcome of a check that an interrupt left out."""
    return Checked("skipped", tuple(met), 0.0, NOT_RUN, failed=True)


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raises TimeUp in what runs in it when the time is up.

    It does so in the main thread of systems that have a timer; elsewhere Ctrl-C is what ends it.
    """
    main = threading.current_thread() is threading.main_thread()
    if not main or not hasattr(signal, "setitimer"):
        yield
        return

    def stop(_number: int, _frame: object) -> NoReturn:
        raise TimeUp

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def run_one(
    name: str,
    check: Check,
    context: CheckContext,
    met: list[Finding],
) -> Checked:
    """One check's outcome; `met` is what the reader said under its name."""
    started = time.perf_counter()
    partial = context.scan if isinstance(context.scan, PartialScan) else None
    if partial:
        partial.looked_at = False
    try:
        own = context.settings.get(name, {})
        found = tuple(named(sound(finding), name) for finding in check(context, **own))
    except NotApplicable as why:
        # of files that nobody read it can't be said
        if not met and not (partial and partial.looked_at):
            return Checked("skipped", (), time.perf_counter() - started, str(why))
        found = ()
    except (KeyboardInterrupt, UsageError):
        # a parameter that is out of range is the user's to mend
        raise
    except BaseException as error:  # a stranger's check may raise anything, SystemExit too
        reason = f"{type(error).__name__}: {error}"
        seconds = time.perf_counter() - started
        findings = (*met, unknown(name, reason))
        return Checked("skipped", findings, seconds, reason, failed=True)
    findings = (*met, *found)
    if partial and partial.looked_at and not findings:
        return Checked("skipped", (), time.perf_counter() - started, partial.reason, failed=True)
    return Checked(status_of(findings), findings, time.perf_counter() - started)


def unknown(name: str, reason: str) -> Finding:
    """The warning about a check that failed: what it looks for may be there or not."""
    return Finding(
        name,
        "warning",
        f"the check failed, so what it looks for is not known ({reason})",
        hint=f"medimg plugins shows who offers it; without it: --skip {name}",
    )


def sound(finding: Any) -> Finding:
    """A finding, or TypeError where a check gave something else."""
    if not isinstance(finding, Finding) or finding.severity not in RANK:
        raise TypeError(f"{finding!r} is no Finding of severity {', '.join(RANK)}")
    return finding


def named(finding: Finding, name: str) -> Finding:
    """A plugin's finding under the full name of its check, `<distribution>:<name>`."""
    qualified = ":" in name and finding.check == name.partition(":")[2]
    return replace(finding, check=name) if qualified else finding


def status_of(findings: Iterable[Finding]) -> str:
    """ok, or the worst severity; information alone is ok."""
    worst = min((f.severity for f in findings), key=lambda s: RANK[s], default="info")
    return "ok" if worst == "info" else worst


def gate(
    index: DatasetIndex,
    scan: Mapping[str, ScanRecord],
    checks: Mapping[str, Check],
    allow: set[str],
) -> tuple[list[Finding], list[Finding]]:
    """(errors that forbid training, errors that were allowed by name).

    Args:
        checks: name to function; those of `GATE` are run.
    Raises:
        PluginError: a check of the gate failed, so that nothing is known.
    """
    wanted = {name: checks[name] for name in GATE if name in checks and name not in allow}
    tolerated = {name: checks[name] for name in GATE if name in checks and name in allow}
    context = CheckContext(index, scan)
    outcomes = run_checks(wanted | tolerated, context, lambda name: name not in GATE)
    for name, outcome in outcomes.items():
        if outcome.failed and name in wanted:
            raise PluginError(
                f"the check {name!r} failed: {outcome.reason}", f"Go on without: --allow {name}"
            )
    errors = [f for name in GATE if name in outcomes for f in outcomes[name].findings if blocks(f)]
    return [f for f in errors if f.check not in allow], [f for f in errors if f.check in allow]


def blocks(finding: Finding) -> bool:
    """Whether a result means nothing under it: an error; a class that can't be learnt."""
    if finding.check == "class-missing-in-split":
        return any(row.get("split") == "train" for row in finding.items)
    return finding.severity == "error"
