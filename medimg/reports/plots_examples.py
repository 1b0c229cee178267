"""Pictures of right and wrong answers with their probabilities, and the worst mistakes."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import numpy as np

from medimg.reports.plots import figure, save

if TYPE_CHECKING:
    from medimg.core.runs import Predictions
    from medimg.core.scored import Scored
    from medimg.core.types import DatasetIndex

COLUMNS = 6
ROWS = 4
WORST = 12
SIZE_PX = 224
# between pictures, and above and below them for the words
GAP_PX, TITLE_PX, TEXT_PX = 10, 48, 72
RIGHT, WRONG = "#00704A", "#B3361B"
# characters of a name under a picture
LONGEST = 22


def example_plots(
    predictions: Predictions, scored: Scored, index: DatasetIndex, folder: Path, phantom: bool
) -> list[str]:
    """`plots/examples.png`, and `plots/mistakes.png` where there are mistakes."""
    right = scored.decided == scored.labels
    drawn = ["plots/examples.png"]
    chosen = drawn_at_random(right)
    title = (
        f"{int(right.sum()):,} right, {int((~right).sum()):,} wrong: drawn at random{rule(scored)}"
    )
    grid(predictions, scored, index, chosen, folder / drawn[0], title, phantom)
    if not right.all():
        drawn.append("plots/mistakes.png")
        wrong = np.flatnonzero(~right)
        worst = wrong[np.argsort(-surety(scored)[wrong], kind="stable")][:WORST].tolist()
        title = f"The surest of {len(wrong):,} mistakes{rule(scored)}"
        grid(predictions, scored, index, worst, folder / drawn[1], title, phantom)
    return drawn


def drawn_at_random(right: np.ndarray) -> list[int]:
    """Rows of right answers, then of wrong ones: half of the grid each, where there are so many."""
    generator = np.random.default_rng(0)
    total = COLUMNS * ROWS
    kinds = [np.flatnonzero(kind) for kind in (right, ~right)]
    wanted = [total // 2, total // 2]
    if len(kinds[1]) < wanted[1]:
        wanted = [total - full_rows(len(kinds[1])), len(kinds[1])]
    elif len(kinds[0]) < wanted[0]:
        wanted = [len(kinds[0]), total - full_rows(len(kinds[0]))]
    rows: list[int] = []
    for kind, number in zip(kinds, wanted, strict=True):
        rows += sorted(generator.permutation(kind)[:number].tolist())
    return rows


def full_rows(pictures: int) -> int:
    return -(-pictures // COLUMNS) * COLUMNS


def probability_of_answer(scored: Scored) -> np.ndarray:
    """Float[N], the probability of the class that was answered."""
    return scored.probabilities[np.arange(len(scored)), scored.decided]


def surety(scored: Scored) -> np.ndarray:
    """Float[N] in 0..1, how far each answer is from another one: of two classes, the share of the
    way from the threshold to the end."""
    if scored.task != "binary" or scored.positive is None or scored.threshold is None:
        return probability_of_answer(scored)
    p, cut = scored.probabilities[:, scored.positive], scored.threshold
    above = (p - cut) / max(1 - cut, 1e-12)
    return np.where(p >= cut, above, (cut - p) / max(cut, 1e-12))


def rule(scored: Scored) -> str:
    """From where on an image is called positive, for the title."""
    if scored.positive is None or scored.threshold is None:
        return ""
    return f"; {scored.name(scored.positive)} from {scored.threshold:.3g} up"


def grid(
    predictions: Predictions,
    scored: Scored,
    index: DatasetIndex,
    rows: list[int],
    path: Path,
    title: str,
    phantom: bool,
) -> None:
    """Pictures side by side: the truth, the answer and its probability over each."""
    right = scored.decided == scored.labels
    places = laid_out(rows, right)
    high = max(place for place, _ in places) // COLUMNS + 1
    step_x, step_y = SIZE_PX + GAP_PX, SIZE_PX + TEXT_PX
    canvas = np.full((high * step_y, COLUMNS * step_x, 3), 255, np.uint8)
    # one axis for all: a grid of axes takes seconds to lay out
    fig, axes = figure(1, width=11.0, height=0.4 + 11.0 * canvas.shape[0] / canvas.shape[1])
    for place, row in places:
        top, left = place // COLUMNS * step_y + TITLE_PX, place % COLUMNS * step_x
        shown = picture(index, predictions.paths[row])
        middle = left + SIZE_PX / 2
        if isinstance(shown, str):
            axes[0].text(middle, top + SIZE_PX / 2, shown, ha="center", fontsize=6)
        else:
            canvas[top : top + SIZE_PX, left : left + SIZE_PX] = shown
        told, colour = answer_of(scored, row, bool(right[row]))
        axes[0].text(
            middle, top - 6, told, color=colour, fontsize=8, ha="center", va="bottom",
            linespacing=1.1,
        )  # fmt: skip
        axes[0].text(
            middle, top + SIZE_PX + 5, shortened(predictions.paths[row]), color="#666666",
            fontsize=5.5, ha="center", va="top",
        )  # fmt: skip
    axes[0].imshow(canvas)
    axes[0].set_axis_off()
    save(fig, path, title=title, phantom=phantom)


def answer_of(scored: Scored, row: int, fine: bool) -> tuple[str, str]:
    """The answer with its probability, over the truth where that is another; and its colour."""
    said = scored.name(int(scored.decided[row]))
    sure = scored.probabilities[row, int(scored.decided[row])]
    if fine:
        return f"{said}  {sure:.2f}", RIGHT
    return f"{said}  {sure:.2f}\nis {scored.name(int(scored.labels[row]))}", WRONG


def laid_out(rows: list[int], right: np.ndarray) -> list[tuple[int, int]]:
    """(place in the grid, row): the wrong ones begin a row of the grid."""
    fine = [row for row in rows if right[row]]
    wrong = [row for row in rows if not right[row]]
    start = full_rows(len(fine))
    return [*enumerate(fine), *((start + n, row) for n, row in enumerate(wrong))]


def picture(index: DatasetIndex, path: str) -> np.ndarray | str:
    """UInt8[SIZE_PX, SIZE_PX, 3], padded to a square; or why it can't be shown."""
    from medimg.core.images import decode_to_input

    try:
        return decode_to_input(index.source.read(path), SIZE_PX, SIZE_PX, 3, "pad")
    except Exception as error:  # a stranger's source may raise anything; the plot goes on
        return str(error)[:40]


def shortened(path: str) -> str:
    """The end of a file's name.

    >>> shortened("a/b/IM-0001-0001.jpeg")
    'IM-0001-0001.jpeg'
    """
    # file names that are no UTF-8 have parts that no font can draw
    path = path.encode("utf-8", "replace").decode()
    name = PurePosixPath(path.replace("::", "/")).name
    return name if len(name) <= LONGEST else "…" + name[-LONGEST + 1 :]
