"""Commands as somebody types them: DATASET and RUN in hints become what was typed last, and how
the dataset was read with it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

# where a click context holds what was typed
WORDS = "medimg.words"
# the first argument of a command alone: elsewhere such a word is prose
PLACEHOLDER = re.compile(r"(?P<before>\bmedimg (?P<command>[a-z][a-z-]*) )(?P<word>DATASET|RUN)\b")
# what follows DATASET where the command takes it
SPLITS = "SPLITS"
# these look at all of a dataset, or deal its images anew
WITHOUT_SPLITS = ("inspect", "split")


def filled(text: str, words: Mapping[str, str]) -> str:
    """A text with the commands in it ready to be typed.

    Args:
        words: placeholder to what stands for it, quoted for a shell; others stay as they are.

    >>> filled("Look: medimg verify DATASET --html", {"DATASET": "'my scans'"})
    "Look: medimg verify 'my scans' --html"
    >>> filled("medimg evaluate RUN, or give the DATASET as it was", {"DATASET": "./scans"})
    'medimg evaluate RUN, or give the DATASET as it was'
    """

    def in_place(found: re.Match[str]) -> str:
        stands = words.get(found["word"], found["word"])
        takes = found["word"] == "DATASET" and found["command"] not in WITHOUT_SPLITS
        splits = words.get(SPLITS) if takes else None
        return found["before"] + stands + (f" {splits}" if splits else "")

    return PLACEHOLDER.sub(in_place, text)


def typed(
    dataset: str,
    layout: str | None = None,
    options: Mapping[str, Any] | None = None,
    positive: str | None = None,
    splits: str | None = None,
) -> str:
    """DATASET and how it is read, as one types it.

    >>> typed("my scans", "csv", {"label": "dx"}, splits="s.csv")
    "'my scans' --layout csv -o label=dx --splits s.csv"
    """
    from shlex import quote

    words = [dataset, *(["--layout", layout] if layout else [])]
    for key, value in (options or {}).items():
        words += ["-o", f"{key}={value}"]
    words += ["--positive", positive] if positive else []
    words += ["--splits", splits] if splits else []
    return " ".join(quote(word) for word in words)


def words_for(given: Mapping[str, Any]) -> dict[str, str]:
    """What `filled` puts for DATASET, from the options that say how it is read; those that were not
    given are missing or None.

    >>> words = words_for({"dataset": "scans", "splits": "s.csv"})
    >>> filled("medimg verify DATASET --html; medimg split DATASET", words)
    'medimg verify scans --splits s.csv --html; medimg split scans'
    """
    from shlex import quote

    reading = (given.get("layout"), given.get("options"), given.get("positive"))
    splits = given.get("splits")
    return {
        "DATASET": typed(str(given["dataset"]), *reading),
        SPLITS: f"--splits {quote(str(splits))}" if splits else "",
    }
