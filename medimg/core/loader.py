"""Batches: gathered from the pixel cache and augmented by threads, ready before they are asked for.

Order and augmentation depend on (seed, epoch, sample) alone.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np

from medimg.core.augment import Augmentation, Draws, draw, warp
from medimg.core.blend import Blended
from medimg.core.mixup import mixed
from medimg.core.types import Batch

AHEAD = 4
T = TypeVar("T")


@dataclass(frozen=True)
class Loader:
    """One part of a dataset as batches.

    Args:
        pixels: UInt8[M, H, W, C], pictures with synthetic ones behind them, or Float32[M, D]
            features of a frozen backbone.
        rows: Int[N], each sample's row in `pixels`.
        labels: Int[N], values in 0..K-1.
        classes: K.
        batch_size: images a step; the last step of an epoch may have fewer.
        weights: Float[N], class and sample weights.
        augmentation: bounds, or none.
        label_smoothing: share of the target spread over all classes.
        mixup: alpha of the Beta distribution that pictures are blended by; 0 for none.
        seed: of order and augmentation.
        views: how many features each sample has, which the epochs take in turn: those of the next
            view lie N rows further.
    """

    pixels: np.ndarray | Blended
    rows: np.ndarray
    labels: np.ndarray
    classes: int
    batch_size: int
    weights: np.ndarray | None = None
    augmentation: Augmentation = field(default_factory=Augmentation)
    label_smoothing: float = 0.0
    mixup: float = 0.0
    seed: int = 0
    views: int = 1

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def steps(self) -> int:
        """Steps an epoch."""
        return -(-len(self.rows) // self.batch_size)

    def order(self, epoch: int) -> np.ndarray:
        """Int[N], the epoch's order of samples."""
        return np.random.default_rng([self.seed, epoch, 0x0DE]).permutation(len(self.rows))

    def epoch(self, epoch: int) -> Iterator[Batch]:
        """Shuffled, augmented batches of one epoch."""
        order, draws = self.order(epoch), self.draws(epoch)
        viewed = replace(self, rows=self.rows + epoch % self.views * len(self.rows))
        targets = self.soft_targets()
        weights = np.ones(len(self.rows)) if self.weights is None else self.weights

        def make(step: int) -> Batch:
            picked = order[step * self.batch_size : (step + 1) * self.batch_size]
            batch = Batch(
                viewed.gather(picked, draws),
                targets[self.labels[picked]],
                weights[picked].astype(np.float32),
                len(picked),
            )
            if not self.mixup:
                return batch
            return mixed(batch, self.mixup, np.random.default_rng([self.seed, epoch, step, 0x319]))

        yield from ahead(make, self.steps)

    def images(self, batch_size: int | None = None) -> Iterator[np.ndarray]:
        """UInt8[B, H, W, C] in the given order, unchanged."""
        size = batch_size or self.batch_size
        steps = -(-len(self.rows) // size)
        yield from ahead(
            lambda step: self.pixels[self.rows[step * size : (step + 1) * size]], steps
        )

    def augmented(self, epoch: int, batch_size: int) -> Iterator[np.ndarray]:
        """UInt8[B, H, W, C] in the given order, changed as in an epoch."""
        draws, places = self.draws(epoch), np.arange(len(self))
        steps = -(-len(self) // batch_size)
        yield from ahead(
            lambda step: self.gather(places[step * batch_size : (step + 1) * batch_size], draws),
            steps,
        )

    def draws(self, epoch: int) -> Draws | None:
        """What augmentation does to each sample in one epoch; None for nothing."""
        if self.augmentation.changes_nothing:
            return None
        return draw(self.augmentation, len(self.rows), self.seed, epoch)

    def soft_targets(self) -> np.ndarray:
        """Float32[K, K]: the target of each class."""
        eye = np.eye(self.classes, dtype=np.float32)
        return eye * (1 - self.label_smoothing) + self.label_smoothing / self.classes

    def gather(self, picked: np.ndarray, draws: Draws | None) -> np.ndarray:
        """The pictures of some samples, augmented where there are draws."""
        if draws is None:
            return self.pixels[self.rows[picked]]
        images = np.empty((len(picked), *self.pixels.shape[1:]), np.uint8)
        for place, sample in enumerate(picked):
            warp(self.pixels[self.rows[sample]], draws, int(sample), images[place])
        return images


def ahead(make: Callable[[int], T], steps: int) -> Iterator[T]:
    """make(0), make(1), … in order, a few of them made ahead by threads."""
    # half of the cores: the framework computes on the others at the same time
    with ThreadPoolExecutor(max(1, (os.cpu_count() or 1) // 2)) as pool:
        waiting: deque[Future[T]] = deque()
        try:
            for step in range(steps):
                waiting.append(pool.submit(make, step))
                if len(waiting) > AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
