"""Commands as somebody types them: DATASET and RUN in hints become what was typed last."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

# where a click context holds what was typed
WORDS = "medimg.words"
# the first argument of a command alone: elsewhere such a word is prose
PLACEHOLDER = re.compile(r"(\bmedimg [a-z][a-z-]* )(DATASET|RUN)\b")


def filled(text: str, words: Mapping[str, str]) -> str:
    """A text with the commands in it ready to be typed.

    Args:
        words: placeholder to what stands for it, quoted for a shell; others stay as they are.

    >>> filled("Look: medimg verify DATASET --html", {"DATASET": "'my scans'"})
    "Look: medimg verify 'my scans' --html"
    >>> filled("medimg evaluate RUN, or give the DATASET as it was", {"DATASET": "./scans"})
    'medimg evaluate RUN, or give the DATASET as it was'
    """
    return PLACEHOLDER.sub(lambda found: found[1] + words.get(found[2], found[2]), text)


def typed(dataset: str, layout: str | None = None, options: Mapping[str, Any] | None = None) -> str:
    """DATASET and how it is read, as one types it.

    >>> typed("my scans", "csv", {"label": "dx"})
    "'my scans' --layout csv -o label=dx"
    """
    from shlex import quote

    words = [dataset, *(["--layout", layout] if layout else [])]
    for key, value in (options or {}).items():
        words += ["-o", f"{key}={value}"]
    return " ".join(quote(word) for word in words)
