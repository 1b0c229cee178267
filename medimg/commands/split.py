"""A stratified split, or folds, with no patient on two sides; writes splits.csv"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from medimg.commands._job import Job
from medimg.commands._options import dataset_argument, dataset_options, report_options, typed

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from medimg.core.folds import Folds
    from medimg.core.split import Assignment
    from medimg.core.types import DatasetIndex, Finding

FILE = "splits.csv"
FOLDS_FILE = "folds.csv"
RATIOS = "70/15/15"
VAL_SHARE = 15.0


def split(
    index: DatasetIndex,
    ratios: tuple[float, ...],
    seed: int,
    keep_together: Mapping[str, str | None] | None = None,
) -> tuple[DatasetIndex, Assignment]:
    """The dataset under a new split of all its images, and how the split came out.

    Raises:
        InputError: there are fewer patients than parts.
    """
    from medimg.core.errors import InputError
    from medimg.core.split import counted, make_split

    made = make_split(index.samples, ratios, seed, keep_together)
    empty = [name for name, units in made.groups.items() if not units]
    if empty:
        have = counted(sum(made.groups.values()), made.unit)
        fewer = "Fewer parts: --split-ratios 80/20; or " if len(made.groups) > 2 else ""
        raise InputError(
            f"{index.name} can't be split: {have} for {len(made.groups)} parts",
            f"{fewer}-o group=none, if the images are independent; another -o group_regex=…, if "
            "the patients were read wrong.",
        )
    return made.apply(index), made


def refuse_one_patient(index: DatasetIndex) -> None:
    """Fails where all images are of one patient: a slip of the pattern, mostly.

    Raises:
        InputError: they are.
    """
    from medimg.core.errors import InputError

    if {s.group for s in index.samples} != {*index.groups()} or len(index.groups()) != 1:
        return
    first = index.samples[0]
    raise InputError(
        f"{index.name} can't be split: all {len(index):,} images are of one patient, "
        f"{first.group!r} ({index.patients}), who can't be in several parts",
        f"See what was read as the patient: medimg inspect DATASET. A file is called {first.path}: "
        "the first group of -o 'group_regex=(person[0-9]+)' must find another word for another "
        "patient; -o group=none, if the images are independent.",
    )


def same_pictures(job: Job, index: DatasetIndex, records: Mapping[str, Any]) -> dict[str, str]:
    """Path to a key that all copies of one picture share; what was tied is said.

    Copies have the same pixels, or are near copies (saved anew, resized) that comparing aligned
    pixels confirms. An image that can't be decoded has no key.
    """
    from collections import Counter

    from medimg.core.near_copies import find_near_copies, keys_of
    from medimg.core.split import counted

    readable = [s for s in index.samples if not records[s.path].error]
    found = find_near_copies(readable, records, index.source)
    keys = keys_of(readable, records, found.pairs)
    several = [n for n in Counter(keys.values()).values() if n > 1]
    near = sum(pair.confirmed for pair in found.pairs)
    if several:
        job.say(
            f"Kept together: {sum(several):,} images that are copies of "
            f"{counted(len(several), 'picture')} (near copies among them: "
            f"{counted(near, 'pair')})."
        )
    else:
        job.say("No picture stands more than once: there are no copies to keep together.")
    if found.not_searched:
        job.note(f"Near copies may be apart: {found.not_searched}", severity="warning")
    return keys


def table(index: DatasetIndex, made: Assignment) -> str:
    """Images by part and class, patients by part, and the shares beside those asked."""
    from medimg.reports.narrow_tables import narrow_table

    patients = index.groups()
    rows: list[list[Any]] = []
    for name, ratio in made.ratios.items():
        images = sum(made.counts[name].values())
        row: list[Any] = [name, images, f"{100 * images / len(index):.1f} %", f"{100 * ratio:g} %"]
        rows.append(
            row
            + ([made.groups[name]] if patients else [])
            + [made.counts[name].get(c, 0) for c in index.classes]
        )
    headers = [
        "part",
        "images",
        "share",
        "asked",
        *(["patients"] if patients else []),
        *index.classes,
    ]
    return narrow_table(headers, rows, left=1)


def say_split(
    job: Job,
    before: DatasetIndex,
    after: DatasetIndex,
    made: Assignment,
    findings: tuple[Finding, ...],
) -> None:
    """The table and what should be known about it."""
    from medimg.core.split import describe

    say_before(job, before, describe(made, job.seed))
    job.say(table(after, made))
    job.say()
    job.say(
        f"Distance from the ratios: {100 * made.distance:.2f} percentage points of the images "
        "(the part that is furthest off)."
    )
    say_findings(job, before, findings)


def say_before(job: Job, before: DatasetIndex, description: str) -> None:
    """What is dealt, and how."""
    if before.splits():
        own = ", ".join(f"{name} {len(before.part(name)):,}" for name in before.splits())
        job.say(f"The dataset's own splits ({own}) are set aside.")
    job.say(f"{before.name}: {description}")
    job.say()


def not_looked_for() -> Finding:
    """The remark that copies of one picture may stand on two sides: no file was read."""
    from medimg.core.types import Finding

    return Finding(
        "copies-not-searched",
        "info",
        "copies of pictures were not looked for: some may stand on two sides, and training "
        "refuses such a split",
        1,
        (),
        "To keep them on one side (all files are read): --keep-duplicates-together",
    )


def say_findings(job: Job, before: DatasetIndex, findings: tuple[Finding, ...]) -> None:
    """Patients that are unknown, classes that are missing somewhere, copies not looked for."""
    if not before.groups():
        job.note(
            "Patients are unknown: images are split one by one, and a patient may be on two "
            "sides. Where names hold the patient: -o group_regex='(person[0-9]+)'",
            severity="warning",
        )
    for finding in findings:
        job.note(finding.told, severity=finding.severity)
        job.note(f"  {finding.hint}")


def result_of(after: DatasetIndex, made: Assignment, file: Path, note: str) -> dict[str, Any]:
    """The report's `result`."""
    from medimg.core.split import split_hash

    return {
        "ratios": dict(made.ratios),
        "counts": {n: {c: made.counts[n].get(c, 0) for c in after.classes} for n in made.counts},
        "groups": dict(made.groups) if after.groups() else None,
        "file": file.name,
        "hash": split_hash(after.samples),
        "distance": made.distance,
        "note": note,
    }


# -- folds ---------------------------------------------------------------------------------------


def fold_table(index: DatasetIndex, folds: Folds) -> str:
    """What each fold tests, by class, and what is left to learn and validate."""
    from medimg.reports.narrow_tables import narrow_table

    patients = index.groups()
    rows: list[list[Any]] = []
    for number, (name, made) in enumerate(zip(folds.dealt.ratios, folds.splits, strict=True), 1):
        sizes = {part: sum(counts.values()) for part, counts in made.counts.items()}
        tested = folds.dealt.counts[name]
        rows.append(
            [number, sizes["test"], f"{100 * sizes['test'] / len(index):.1f} %"]
            + ([made.groups["test"]] if patients else [])
            + [tested.get(c, 0) for c in index.classes]
            + [sizes[part] for part in ("train", "val") if part in sizes]
        )
    headers = [
        "fold",
        "tested",
        "share",
        *(["patients"] if patients else []),
        *index.classes,
        "train",
        *(["val"] if folds.val_percent else []),
    ]
    return narrow_table(headers, rows)


def say_folds(job: Job, index: DatasetIndex, folds: Folds, findings: tuple[Finding, ...]) -> None:
    """The table and what should be known about it."""
    from medimg.core.folds import describe

    say_before(job, index, describe(folds, job.seed))
    job.say(fold_table(index, folds))
    job.say()
    job.say(
        f"Distance from equal folds: {100 * folds.dealt.distance:.2f} percentage points of the "
        "images (the fold that is furthest off)."
    )
    said = class_by_class(folds.dealt)
    if said:
        job.say(said)
    say_findings(job, index, findings)


def class_by_class(dealt: Assignment) -> str:
    """How far the classes are from equal shares, and which are too small to have them."""
    from medimg.core.folds import class_distance, uncounted_classes
    from medimg.core.split import counted

    off, label, fold = class_distance(dealt)
    said = []
    if label:
        said.append(f"{100 * off:.2f} percentage points ({label} in {fold.replace('-', ' ')})")
    small = [f"{name} ({counted(n, dealt.unit)})" for name, n in uncounted_classes(dealt).items()]
    if small:
        more = f" and {len(small) - 5} more" if len(small) > 5 else ""
        said.append(f"not counted, too small to be in every fold: {', '.join(small[:5])}{more}")
    return f"Class by class: {'; '.join(said)}." if said else ""


def write_all(job: Job, index: DatasetIndex, folds: Folds) -> dict[str, Any]:
    """Writes folds.csv and a splits file for each fold; the report's `result`."""
    from medimg.core.folds import describe, write_folds
    from medimg.core.split import write_splits

    file = job.folder / FOLDS_FILE
    write_folds(file, index, folds)
    told = []
    for name, made in zip(folds.dealt.ratios, folds.splits, strict=True):
        after = made.apply(index)
        (job.folder / name).mkdir(exist_ok=True)
        write_splits(job.folder / name / FILE, after.samples)
        whole = result_of(after, made, job.folder / name / FILE, "")
        told.append(
            {
                "counts": whole["counts"],
                "groups": whole["groups"],
                "file": f"{name}/{FILE}",
                "hash": whole["hash"],
            }
        )
    result = result_of(folds.dealt.apply(index), folds.dealt, file, describe(folds, job.seed))
    return {**result, "folds": told}


# -- the command ---------------------------------------------------------------------------------


@click.command("split", epilog="Example: medimg split ./chest_xray --split-ratios 60/20/20")
@dataset_argument
@dataset_options
@click.option(
    "--split-ratios",
    metavar="A/B/C",
    help=f"train/val/test, or train/test (80/20).  [default: {RATIOS}]",
)
@click.option(
    "--folds",
    type=click.IntRange(2, 20),
    metavar="K",
    help="K splits instead of one, for cross-validation: each image is tested in one of them.",
)
@click.option(
    "--val-share",
    type=click.FloatRange(0, 100, max_open=True),
    metavar="PERCENT",
    help="With --folds: of what is not tested, the part that validates; 0: none.  "
    f"[default: {VAL_SHARE:g}]",
)
@click.option(
    "--keep-duplicates-together",
    is_flag=True,
    help="Read all pixels, and keep copies of one picture on one side, near copies too.",
)
@report_options
def command(
    dataset: str,
    layout: str | None,
    options: dict[str, str],
    positive: str | None,
    split_ratios: str | None,
    folds: int | None,
    val_share: float | None,
    keep_duplicates_together: bool,
    seed: int,
    **common: Any,
) -> None:
    """Split DATASET anew: stratified by class, no patient on two sides.

    All its images are dealt again, whatever splits it came with. Give the splits.csv to other
    commands with --splits. The result depends on the seed, the patients and the labels alone.
    With --folds there is one in each of fold-1, fold-2, …, and folds.csv says what is tested where.
    """
    from medimg.core.split import parse_ratios

    refuse_mixture(split_ratios, folds, val_share)
    ratios = parse_ratios(split_ratios or RATIOS)
    job = Job("split", seed=seed, **common)
    index = job.open(dataset, layout, options, positive)
    refuse_one_patient(index)
    records = job.scan(index) if keep_duplicates_together else None
    together = same_pictures(job, index, records) if records is not None else None
    words = typed(dataset, layout, options, positive)
    if folds is None:
        one_split(job, index, ratios, together, records, words)
    else:
        percent = VAL_SHARE if val_share is None else val_share
        # as with --split-ratios, 0.15 is meant as 15 %
        percent = round(100 * percent, 10) if 0 < percent < 1 else percent
        several_folds(job, index, folds, percent, together, records, words)


def refuse_mixture(split_ratios: str | None, folds: int | None, val_share: float | None) -> None:
    """Fails where options are given that don't go together.

    Raises:
        UsageError: ratios with folds, or a validation share without them.
    """
    from medimg.core.errors import UsageError

    if folds is not None and split_ratios is not None:
        raise UsageError(
            "--folds and --split-ratios exclude each other",
            "Folds are of equal size; how much validates: --val-share 15",
        )
    if folds is None and val_share is not None:
        raise UsageError("--val-share goes with --folds", "Without folds: --split-ratios 70/15/15")


def one_split(
    job: Job,
    index: DatasetIndex,
    ratios: tuple[float, ...],
    together: Mapping[str, str | None] | None,
    records: Mapping[str, Any] | None,
    words: str,
) -> None:
    """Two or three parts, written and told."""
    from medimg.core.split import describe, write_splits

    after, made = split(index, ratios, job.seed, together)
    findings = (*made.findings(), *([] if records is not None else [not_looked_for()]))
    say_split(job, index, after, made, findings)
    file = job.folder / FILE
    write_splits(file, after.samples)
    result = result_of(after, made, file, describe(made, job.seed))
    job.say(f"Split: {file}")
    job.say(f"Next: medimg train {words} --splits {file}")
    job.finish(
        result,
        index=after,
        fingerprint=fingerprint_of(index, records),
        split_hash=result["hash"],
        findings=findings,
        settings={"split_ratios": "/".join(f"{ratio:g}" for ratio in ratios)},
    )


def several_folds(
    job: Job,
    index: DatasetIndex,
    number: int,
    val_percent: float,
    together: Mapping[str, str | None] | None,
    records: Mapping[str, Any] | None,
    words: str,
) -> None:
    """Folds, written and told."""
    from dataclasses import replace

    from medimg.core.folds import make_folds

    folds = make_folds(index.samples, number, job.seed, together, val_percent)
    findings = (*folds.findings(), *([] if records is not None else [not_looked_for()]))
    say_folds(job, index, folds, findings)
    result = write_all(job, index, folds)
    job.say(f"Folds: {job.folder / FOLDS_FILE}")
    job.say(f"Next, for each fold: medimg train {words} --splits {job.folder / 'fold-1' / FILE}")
    job.finish(
        result,
        index=index.with_samples(replace(s, split=None) for s in index.samples),
        fingerprint=fingerprint_of(index, records),
        split_hash=result["hash"],
        findings=findings,
        settings={"val_share": val_percent},
    )


def fingerprint_of(index: DatasetIndex, records: Mapping[str, Any] | None) -> str | None:
    """The dataset's fingerprint where its files were read; None where a split took none."""
    from medimg.core.index import fingerprint

    if records is None:
        return None
    return fingerprint(index, {path: record.sha256 for path, record in records.items()})
