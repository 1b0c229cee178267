"""A stratified split in which no patient is on two sides; writes splits.csv"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from medimg.commands._job import Job
from medimg.commands._options import dataset_argument, dataset_options, report_options

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from medimg.core.split import Assignment
    from medimg.core.types import DatasetIndex

FILE = "splits.csv"


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
        raise InputError(
            f"{index.name} can't be split: {have} for {len(made.groups)} parts",
            "Fewer parts: --split-ratios 80/20; or -o group=none, if the images are independent.",
        )
    return made.apply(index), made


def typed(dataset: str, layout: str | None, options: Mapping[str, str]) -> str:
    """DATASET and how it is read, as one types it."""
    from shlex import quote

    words = [dataset, *(["--layout", layout] if layout else [])]
    for key, value in options.items():
        words += ["-o", f"{key}={value}"]
    return " ".join(quote(word) for word in words)


def copies(records: Mapping[str, Any]) -> dict[str, str | None]:
    """Path to a key that pictures with the same pixels share; None for an unreadable one."""
    return {path: record.pixel_hash or None for path, record in records.items()}


def table(index: DatasetIndex, made: Assignment) -> str:
    """Images by part and class, patients by part, and the shares beside those asked."""
    from tabulate import tabulate

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
    return tabulate(
        rows,
        headers=headers,
        disable_numparse=True,
        colalign=("left", *("right" for _ in headers[1:])),
    )


def say_split(job: Job, before: DatasetIndex, after: DatasetIndex, made: Assignment) -> None:
    """The table and what should be known about it."""
    from medimg.core.split import describe

    if before.splits():
        own = ", ".join(f"{name} {len(before.part(name)):,}" for name in before.splits())
        job.say(f"The dataset's own splits ({own}) are set aside.")
    job.say(f"{before.name}: {describe(made, job.seed)}")
    job.say()
    job.say(table(after, made))
    job.say()
    job.say(
        f"Distance from the ratios: {100 * made.distance:.2f} percentage points of the images "
        "(the part that is furthest off)."
    )
    if not before.groups():
        job.note(
            "Patients are unknown: images are split one by one, and a patient may be on two "
            "sides. Where names hold the patient: -o group_regex='(person[0-9]+)'",
            severity="warning",
        )
    for finding in made.findings():
        job.note(f"{finding.check}: {finding.message}", severity=finding.severity)


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


@click.command("split", epilog="Example: medimg split ./chest_xray --split-ratios 60/20/20")
@dataset_argument
@dataset_options
@click.option(
    "--split-ratios",
    default="70/15/15",
    show_default=True,
    metavar="A/B/C",
    help="train/val/test, or train/test (80/20).",
)
@click.option(
    "--keep-duplicates-together",
    is_flag=True,
    help="Read all pixels, and keep pictures with the same ones on one side.",
)
@report_options
def command(
    dataset: str,
    layout: str | None,
    options: dict[str, str],
    positive: str | None,
    split_ratios: str,
    keep_duplicates_together: bool,
    seed: int,
    **common: Any,
) -> None:
    """Split DATASET anew: stratified by class, no patient on two sides.

    All its images are dealt again, whatever splits it came with. Give the splits.csv to other
    commands with --splits. The result depends on the seed, the patients and the labels alone.
    """
    from medimg.core.split import describe, parse_ratios, write_splits

    ratios = parse_ratios(split_ratios)
    job = Job("split", seed=seed, **common)
    index = job.open(dataset, layout, options, positive)
    records = job.scan(index) if keep_duplicates_together else None
    after, made = split(index, ratios, seed, copies(records) if records else None)
    say_split(job, index, after, made)
    file = job.folder / FILE
    write_splits(file, after.samples)
    result = result_of(after, made, file, describe(made, seed))
    job.say(f"Split: {file}")
    job.say(f"Next: medimg train {typed(dataset, layout, options)} --splits {file}")
    job.finish(
        result,
        index=after,
        fingerprint=fingerprint_of(index, records),
        split_hash=result["hash"],
        findings=made.findings(),
    )


def fingerprint_of(index: DatasetIndex, records: Mapping[str, Any] | None) -> str | None:
    """The dataset's fingerprint where its files were read; None where a split took none."""
    from medimg.core.index import fingerprint

    if records is None:
        return None
    return fingerprint(index, {path: record.sha256 for path, record in records.items()})
