"""Ctrl-C while a report is being made: the report is about what is known by then."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any


class Interrupts:
    """Minds Ctrl-C inside a `with`: the first one ends the work that may be left off, whatever else
    is at work goes on to its end; the second one ends everything.

    Where Ctrl-C means something else to this process, or this is not its main thread, that stays.

    Attributes:
        repeated: to be set where one Ctrl-C is about to be raised a second time, because Python
            could not raise it when it came.
    """

    repeated = False

    def __init__(self) -> None:
        self._count = 0
        self._may_leave_off = False
        self._process = os.getpid()
        self._before: Any = None

    @property
    def pressed(self) -> bool:
        """Whether there was an interrupt."""
        return self._count > 0

    def leave_off(self, work: Callable[[], object], *, after_all: bool = False) -> None:
        """Does work that an interrupt ends; what it has done by then is its to keep.

        Args:
            after_all: begin it even where there was an interrupt before; only another one ends it.
        """
        try:
            self._may_leave_off = True
            if after_all or not self.pressed:
                work()
        except KeyboardInterrupt:
            # one that nobody pressed was raised by what was called
            self._count = max(self._count, 1)
            if self._count > 1:
                raise
        finally:
            self._may_leave_off = False

    def __enter__(self) -> Interrupts:
        main = threading.current_thread() is threading.main_thread()
        if main and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            self._before = signal.signal(signal.SIGINT, self._press)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)

    def _press(self, _number: int, _frame: FrameType | None) -> None:
        if os.getpid() != self._process:
            # a child that is not settled yet; its parent answers
            return
        again, Interrupts.repeated = Interrupts.repeated, False
        if not again:
            self._count += 1
        if self._may_leave_off or self._count > 1:
            raise KeyboardInterrupt
