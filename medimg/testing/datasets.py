"""Holds a dataset layout to the protocol, on a dataset that it is meant to read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from medimg.api import SPLITS, DatasetIndex, Guess, Layout, UsageError
from medimg.testing._raised import raised
from medimg.testing.checks import check_findings


def check_dataset(
    layout: Layout, path: Path, options: Mapping[str, str] | None = None, pictures: int = 20
) -> DatasetIndex:
    """Holds a dataset layout to the protocol of `medimg.api.Layout` on a dataset it reads.

    Args:
        layout: to be checked.
        path: a dataset that it is meant to read.
        options: what `-o` would give it.
        pictures: how many images to decode, spread over the samples.
    Returns:
        the index, for assertions about its contents.
    Raises:
        AssertionError: a promise is broken.
    """
    options = dict(options or {})
    guess = layout.sniff(path)
    assert isinstance(guess, Guess) and 0 <= guess.confidence <= 1, (
        f"sniff() must give a Guess with a confidence in 0..1, not {guess!r}"
    )
    assert guess.reason, "sniff() gives no reason; it is shown to the user"
    nowhere = path / "no-such-dataset"
    assert layout.sniff(nowhere).confidence == 0, "sniff() believes a path that does not exist"
    index = layout.read(path, options)
    check_index(index)
    again = layout.read(path, options)
    assert again.samples == index.samples, "reading the same dataset twice gives other samples"
    error = raised(lambda: layout.read(path, {**options, "no-such-option": "1"}))
    assert isinstance(error, UsageError) and "no-such-option" in str(error), (
        f"an unknown option must raise a UsageError that names it, not {error!r}"
    )
    check_pictures(index, pictures)
    return index


def check_index(index: DatasetIndex) -> None:
    """Samples, classes and splits fit together."""
    assert isinstance(index, DatasetIndex), f"read() gave {type(index).__name__}"
    assert index.samples, "the index has no samples"
    assert index.name and index.layout, "the index lacks its name or its layout's name"
    classes = list(index.classes)
    assert classes == sorted(set(classes)), f"classes must be sorted and differ: {classes}"
    for sample in index.samples:
        assert sample.label in classes, (
            f"{sample.path} is labelled {sample.label!r}, which is none of {classes}; samples "
            "without a label belong in `unlabelled`"
        )
        assert sample.split is None or sample.split in SPLITS, (
            f"{sample.path} is in the split {sample.split!r}, which is none of {SPLITS}"
        )
        assert not sample.path.startswith("./"), f"{sample.path} must be given without ./"
    assert index.positive is None or index.positive in classes, (
        f"the positive class {index.positive!r} is none of {classes}"
    )
    grouped = any(sample.group is not None for sample in index.samples)
    assert grouped == bool(index.patients), (
        "`patients` says in words where groups come from; it must be there where they are known, "
        "and only there"
    )
    check_findings(index.findings)


def check_pictures(index: DatasetIndex, most: int) -> None:
    """The source gives pixels, or a file's bytes that decode, for samples spread over the set."""
    from medimg.api import decode

    every = max(1, len(index.samples) // most)
    for sample in index.samples[::every][:most]:
        read = index.source.read(sample.path)
        pixels = decode(read) if isinstance(read, bytes) else read
        assert isinstance(pixels, np.ndarray) and pixels.dtype in (np.uint8, np.uint16), (
            f"{sample.path}: the source must give encoded bytes or UInt8/UInt16 pixels"
        )
        assert pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] in (1, 3, 4)), (
            f"{sample.path}: pixels of shape {pixels.shape}, not [h, w] or [h, w, C]"
        )
    absent = raised(lambda: index.source.read("no-such-picture.png"))
    assert isinstance(absent, OSError), (
        f"the source must raise an OSError for a path it does not have, not {absent!r}"
    )
