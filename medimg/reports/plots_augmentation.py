"""A grid of what a network will see: pictures as they are read, and as epochs change them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from medimg.core.augment import draw, warp
from medimg.core.images import decode_to_input
from medimg.reports.narrow_tables import shortened
from medimg.reports.plots import figure, is_phantom, save
from medimg.reports.plots_dataset import MOST_CLASSES

if TYPE_CHECKING:
    from medimg.core.augment import Augmentation
    from medimg.core.cache import PixelSpec
    from medimg.core.types import DatasetIndex, Sample

EPOCHS = 6
# rows of pictures, shared out over the classes
PICTURES = 6


def augmentation_grid(
    index: DatasetIndex,
    samples: list[Sample],
    augmentation: Augmentation,
    spec: PixelSpec,
    path: Path,
    *,
    preset: str,
    seed: int = 0,
) -> None:
    """A row a picture: as the network gets it without augmentation, then in the first epochs.

    The draws are those of a training with this seed on `samples`.

    Args:
        samples: the training part, in its order; some of each class are shown.
        spec: the network's input.
    """
    rows = some_of_each(index, samples)
    fig, axes = figure(
        len(rows) * (1 + EPOCHS), width=1.3 * (1 + EPOCHS), height=1.45 * len(rows) + 0.4,
        rows=len(rows),
    )  # fmt: skip
    draws = [draw(augmentation, len(samples), seed, epoch) for epoch in range(EPOCHS)]
    for number, place in enumerate(rows):
        line = axes[number * (1 + EPOCHS) : (number + 1) * (1 + EPOCHS)]
        data = index.source.read(samples[place].path)
        plain = decode_to_input(data, spec.height, spec.width, spec.channels, spec.resize)
        seen = [plain]
        for epoch in draws:
            changed = np.empty_like(plain)
            warp(plain, epoch, place, changed)
            seen.append(changed)
        for axis, image in zip(line, seen, strict=True):
            axis.axis("off")
            axis.imshow(image.squeeze(), cmap="gray", vmin=0, vmax=255)
        line[0].set_title(shortened(str(samples[place].label)), fontsize=9, loc="left")
        if number == 0:
            for shown, axis in enumerate(line[1:], 1):
                axis.set_title(f"epoch {shown}", fontsize=8)
    size = f"{spec.height}×{spec.width}×{spec.channels}"
    title = f"{index.name}: augmentation {preset!r} at {size}, as it is and in {EPOCHS} epochs"
    save(fig, path, title=title, phantom=is_phantom(index))


def some_of_each(index: DatasetIndex, samples: list[Sample]) -> list[int]:
    """Places of the first few pictures of each class, class by class."""
    shown = [c for c in index.classes if any(s.label == c for s in samples)][:MOST_CLASSES]
    each = max(1, PICTURES // max(1, len(shown)))
    return [
        place
        for name in shown
        for place in [n for n, s in enumerate(samples) if s.label == name][:each]
    ]
