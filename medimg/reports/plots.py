"""What all plots share: one palette that colour-blind readers can tell apart, one way to save."""

from __future__ import annotations

import io
import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medimg.core.report import write_atomically

if TYPE_CHECKING:
    from medimg.core.types import DatasetIndex

if TYPE_CHECKING:
    from medimg.core.types import DatasetIndex

# Okabe & Ito 2008, Color Universal Design, black left out
CLASS_COLOURS = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
    "#882255",
    "#666666",
)
GREY = "#888888"
DOTS_PER_INCH = 130
PHANTOM_NOTE = "phantom: drawn by code, no real patients"


def figure(axes: int, *, width: float, height: float, rows: int = 1) -> tuple[Any, list[Any]]:
    """(figure, flat list of axes) side by side, in inches, without a screen."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    made = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(made)
    grid = made.subplots(rows, -(-axes // rows), squeeze=False)
    flat = list(grid.ravel())
    for axis in flat:
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(True, color="#eeeeee")
        axis.set_axisbelow(True)
    for spare in flat[axes:]:
        spare.set_visible(False)
    return made, flat[:axes]


def save(figure: Any, path: Path, *, title: str = "", phantom: bool = False) -> None:
    """Writes a PNG; a figure that shows phantoms says so.

    Raises:
        InputError: the file can't be written.
    """
    if title or phantom:
        words = "  ·  ".join(part for part in (title, PHANTOM_NOTE if phantom else "") if part)
        figure.suptitle(words, fontsize=10)
    data = io.BytesIO()
    with warnings.catch_warnings():
        # a name in a script that the font lacks is drawn as boxes, which is no news to a user
        warnings.filterwarnings("ignore", "Glyph .* missing", UserWarning)
        figure.savefig(data, format="png", dpi=DOTS_PER_INCH)
    write_atomically(path, data.getvalue())


def is_phantom(index: DatasetIndex) -> bool:
    """Whether the pictures are phantoms: their truth file stands in a folder above the first."""
    if not index.samples:
        return False
    base = getattr(index.source, "root", index.root)
    # an index that lies elsewhere names its pictures by ../..
    first = Path(os.path.abspath(base / index.samples[0].path.partition("::")[0]))
    return any(says_phantom(folder / "truth.json") for folder in list(first.parents)[:4])


def says_phantom(file: Path) -> bool:
    """Whether it is the truth file that `medimg.phantom` writes."""
    try:
        return b'"medimg.phantom/' in file.read_bytes()[:400]
    except OSError:
        return False
