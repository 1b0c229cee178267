"""What ships in the box, offered through the same hooks as a stranger's plugin.

A layout, check, metric, sampler or command is one file: its record is read off the file (the
stem is the name, the docstring's first line the summary) without importing it, so that adding
one takes no second edit and listing them costs nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from medimg.hookspecs import (
    CheckInfo,
    CommandInfo,
    DatasetInfo,
    MetricInfo,
    RegistryInfo,
    SamplerInfo,
    hookimpl,
)

HERE = Path(__file__).parent


def summary_of(file: Path) -> str:
    """The first line of a module's docstring, read as text."""
    with file.open(encoding="utf-8") as lines:
        first = lines.readline().strip()
    return first.removeprefix('"""').removesuffix('"""').rstrip(".")


def modules(package: str) -> Iterator[tuple[str, str]]:
    """(stem, summary) of each file in `medimg/<package>` that offers something."""
    for file in sorted((HERE / package).glob("*.py")):
        if not file.stem.startswith("_"):
            yield file.stem, summary_of(file)


def records(package: str, record: Any, attribute: str = "") -> list[Any]:
    """A record for each file of a package; the target is `attribute`, or the stem itself."""
    return [
        record(
            name=stem.replace("_", "-") if package != "metrics" else stem,
            summary=summary,
            target=f"medimg.{package}.{stem}:{attribute or stem}",
        )
        for stem, summary in modules(package)
    ]


@hookimpl
def medimg_datasets() -> list[DatasetInfo]:
    return [
        DatasetInfo("csv" if r.name == "labels-csv" else r.name, r.summary, r.target)
        for r in records("datasets", DatasetInfo, "Reader")
    ]


@hookimpl
def medimg_checks() -> list[CheckInfo]:
    return records("checks", CheckInfo, "check")


@hookimpl
def medimg_metrics() -> list[MetricInfo]:
    return records("metrics", MetricInfo)


@hookimpl
def medimg_samplers() -> list[SamplerInfo]:
    return records("balance", SamplerInfo, "Sampler")


@hookimpl
def medimg_commands() -> list[CommandInfo]:
    return records("commands", CommandInfo, "command")


@hookimpl
def medimg_registry() -> list[RegistryInfo]:
    return [RegistryInfo("medimg", "medimg:registry.yaml")]
