"""Another dataset than the run's: its classes in the run's words, and in what it differs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import mean, median, pstdev
from typing import Any

from medimg.core.errors import UsageError, near_misses
from medimg.core.types import DatasetIndex, Sample

# a share of images that differs by less is not worth a line
SHARE = 0.1
# of a median size, as a factor
SIZE = 1.25
# of the images' mean grey level, in standard deviations between images
LEVEL = 0.5


def mapped(index: DatasetIndex, mapping: Mapping[str, str], known: Sequence[str]) -> DatasetIndex:
    """The dataset with its classes called as the model calls them.

    Args:
        mapping: the dataset's class to the model's; to the empty string: its images are left out.
        known: the model's classes.
    Raises:
        UsageError: a class that the dataset, or the model, does not have; no class is left.
    """
    for ours, theirs in mapping.items():
        if ours not in index.classes:
            raise UsageError(
                f"--map {ours}={theirs}: {index.name} has no class {ours!r}",
                near_misses(ours, list(index.classes)),
            )
        if theirs and theirs not in known:
            raise UsageError(
                f"--map {ours}={theirs}: the model has no class {theirs!r}",
                near_misses(theirs, list(known)),
            )
    if not mapping:
        return index
    samples = [
        replace(s, label=mapping.get(str(s.label), s.label))
        for s in index.samples
        if mapping.get(str(s.label)) != ""
    ]
    kept = {mapping.get(c, c) for c in index.classes} - {""}
    if not kept:
        raise UsageError(
            f"--map leaves out every class of {index.name} ({', '.join(index.classes)}): nothing "
            "is left to evaluate",
            f"Keep one at least: --map {index.classes[0]}={known[0] if known else 'CLASS'}",
        )
    positive = mapping.get(index.positive or "", index.positive)
    return index.with_samples(samples, classes=tuple(sorted(kept)), positive=positive or None)


def facts(
    index: DatasetIndex, samples: Sequence[Sample], records: Mapping[str, Any]
) -> dict[str, Any]:
    """What a set of images is, in numbers."""
    known = [records[s.path] for s in samples if s.path in records and records[s.path].width]
    patients = {s.group for s in samples if s.group is not None}
    counts = index.class_counts(samples)
    levels = [r.mean for r in known if r.mean is not None]
    return {
        "images": len(samples),
        "classes": counts,
        "patients": len(patients) or None,
        "width_px": median([r.width for r in known]) if known else None,
        "height_px": median([r.height for r in known]) if known else None,
        "grey": mean(bool(r.grey) for r in known) if known else None,
        "formats": dict(Counter(r.format for r in known)),
        "brightness": mean(levels) if levels else None,
        "brightness_sd": pstdev(levels) if levels else None,
    }


def facts_of_report(report: Mapping[str, Any]) -> dict[str, Any] | None:
    """What a train report still tells of its images where they can't be read any more."""
    dataset = report.get("dataset") or {}
    counts = (dataset.get("splits") or {}).get("train")
    if not counts:
        return None
    return {"images": sum(counts.values()), "classes": counts}


def differences(trained: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
    """In what two sets of images differ, in words; what is alike is not named."""
    words = [*shares_apart(trained["classes"], here["classes"])]
    sizes = [(f.get("width_px"), f.get("height_px")) for f in (trained, here)]
    if all(w and h for w, h in sizes):
        areas = [float(w) * float(h) for w, h in sizes if w and h]
        factor = (areas[1] / areas[0]) ** 0.5
        if not 1 / SIZE <= factor <= SIZE:
            shown = [f"{w:g}×{h:g}" for w, h in sizes]
            words.append(f"size: {shown[0]} px in training, {shown[1]} px here (medians)")
    if None not in (trained.get("grey"), here.get("grey")):
        grey = trained["grey"], here["grey"]
        if abs(grey[0] - grey[1]) > SHARE:
            words.append(f"grey images: {grey[0]:.0%} in training, {grey[1]:.0%} here")
    if trained.get("formats") and here.get("formats"):
        told = [", ".join(sorted(f["formats"])) for f in (trained, here)]
        if told[0] != told[1]:
            words.append(f"file formats: {told[0]} in training, {told[1]} here")
    words += brightness_apart(trained, here)
    return words


def shares_apart(trained: Mapping[str, int], here: Mapping[str, int]) -> list[str]:
    totals = max(1, sum(trained.values())), max(1, sum(here.values()))
    words = []
    for name in trained:
        shares = trained[name] / totals[0], here.get(name, 0) / totals[1]
        if shares[1] == 0 < shares[0]:
            words.append(f"{name}: {shares[0]:.0%} of the training images, none here")
        elif abs(shares[0] - shares[1]) > SHARE:
            words.append(f"{name}: {shares[0]:.0%} of the training images, {shares[1]:.0%} here")
    return words


def brightness_apart(trained: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
    levels = trained.get("brightness"), here.get("brightness")
    spread = trained.get("brightness_sd")
    if levels[0] is None or levels[1] is None or not spread:
        return []
    if abs(levels[0] - levels[1]) <= LEVEL * spread:
        return []
    return [f"mean grey level: {levels[0]:.0f} in training, {levels[1]:.0f} here (0 to 255)"]
