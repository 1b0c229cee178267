"""The scan and the whole `verify` beside CleanVision on the same files, in one run.

CleanVision is run as its users run it: `find_issues()` with its own number of jobs. Beside both
stands what cv2 takes to read and decode the files and nothing else: no scan can be faster, so
that is how many times as fast as CleanVision one that decodes with cv2 can be. Seconds are told by
the clock and as work of all cores: what else the machine does is not in the latter.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
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
    "all samples",
    "chest X-rays (JPEG 224×224)",
    "breast histopathology (PNG 50×50)",
    "brain MRI (JPEG)",
    "fundus photographs (JPEG 256×256)",
    "blood cells (BMP 120×120)",
]
# what its issue types ask: exact and near duplicates, odd size and aspect, dark and light, low
# information, blurry, grey among coloured
SAME_ISSUES = (
    "exact-duplicates",
    "near-duplicates",
    "odd-size",
    "odd-aspect",
    "brightness",
    "blank",
    "low-contrast",
    "blur",
    "mixed-modes",
)
# a process of its own: its workers are started anew and import the main module
PROGRAM = """
import os, sys, time
from pathlib import Path
from cleanvision import Imagelab
if __name__ == "__main__":
    # by name: it overlooks BMP files in folders
    lab = Imagelab(filepaths=sorted(map(str, Path(sys.argv[1]).iterdir())))
    started, before = time.perf_counter(), sum(os.times()[:4])
    lab.find_issues(verbose=False)
    seconds, work = time.perf_counter() - started, sum(os.times()[:4]) - before
    print(seconds, work, file=open(sys.argv[2], "w"))
"""
ROWS = (
    "decoding and nothing else",
    "reading the images (scan)",
    "from files to the same issues",
    "from files to all issues",
    "the process, imports included",
)
# times as fast on every set and on all of them together, by the clock or in work, whichever says
# more; with room for a busy machine
LEAST_TIMES = {"reading the images (scan)": 6, "from files to the same issues": 5}
LEAST_OF_ALL = {
    "reading the images (scan)": 20,
    "from files to the same issues": 16,
    "from files to all issues": 16,
}
# seconds by the clock, seconds of all cores
Taken = tuple[float, float]


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
        ours = [
            taken(lambda: decode_only(folder, paths)),
            taken(lambda: sum(1 for _ in scan_paths(paths, FileSource(folder)))),
            taken(lambda: find_issues(folder.parent, SAME_ISSUES)),
            taken(lambda: find_issues(folder.parent)),
        ]
        # the folder itself has no classes: its parent is the dataset
        whole = run_command(verify_command(folder.parent, "--no-cache"))
        issues = tuple(map(float, told.read_text().split()))
        ended = (peer.seconds, peer.work), (whole.seconds, whole.work)
        rounds.append([*((issues, own) for own in ours), ended])
    times = {}
    rows = []
    for place, row in enumerate(ROWS):
        pairs = [one[place] for one in rounds]
        theirs, own = (statistics.median(both[n][0] for both in pairs) for n in (0, 1))
        times[row] = [statistics.median(a[n] / b[n] for a, b in pairs) for n in (0, 1)]
        rows.append([row, theirs, own, *times[row]])
    table(
        f"{name}, {len(paths):,} files, medians of {ROUNDS} rounds",
        ["", "CleanVision s", "medimg s", "times as fast", "in work"],
        rows,
    )
    for row, least in (LEAST_OF_ALL if name == "all samples" else LEAST_TIMES).items():
        assert max(times[row]) >= least


def taken(work: Callable[[], object]) -> Taken:
    before, started = sum(os.times()[:4]), time.perf_counter()
    assert work()
    return time.perf_counter() - started, sum(os.times()[:4]) - before


def find_issues(dataset: Path, names: Sequence[str] = ()) -> int:
    """What `verify` does between its imports and its report: every image, every check.

    Args:
        names: of the checks that are wanted, all without.
    """
    manager = plugins()
    index = open_dataset(
        str(dataset), layout=None, options={}, manager=manager, registry=manager.registry()
    )
    offered = manager.checks()
    checks = manager.functions({n: offered[n] for n in names} if names else offered)
    return len(verify(CheckContext(index, scan_images(index)), checks).checks)
