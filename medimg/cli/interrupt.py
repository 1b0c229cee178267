"""Ctrl-C where no command listens for it: in Python's imports, between them, at its end."""

from __future__ import annotations

import sys

# no other imports at the top: each of them is a moment in which nobody listens
EXIT_CODE = 130
LATER_S = 0.005


def told() -> int:
    """Says so in one line; the exit code."""
    print("Interrupted.", file=sys.stderr, flush=True)
    return EXIT_CODE


def press_again_where_lost() -> None:
    """An interrupt that Python can't raise (while it clears something away) comes a moment later.

    Without this it is printed as an exception that was ignored, and the command goes on.
    """
    before = sys.unraisablehook

    def again(lost: sys.UnraisableHookArgs) -> None:
        if lost.exc_type is not KeyboardInterrupt:
            before(lost)
            return
        import _thread

        # by then the main thread is out of what it clears away
        _thread.start_new_thread(press_later, ())

    sys.unraisablehook = again


def came_of_interrupt(error: BaseException | None) -> bool:
    """Whether an error is what an import made of an interrupt, or what followed from one."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None


def press_later() -> None:
    import _thread
    import time

    time.sleep(LATER_S)
    minded = sys.modules.get("medimg.core.interrupts")
    if minded:
        minded.Interrupts.repeated = True
    _thread.interrupt_main()


def end_at_once() -> None:
    """From now on Ctrl-C ends Python without a word: nothing is left to be done."""
    import signal

    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
