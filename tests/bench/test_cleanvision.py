"""The scan and the whole `verify` beside CleanVision on the same files, in one run."""

from __future__ import annotations

import statistics
import sys
import time

import pytest

from medimg.core.index import FileSource
from medimg.core.scan import scan_paths

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
def test_a_scan_beside_cleanvision(name, cycled, verify_command, run_command, tmp_path, table):
    pytest.importorskip("cleanvision")
    folder = cycled(name, FILES)
    paths = sorted(p.name for p in folder.iterdir())
    program, told = tmp_path / "peer.py", tmp_path / "seconds"
    program.write_text(PROGRAM)
    rounds = []
    for _ in range(ROUNDS):
        peer = run_command([sys.executable, str(program), str(folder), str(told)])
        started = time.perf_counter()
        assert len(list(scan_paths(paths, FileSource(folder)))) == len(paths)
        scan = time.perf_counter() - started
        # the folder itself has no classes: its parent is the dataset
        whole = run_command(verify_command(folder.parent, "--no-cache"))
        rounds.append((float(told.read_text().split()[1]), peer.seconds, scan, whole.seconds))
    issues, peer, scan, whole = (statistics.median(one) for one in zip(*rounds, strict=True))
    alone = statistics.median(r[0] / r[2] for r in rounds)
    table(
        f"{name}, {len(paths):,} files, medians of {ROUNDS} rounds",
        ["", "CleanVision s", "medimg s", "times as fast"],
        [
            ["reading the images (find_issues; scan)", issues, scan, alone],
            [
                "the whole process (verify)",
                peer,
                whole,
                statistics.median(r[1] / r[3] for r in rounds),
            ],
        ],
    )
    assert alone >= LEAST_TIMES
