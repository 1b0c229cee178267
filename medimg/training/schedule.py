"""Learning rates by step: one-cycle, cosine, constant, and the plateau rule."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# Smith & Topin 2018, Super-Convergence, in the form of fastai and torch.optim.lr_scheduler:
# warm up for 30 % of the steps from a 25th of the peak, then anneal to a 10,000th of the start
WARM_UP = 0.3
START_DIVISOR = 25.0
END_DIVISOR = 1e4


def cosine_between(start: float, end: float, share: np.ndarray) -> np.ndarray:
    """Half a cosine from `start` (share 0) to `end` (share 1)."""
    return end + (start - end) * (1 + np.cos(np.pi * share)) / 2


def one_cycle(peak: float, total: int) -> np.ndarray:
    """Float64[total] rates: up to the peak, then down.

    >>> rates = one_cycle(1.0, 11)
    >>> float(rates[0]), float(rates.max())
    (0.04, 1.0)
    """
    last_up = max(WARM_UP * total - 1, 0.0)
    steps = np.arange(total, dtype=np.float64)
    up = cosine_between(peak / START_DIVISOR, peak, steps / last_up if last_up else steps * 0 + 1)
    share = (steps - last_up) / max(total - 1 - last_up, 1e-9)
    down = cosine_between(peak, peak / START_DIVISOR / END_DIVISOR, np.clip(share, 0, 1))
    return np.where(steps <= last_up, up, down)


def epoch_rates(
    schedule: str, peak: float, epoch: int, epochs: int, steps: int, factor: float = 1.0
) -> np.ndarray:
    """Float32[S, 1] rates of one epoch's steps, the same for every stage.

    Args:
        schedule: `one-cycle`, `cosine`, `constant` or `plateau`.
        peak: the highest rate.
        epoch: 0 for the first.
        factor: what the plateau rule has multiplied the rate by so far.
    """
    if schedule == "one-cycle":
        rates = one_cycle(peak, epochs * steps)[epoch * steps : (epoch + 1) * steps]
    elif schedule == "cosine":
        share = (epoch * steps + np.arange(steps)) / (epochs * steps)
        rates = cosine_between(peak, 0.0, share)
    else:
        rates = np.full(steps, peak * factor)
    return rates.astype(np.float32)[:, None]


def stage_shares(spread: float, trainable_from: int, stages: int) -> np.ndarray:
    """Float64[G], each stage's share of the learning rate: the head's is 1, that of the lowest
    trained stage 1 / spread, those between in equal ratios; nothing below.

    Source: Howard and Ruder 2018, ULMFiT, section 3.2 (discriminative fine-tuning).

    >>> stage_shares(100.0, 1, 4).round(6).tolist()
    [0.0, 0.01, 0.1, 1.0]
    """
    trained = stages - trainable_from
    shares = np.zeros(stages)
    shares[trainable_from:] = np.geomspace(1 / spread, 1, trained) if trained > 1 else 1.0
    return shares


@dataclass
class Watch:
    """Counts epochs without improvement of a number that should fall.

    Args:
        min_delta: what counts as an improvement.
    """

    min_delta: float
    best: float = float("inf")
    waited: int = 0

    def improved(self, value: float) -> bool:
        """Takes the next value; True where it is better than the best so far by min_delta."""
        if value < self.best - self.min_delta:
            self.best, self.waited = value, 0
            return True
        self.waited += 1
        return False
