"""Plots of a dataset: classes by part, sample pictures, grey levels, sizes, images a patient."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from medimg.core.images import decode_to_input
from medimg.reports.plots import CLASS_COLOURS, figure, is_phantom, save

if TYPE_CHECKING:
    from medimg.core.scan import ScanRecord
    from medimg.core.types import DatasetIndex, Sample

SAMPLES_A_CLASS = 8
MOST_CLASSES = 8
THUMBNAIL_PX = 160


def dataset_plots(
    index: DatasetIndex, records: Mapping[str, ScanRecord], folder: Path, seed: int = 0
) -> list[str]:
    """All of them; paths relative to the folder."""
    phantom = is_phantom(index)
    readable = [s for s in index.samples if not records[s.path].error]
    drawn = ["plots/classes.png"]
    class_bars(index, folder / drawn[0], phantom)
    if not readable:
        return drawn
    drawn += ["plots/samples.png", "plots/intensities.png", "plots/sizes.png"]
    sample_grid(index, readable, folder / drawn[1], seed, phantom)
    intensities(index, readable, records, folder / drawn[2], phantom)
    size_scatter(index, readable, records, folder / drawn[3], phantom)
    if index.groups():
        drawn.append("plots/patients.png")
        images_a_patient(index, folder / drawn[4], phantom)
    return drawn


def colour(number: int) -> str:
    return CLASS_COLOURS[number % len(CLASS_COLOURS)]


def class_bars(index: DatasetIndex, path: Path, phantom: bool) -> None:
    """Images by class, a bar a part."""
    parts = index.split_counts() or {"all": index.class_counts()}
    fig, axes = figure(1, width=max(5.0, 1.2 * len(index.classes) + 2), height=3.8)
    width = 0.8 / len(parts)
    places = np.arange(len(index.classes))
    for number, (part, counts) in enumerate(parts.items()):
        bars = axes[0].bar(places + number * width, list(counts.values()), width, label=part,
                           color=colour(number))
        axes[0].bar_label(bars, fmt="{:,.0f}", fontsize=8)
    names = [shortened(name) for name in index.classes]
    axes[0].set_xticks(places + 0.4 - width / 2, names, rotation=20 if len(names) > 4 else 0)
    axes[0].set_ylabel("images")
    if len(parts) > 1:
        axes[0].legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    save(fig, path, title=f"{index.name}: images by class", phantom=phantom)


def shortened(name: str, most: int = 18) -> str:
    return name if len(name) <= most else name[: most - 1] + "…"


def sample_grid(
    index: DatasetIndex, readable: list[Sample], path: Path, seed: int, phantom: bool
) -> None:
    """Pictures of each class, drawn at random."""
    random = np.random.default_rng(seed)
    shown = [c for c in index.classes if any(s.label == c for s in readable)][:MOST_CLASSES]
    fig, axes = figure(len(shown) * SAMPLES_A_CLASS, width=1.35 * SAMPLES_A_CLASS,
                       height=1.5 * len(shown) + 0.4, rows=len(shown))
    for row, name in enumerate(shown):
        own = [s for s in readable if s.label == name]
        count = min(SAMPLES_A_CLASS, len(own))
        picked = [own[i] for i in random.choice(len(own), count, replace=False)]
        for column in range(SAMPLES_A_CLASS):
            axis = axes[row * SAMPLES_A_CLASS + column]
            axis.axis("off")
            if column < len(picked):
                axis.imshow(thumbnail(index, picked[column]))
        axes[row * SAMPLES_A_CLASS].set_title(shortened(name), fontsize=9, loc="left")
    save(fig, path, title=f"{index.name}: samples drawn at random", phantom=phantom)


def thumbnail(index: DatasetIndex, sample: Sample) -> np.ndarray:
    """UInt8[160, 160, 3], the aspect ratio kept."""
    data = index.source.read(sample.path)
    return decode_to_input(data, THUMBNAIL_PX, THUMBNAIL_PX, 3, "pad")


def intensities(
    index: DatasetIndex,
    readable: list[Sample],
    records: Mapping[str, ScanRecord],
    path: Path,
    phantom: bool,
) -> None:
    """Shares of grey levels by class: classes that differ here may be told by exposure alone."""
    fig, axes = figure(1, width=7.0, height=3.8)
    for number, name in enumerate(index.classes):
        kept = (records[s.path].histogram for s in readable if s.label == name)
        own = [histogram for histogram in kept if histogram is not None]
        if own:
            shares = np.mean(own, axis=0) / 65535
            levels = (np.arange(len(shares)) + 0.5) * 256 / len(shares)
            axes[0].plot(levels, shares, color=colour(number), label=shortened(name))
    axes[0].set_xlabel("grey level")
    axes[0].set_ylabel("share of pixels")
    axes[0].set_ylim(bottom=0)
    axes[0].legend(frameon=False)
    save(fig, path, title=f"{index.name}: grey levels by class", phantom=phantom)


def size_scatter(
    index: DatasetIndex,
    readable: list[Sample],
    records: Mapping[str, ScanRecord],
    path: Path,
    phantom: bool,
) -> None:
    """Width against height; a dot's area is the number of images of that size."""
    fig, axes = figure(1, width=5.6, height=4.6)
    for number, name in enumerate(index.classes):
        counts = Counter(
            (records[s.path].width, records[s.path].height) for s in readable if s.label == name
        )
        if counts:
            sizes = np.array(list(counts))
            area = 12 + 160 * np.sqrt(np.array(list(counts.values())) / len(readable))
            axes[0].scatter(sizes[:, 0], sizes[:, 1], s=area, alpha=0.5, color=colour(number),
                            label=shortened(name), linewidth=0)
    axes[0].set_xlabel("width (px)")
    axes[0].set_ylabel("height (px)")
    for axis in (axes[0].xaxis, axes[0].yaxis):
        axis.get_major_locator().set_params(integer=True)
    legend = axes[0].legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    for handle in legend.legend_handles:
        handle.set_sizes([30])
    save(fig, path, title=f"{index.name}: sizes", phantom=phantom)


def images_a_patient(index: DatasetIndex, path: Path, phantom: bool) -> None:
    """How many patients have how many images."""
    counts = Counter(s.group for s in index.samples if s.group is not None)
    fig, axes = figure(1, width=5.6, height=3.6)
    most = max(counts.values())
    bins = np.arange(0.5, most + 1.5) if most <= 40 else np.linspace(0.5, most + 0.5, 41)
    axes[0].hist(list(counts.values()), bins=bins, color=colour(0), edgecolor="white")
    axes[0].set_xlabel("images a patient")
    axes[0].set_ylabel("patients")
    axes[0].yaxis.get_major_locator().set_params(integer=True)
    save(fig, path, title=f"{index.name}: {len(counts):,} patients", phantom=phantom)
