"""The learning-rate range test: rising rates, a smoothed loss curve, one suggestion or none.

Source:
    Smith 2017, Cyclical Learning Rates for Training Neural Networks, section 3.3; the smoothing
    and the rules (steepest, valley, a tenth of the minimum) as in fastai's `lr_find`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from medimg.core.errors import PluginError
from medimg.training.loop import memory_said
from medimg.training.schedule import stage_shares

if TYPE_CHECKING:
    from medimg.core.loader import Loader
    from medimg.core.types import Batch, Network, Objective, Optimizer

SMOOTHING = 0.9
DIVERGED = 4.0
# a curve that falls by less than this share of its start has not shown where learning happens
LEAST_FALL = 0.05
# a test that ends below this may have seen too little
USUAL_END = 0.1
FEWEST_POINTS = 20
# the first smoothed losses are nearly raw: their ups and downs are no slope
SKIPPED = 10
# beyond this factor between them the seeds have not seen the same thing
MOST_DISAGREEMENT = 10.0
RULES = ("steepest", "valley", "minimum")
RULE = "median of steepest, valley and minimum/10"


@dataclass(frozen=True)
class RangeTest:
    """A curve and what was read off it.

    Args:
        learning_rates, losses: Float64[S], raw, one a step.
        smoothed: Float64[S], exponentially smoothed with bias correction.
        candidates: rule to learning rate, or None where the rule finds none.
        suggestion: None where no rate is safe; `reason` says why, or why this one.
        seed: of the weights and of the order of the images.
    """

    learning_rates: np.ndarray
    losses: np.ndarray
    smoothed: np.ndarray
    candidates: dict[str, float | None]
    suggestion: float | None
    rule: str | None
    reason: str
    seed: int = 0


@dataclass(frozen=True)
class Agreed:
    """What the range tests of several seeds come to.

    Args:
        tests: one a seed.
        candidates: rule to the median over the seeds that have a suggestion.
        suggestion: the median of the candidates; None where no rate is safe.
        agreement: the seeds' highest suggestion over their lowest, 1 or more; None for fewer
            than two suggestions.
    """

    tests: tuple[RangeTest, ...]
    candidates: dict[str, float | None]
    suggestion: float | None
    rule: str | None
    reason: str
    agreement: float | None


@contextmanager
def left_as_it_was(network: Network) -> Iterator[None]:
    """Puts a network's weights and statistics back, whatever happens meanwhile.

    Raises:
        PluginError: the network does not take back what it gave.
    """
    kept = network.weights()
    try:
        yield
    finally:
        report = network.set_weights(kept)
        if len(report.loaded) != len(kept):
            raise PluginError(
                "the backend did not take its own weights back: "
                + ", ".join((*report.missing, *report.unexpected)[:5])
            )


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
    spread: float = 1.0,
    on_step: Callable[[int, float], object] | None = None,
) -> RangeTest:
    """Trains for up to `steps` steps with rates that rise from `start` to `end`.

    The network is left as it was. A step is a batch; small parts are gone through again.

    Args:
        spread: by how much slower the lowest trained stage learns than the head.
    """
    rates = np.geomspace(start, end, steps)
    shares = stage_shares(spread, trainable_from, len(network.stages)) if spread > 1 else [1.0]
    watch = Curve(on_step)
    with left_as_it_was(network), memory_said(loader, "training on"):
        network.prepare(objective, optimizer, trainable_from)
        network.train_epoch(
            repeated(loader, steps),
            np.outer(rates, shares).astype(np.float32),
            seed=seed,
            on_step=watch,
        )
    losses = np.array(watch.losses)
    return replace(read_curve(rates[: len(losses)], losses, steps), seed=seed)


class Curve:
    """Keeps each step's loss, and stops at divergence."""

    def __init__(self, on_step: Callable[[int, float], object] | None) -> None:
        self.on_step = on_step
        self.losses: list[float] = []
        self.mean, self.best = 0.0, math.inf
        self.over = False

    def __call__(self, step: int, loss: float) -> bool:
        # a backend may tell steps that it made before it heard of the end
        if self.over or not math.isfinite(loss):
            self.over = True
            return False
        self.losses.append(loss)
        self.mean = SMOOTHING * self.mean + (1 - SMOOTHING) * loss
        current = self.mean / (1 - SMOOTHING ** len(self.losses))
        self.best = min(self.best, current)
        if self.on_step:
            self.on_step(step, loss)
        self.over = len(self.losses) >= FEWEST_POINTS // 2 and current > DIVERGED * self.best
        return not self.over


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

    def without(reason: str) -> RangeTest:
        return RangeTest(rates, losses, smoothed, dict.fromkeys(RULES), None, None, reason)

    if len(losses) < FEWEST_POINTS:
        return without(
            f"no safe suggestion: the loss diverged after {len(losses)} steps; "
            "start lower, or look at the data"
        )
    start = float(np.mean(losses[:SKIPPED]))
    lowest = SKIPPED + int(np.argmin(smoothed[SKIPPED:]))
    fall = (start - smoothed[lowest]) / max(abs(start), 1e-12)
    if fall < LEAST_FALL or lowest < SKIPPED + 3:
        flat = f"no safe suggestion: the curve is flat (the loss fell by {fall:.1%})"
        if rates[-1] < USUAL_END and len(losses) == steps:
            return without(f"{flat} up to a rate of {rates[-1]:.1g}, where it ends; raise --end")
        return without(f"{flat}; more steps, another model, or check the labels")
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
        RULE,
        f"the smoothed loss fell by {fall:.0%} up to {rates[lowest]:.1e}; the rules agree within "
        f"a factor of {spread:.1f}" + (", so look at the plot" if spread > 10 else ""),
    )


def steepest(rates: np.ndarray, smoothed: np.ndarray, lowest: int) -> float:
    """Where the loss falls fastest by log rate, before its minimum."""
    slope = np.gradient(smoothed, np.log(rates))[SKIPPED : lowest + 1]
    return float(rates[SKIPPED + int(np.argmin(slope))])


def valley(rates: np.ndarray, smoothed: np.ndarray, lowest: int) -> float:
    """The middle of the longest valley: fastai's default rule.

    The valley is as long as the longest falling subsequence before the minimum, and ends with it.
    """
    losses = smoothed[SKIPPED : lowest + 1]
    length = np.ones(len(losses), int)
    for place in range(1, len(losses)):
        higher = losses[:place] > losses[place]
        length[place] += length[:place][higher].max(initial=0)
    end = int(np.argmax(length))
    start, third = end - int(length[end]), length[end] / 3
    return float(rates[SKIPPED + max(start + int(third) + int(third / 2), 0)])


def agree(tests: Iterable[RangeTest]) -> Agreed:
    """One suggestion from the tests of several seeds, or none with the reason."""
    tests = tuple(tests)
    safe = [test for test in tests if test.suggestion is not None]
    rates = [float(test.suggestion) for test in safe if test.suggestion is not None]
    agreement = max(rates) / min(rates) if len(rates) > 1 else None

    def without(reason: str) -> Agreed:
        return Agreed(tests, dict.fromkeys(RULES), None, None, reason, agreement)

    if not safe:
        many = f" (so with each of {len(tests)} seeds)" if len(tests) > 1 else ""
        return without(tests[0].reason + many)
    if len(safe) * 2 <= len(tests):
        other = next(test for test in tests if test.suggestion is None)
        return without(
            f"no safe suggestion: {len(safe)} of {len(tests)} seeds shows a rate; with seed "
            f"{other.seed}: {other.reason.removeprefix('no safe suggestion: ')}"
        )
    if agreement is not None and agreement > MOST_DISAGREEMENT:
        return without(
            f"no safe suggestion: the seeds disagree by a factor of {agreement:.0f} "
            f"({min(rates):.1e} to {max(rates):.1e}); more --steps or a larger batch helps"
        )
    if len(tests) == 1:
        only = tests[0]
        return Agreed(tests, only.candidates, only.suggestion, only.rule, only.reason, None)
    candidates: dict[str, float | None] = {
        rule: float(np.median([float(test.candidates[rule] or 0) for test in safe]))
        for rule in RULES
    }
    found = [rate for rate in candidates.values() if rate is not None]
    spread = max(found) / min(found)
    reason = (
        f"{len(safe)} of {len(tests)} seeds agree within a factor of {agreement:.1f} "
        f"({min(rates):.1e} to {max(rates):.1e}); the rules agree within a factor of {spread:.1f}"
        + (", so look at the plot" if spread > 10 else "")
    )
    return Agreed(tests, candidates, float(np.median(found)), RULE, reason, agreement)
