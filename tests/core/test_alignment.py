"""Pairs of pictures moved against each other, held against one pair at a time with OpenCV."""

from __future__ import annotations

from itertools import product

import cv2
import numpy as np
import pytest

from medimg.core.alignment import most_alike_moved, thumbnails_moved

PICTURES = 12


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    """UInt8[12, 160, 160]: smooth ones and ones of fine detail."""
    random = np.random.default_rng(3)
    made = []
    for sigma in np.linspace(0.6, 6, PICTURES):
        noise = cv2.GaussianBlur(random.normal(size=(160, 160)), (0, 0), float(sigma))
        made.append(128 + noise * (40 / noise.std()))
    return np.clip(np.stack(made), 0, 255).astype(np.uint8)


def all_pairs(count: int) -> np.ndarray:
    return np.array([(i, j) for i in range(count) for j in range(count) if i != j])


def best_place(middle: np.ndarray, other: np.ndarray) -> float:
    other = np.ascontiguousarray(other, np.float32)
    return float(cv2.matchTemplate(other, middle, cv2.TM_CCOEFF_NORMED).max())


@pytest.mark.parametrize("every", [0, 1, 3], ids=["none", "all", "some"])
def test_thumbnails_are_moved_by_half_pixels(pictures, every):
    small = np.stack(
        [cv2.resize(p[k : k + 120, k:], (18, 16)) for p in pictures[::2] for k in (0, 4)]
    )
    pairs = all_pairs(len(small))
    turned = np.array([bool(every) and n % every == 0 for n in range(len(pairs))])
    found = thumbnails_moved(small, pairs, turned, at_once=50)
    for (one, other), mirror, best in zip(pairs, turned, found, strict=True):
        seen = small[other].astype(np.float32)
        seen = seen[:, ::-1] if mirror else seen
        across, down = (seen[:, 1:] + seen[:, :-1]) / 2, (seen[1:] + seen[:-1]) / 2
        middle = small[one, 1:-1, 1:-1].astype(np.float32)
        places = (seen, across, down, (across[1:] + across[:-1]) / 2)
        assert best == pytest.approx(max(best_place(middle, p) for p in places), abs=1e-4)


@pytest.mark.parametrize("mirror", [False, True])
def test_no_place_reaches_more_than_is_foretold(pictures, mirror):
    """Neither by whole pixels of the same size nor by those of twice the size."""
    crops = np.stack(
        [p[y : y + 144, x : x + 144] for p in pictures for y, x in ((0, 0), (3, 5), (8, 1))]
    )
    small = np.stack([cv2.resize(p, (64, 64), interpolation=cv2.INTER_AREA) for p in crops])
    large = [cv2.resize(p, (128, 128), interpolation=cv2.INTER_AREA) for p in crops]
    flat = small.reshape(len(small), -1).astype(np.float32)
    flat = (flat - flat.mean(axis=1, keepdims=True)) / flat.std(axis=1, keepdims=True)
    pixels = np.rint(flat * 1024).astype(np.int16).reshape(small.shape)
    pairs = all_pairs(len(crops))
    most = most_alike_moved(pixels, pairs, np.full(len(pairs), mirror))
    turn = (lambda p: p[:, ::-1]) if mirror else (lambda p: p)
    close = []
    for (one, other), bound in zip(pairs, most, strict=True):
        middle = small[one, 4:-4, 4:-4].astype(np.float32)
        reached = best_place(middle, turn(small[other]))
        assert bound >= reached - 1e-3
        finer = best_place(large[one][8:-8, 8:-8].astype(np.float32), turn(large[other]))
        close.append((finer, bound))
    alike = [(finer, bound) for finer, bound in close if finer >= 0.95]
    if not mirror:
        # the three crops of each picture
        assert len(alike) >= 2 * PICTURES
    assert all(bound >= finer - 0.003 for finer, bound in alike)
    # and it is near enough to say of most others that they are none
    apart = [bound < 0.9 for finer, bound in close if finer < 0.5]
    assert sum(apart) > 0.8 * len(apart)


def test_mirror_images_and_no_pairs_at_all(pictures):
    small = np.stack([cv2.resize(p, (64, 64)) for p in pictures]).astype(np.int16) - 128
    both = np.concatenate([small, small[:, :, ::-1]])
    pairs = all_pairs(PICTURES)
    turned = np.arange(len(pairs)) % 3 == 0
    beside = pairs + np.stack([0 * turned, PICTURES * turned], axis=1)
    plain = most_alike_moved(both, beside, np.zeros(len(pairs), bool))
    assert most_alike_moved(small, pairs, turned) == pytest.approx(plain, abs=1e-5)
    none = np.empty((0, 2), np.int64), np.empty(0, bool)
    assert len(most_alike_moved(small, *none)) == 0
    assert len(thumbnails_moved(small.astype(np.uint8), *none)) == 0


def test_every_order_of_pairs_is_the_same(pictures):
    small = np.stack([cv2.resize(p, (64, 64)) for p in pictures] * 12).astype(np.int16) - 128
    pairs = np.array(list(product(range(len(small)), range(0, len(small), 29))))
    no = np.zeros(len(pairs), bool)
    order = np.random.default_rng(0).permutation(len(pairs))
    whole = most_alike_moved(small, pairs, no)
    assert most_alike_moved(small, pairs[order], no[order]) == pytest.approx(whole[order])
