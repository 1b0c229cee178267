"""Names and what stands for them, by their keys in words.yaml."""

from __future__ import annotations

from collections.abc import Iterable

from medimg.reports.document import Facts
from medimg.reports.language import Words


def facts(rows: Iterable[tuple[str, str | None]], words: Words) -> Facts:
    """Facts by their key in words.yaml; those without a value are left out."""
    return Facts(tuple((words(f"fact.{key}"), told) for key, told in rows if told))
