"""Batches: every sample once an epoch, the same order and pixels for the same seed."""

from __future__ import annotations

import numpy as np

from medimg.core.augment import Augmentation
from medimg.core.loader import Loader, ahead

PIXELS = np.random.default_rng(0).integers(0, 256, (20, 6, 6, 1)).astype(np.uint8)


def loader(**changes) -> Loader:
    labels = np.arange(17) % 3
    settings = {"batch_size": 5, "seed": 1, **changes}
    return Loader(PIXELS, np.arange(17) + 2, labels, 3, **settings)


def test_an_epoch_holds_every_sample_once():
    batches = list(loader().epoch(0))

    assert [len(b.images) for b in batches] == [5, 5, 5, 2]
    assert [b.global_size for b in batches] == [5, 5, 5, 2]
    images = np.concatenate([b.images for b in batches])
    assert sorted(map(bytes, images)) == sorted(map(bytes, PIXELS[2:19]))


def test_targets_belong_to_their_pictures():
    subject = loader()
    place = {
        bytes(PIXELS[row]): label for row, label in zip(subject.rows, subject.labels, strict=True)
    }
    for batch in subject.epoch(3):
        for image, target in zip(batch.images, batch.targets, strict=True):
            assert target.tolist() == np.eye(3)[place[bytes(image)]].tolist()


def test_label_smoothing_keeps_rows_summing_to_one():
    (targets,) = {tuple(sorted(t)) for b in loader(label_smoothing=0.3).epoch(0) for t in b.targets}

    np.testing.assert_allclose(targets, [0.1, 0.1, 0.8], rtol=1e-6)


def test_weights_follow_their_samples():
    weights = np.arange(17) / 10
    subject = loader(weights=weights)
    place = {bytes(PIXELS[row]): w for row, w in zip(subject.rows, weights, strict=True)}
    for batch in subject.epoch(0):
        assert batch.weights.dtype == np.float32
        for image, weight in zip(batch.images, batch.weights, strict=True):
            assert weight == np.float32(place[bytes(image)])


def test_same_seed_same_batches_other_epoch_other_order():
    augmented = loader(augmentation=Augmentation(rotation_deg=30, brightness=0.2))
    first, again, other = (
        np.concatenate([b.images for b in augmented.epoch(e)]) for e in (0, 0, 1)
    )

    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_prediction_batches_keep_the_order_and_the_pixels():
    augmented = loader(augmentation=Augmentation(rotation_deg=30))

    np.testing.assert_array_equal(np.concatenate(list(augmented.images(4))), PIXELS[2:19])


def test_making_ahead_keeps_the_order_and_passes_errors_on():
    assert list(ahead(lambda n: n * n, 30)) == [n * n for n in range(30)]

    def fail_at_seven(n: int) -> int:
        if n == 7:
            raise ValueError("seven")
        return n

    seen = []
    try:
        for n in ahead(fail_at_seven, 30):
            seen.append(n)
    except ValueError as error:
        assert str(error) == "seven"
    assert seen == list(range(7))
