"""A set with every fault and a clean one, drawn once for all tests of the phantoms."""

from __future__ import annotations

from pathlib import Path

import pytest

from medimg.phantom import PhantomTruth, make_dataset


@pytest.fixture(scope="session")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, PhantomTruth]:
    folder = tmp_path_factory.mktemp("faulty")
    return folder, make_dataset(folder, images=150, size_px=64, seed=3)


@pytest.fixture(scope="session")
def clean(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, PhantomTruth]:
    folder = tmp_path_factory.mktemp("clean")
    return folder, make_dataset(folder, images=150, size_px=64, seed=3, faults=())
