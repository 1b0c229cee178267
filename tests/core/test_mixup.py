"""Mixup: pictures, labels and weights blended alike, the same draws for the same seed."""

from __future__ import annotations

import numpy as np
import pytest

from medimg.core.loader import Loader
from medimg.core.mixup import mixed
from medimg.core.types import Batch


def batch(weights=None) -> Batch:
    """Each picture one grey of its own, so that its share can be read off."""
    greys = np.array([0, 60, 120, 180, 240, 30], np.uint8)
    images = np.broadcast_to(greys[:, None, None, None], (6, 4, 4, 1)).copy()
    targets = np.eye(3, dtype=np.float32)[[0, 1, 2, 0, 1, 2]]
    return Batch(images, targets, np.ones(6, np.float32) if weights is None else weights, 6)


def test_the_loss_is_the_mean_of_the_losses_against_both_labels():
    """sum(w * CE) is linear in the target: w·(k·CE(a) + (1-k)·CE(b)) with uneven weights."""
    weights = np.array([1, 2, 3, 1, 2, 0], np.float32)
    plain, random = batch(weights), np.random.default_rng(3)
    blended = mixed(plain, 0.4, np.random.default_rng(3))
    share = random.beta(0.4, 0.4, 6).astype(np.float32)
    share = np.maximum(share, 1 - share)
    other = random.permutation(6)
    log_p = np.log(np.random.default_rng(0).dirichlet(np.ones(3), 6))
    losses = -(log_p[:, None, :] * plain.targets[None]).sum(axis=2)
    rows = np.arange(6)
    expected = share * weights * losses[rows, rows]
    expected = expected + (1 - share) * weights[other] * losses[rows, other]
    got = blended.weights * -(blended.targets * log_p).sum(axis=1)
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)
    grey = plain.images[:, 0, 0, 0].astype(float)
    np.testing.assert_allclose(
        blended.images[:, 0, 0, 0], share * grey + (1 - share) * grey[other], atol=0.51
    )


def test_targets_stay_shares_and_pictures_mostly_themselves():
    plain = batch()
    blended = mixed(plain, 1.0, np.random.default_rng(0))
    np.testing.assert_allclose(blended.targets.sum(axis=1), 1, rtol=1e-6)
    assert ((blended.targets * plain.targets).sum(axis=1) >= 0.5 - 1e-6).all()
    assert blended.images.dtype == np.uint8 and not np.array_equal(blended.images, plain.images)


@pytest.mark.parametrize("epoch", [0, 3])
def test_the_loader_draws_by_seed_and_epoch(epoch):
    pixels = np.random.default_rng(0).integers(0, 256, (20, 4, 4, 1), dtype=np.uint8)
    settings = (pixels, np.arange(20), np.arange(20) % 2, 2, 8)

    def bytes_of(number, **changes):
        return [b.images.tobytes() for b in Loader(*settings, **changes).epoch(number)]

    assert bytes_of(epoch, mixup=0.2) == bytes_of(epoch, mixup=0.2)
    assert bytes_of(epoch, mixup=0.2) != bytes_of(epoch, mixup=0.2, seed=1)
    assert bytes_of(epoch, mixup=0.2) != bytes_of(epoch)
