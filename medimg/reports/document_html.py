"""A document as one page: no script, nothing fetched, light or dark, on paper or a phone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from medimg import __version__
from medimg.reports.document import Block, Document, Figure
from medimg.reports.language import Words


@dataclass(frozen=True, slots=True)
class Group:
    """Blocks that stand under one another, or figures side by side."""

    figures: bool
    blocks: tuple[Block, ...]


def grouped(blocks: Sequence[Block]) -> Iterator[Group]:
    """Figures that follow one another stand side by side."""
    from itertools import groupby

    for figures, found in groupby(blocks, key=lambda block: isinstance(block, Figure)):
        yield Group(figures, tuple(found))


def as_html(document: Document) -> str:
    """The whole page; everything from outside is escaped."""
    from medimg.reports.html import environment

    return (
        environment()
        .get_template("document.html.j2")
        .render(
            document=document,
            words=Words(document.language),
            version=document.version or __version__,
            grouped=grouped,
            kind_of=lambda block: type(block).__name__,
        )
    )
