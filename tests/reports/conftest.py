"""Reports made of small datasets, and pages taken apart as a reader would meet them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from medimg.core import report as reports
from medimg.core.checking import CheckContext, run_checks
from medimg.core.scan import scan
from medimg.core.types import DatasetIndex
from medimg.manager import plugins
from medimg.opening import open_dataset

VOID = {"meta", "img", "wbr", "br", "link", "input", "hr"}


@dataclass
class Element:
    """One element of a page, its text with everything under it."""

    tag: str
    attributes: dict[str, str]
    children: list[Element] = field(default_factory=list)
    words: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        return " ".join("".join(self.words).split())

    def all(self, tag: str = "", style: str = "") -> list[Element]:
        """Elements below it, in their order, by tag and by one of their CSS classes."""
        found = []
        for child in self.children:
            classes = child.attributes.get("class", "").split()
            if tag in ("", child.tag) and (not style or style in classes):
                found.append(child)
            found += child.all(tag, style)
        return found


class Reader(HTMLParser):
    """A strict reader: elements close in the order they open."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.root = Element("", {})
        self.open = [self.root]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, {name: value or "" for name, value in attrs})
        self.open[-1].children.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_endtag(self, tag: str) -> None:
        assert self.open[-1].tag == tag, f"</{tag}> closes <{self.open[-1].tag}>"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        for element in self.open:
            element.words.append(data)


@pytest.fixture(scope="session")
def read_page() -> Callable[[str], Element]:
    """A function that takes a page apart; it fails where elements don't close in order."""

    def read(page: str) -> Element:
        reader = Reader()
        reader.feed(page)
        reader.close()
        assert [e.tag for e in reader.open] == [""], "an element is left open"
        return reader.root

    return read


@pytest.fixture(scope="session")
def opened() -> Callable[..., DatasetIndex]:
    """A function that opens a dataset as the commands do."""

    def open_it(root: Path, **options: str) -> DatasetIndex:
        manager = plugins()
        return open_dataset(
            str(root), layout=None, options=options, manager=manager, registry=manager.registry()
        )

    return open_it


@pytest.fixture(scope="session")
def verified() -> Callable[..., dict[str, Any]]:
    """A function that runs checks over a dataset and gives its report as report.json holds it."""

    def verify(index: DatasetIndex, only: Iterable[str] = ()) -> dict[str, Any]:
        manager = plugins()
        offered = {n: i for n, i in manager.checks().items() if not only or n in only}
        context = CheckContext(index, scan(index))
        outcomes = run_checks(
            {name: manager.resolve(info) for name, info in offered.items()}, context
        )
        checks = {
            name: {"status": c.status, "count": c.count, "seconds": c.seconds, "reason": c.reason}
            for name, c in outcomes.items()
        }
        return as_written(
            "verify",
            {"checks": checks, "files": len(index), "images_per_second": None},
            index,
            tuple(f for c in outcomes.values() for f in c.findings),
        )

    return verify


def as_written(command: str, result: Any, index: DatasetIndex, findings: tuple) -> dict[str, Any]:
    """The report of a command, through JSON and back."""
    built = reports.build(
        command,
        result,
        arguments=[command, "my scans", "--only", "blur"],
        settings={"dataset": "my scans", "layout": None, "options": {"group": "none"}},
        seed=0,
        seconds=1.0,
        plugins={},
        dataset=reports.summarise(index, None),
        findings=findings,
    )
    return json.loads(reports.to_json(built))
