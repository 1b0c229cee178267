"""Work in blocks: order kept, processes where they are safe, an interrupt leaves what is done."""

from __future__ import annotations

import os
import sys
import threading

import pytest

from medimg.core import workers
from medimg.core.workers import BLOCK, in_blocks, may_fork, pieces

PATHS = [str(n) for n in range(10 * BLOCK + 7)]


def lengths(block: list[str]) -> list[int]:
    return [len(path) for path in block]


def process_ids(block: list[str]) -> list[int]:
    return [os.getpid() for _ in block]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_order_is_that_of_the_paths(count):
    found = in_blocks(PATHS, lengths, workers=count)
    assert list(found) == PATHS and found["100"] == 3


def test_progress_counts_every_path_once():
    seen = []
    in_blocks(PATHS, lengths, seen.append)
    assert sum(seen) == len(PATHS)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="processes are forked on Linux")
def test_many_files_go_to_processes_and_few_do_not(monkeypatch):
    monkeypatch.setattr(workers, "may_fork", lambda: True)
    assert os.getpid() not in set(in_blocks(PATHS, process_ids, workers=2).values())
    few = PATHS[: workers.FEWEST_FOR_PROCESSES - 1]
    assert set(in_blocks(few, process_ids, workers=2).values()) == {os.getpid()}


def test_nothing_is_forked_beside_other_threads():
    there, go = threading.Event(), threading.Event()
    thread = threading.Thread(target=lambda: (there.set(), go.wait()))
    thread.start()
    there.wait()
    try:
        assert not may_fork()
    finally:
        go.set()
        thread.join()


@pytest.mark.parametrize("framework", workers.THREADED)
def test_nothing_is_forked_beside_a_framework(framework, monkeypatch):
    monkeypatch.setitem(sys.modules, framework, object())
    assert not may_fork()


def test_what_was_done_before_an_interrupt_is_there():
    done = {}

    def interrupt(_count: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        for path, length in pieces(PATHS, lengths, interrupt, workers=1):
            done[path] = length
    assert list(done) == PATHS[:BLOCK]


def test_an_error_in_the_work_comes_through():
    def fail(block: list[str]) -> list[int]:
        raise ValueError(block[0])

    with pytest.raises(ValueError, match="0"):
        in_blocks(PATHS, fail, workers=2)


FORKED_AFTER_OPENCV = """
import cv2, numpy as np
from medimg.core.workers import in_blocks
cv2.setNumThreads(4)
large = np.zeros((3000, 3000, 3), np.uint8)
for _ in range(3):
    cv2.GaussianBlur(large, (31, 31), 5)  # starts OpenCV's own threads

def work(block):
    return [int(cv2.GaussianBlur(large, (31, 31), 5).sum())] * len(block)

paths = [str(n) for n in range(640)]
assert set(in_blocks(paths, work, workers=2).values()) == {0}
assert cv2.getNumThreads() == 4
print("done")
"""


def test_opencvs_own_threads_do_not_hold_up_forked_processes():
    """A child that waits for a thread of its parent's waits for ever."""
    import subprocess

    answer = subprocess.run(
        [sys.executable, "-c", FORKED_AFTER_OPENCV], capture_output=True, text=True, timeout=60
    )
    assert answer.stdout == "done\n", answer.stderr


ENDLESS = """
import os, time
from medimg.core.workers import in_blocks

def work(block):
    os.write(1, b"%d\\n" % os.getpid())  # a line in one piece
    time.sleep(60)

in_blocks([str(n) for n in range(640)], work, workers=2)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="processes are forked on Linux")
def test_processes_end_with_the_one_that_forked_them():
    import subprocess
    import time

    parent = subprocess.Popen([sys.executable, "-c", ENDLESS], stdout=subprocess.PIPE, text=True)
    children = [int(parent.stdout.readline()) for _ in range(2)]
    assert parent.pid not in children
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 10
    while any(os.path.exists(f"/proc/{child}") for child in children):
        assert time.monotonic() < deadline, "the forked processes go on"
        time.sleep(0.05)


STOPPED_AT_ONCE = """
import os, time
from medimg.core.workers import pieces

def work(block):
    for _ in block:
        time.sleep(0.5 if block[0] != "0" else 0)  # the first block alone is quick
    return block

started = pieces([str(n) for n in range(640)], work, workers=2)
next(started)
try:
    started.throw(KeyboardInterrupt)
except KeyboardInterrupt:
    print("interrupted")
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="processes are forked on Linux")
def test_processes_leave_off_at_an_interrupt():
    import subprocess
    import time

    begun = time.monotonic()
    line = [sys.executable, "-c", STOPPED_AT_ONCE]
    answer = subprocess.run(line, capture_output=True, text=True, timeout=60)
    assert (answer.stdout, answer.stderr) == ("interrupted\n", "")
    # a block takes 32 s, and some more of them wait in the queue
    assert time.monotonic() - begun < 20


PRESSED_AT_A_FORK = """
import os, signal
pressed = []

def press():
    if not pressed:
        pressed.append(1)
        os.killpg(os.getpgrp(), signal.SIGINT)

os.register_at_fork({moment}=press)
from medimg.core.workers import pieces
try:
    for _ in pieces([str(n) for n in range(64000)], lambda block: block, workers=2):
        pass
    print("went on")
except KeyboardInterrupt:
    print("interrupted")
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="processes are forked on Linux")
@pytest.mark.parametrize("moment", ["before", "after_in_parent", "after_in_child"])
def test_an_interrupt_while_processes_are_forked_is_neither_lost_nor_waited_for(moment):
    """A terminal's Ctrl-C goes to all processes, also to a child that is only half there."""
    import subprocess

    line = [sys.executable, "-c", PRESSED_AT_A_FORK.format(moment=moment)]
    answer = subprocess.run(
        line, capture_output=True, text=True, timeout=60, start_new_session=True
    )
    assert (answer.stdout, answer.stderr) == ("interrupted\n", "")


def test_no_process_is_forked_while_a_thread_of_an_earlier_pool_is_ending(monkeypatch):
    """It may still hold one of OpenCV's locks, which nobody would open in the child."""
    in_blocks(PATHS[:3], lengths, workers=2)
    assert may_fork() == sys.platform.startswith("linux")
    monkeypatch.setattr(workers, "PATIENCE_S", 0.01)
    monkeypatch.setattr(workers, "_threads", {threading.get_native_id()})
    assert not may_fork()
    assert os.getpid() in set(in_blocks(PATHS, process_ids, workers=2).values())
