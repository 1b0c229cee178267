"""Which image a cell of a table names: by path, by name, without extension or zero padding."""

from __future__ import annotations

import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TypeVar

from medimg.api import canonical_split, is_image_name
from medimg.core.index import MEMBER
from medimg.datasets._table import FALLBACK_ENCODING
from medimg.datasets._tree import Tree, read_tree

K = TypeVar("K")
NUMBER = re.compile(r"(\d+)(\.0+)?")
# how Python holds a byte of a file name that is no UTF-8 (PEP 383)
ODD_BYTE = re.compile("[\udc80-\udcff]")


@dataclass(frozen=True)
class Match:
    """The images that a cell may name (several where it is not clear), and by what."""

    paths: tuple[str, ...]
    kind: str  # "path", "name", "stem" or "number"


def stem(path: str) -> str:
    """The file name without an image's extension; other dots stay.

    >>> stem("a/CR.1.2.840.png"), stem("CR.1.2.840")
    ('CR.1.2.840', 'CR.1.2.840')
    """
    name = path.rsplit("/", 1)[-1]
    return name.rsplit(".", 1)[0] if is_image_name(name) else name


def composed(name: str) -> str:
    """A name without case, its accents as one character each: macOS writes `é` as two.

    Bytes of a file name that are no UTF-8 are taken for Latin-1, as those of tables are.
    """
    if not name.isascii():
        name = ODD_BYTE.sub(lambda odd: latin(ord(odd[0]) - 0xDC00), name)
    return unicodedata.normalize("NFC", name.lower())


def latin(byte: int) -> str:
    """A byte's character in Latin-1, the gaps as Windows fills them."""
    return bytes([byte]).decode(FALLBACK_ENCODING, errors="replace")


class Pictures:
    """The images that a table can name.

    Args:
        base: the folder that an index's paths are relative to.
        folder: where images are looked for; listed on first need.
        extension: where given, only images with it count.
    """

    def __init__(self, base: Path, folder: Path, extension: str = "") -> None:
        self.base = base
        self.folder = folder
        self.extension = extension.lower()
        self._found: dict[tuple[str, str | None], Match | None] = {}

    @cached_property
    def tree(self) -> Tree:
        return read_tree(self.folder, raw=True)

    @cached_property
    def prefix(self) -> str:
        """From base to folder."""
        way = PurePosixPath(Path(os.path.relpath(self.folder, self.base)).as_posix())
        return "" if str(way) == "." else f"{way}/"

    @cached_property
    def paths(self) -> tuple[str, ...]:
        """Every image, relative to base."""
        found = (self.prefix + path for path in self.tree.root.below())
        return tuple(sorted(p for p in found if p.lower().endswith(self.extension)))

    @cached_property
    def known(self) -> set[str]:
        return set(self.paths)

    @cached_property
    def by_name(self) -> dict[str, list[str]]:
        return grouped((composed(p.rsplit("/", 1)[-1]), p) for p in self.paths)

    @cached_property
    def by_stem(self) -> dict[str, list[str]]:
        return grouped((composed(stem(p)), p) for p in self.paths)

    @cached_property
    def by_number(self) -> dict[int, list[str]]:
        return grouped((int(stem(p)), p) for p in self.paths if stem(p).isdecimal())

    def find(self, cell: str, split: str | None = None) -> Match | None:
        """The image or images that a cell names; None where it names none."""
        key = (cell, split)
        if key not in self._found:
            self._found[key] = self._find(cell, split)
        return self._found[key]

    def _find(self, cell: str, split: str | None) -> Match | None:
        text = cell.strip().replace("\\", "/").removeprefix("./")
        if not text:
            return None
        at = self.at_path(text)
        if at is not None:
            return Match((at,), "path")
        name = text.rsplit("/", 1)[-1]
        if is_image_name(name):
            return self.narrowed(self.by_name.get(composed(name), []), text, split, "name")
        found = self.narrowed(self.by_stem.get(composed(name), []), text, split, "stem")
        number = NUMBER.fullmatch(name)
        if found is None and number:
            number_paths = self.by_number.get(int(number[1]), [])
            return self.narrowed(number_paths, text, split, "number")
        return found

    def at_path(self, text: str) -> str | None:
        """The path relative to base, where the cell is a path as it stands."""
        file, mark, _ = text.rpartition(MEMBER)
        if not mark and not is_image_name(text):
            return None
        if not mark and "tree" in vars(self) and not text.startswith(("/", "..")):
            # what lies below the folder is listed already
            return next((p for p in (self.prefix + text, text) if p in self.known), None)
        for folder in dict.fromkeys((self.folder, self.base)):
            full = folder / (file if mark else text)
            if full.is_file() and text.lower().endswith(self.extension):
                way = Path(os.path.relpath(full, self.base)).as_posix()
                return f"{way}{mark}{text[len(file) + len(mark) :]}" if mark else way
        return None

    def narrowed(self, paths: list[str], text: str, split: str | None, kind: str) -> Match | None:
        """Of several images with one name, those that share most folders with the cell's path,
        and that lie in a folder of the row's split."""
        if len(paths) > 1:
            tail = text.lower().split("/")[:-1]
            most = max(shared_tail(path, tail) for path in paths)
            paths = [path for path in paths if shared_tail(path, tail) == most]
        if len(paths) > 1 and split is not None:
            same = [p for p in paths if split in map(canonical_split, p.split("/")[:-1])]
            paths = same or paths
        return Match(tuple(paths), kind) if paths else None


def shared_tail(path: str, folders: list[str]) -> int:
    """How many folders before the file name are the same, from the right."""
    own = path.lower().split("/")[:-1]
    count = 0
    for mine, theirs in zip(reversed(own), reversed(folders), strict=False):
        if mine != theirs:
            break
        count += 1
    return count


def grouped(pairs: Iterable[tuple[K, str]]) -> dict[K, list[str]]:
    """Paths by key."""
    result: dict[K, list[str]] = defaultdict(list)
    for key, path in pairs:
        result[key].append(path)
    return dict(result)
