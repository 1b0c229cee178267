"""The scan and the whole `verify` beside CleanVision on the same files, in one run.

CleanVision is run as its users run it: `find_issues()` with its own number of jobs. Beside both
stands what cv2 takes to read and decode the files and nothing else: no scan can be faster, so
that is how many times as fast as CleanVision one that decodes with cv2 can be.
"""

from __future__ import annotations

import statistics
import sys
import time
from pathlib import Path

import pytest

from medimg.commands.verify import verify
from medimg.core.checking import CheckContext
from medimg.core.index import FileSource
from medimg.core.scan import scan as scan_images
from medimg.core.scan import scan_paths
from medimg.manager import plugins
from medimg.opening import open_dataset

FILES, ROUNDS = 2000, 3
NAMES = [
    "chest X-rays (JPEG 224×224)",
    "breast histopathology (PNG 50×50)",
    "brain MRI (JPEG)",
    "fundus photographs (JPEG 256×256)",
    "blood cells (BMP 120×120)",
]
# a process of its own: its workers are started anew and import the main module
PROGRAM = """
import sys, time
from pathlib import Path
from cleanvision import Imagelab
if __name__ == "__main__":
    # by name: it overlooks BMP files in folders
    lab = Imagelab(filepaths=sorted(map(str, Path(sys.argv[1]).iterdir())))
    started = time.perf_counter()
    lab.find_issues(verbose=False)
    print("seconds", time.perf_counter() - started, file=open(sys.argv[2], "w"))
"""
# lowest of the sets, with room for a busy machine; the table says what each reaches
LEAST_TIMES = 4


@pytest.mark.parametrize("name", NAMES)
def test_a_scan_beside_cleanvision(
    name, cycled, decode_only, verify_command, run_command, tmp_path, table
):
    pytest.importorskip("cleanvision")
    folder = cycled(name, FILES)
    paths = sorted(p.name for p in folder.iterdir())
    program, told = tmp_path / "peer.py", tmp_path / "seconds"
    program.write_text(PROGRAM)
    rounds = []
    find_issues(folder.parent)  # imports what the checks need: the peer's clock leaves that out
    for _ in range(ROUNDS):
        peer = run_command([sys.executable, str(program), str(folder), str(told)])
        started = time.perf_counter()
        assert len(list(scan_paths(paths, FileSource(folder)))) == len(paths)
        scan = time.perf_counter() - started
        started = time.perf_counter()
        assert len(find_issues(folder.parent).checks) > 30
        found = time.perf_counter() - started
        bare = decode_only(folder, paths)
        # the folder itself has no classes: its parent is the dataset
        whole = run_command(verify_command(folder.parent, "--no-cache"))
        rounds.append(
            (float(told.read_text().split()[1]), peer.seconds, scan, bare, found, whole.seconds)
        )
    issues, peer, scan, bare, found, whole = (
        statistics.median(one) for one in zip(*rounds, strict=True)
    )
    alone = median_ratio(rounds, 0, 2)
    table(
        f"{name}, {len(paths):,} files, medians of {ROUNDS} rounds",
        ["", "CleanVision s", "medimg s", "times as fast"],
        [
            ["decoding and nothing else", issues, bare, median_ratio(rounds, 0, 3)],
            ["reading the images (scan)", issues, scan, alone],
            ["from files to all issues", issues, found, median_ratio(rounds, 0, 4)],
            ["the process, imports included", peer, whole, median_ratio(rounds, 1, 5)],
        ],
    )
    assert alone >= LEAST_TIMES


def find_issues(dataset: Path):
    """What `verify` does between its imports and its report: every image, every check."""
    manager = plugins()
    index = open_dataset(
        str(dataset), layout=None, options={}, manager=manager, registry=manager.registry()
    )
    checks = manager.functions(manager.checks())
    return verify(CheckContext(index, scan_images(index)), checks)


def median_ratio(rounds: list[tuple[float, ...]], one: int, other: int) -> float:
    return statistics.median(r[one] / r[other] for r in rounds)
