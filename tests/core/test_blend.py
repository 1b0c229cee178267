"""Blended pictures, exactly, and a loader that reads them like any others."""

from __future__ import annotations

import tracemalloc
from fractions import Fraction
from math import floor

import numpy as np
import pytest

from medimg.core.blend import Blended, blend, fixed_point
from medimg.core.loader import Loader


def exactly(first: np.ndarray, second: np.ndarray, share: Fraction) -> list[int]:
    pairs = zip(first.ravel().tolist(), second.ravel().tolist(), strict=True)
    return [floor(a + share * (b - a) + Fraction(1, 2)) for a, b in pairs]


@pytest.mark.parametrize("share", [0, 1, 9_999, 16_384, 32_767, 32_768])
def test_every_pair_of_grey_levels_is_blended_exactly(share):
    first, second = np.meshgrid(np.arange(256), np.arange(256))
    first, second = first.astype(np.uint8), second.astype(np.uint8)
    made = blend(first, second, share)
    assert made.dtype == np.uint8
    assert made.ravel().tolist() == exactly(first, second, Fraction(share, 32_768))


def test_fixed_point_is_the_nearest():
    shares = np.random.default_rng(0).random(1000)
    assert abs(fixed_point(shares) / 32_768 - shares).max() <= 0.5 / 32_768
    assert fixed_point([0.0, 1.0]).tolist() == [0, 32_768]


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (6, 5, 4, 3), np.uint8)


def test_rows_behind_the_pictures_are_synthetic(pixels):
    blended = Blended(pixels, np.array([[0, 3], [5, 2]]), fixed_point([0.25, 0.5]))
    assert len(blended) == 8 and blended.shape == (8, 5, 4, 3)
    made = blended[np.array([7, 1, 6, 1])]
    assert made[0].ravel().tolist() == exactly(pixels[5], pixels[2], Fraction(1, 2))
    assert made[2].ravel().tolist() == exactly(pixels[0], pixels[3], Fraction(1, 4))
    assert (made[[1, 3]] == pixels[1]).all()
    assert (blended[np.int64(6)] == made[2]).all() and (blended[4] == pixels[4]).all()
    assert blended[np.array([], dtype=int)].shape == (0, 5, 4, 3)


def test_a_loader_draws_them_with_the_others(pixels):
    blended = Blended(pixels, np.array([[0, 3], [5, 2]]), fixed_point([0.25, 0.5]))
    labels = np.array([0, 1, 1, 0, 1, 1, 0, 1])
    loader = Loader(blended, np.arange(8), labels, 2, 3, seed=4)
    seen = {}
    order = iter(loader.order(0).tolist())
    for batch in loader.epoch(0):
        for image, target in zip(batch.images, batch.targets, strict=True):
            seen[next(order)] = (image, int(target.argmax()))
    assert sorted(seen) == list(range(8))
    assert all((seen[n][0] == pixels[n]).all() for n in range(6))
    assert (seen[7][0] == blend(pixels[5], pixels[2], 16_384)).all()
    assert [seen[n][1] for n in range(8)] == labels.tolist()


def test_an_epoch_of_many_keeps_a_few_batches_in_memory():
    pixels = np.zeros((10, 64, 64, 3), np.uint8)
    parents = np.random.default_rng(0).integers(0, 10, (4000, 2))
    blended = Blended(pixels, parents, fixed_point(np.full(4000, 0.5)))
    loader = Loader(blended, np.arange(4010), np.zeros(4010, int), 2, 32)
    tracemalloc.start()
    assert sum(len(batch.images) for batch in loader.epoch(0)) == 4010
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # all 4,000 would be 49 MB
    assert peak < 12e6
