"""The failures medimg expects, each with its exit code and the next step.

Only the command line turns them into text; everything below raises them.
"""

from __future__ import annotations

# how alike a word and a known name are that are taken for the same, of 1
CLOSE = 0.76


class MedimgError(Exception):
    """Something a user can mend.

    Args:
        message: what is wrong and where.
        hint: the next step, a command where there is one.
    """

    exit_code = 3

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UnreadablePicture(OSError):
    """What a dataset plugin's source raises where it knows more of why a picture can't be read.

    Args:
        reason: in words.
        kind: the check that names it: `unreadable`, `truncated`, `empty-file`, `multi-frame` or
            `decompression-bomb`.
    """

    def __init__(self, reason: str, kind: str = "unreadable") -> None:
        super().__init__(reason)
        self.kind = kind


class UsageError(MedimgError):
    """An option, model, layout or metric that does not exist."""

    exit_code = 2


class InputError(MedimgError):
    """A dataset, file, disk or run folder that can't be used."""

    exit_code = 3


class BackendError(MedimgError):
    """No backend works here, or the one asked for doesn't."""

    exit_code = 3


class PluginError(MedimgError):
    """A plugin broke its promise."""

    exit_code = 4


class Refused(MedimgError):
    """The job ran and found errors that make its result meaningless.

    Args:
        findings: the findings that are the reason, for the report.
    """

    exit_code = 1

    def __init__(self, message: str, hint: str = "", findings: tuple = ()) -> None:
        super().__init__(message, hint)
        self.findings = findings


def near_misses(word: str, known: list[str]) -> str:
    """`" Did you mean 'cnn3'?"` where a known name is close, else the known names.

    >>> near_misses("cnn33", ["cnn2", "cnn3"])
    "Did you mean 'cnn3'?"
    >>> near_misses("x", ["cnn2", "cnn3"])
    'Known: cnn2, cnn3'
    """
    import difflib

    lowered = {name.lower(): name for name in known}
    begin_so = [name for name in lowered if len(word) > 2 and name.startswith(word.lower())]
    close = begin_so or difflib.get_close_matches(word.lower(), list(lowered), n=1, cutoff=CLOSE)
    if close:
        return f"Did you mean {lowered[close[0]]!r}?"
    return f"Known: {', '.join(known)}" if known else "None are installed."
