"""The drawings of a document as files of their own, for Markdown: in its language, on white."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache
from pathlib import Path

from medimg.reports.document import Block, Document, Figure, Section


def with_figures(document: Document, folder: Path) -> Document:
    """The document whose figures name files that lie in its folder.

    The plots of evaluate and train are in English; a document in another language, and what there
    is no plot of, has its own drawings, written as SVG into `plots/report` (`plots/report.es`).

    Args:
        folder: where the document goes.
    Raises:
        InputError: a file can't be written.
    """
    from medimg.core.report import write_atomically

    place = "plots/report" if document.language == "en" else f"plots/report.{document.language}"

    def filed(block: Block, name: str) -> Block:
        if not isinstance(block, Figure) or not block.svg:
            return block
        if block.file and document.language == "en" and (folder / block.file).is_file():
            return block
        write_atomically(folder / place / f"{name}.svg", standalone(block.svg))
        return replace(block, file=f"{place}/{name}.svg")

    def of(section: Section) -> Section:
        blocks = (filed(b, f"{section.anchor}-{n}") for n, b in enumerate(section.blocks, 1))
        return replace(section, blocks=tuple(blocks))

    return replace(document, sections=tuple(of(section) for section in document.sections))


def standalone(svg: str) -> str:
    """A drawing of a page as a file: with the page's colours by day, and a white ground."""
    found = re.search(r'viewBox="0 0 (\d+) (\d+)"', svg)
    width, height = (int(n) for n in found.groups()) if found else (360, 250)
    opened, _, rest = svg.partition(">")
    head = opened.replace("<svg", f'<svg xmlns="http://www.w3.org/2000/svg" width="{2 * width}"')
    ground = f'<rect width="{width}" height="{height}" fill="#ffffff"/>'
    return f"{head}><style>{style()}</style>{ground}{rest}\n"


@cache
def style() -> str:
    """The rules for drawings of the page's style sheets, with their colours filled in."""
    from medimg.reports.html import environment

    sheets = [environment().get_template(name).render() for name in ("page.css", "document.css")]
    colours: dict[str, str] = {}
    for name, value in re.findall(r"--([\w]+):\s*(#\w+)", "\n".join(sheets)):
        # what comes first is for light pages
        colours.setdefault(name, value)
    rules = re.findall(r"\bsvg (?=[.t])[^{}]*{[^{}]*}", sheets[1])
    text = " ".join(" ".join(rule.split()).replace("svg ", "", 1) for rule in rules)
    return re.sub(r"var\(--(\w+)\)", lambda m: colours[m[1]], text)
