"""What the benchmarks share: many files made of the real samples, whole commands, tables.

Every file of this folder is marked `bench`; `tox -e bench` runs them and prints what it measured.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import cv2
import pytest
from tabulate import tabulate

from medimg.core.images import is_image_name
from medimg.core.workers import one_thread_a_call, pieces

HERE = Path(__file__).parent
# folder of the samples, and the suffix of its images
SETS = {
    "chest X-rays (JPEG 224×224)": ("chest_xray_kermany", ".jpeg"),
    "breast histopathology (PNG 50×50)": ("idc_breast_histopathology", ".png"),
    "brain MRI (JPEG)": ("brain_tumor_mri", ".jpg"),
    "fundus photographs (JPEG 256×256)": ("odir_fundus_csv", ".jpg"),
    "blood cells (BMP 120×120)": ("wbc_zheng_csv", ".bmp"),
    # every picture of every set, as it is
    "all samples": (".", ""),
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.bench)


@dataclass(frozen=True)
class Run:
    """A finished command: seconds from start to end, peak bytes of it and its children.

    Args:
        work: seconds of all cores; what else the machine does is not in them.
    """

    seconds: float
    peak_bytes: int
    work: float


@pytest.fixture(scope="session")
def cycled(shared_data, tmp_path_factory) -> Callable[[str, int], Path]:
    """A function that copies a set's files over and over, so that there are enough of them."""
    root = tmp_path_factory.mktemp("cycled")

    def make(name: str, files: int) -> Path:
        folder, suffix = SETS[name]
        made = root / (folder if suffix else "every") / "all"
        if not made.is_dir():
            made.mkdir(parents=True)
            found = sorted(
                p for p in (shared_data / folder).rglob(f"*{suffix}") if is_image_name(p.name)
            )
            for number in range(max(files, len(found))):
                file = found[number % len(found)]
                shutil.copyfile(file, made / f"{number:06d}{file.suffix}")
        return made

    return make


@pytest.fixture(scope="session")
def run_command(tmp_path_factory) -> Callable[..., Run]:
    """A function that runs a command line to its end and watches its memory.

    That is the memory of the whole process tree; what processes share counts once (PSS).
    """
    psutil = pytest.importorskip("psutil")
    log = tmp_path_factory.mktemp("commands") / "log"

    def run(command: Sequence[str], **environment: str) -> Run:
        started, before = time.perf_counter(), os.times()
        with log.open("w") as said:
            # as users have it, modules are compiled once and not at each start
            own = os.environ | {"PYTHONDONTWRITEBYTECODE": ""} | environment
            process = subprocess.Popen(command, env=own, stdout=said, stderr=subprocess.STDOUT)
        peak, tree = 0, psutil.Process(process.pid)
        while process.poll() is None:
            peak = max(peak, tree_bytes(tree))
            with suppress(subprocess.TimeoutExpired):
                process.wait(0.1)
        seconds = time.perf_counter() - started
        assert process.returncode == 0, log.read_text()[-2000:]
        after = os.times()
        work = after.children_user + after.children_system
        return Run(seconds, peak, work - before.children_user - before.children_system)

    return run


@pytest.fixture(scope="session")
def decode_only() -> Callable[[Path, list[str]], float]:
    """A function that only reads and decodes files with cv2, and gives the seconds.

    They are shared out over the cores as the scan does it.
    """

    def run(folder: Path, paths: list[str]) -> float:
        started = time.perf_counter()
        with one_thread_a_call():
            for _, shape in pieces(
                paths,
                lambda block: [
                    cv2.imread(f"{folder}/{p}", cv2.IMREAD_UNCHANGED).shape for p in block
                ],
            ):
                assert shape
        return time.perf_counter() - started

    return run


@pytest.fixture
def busy_processors() -> Callable[[], Callable[[], float]]:
    """A function that starts watching, and gives one that tells how many processors others than
    this process' children have kept busy since, on average.

    Where that is much, seconds by the clock mean little; those of the processor still do.
    """
    psutil = pytest.importorskip("psutil")

    def now() -> tuple[float, float]:
        every, own = psutil.cpu_times(), os.times()
        busy = every.user + every.nice + every.system
        return own.elapsed, busy - own.children_user - own.children_system

    def start() -> Callable[[], float]:
        clock, busy = now()

        def since() -> float:
            later, busier = now()
            return max(busier - busy, 0.0) / (later - clock)

        return since

    return start


def tree_bytes(process) -> int:
    """Of a process and its descendants; 0 once it has ended."""
    import psutil

    total = 0
    try:
        for one in [process, *process.children(recursive=True)]:
            try:
                told = one.memory_full_info()
            except psutil.Error:
                continue
            total += getattr(told, "pss", 0) or told.rss
    except psutil.Error:
        return 0
    return total


@pytest.fixture(scope="session")
def verify_command(tmp_path_factory) -> Callable[..., list[str]]:
    """A function that gives the command line of `medimg verify`."""
    out = tmp_path_factory.mktemp("runs")

    def command(dataset: Path, *options: str) -> list[str]:
        return [
            *(sys.executable, "-m", "medimg.cli.main", "verify", str(dataset)),
            *("--no-progress", "--quiet", "--fail-on", "never", "--out", str(out), *options),
        ]

    return command


@pytest.fixture
def table(capsys) -> Callable[[str, Sequence[str], Sequence[Sequence[object]]], None]:
    """A function that prints what was measured, past pytest's capturing."""

    def show(title: str, headers: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        with capsys.disabled():
            print(f"\n\n{title}\n{tabulate(rows, headers=headers, floatfmt=',.3g')}")

    return show
