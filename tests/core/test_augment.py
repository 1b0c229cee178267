"""One affine warp and one look-up table an image, drawn by (seed, epoch, sample)."""

from __future__ import annotations

import numpy as np
import pytest

from medimg.core.augment import Augmentation, Draws, draw, warp
from medimg.core.errors import UsageError


def picture(side: int = 33) -> np.ndarray:
    image = np.zeros((side, side, 1), np.uint8)
    image[8:12, 5:9] = 200
    return image


def centre_of_mass(image: np.ndarray) -> np.ndarray:
    y, x = np.nonzero(image[..., 0] > 100)
    return np.array([x.mean(), y.mean()])


def changed(augmentation: Augmentation, image: np.ndarray, seed: int = 0) -> np.ndarray:
    out = np.empty_like(image)
    warp(image, draw(augmentation, 1, seed, 0), 0, out)
    return out


def test_nothing_to_change_leaves_the_picture():
    assert Augmentation().changes_nothing
    np.testing.assert_array_equal(changed(Augmentation(), picture()), picture())


@pytest.mark.parametrize(("which", "axis"), [("horizontal_flip", 1), ("vertical_flip", 0)])
def test_flips_are_flips_and_half_of_them(which, axis):
    draws = draw(Augmentation(**{which: True}), 1000, 0, 0)
    out = np.empty_like(picture())
    flipped = 0
    for row in range(1000):
        warp(picture(), draws, row, out)
        if np.array_equal(out, np.flip(picture(), axis)):
            flipped += 1
        else:
            np.testing.assert_array_equal(out, picture())
    assert 440 < flipped < 560


def test_rotation_keeps_the_distance_from_the_centre_and_stays_in_its_bounds():
    before = centre_of_mass(picture()) - 16
    angles = []
    for seed in range(60):
        after = centre_of_mass(changed(Augmentation(rotation_deg=20), picture(), seed)) - 16
        assert np.hypot(*after) == pytest.approx(np.hypot(*before), abs=0.6)
        turn = np.rad2deg(np.arctan2(after[1], after[0]) - np.arctan2(before[1], before[0]))
        angles.append((turn + 180) % 360 - 180)
    assert max(np.abs(angles)) < 22
    assert min(angles) < -10 and max(angles) > 10


def test_rotation_of_an_oblong_picture_does_not_shear_it():
    image = np.zeros((40, 80, 1), np.uint8)
    image[15:25, 35:45] = 255
    draws = Draws(np.array([[[0, -1, 0], [1, 0, 0]]], np.float32), None)
    out = np.empty_like(image)

    warp(image, draws, 0, out)

    # beyond these columns lies the mirrored border
    y, x = np.nonzero(out[:, 25:55, 0] > 127)
    assert (np.ptp(x), np.ptp(y)) == (9, 9)


def test_shift_is_a_share_of_the_side():
    moved = [
        centre_of_mass(changed(Augmentation(shift=0.1), picture(), seed))
        - centre_of_mass(picture())
        for seed in range(60)
    ]

    assert np.abs(moved).max() <= 3.5
    assert np.abs(moved).max() > 2.3


def test_zoom_draws_scales_around_one():
    areas = [
        np.count_nonzero(changed(Augmentation(zoom=0.3), picture(), seed) > 100) / 16
        for seed in range(60)
    ]

    assert min(areas) < 0.75 and max(areas) > 1.3


def test_brightness_and_contrast_are_one_table():
    grey = np.full((8, 8, 3), 128, np.uint8)
    levels = {int(changed(Augmentation(brightness=0.2), grey, s)[0, 0, 0]) for s in range(60)}

    assert min(levels) >= 128 - 52 and max(levels) <= 128 + 52
    assert min(levels) < 100 < 150 < max(levels)
    stretched = changed(Augmentation(contrast=0.5), picture(), 1)
    assert stretched.std() != picture().std()


def test_draws_depend_on_seed_epoch_and_sample_alone():
    augmentation = Augmentation(rotation_deg=10, shift=0.1, brightness=0.1)
    first = draw(augmentation, 50, 3, 4)

    np.testing.assert_array_equal(first.matrices, draw(augmentation, 50, 3, 4).matrices)
    assert not np.array_equal(first.matrices, draw(augmentation, 50, 3, 5).matrices)
    assert not np.array_equal(first.matrices, draw(augmentation, 50, 4, 4).matrices)


def test_a_zoom_that_leaves_nothing_is_refused():
    with pytest.raises(UsageError, match="zoom"):
        draw(Augmentation(zoom=1.0), 1, 0, 0)
