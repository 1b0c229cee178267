"""A report as a document: sections of text, facts, tables, drawings and pictures.

What is said is decided once; HTML, Markdown and JSON are three ways to write it down.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Tone = Literal["plain", "error", "warning", "info", "ok", "note", "soft"]


@dataclass(frozen=True, slots=True)
class Text:
    """A paragraph; `code` is a command or path after it, `original` says it is in English."""

    text: str
    tone: Tone = "plain"
    code: str = ""
    original: bool = False


@dataclass(frozen=True, slots=True)
class Facts:
    """Names and what stands for them."""

    rows: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of text; `numeric` columns are set to the right, `shades` colour cells (0..1)."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str = ""
    numeric: frozenset[int] = frozenset()
    shades: Mapping[tuple[int, int], float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Figure:
    """A drawing (`svg`) or a picture (`uri`), with a legend of (series number, words).

    Args:
        file: a picture of the same in the folder of the report, for Markdown.
    """

    caption: str
    svg: str = ""
    uri: str = ""
    legend: tuple[tuple[int, str], ...] = ()
    file: str = ""


@dataclass(frozen=True, slots=True)
class Found:
    """A finding of a check.

    Args:
        level: the severity in the document's language.
        said: what the check finds, where `message` is in another language.
        told: the message in the document's language, where that is another and it is known.
        step: the next step in the document's language, where that is another.
    """

    check: str
    severity: str
    message: str
    count: int
    hint: str = ""
    said: str = ""
    level: str = ""
    told: str = ""
    step: str = ""


@dataclass(frozen=True, slots=True)
class Findings:
    title: str
    rows: tuple[Found, ...]


@dataclass(frozen=True, slots=True)
class Picture:
    """An image of the dataset; `uri` is empty where it can't be shown."""

    caption: str
    name: str
    uri: str
    small: bool = False


@dataclass(frozen=True, slots=True)
class Pictures:
    rows: tuple[Picture, ...]


@dataclass(frozen=True, slots=True)
class Item:
    """An item of a checklist: `state` is `filled`, `begun` or `open`."""

    number: str
    asks: str
    answer: str
    state: str


@dataclass(frozen=True, slots=True)
class Checklist:
    rows: tuple[Item, ...]


@dataclass(frozen=True, slots=True)
class Code:
    """Lines to copy, folded away under a title."""

    title: str
    text: str


Block = Text | Facts | Table | Figure | Findings | Pictures | Checklist | Code


@dataclass(frozen=True, slots=True)
class Section:
    anchor: str
    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class Document:
    """A whole report.

    Args:
        language: `en` or `es`.
        verdict: its one sentence, and how it is meant.
        notes: what stands under it.
    """

    language: str
    kind: str
    title: str
    verdict: str
    tone: Tone
    notes: tuple[Text, ...]
    sections: tuple[Section, ...]
    version: str

    def has_pictures(self) -> bool:
        return any(isinstance(b, Pictures) and b.rows for s in self.sections for b in s.blocks)


def as_data(document: Document) -> dict[str, Any]:
    """The document as JSON holds it: drawings and pictures left out, each block with its kind."""
    return {
        "schema": "medimg.document/1",
        "language": document.language,
        "kind": document.kind,
        "title": document.title,
        "verdict": document.verdict,
        "tone": document.tone,
        "medimg": document.version,
        "notes": [asdict(note) for note in document.notes],
        "sections": [
            {
                "anchor": section.anchor,
                "title": section.title,
                "blocks": [block_data(block) for block in section.blocks],
            }
            for section in document.sections
        ],
    }


def block_data(block: Block) -> dict[str, Any]:
    if isinstance(block, Table):
        rows = [list(row) for row in block.rows]
        return {"block": "table", "caption": block.caption, "columns": block.columns, "rows": rows}
    data = asdict(block)
    for heavy in ("svg", "uri"):
        data.pop(heavy, None)
    if isinstance(block, Pictures):
        data["rows"] = [{k: v for k, v in row.items() if k != "uri"} for row in data["rows"]]
    return {"block": type(block).__name__.lower(), **data}


# -- Markdown ------------------------------------------------------------------------------------


def as_markdown(document: Document) -> str:
    """The document as Markdown; drawings are named where a file of them lies in the folder."""
    lines = [f"# {document.title}", "", document.kind, "", f"**{document.verdict}**", ""]
    for note in document.notes:
        lines += [paragraph(note), ""]
    for section in document.sections:
        lines += [f"## {section.title}", ""]
        for block in section.blocks:
            if text := block_markdown(block):
                lines += [text, ""]
    return "\n".join(lines).rstrip() + "\n"


def block_markdown(block: Block) -> str:
    if isinstance(block, Text):
        return paragraph(block)
    if isinstance(block, Facts):
        return "\n".join(f"- **{name}**: {value}" for name, value in block.rows)
    if isinstance(block, Table):
        return pipes(block.columns, block.rows, block.caption)
    if isinstance(block, Figure):
        return f"![{block.caption}]({block.file})" if block.file else ""
    if isinstance(block, Findings):
        lines = [f"**{block.title}**", ""] if block.title else []
        for row in block.rows:
            said = f"{row.said}. " if row.said else ""
            step = row.step or row.hint
            hint = f" → {step}" if step else ""
            message = row.told or row.message
            lines.append(f"- **{row.level or row.severity}** `{row.check}`: {said}{message}{hint}")
        return "\n".join(lines)
    if isinstance(block, Pictures):
        return "\n".join(f"- `{row.name}`: {row.caption}" for row in block.rows)
    if isinstance(block, Checklist):
        marks = {"filled": "x", "begun": "~", "open": " "}
        return "\n".join(
            f"- [{marks[row.state]}] {row.number}. {row.asks}: {row.answer}" for row in block.rows
        )
    return f"**{block.title}**\n\n```\n{block.text.rstrip()}\n```"


def paragraph(text: Text) -> str:
    return f"{text.text} `{text.code}`".strip() if text.code else text.text


def pipes(columns: Sequence[str], rows: Sequence[Sequence[str]], caption: str = "") -> str:
    """A Markdown table."""

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(c.replace("|", "\\|").replace("\n", " ") for c in cells) + " |"

    head = [f"*{caption}*", ""] if caption else []
    return "\n".join([*head, line(columns), "|" + " --- |" * len(columns), *map(line, rows)])
