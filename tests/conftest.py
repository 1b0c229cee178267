"""What tests share: real samples where they are, and small images made on the spot."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

REPOSITORY = Path(__file__).resolve().parents[1]


def pytest_configure() -> None:
    """Ctrl-C is one for the tests and for the commands that they start, wherever they run.

    A shell that starts them in the background has it ignored.
    """
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real samples beside the repository; tests that need it skip without."""
    folder = REPOSITORY.parent / "shared" / "data" / "dev"
    if not folder.is_dir():
        # .ci/run sets this where the samples exist, so that a wrong path can't pass as a skip
        if os.environ.get("MEDIMG_REQUIRE_SAMPLES") == "1":
            pytest.fail(f"the real samples are required and not at {folder}")
        pytest.skip(f"the real samples are not at {folder}")
    return folder


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keeps decoded pixels out of the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MEDIMG_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """90 faultless phantoms of 64 px, in train, val and test; not to be changed."""
    from medimg.phantom import make_dataset

    folder = tmp_path_factory.mktemp("phantoms") / "chest_xray"
    make_dataset(folder, images=90, size_px=64, faults=())
    return folder


@pytest.fixture
def write_image() -> Callable[..., Path]:
    """A function that writes a small image and returns its path."""

    def write(
        path: Path,
        seed: int | None = None,
        size: tuple[int, int] = (12, 12),
        channels: int = 1,
        value: int | None = None,
    ) -> Path:
        """Noise drawn from `seed` (default: from the path's name), or one grey `value`.

        The format is that of the suffix; `size` is (height, width).
        """
        shape = size if channels == 1 else (*size, channels)
        drawn = sum(str(path).encode()) if seed is None else seed
        pixels = np.random.default_rng(drawn).integers(0, 256, shape, dtype=np.uint8)
        if value is not None:
            pixels[:] = value
        path.parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(path), pixels)
        return path

    return write


@pytest.fixture
def told_in_spanish(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fails where medimg says something of a dataset in a test that Spanish pages can't say.

    A new message needs its pattern in medimg/reports/messages_of_checks.yaml.
    """
    import medimg
    from medimg.core.types import Finding
    from medimg.reports.language import Words

    package, made = str(Path(medimg.__file__).parent), Finding.__init__
    said: set[str] = set()

    def remembered(self: Finding, *values: object, **named: object) -> None:
        made(self, *values, **named)  # type: ignore[arg-type]
        frame = sys._getframe(1)
        # findings of a test's own are in its own words
        if frame.f_code.co_filename.startswith(package):
            said.add(self.message)

    monkeypatch.setattr(Finding, "__init__", remembered)
    yield
    unknown = sorted(message for message in said if not Words("es").message(message))
    assert not unknown, "no pattern in medimg/reports/messages_of_checks.yaml fits these"
