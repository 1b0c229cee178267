"""What the tests of checks share: datasets planted in a temporary folder and scanned."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from medimg.api import CheckContext, Finding
from medimg.core.scan import scan
from medimg.manager import plugins
from medimg.opening import open_dataset

BY_PATIENT = {"group_regex": r"(p\d+)_"}
# two images a patient; test takes 40 patients a class for an interval that is narrow enough
CLEAN_COUNTS = {"train": 40, "val": 30, "test": 80}


def noise(seed: int, height: int = 24, width: int = 24, channels: int | None = None) -> np.ndarray:
    """UInt8 picture of soft blobs, another one for every seed."""
    random = np.random.default_rng(seed)
    shape = (6, 6) if channels is None else (6, 6, channels)
    coarse = random.integers(0, 256, shape, dtype=np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def encoded(pixels: np.ndarray, suffix: str = ".png", *options: int) -> bytes:
    return cv2.imencode(suffix, pixels, list(options))[1].tobytes()


def plant(root: Path, files: Mapping[str, np.ndarray | bytes]) -> Path:
    """Writes pictures (in the format of their suffix) and bytes as they are."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(
            content if isinstance(content, bytes) else encoded(content, "." + name.split(".")[-1])
        )
    return root


def look(root: Path, layout: str | None = None, **options: str) -> CheckContext:
    """A dataset, opened and scanned."""
    manager = plugins()
    index = open_dataset(
        str(root), layout=layout, options=options, manager=manager, registry=manager.registry()
    )
    return CheckContext(index, scan(index))


def clean_files() -> dict[str, np.ndarray]:
    """Two classes in three parts, two images a patient; nothing is wrong with them."""
    files, number = {}, 1
    for split, count in CLEAN_COUNTS.items():
        for label in ("NORMAL", "PNEUMONIA"):
            for _ in range(count):
                number += 1
                files[f"{split}/{label}/p{number // 2}_{number % 2}.png"] = noise(number)
    return files


@pytest.fixture(scope="session")
def clean_context(tmp_path_factory) -> CheckContext:
    return look(plant(tmp_path_factory.mktemp("clean"), clean_files()), **BY_PATIENT)


@pytest.fixture
def run_check() -> Callable[..., list[Finding]]:
    """A built-in check by name, run on a context."""
    manager = plugins()

    def run(name: str, context: CheckContext, **parameters: Any) -> list[Finding]:
        return manager.resolve(manager.checks()[name])(context, **parameters)

    return run


@pytest.fixture
def planted(tmp_path) -> Callable[..., CheckContext]:
    """A function that writes files (name to pixels or bytes) and scans them as a dataset."""

    def make(files: Mapping[str, np.ndarray | bytes], **options: str) -> CheckContext:
        return look(plant(tmp_path / "set", files), **options)

    return make


@pytest.fixture(name="noise")
def noise_function() -> Callable[..., np.ndarray]:
    return noise


@pytest.fixture
def small_set() -> dict[str, np.ndarray | bytes]:
    """Files of a small dataset: two classes in train and test, three patients each."""
    parts = [("train", "a"), ("train", "b"), ("test", "a"), ("test", "b")]
    return {
        f"{split}/{label}/p{10 * place + n}_1.png": noise(10 * place + n)
        for place, (split, label) in enumerate(parts)
        for n in range(3)
    }


@pytest.fixture(autouse=True)
def _messages_are_told_in_spanish(told_in_spanish: None) -> None:
    """Every message that a test plants has its Spanish."""
