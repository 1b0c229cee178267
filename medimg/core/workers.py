"""Work on many files, on all cores: forked processes where that is safe, else threads.

Decoding releases Python's lock, but the dozen short calls around it take it again each time:
on small JPEGs processes are up to 1.4 times as fast as threads, and never much slower.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar

import cv2
from threadpoolctl import ThreadpoolController

from medimg.core.decoder_noise import quiet

T = TypeVar("T")
BLOCK = 64
# starting processes takes some hundredths of a second
FEWEST_FOR_PROCESSES = 512
# of Linux's prctl: the signal that a process gets when its parent ends
PR_SET_PDEATHSIG = 1
# passed over by a child that is not settled yet (Windows has none, and no forks)
LEAVE_OFF = getattr(signal, "SIGURG", signal.SIGINT)
# their threads would not live on in a forked child
THREADED = ("torch", "tensorflow", "jax")
_inherited: Callable[[Any], Any] | None = None
# of a child: whether it works on something, and whether it was told to leave off
_busy = _left_off = False
# the system's numbers of threads that worked here, and how long to wait until they have ended
_threads: set[int] = set()
PATIENCE_S, PAUSE_S = 1.0, 0.001
# who interrupts waits for no picture that is just being decoded
PATIENCE_AFTER_INTERRUPT_S = 0.3


def in_blocks(
    paths: list[str],
    examine_block: Callable[[list[str]], list[T]],
    progress: Callable[[int], object] | None = None,
    workers: int | None = None,
) -> dict[str, T]:
    """Path to what a block's examination gave for it, in the order of the paths."""
    return dict(pieces(paths, examine_block, progress, workers))


def pieces(
    paths: list[str],
    examine_block: Callable[[list[str]], list[T]],
    progress: Callable[[int], object] | None = None,
    workers: int | None = None,
    *,
    block: int = BLOCK,
    fewest: int = FEWEST_FOR_PROCESSES,
) -> Iterator[tuple[str, T]]:
    """The same one after the other, so that an interrupt leaves what is done.

    Args:
        block: paths that are given to a worker at once; threads end theirs after an interrupt.
        fewest: paths from which on processes pay.
    """
    blocks = [paths[i : i + block] for i in range(0, len(paths), block)]
    others, threads = set(multiprocessing.active_children()), set(threading.enumerate())
    # OpenCV's threads are stopped before a process is forked: a child waits for ever for them;
    # silence that is kept all through need not be made for each picture
    with one_thread_a_call(), quiet:
        pool, call = executor(workers or cores(), len(paths), examine_block, fewest)
        with pool:
            try:
                with interrupts_waiting():
                    answers = pool.map(call, blocks)
                for some, results in zip(blocks, answers, strict=True):
                    yield from zip(some, results, strict=True)
                    if progress:
                        progress(len(some))
            except BaseException:
                # an interrupt need not wait for what nobody will look at, nor share the cores
                # with it
                pool.shutdown(wait=False, cancel_futures=True)
                for child in set(multiprocessing.active_children()) - others:
                    stop_work(child)
                wait_for(set(threading.enumerate()) - threads)
                raise


def executor(
    workers: int, tasks: int, work: Callable[[Any], T], fewest: int = FEWEST_FOR_PROCESSES
) -> tuple[Executor, Callable[[Any], T]]:
    """A pool, and the work as it takes it; to be used inside `one_thread_a_call`.

    Args:
        tasks: how many there are; fewest: from how many on processes pay.
    """
    global _inherited
    if workers < 2 or tasks < fewest or not may_fork():
        return ThreadPoolExecutor(workers, initializer=remember_thread), work
    _inherited = work  # children are born with it, so that it need not be pickled
    context = multiprocessing.get_context("fork")
    return ProcessPoolExecutor(workers, context, initializer=settle), in_child


@contextmanager
def interrupts_waiting() -> Iterator[None]:
    """Ctrl-C waits: it gets lost where Python forks, and a child that it meets before it is settled
    is broken, and waited for at the end."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows, which does not fork
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def wait_for(threads: set[threading.Thread]) -> None:
    """Waits a little for threads to end: a pool that ends together with Python may fail at it."""
    until = time.monotonic() + PATIENCE_AFTER_INTERRUPT_S
    for thread in threads:
        thread.join(max(0.0, until - time.monotonic()))


def may_fork() -> bool:
    """Whether a forked child finds itself in a sound state: Linux, and no other thread runs."""
    return (
        sys.platform.startswith("linux")
        and threading.active_count() == 1
        and not any(name in sys.modules for name in THREADED)
        and multiprocessing.parent_process() is None
        and threads_have_ended()
    )


def remember_thread() -> None:
    _threads.add(threading.get_native_id())


def threads_have_ended() -> bool:
    """Whether the threads of earlier pools are gone, after waiting a little for them.

    Python counts a thread as ended before it has let go of OpenCV's locks: a child that is forked
    in between waits for them for ever.
    """
    until = time.monotonic() + PATIENCE_S
    while True:
        _threads.intersection_update(
            [n for n in _threads if os.path.exists(f"/proc/self/task/{n}")]
        )
        if not _threads or time.monotonic() > until:
            return not _threads
        time.sleep(PAUSE_S)


def settle() -> None:
    """A child's first act: the parent alone answers an interrupt, and it does not outlive it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(LEAVE_OFF, leave_off)
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class LeftOff(BaseException):
    """A child was told to stop working on something."""


def stop_work(child: BaseProcess) -> None:
    """Tells a child of `executor`'s to leave off; it lives on, or its pool would break."""
    if child.pid is not None and child.is_alive():
        os.kill(child.pid, LEAVE_OFF)


def leave_off(_number: int, _frame: object) -> None:
    global _left_off
    _left_off = True
    if _busy:
        raise LeftOff


def in_child(task: Any) -> Any:
    global _busy
    assert _inherited is not None
    if _left_off:
        raise LeftOff
    _busy = True
    try:
        return _inherited(task)
    finally:
        _busy = False


def cores() -> int:
    """Processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextmanager
def one_thread_a_call() -> Iterator[None]:
    """OpenCV's own threads and those of matrix products off for a while.

    On small pictures they only wait, and take turns with the workers: with them a scan of small
    pictures is half as fast.
    """
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        with matrix_products().limit(limits=1, user_api="blas"):
            yield
    finally:
        cv2.setNumThreads(before)


@cache
def matrix_products() -> ThreadpoolController:
    """NumPy's libraries; looking for them takes some milliseconds."""
    return ThreadpoolController()
