"""Synthetic pictures, blended from two of the pixel cache when they are asked for.

They are never kept: what SMOTE adds to 200,000 pictures would not fit in memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

# shares are kept in 32768ths, so that blending is whole-number arithmetic: equal on every machine
BITS = 15


def fixed_point(shares: Any) -> np.ndarray:
    """Int32[S] in 32768ths of Float[S] in 0..1."""
    return np.rint(np.asarray(shares, dtype=np.float64) * (1 << BITS)).astype(np.int32)


def blend(first: np.ndarray, second: np.ndarray, share: int) -> np.ndarray:
    """first + share / 32768 * (second - first), rounded half up.

    Args:
        first, second: UInt8 of one shape.
        share: 0 (the first) to 32768 (the second).

    >>> blend(np.uint8([0, 10, 255]), np.uint8([255, 20, 0]), 1 << 14).tolist()
    [128, 15, 128]
    """
    base = first.astype(np.int32)
    way = np.int32(share) * (second.astype(np.int32) - base)
    return ((base << BITS) + way + (1 << (BITS - 1)) >> BITS).astype(np.uint8)


@dataclass(frozen=True)
class Blended:
    """Pictures, and behind them synthetic ones: read by row like the array that they add to.

    Args:
        array: UInt8[M, H, W, C], may be memory-mapped; its rows keep their numbers.
        parents: Int[S, 2], rows of `array`; synthetic picture s has the row M + s.
        shares: Int32[S], as of `fixed_point`.
    """

    array: np.ndarray
    parents: np.ndarray
    shares: np.ndarray

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self), *self.array.shape[1:])

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.array.dtype

    def __len__(self) -> int:
        return len(self.array) + len(self.parents)

    def __getitem__(self, rows: Any) -> np.ndarray:
        """UInt8[H, W, C] of one row, or UInt8[B, H, W, C] of Int[B]."""
        rows, real = np.asarray(rows), len(self.array)
        if rows.ndim == 0:
            return self.array[rows] if rows < real else self.synthetic(int(rows) - real)
        made = np.flatnonzero(rows >= real)
        plain = rows.copy()
        plain[made] = 0
        images = self.array[plain]
        for place in made:
            images[place] = self.synthetic(int(rows[place]) - real)
        return images

    def synthetic(self, number: int) -> np.ndarray:
        """UInt8[H, W, C], the picture of one pair of parents."""
        first, second = self.parents[number]
        return blend(self.array[first], self.array[second], self.shares[number])
