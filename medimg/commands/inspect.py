"""What is there: layout, classes, splits, patients, sizes, modes, intensities"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from medimg.commands._job import Job
from medimg.commands._options import dataset_argument, dataset_options, report_options, typed
from medimg.commands._training import GUESS, with_some_positive

if TYPE_CHECKING:
    from medimg.core.scan import ScanRecord
    from medimg.core.types import DatasetIndex, Finding

PERCENTILES = (1, 25, 50, 75, 99)
PAGE = "page.html"
# the format in the record of an image that is no file
ARRAY = "ARRAY"


def inspect_dataset(index: DatasetIndex, records: Mapping[str, ScanRecord]) -> dict[str, Any]:
    """The numbers of an inspect report, plots left out."""
    readable = [r for r in records.values() if not r.error]
    return {
        "layout_reason": index.reason,
        "sizes": sizes(readable),
        "modes": dict(Counter(r.mode for r in readable).most_common()),
        "formats": formats(index, readable),
        "intensity": {
            "all": intensity(readable),
            "by_class": {
                name: intensity(
                    [
                        records[s.path]
                        for s in index.samples
                        if s.label == name and not records[s.path].error
                    ]
                )
                for name in index.classes
            },
        },
        "groups": groups(index),
    }


def formats(index: DatasetIndex, records: Sequence[ScanRecord]) -> dict[str, int]:
    """Images by file format; pixels that a plugin gives by what it reads."""
    arrays = getattr(index.source, "format", ARRAY)
    counts = Counter(arrays if r.format == ARRAY else r.format for r in records)
    return dict(counts.most_common())


def sizes(records: Sequence[ScanRecord]) -> dict[str, Any]:
    """Widths and heights in pixels, and the commonest sizes."""
    if not records:
        return {"width": None, "height": None, "distinct": 0, "commonest": []}
    commonest = Counter((r.width, r.height) for r in records)
    return {
        "width": spread([r.width for r in records]),
        "height": spread([r.height for r in records]),
        "distinct": len(commonest),
        "commonest": [
            {"width": w, "height": h, "images": n} for (w, h), n in commonest.most_common(5)
        ],
    }


def spread(values: Sequence[float]) -> dict[str, float]:
    """Least, median and most."""
    ordered = sorted(values)
    return {"min": ordered[0], "median": ordered[len(ordered) // 2], "max": ordered[-1]}


def intensity(records: Sequence[ScanRecord]) -> dict[str, Any]:
    """Grey levels 0..255 over all pixels: mean, standard deviation, percentiles.

    Percentiles are read off a histogram of 64 bins, straight within a bin, and lie between the
    least and the most of the images' own, which are exact; every image counts alike, whatever
    its size.
    """
    import numpy as np

    if not records:
        return {"mean": None, "std": None, "percentiles": None}
    means = np.array([r.mean for r in records])
    deviations = np.array([r.std for r in records])
    shares = np.mean([r.histogram for r in records if r.histogram is not None], axis=0)
    cumulative = np.concatenate([[0.0], np.cumsum(shares) / shares.sum()])
    edges = np.linspace(0, 256, len(cumulative))
    own = np.array([r.percentiles for r in records if r.percentiles])
    levels = np.interp(np.divide(PERCENTILES, 100), cumulative, edges) - 0.5
    levels = np.clip(levels, own.min(axis=0), own.max(axis=0))
    return {
        "mean": float(means.mean()),
        "std": float(np.sqrt(np.mean(deviations**2) + means.var())),
        "percentiles": dict(zip(map(str, PERCENTILES), levels.tolist(), strict=True)),
    }


def groups(index: DatasetIndex) -> dict[str, Any] | None:
    """Patients, images a patient, patients with several classes; None where unknown."""
    counts = Counter(s.group for s in index.samples if s.group is not None)
    if not counts:
        return None
    classes: dict[str | None, set[str | None]] = {}
    for s in index.samples:
        classes.setdefault(s.group, set()).add(s.label)
    return {
        "patients": len(counts),
        "source": index.patients,
        "images_per_patient": spread(list(counts.values())),
        "with_several_classes": sum(len(c) > 1 for g, c in classes.items() if g is not None),
        "images_without_patient": sum(s.group is None for s in index.samples),
    }


def say(job: Job, index: DatasetIndex, result: dict[str, Any]) -> None:
    from tabulate import tabulate

    job.say(f"{index.name}: {len(index):,} images, layout {index.layout} ({index.reason})")
    if index.recognised_by:
        job.say(f"Known as {index.card}: {index.recognised_by}")
    if index.positive:
        job.say(f"Positive class: {index.positive}")
    job.say("")
    job.say(tabulate(class_rows(index), headers="keys", intfmt=","))
    job.say("")
    job.say(tabulate(facts(index, result), tablefmt="plain", disable_numparse=True))


def class_rows(index: DatasetIndex) -> list[dict[str, Any]]:
    """A row a class: images by part, patients, share."""
    from medimg.reports.narrow_tables import LONGEST_NAME, shortened

    splits = index.split_counts()
    total = max(1, len(index))
    rows = []
    for name, count in index.class_counts().items():
        row: dict[str, Any] = {"class": shortened(name, LONGEST_NAME)}
        row |= {split: counts[name] for split, counts in splits.items()}
        row |= {"images": count, "share": f"{count / total:.1%}"}
        if index.groups():
            row["patients"] = len({s.group for s in index.samples if s.label == name})
        rows.append(row)
    return rows


def facts(index: DatasetIndex, result: dict[str, Any]) -> list[list[str]]:
    rows = []
    size = result["sizes"]
    if size["width"]:
        rows.append(["Sizes", sizes_in_words(size)])
    rows.append(["Modes", counted(result["modes"])])
    rows.append(["Formats", counted(result["formats"])])
    level = result["intensity"]["all"]
    if level["mean"] is not None:
        rows.append(["Grey levels", f"mean {level['mean']:.0f}, SD {level['std']:.0f} (0 to 255)"])
    people = result["groups"]
    if people:
        each = people["images_per_patient"]
        rows.append(
            [
                "Patients",
                f"{people['patients']:,} ({people['source']}), {each['min']} to "
                f"{each['max']} images each, median {each['median']}",
            ]
        )
        rows.append(["", f"{people['with_several_classes']:,} with several classes"])
    else:
        rows.append(["Patients", "unknown (-o group_regex=… or -o group=COLUMN names them)"])
    if index.unlabelled:
        rows.append(["Unlabelled", f"{len(index.unlabelled):,} images, left out"])
    return rows


def sizes_in_words(size: Mapping[str, Any]) -> str:
    """Widths and heights, each from the least to the most, and the commonest size.

    >>> side = {"min": 30, "median": 30, "max": 40}
    >>> most = [{"width": 30, "height": 20, "images": 16}]
    >>> sizes_in_words({"width": side, "height": side, "distinct": 2, "commonest": most})
    '30–40 × 30–40 px (width × height), 2 distinct, most often 30×20 (16)'
    """
    most = size["commonest"][0]
    if size["distinct"] == 1:
        return f"{most['width']}×{most['height']} px, all of them"
    sides = " × ".join(
        f"{own['min']}–{own['max']}" if own["min"] < own["max"] else str(own["min"])
        for own in (size["width"], size["height"])
    )
    return (
        f"{sides} px (width × height), {size['distinct']} distinct, most often "
        f"{most['width']}×{most['height']} ({most['images']:,})"
    )


def counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {n:,}" for name, n in counts.items()) or "none"


def say_augmentation(
    job: Job,
    index: DatasetIndex,
    records: Mapping[str, ScanRecord],
    result: dict[str, Any],
    preset: str,
    image_size: int | None,
) -> list[Finding]:
    """Draws the grid, and says what is anatomically wrong about the preset."""
    from dataclasses import asdict

    from medimg.commands._training import told
    from medimg.core.cache import PixelSpec
    from medimg.core.recipe import resolve
    from medimg.reports.plots_augmentation import augmentation_grid
    from medimg.training.experiment import against_anatomy, augmentation_of, default_input

    recipe = resolve({"augment": preset, "image_size": image_size}, {})
    registry = job.manager.registry()
    name, augmentation = augmentation_of(recipe, index, registry)
    samples = [s for s in index.part("train") or index.samples if not records[s.path].error]
    if not samples:
        return []
    size, channels = default_input(recipe, index, records, registry)
    plot = "plots/augmentation.png"
    spec = PixelSpec(size, size, channels, recipe.resize)
    augmentation_grid(
        index, samples, augmentation, spec, job.folder / plot, preset=name, seed=job.seed
    )
    result["plots"].append(plot)
    result["augmentation"] = {"preset": name, "image_size": size, "bounds": asdict(augmentation)}
    found = against_anatomy(recipe, index, registry)
    for finding in found:
        told(job, finding)
    return found


@click.command("inspect", epilog="Example: medimg inspect ./chest_xray")
@dataset_argument
@dataset_options
@click.option(
    "--augment",
    metavar="[PRESET]",
    is_flag=False,
    flag_value="auto",
    help="Draw a grid of what a network will see with a preset of the registry; without a name, "
    "the dataset's own.",
)
@click.option("--image-size", type=int, metavar="PX", help="Side of the network's input, there.")
@click.option("--html", is_flag=True, help="Write a page with all of it, too.")
@click.option("--no-cache", is_flag=True, help="Read every file again, changed or not.")
@report_options
def command(
    dataset: str,
    layout: str | None,
    options: dict[str, str],
    positive: str | None,
    augment: str | None,
    image_size: int | None,
    html: bool,
    no_cache: bool,
    **common: Any,
) -> None:
    """Inspect a dataset: classes, splits, patients, sizes, intensities, sample pictures.

    It describes and does not judge; medimg verify judges.
    """
    from medimg.commands._scan import scan_dataset
    from medimg.core.index import fingerprint
    from medimg.core.interrupts import Interrupts
    from medimg.core.scan_cache import ScanCache

    job = Job("inspect", **common)
    if augment not in (None, "auto"):
        # a misspelt name is told before anything is read
        job.manager.registry().augmentation(str(augment))
    index = with_some_positive(job, job.open(dataset, layout, options, positive))
    with Interrupts() as interrupts:
        cache = ScanCache(index.source)
        scanned = scan_dataset(job, index, cache, interrupts, read_all=no_cache)
    if interrupts.pressed:
        raise KeyboardInterrupt
    records = scanned.records
    result = inspect_dataset(index, records)
    say(job, index, result)

    from medimg.reports.plots_dataset import dataset_plots

    result["plots"] = dataset_plots(index, records, job.folder, job.seed)
    seen: list[Finding] = []
    if augment is not None:
        seen = say_augmentation(job, index, records, result, augment, image_size)
    unreadable = sum(bool(r.error) for r in records.values())
    if unreadable:
        number = f"{unreadable} image{'s' * (unreadable != 1)}"
        job.note(
            f"{number} can't be decoded: medimg verify names them",
            severity="warning",
        )
    for finding in index.findings:
        if finding.severity != "info" and finding.check != GUESS:
            job.note(finding.told, severity=finding.severity)
    job.say("Plots: " + ", ".join(str(job.folder / p) for p in result["plots"]))
    job.say(f"Next: medimg verify {typed(dataset, layout, options, positive)}")
    result["page"] = PAGE if html else None
    report = job.finish(
        result,
        index=index,
        fingerprint=fingerprint(index, {p: r.sha256 for p, r in records.items()}),
        findings=(*index.findings, *seen),
    )
    if html:
        from medimg.core.report import read_report
        from medimg.reports.html import inspect_page, size_in_words, write_page

        page = job.folder / PAGE
        pictures = [job.folder / plot for plot in result["plots"]]
        size = write_page(page, inspect_page(read_report(report), index, pictures))
        job.say(f"Page: {page} ({size_in_words(size)})")
