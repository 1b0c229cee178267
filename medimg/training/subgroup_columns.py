"""What `--by` may name: a column of the dataset, what the files tell, or a part of their paths."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from medimg.core.errors import UsageError, near_misses
from medimg.core.types import DatasetIndex, Sample

if TYPE_CHECKING:
    from medimg.training.experiment import Data

Value = Callable[[Sample, Any], str | None]


def folder(sample: Sample, _record: Any) -> str | None:
    """The folder that the file lies in."""
    return PurePosixPath(sample.path).parent.name or None


def size(_sample: Sample, record: Any) -> str | None:
    """Width and height in pixels."""
    return f"{record.width}×{record.height}" if record and record.width else None


def mode(_sample: Sample, record: Any) -> str | None:
    """Grey or colour, by content."""
    return ("grey" if record.grey else "colour") if record and record.mode else None


def file_format(_sample: Sample, record: Any) -> str | None:
    return record.format or None if record else None


# what every dataset has, unless a column of its own is called so
TOLD_BY_FILES: dict[str, Value] = {
    "folder": folder,
    "size": size,
    "mode": mode,
    "format": file_format,
}


def parse_by(asked: Sequence[str]) -> dict[str, str | None]:
    """`--by` as name to pattern (None: a column).

    `a,b` are two columns; `NAME=REGEX` is what the first group of REGEX finds in the path.

    Raises:
        UsageError: a pattern that is none, or without a group.

    >>> parse_by(["sex,view", r"zoom=/(\\d+)X/"])
    {'sex': None, 'view': None, 'zoom': '/(\\\\d+)X/'}
    """
    found: dict[str, str | None] = {}
    for text in asked:
        name, equals, pattern = text.partition("=")
        if not equals:
            found.update({part.strip(): None for part in text.split(",") if part.strip()})
            continue
        try:
            groups = re.compile(pattern).groups
        except re.error as error:
            raise UsageError(f"--by {text}: {pattern!r} is no pattern: {error}") from error
        if not groups:
            raise UsageError(
                f"--by {text}: the pattern has no group to take the value from",
                r"For example: --by 'magnification=/(\d+X)/'",
            )
        found[name.strip()] = pattern
    return found


def column_values(
    data: Data, split: str, asked: Mapping[str, str | None]
) -> dict[str, list[str | None]]:
    """What each asked column says of each sample of a part.

    Raises:
        UsageError: there is no such column, or a pattern finds nothing in any path.
    """
    index, samples = data.index, data.index.part(split)
    known = {name for s in index.samples for name in s.columns}
    found: dict[str, list[str | None]] = {}
    for name, pattern in asked.items() if samples else ():
        if pattern is not None:
            found[name] = by_pattern(name, pattern, samples)
        elif name in known:
            found[name] = [s.columns.get(name) for s in samples]
        elif name in TOLD_BY_FILES:
            found[name] = [TOLD_BY_FILES[name](s, data.records.get(s.path)) for s in samples]
        else:
            raise unknown_column(index, name, known)
    return found


def by_pattern(name: str, pattern: str, samples: Sequence[Sample]) -> list[str | None]:
    matches = [re.search(pattern, s.path) for s in samples]
    if not any(matches):
        raise UsageError(
            f"--by {name}: {pattern!r} is found in no path, the first of which is {samples[0].path}"
        )
    return [match.group(1) if match else None for match in matches]


def unknown_column(index: DatasetIndex, name: str, known: set[str]) -> UsageError:
    names = [*sorted(known), *TOLD_BY_FILES]
    return UsageError(
        f"{index.name} has no column {name!r} to divide by",
        f"{near_misses(name, names)}\n"
        rf"A part of the paths: --by '{name}=REGEX' with one group, like /(\d+X)/".strip(),
    )
