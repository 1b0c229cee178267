"""The learning-rate range test: rising rates, a smoothed loss curve, one suggestion or none.

Source:
    Smith 2017, Cyclical Learning Rates for Training Neural Networks, section 3.3; the smoothing
    and the rules (steepest, valley, a tenth of the minimum) as in fastai's `lr_find`.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from medimg.core.loader import Loader
    from medimg.core.types import Batch, Network, Objective, Optimizer

SMOOTHING = 0.9
DIVERGED = 4.0
# a curve that falls by less than this share of its start has not shown where learning happens
LEAST_FALL = 0.05
FEWEST_POINTS = 20
# the first smoothed losses are nearly raw: their ups and downs are no slope
SKIPPED = 10


@dataclass(frozen=True)
class RangeTest:
    """A curve and what was read off it.

    Args:
        learning_rates, losses: Float64[S], raw, one a step.
        smoothed: Float64[S], exponentially smoothed with bias correction.
        candidates: rule to learning rate, or None where the rule finds none.
        suggestion: None where no rate is safe; `reason` says why, or why this one.
    """

    learning_rates: np.ndarray
    losses: np.ndarray
    smoothed: np.ndarray
    candidates: dict[str, float | None]
    suggestion: float | None
    rule: str | None
    reason: str


def smooth(losses: np.ndarray, beta: float = SMOOTHING) -> np.ndarray:
    """Exponential smoothing with bias correction.

    >>> smooth(np.array([1.0, 1.0])).tolist()
    [1.0, 1.0]
    """
    mean, smoothed = 0.0, np.empty(len(losses))
    for step, loss in enumerate(losses):
        mean = beta * mean + (1 - beta) * loss
        smoothed[step] = mean / (1 - beta ** (step + 1))
    return smoothed


def range_test(
    network: Network,
    loader: Loader,
    *,
    objective: Objective,
    optimizer: Optimizer,
    trainable_from: int = 0,
    start: float = 1e-6,
    end: float = 1.0,
    steps: int = 100,
    seed: int = 0,
    on_step: Callable[[int, float], object] | None = None,
) -> RangeTest:
    """Trains for up to `steps` steps with rates that rise from `start` to `end`.

    The network is left as it was. A step is a batch; small parts are gone through again.
    """
    rates = np.geomspace(start, end, steps)
    losses: list[float] = []
    best = math.inf

    def step_done(step: int, loss: float) -> bool:
        nonlocal best
        if not math.isfinite(loss):
            return False
        losses.append(loss)
        current = smooth(np.array(losses))[-1]
        best = min(best, current)
        if on_step:
            on_step(step, loss)
        return len(losses) < FEWEST_POINTS // 2 or current <= DIVERGED * best

    with tempfile.TemporaryDirectory() as folder:
        network.save(Path(folder), training=False)
        network.prepare(objective, optimizer, trainable_from)
        network.train_epoch(
            repeated(loader, steps), rates.astype(np.float32)[:, None], seed=seed, on_step=step_done
        )
        network.restore(Path(folder))
    return read_curve(rates[: len(losses)], np.array(losses), steps)


def repeated(loader: Loader, steps: int) -> Iterator[Batch]:
    """`steps` batches, epoch after epoch."""
    done, epoch = 0, 0
    while done < steps:
        for batch in loader.epoch(epoch):
            yield batch
            done += 1
            if done == steps:
                return
        epoch += 1


def read_curve(rates: np.ndarray, losses: np.ndarray, steps: int) -> RangeTest:
    """The candidates and one suggestion.

    Args:
        rates, losses: Float[S], as far as the test went.
        steps: how far it was meant to go.
    """
    smoothed = smooth(losses)
    nothing: dict[str, float | None] = {"steepest": None, "valley": None, "minimum": None}

    def without(reason: str) -> RangeTest:
        return RangeTest(rates, losses, smoothed, nothing, None, None, reason)

    if len(losses) < FEWEST_POINTS:
        return without(
            f"no safe suggestion: the loss diverged after {len(losses)} steps; "
            "start lower, or look at the data"
        )
    start = float(np.mean(losses[:SKIPPED]))
    lowest = SKIPPED + int(np.argmin(smoothed[SKIPPED:]))
    fall = (start - smoothed[lowest]) / max(abs(start), 1e-12)
    if fall < LEAST_FALL or lowest < SKIPPED + 3:
        return without(
            f"no safe suggestion: the curve is flat (the loss fell by {fall:.1%}); "
            "more steps, another model, or check the labels"
        )
    noise = float(np.std(losses[:lowest] - smoothed[:lowest]))
    if noise > start - smoothed[lowest]:
        return without(
            "no safe suggestion: the curve is noisier than it falls; a larger batch helps"
        )
    candidates: dict[str, float | None] = {
        "steepest": steepest(rates, smoothed, lowest),
        "valley": valley(rates, smoothed, lowest),
        "minimum": float(rates[lowest] / 10),
    }
    found = [rate for rate in candidates.values() if rate is not None]
    suggestion, spread = float(np.median(found)), max(found) / min(found)
    return RangeTest(
        rates,
        losses,
        smoothed,
        candidates,
        suggestion,
        "median of steepest, valley and minimum/10",
        f"the smoothed loss fell by {fall:.0%} up to {rates[lowest]:.1e}; the rules agree within "
        f"a factor of {spread:.1f}" + (", so look at the plot" if spread > 10 else ""),
    )


def steepest(rates: np.ndarray, smoothed: np.ndarray, lowest: int) -> float:
    """Where the loss falls fastest by log rate, before its minimum."""
    slope = np.gradient(smoothed, np.log(rates))[SKIPPED : lowest + 1]
    return float(rates[SKIPPED + int(np.argmin(slope))])


def valley(rates: np.ndarray, smoothed: np.ndarray, lowest: int) -> float:
    """Two thirds along the longest run of falling loss (the rule of ESRI and fastai)."""
    falls = np.diff(smoothed[: lowest + 1]) < 0
    falls[:SKIPPED] = False
    best_start, best_length, start = 0, 0, 0
    for place, falling in enumerate(np.append(falls, False)):
        if not falling:
            if place - start > best_length:
                best_start, best_length = start, place - start
            start = place + 1
    return float(rates[best_start + int(best_length * 2 / 3)])
