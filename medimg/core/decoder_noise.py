"""Keeps what libjpeg and libpng print about damaged pictures off the terminal.

They write to C's standard error by themselves; cv2 has no switch for it, and what they say has no
file name. Python's own standard error, where progress bars stand, is another stream on the same
descriptor and is left alone.
"""

from __future__ import annotations

import ctypes
import os
import sys
from functools import cache
from threading import Lock
from types import TracebackType

# what C's `stderr` is called in the system's library
NAMES = {"linux": "stderr", "darwin": "__stderrp"}


class Quiet:
    """Within it, what C code prints to its standard error is dropped; for any number of threads."""

    def __init__(self) -> None:
        self._inside = 0
        self._lock = Lock()
        self._before: int | None = None

    def __enter__(self) -> None:
        with self._lock:
            self._inside += 1
            if self._inside == 1:
                self._turn_away()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._lock:
            self._inside -= 1
            found = streams()
            if self._inside == 0 and found is not None:
                found[0].value = self._before

    def _turn_away(self) -> None:
        found = streams()
        if found is not None:
            self._before = found[0].value
            found[0].value = found[1]


quiet = Quiet()


@cache
def streams() -> tuple[ctypes.c_void_p, int] | None:
    """(C's variable `stderr`, a stream that goes nowhere); None where they can't be had."""
    name = NAMES.get(sys.platform)
    if name is None:
        return None
    library = ctypes.CDLL(None)
    try:
        variable = ctypes.c_void_p.in_dll(library, name)
    except ValueError:
        return None
    library.fopen.restype = ctypes.c_void_p
    nowhere = library.fopen(os.devnull.encode(), b"w")
    return (variable, nowhere) if nowhere else None
