"""What a scan and the checks found, kept between runs in the user's cache folder.

A record is good as long as its file's size and time of change are; what checks said is good as
long as all records, labels, settings and the checks' own sources are. A cache that can't be
read or written is passed over: it only saves time.
"""

from __future__ import annotations

import gc
import hashlib
import json
import os
import sqlite3
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from medimg.core.cache import cache_folder
from medimg.core.checking import CheckContext, Checked
from medimg.core.index import MEMBER, FileSource
from medimg.core.scan import ScanRecord
from medimg.core.types import Finding, Source

# another name wherever the tables have other columns
FILE = "scans2.sqlite"
# raise it when a record's fields or their meaning change
RECORDS = 6
PARSED = 10_000
TABLES = """
create table if not exists records (
    root text, path text, size integer, changed integer, version integer, record text, arrays blob,
    primary key (root, path)
) without rowid;
create table if not exists outcomes (key text primary key, root text, outcomes text)
"""
Stamp = tuple[int, int]


class ScanCache:
    """Records and outcomes of one dataset's folder.

    Args:
        source: where the images come from; only files under its root are kept.
        folder: of the cache, default `medimg.core.cache.cache_folder()`.
    """

    def __init__(self, source: Source, folder: Path | None = None) -> None:
        self.source = source
        self.file = (folder or cache_folder()) / FILE

    @property
    def root(self) -> str | None:
        """The folder that paths are relative to; None where images are no files of their own."""
        return str(self.source.root) if isinstance(self.source, FileSource) else None

    def records(self, paths: Iterable[str]) -> dict[str, ScanRecord]:
        """Path to record, of the files that have not changed since."""
        found: dict[str, ScanRecord] = {}
        if self.root is None or not self.file.exists():
            return found
        wanted = set(paths)
        with suppress(sqlite3.Error, OSError, ValueError, TypeError), no_collecting():
            rows = [
                row
                for row in self._rows()
                if row[0] in wanted and stamp(os.path.join(self.root, row[0])) == row[1:3]
            ]
            # parsed in one piece: a call for each takes four times as long
            for start in range(0, len(rows), PARSED):
                some = rows[start : start + PARSED]
                parsed = json.loads(f"[{','.join(row[3] for row in some)}]")
                for (path, *_, arrays), values in zip(some, parsed, strict=True):
                    found[path] = ScanRecord.unpacked(values, arrays)
        return found

    def keep(self, records: Mapping[str, ScanRecord], stamps: Mapping[str, Stamp]) -> None:
        """Stores new records.

        Args:
            stamps: path to `stamp` of the file, taken before it was read.
        """
        packed = {
            path: record.packed()
            for path, record in records.items()
            if path in stamps and record.sha256
        }
        rows = [
            (self.root, path, *stamps[path], RECORDS, json.dumps(values), arrays)
            for path, (values, arrays) in packed.items()
        ]
        self._write("insert or replace into records values (?, ?, ?, ?, ?, ?, ?)", rows)

    def stamps(self, paths: Iterable[str]) -> dict[str, Stamp]:
        """Path to size and time of change, of those that are files of their own."""
        if self.root is None:
            return {}
        seen = {p: stamp(os.path.join(self.root, p)) for p in paths if MEMBER not in p}
        return {path: told for path, told in seen.items() if told is not None}

    def outcomes(self, key: str) -> dict[str, Checked] | None:
        """What the checks said last time, or None."""
        if not self.file.exists():
            return None
        with suppress(sqlite3.Error, OSError, ValueError, TypeError, KeyError):
            with closing(self._open()) as base:
                row = base.execute("select outcomes from outcomes where key = ?", [key]).fetchone()
            if row:
                return {name: outcome_of(told) for name, told in json.loads(row[0]).items()}
        return None

    def keep_outcomes(self, key: str, outcomes: Mapping[str, Checked]) -> None:
        """Stores what the checks said; not where one of them failed."""
        if any(outcome.failed for outcome in outcomes.values()):
            return
        text = json.dumps({name: asdict(outcome) for name, outcome in outcomes.items()})
        self._write("insert or replace into outcomes values (?, ?, ?)", [(key, self.root, text)])

    def _open(self) -> sqlite3.Connection:
        return sqlite3.connect(self.file, timeout=5)

    def _rows(self) -> list[tuple[str, int, int, str, bytes | None]]:
        query = (
            "select path, size, changed, record, arrays from records where root = ? and version = ?"
        )
        with closing(self._open()) as base:
            return base.execute(query, [self.root, RECORDS]).fetchall()

    def _write(self, statement: str, rows: list[tuple[Any, ...]]) -> None:
        if self.root is None or not rows:
            return
        # with a file name that is no UTF-8 nothing is kept: it is read anew each time
        with suppress(sqlite3.Error, OSError, UnicodeEncodeError):
            self.file.parent.mkdir(parents=True, exist_ok=True)
            with closing(self._open()) as base, base:
                base.executescript(TABLES)
                base.executemany(statement, rows)


@contextmanager
def no_collecting() -> Iterator[None]:
    """Python's search for cycles off for a while: among a million new values it finds none."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def stamp(file: str) -> Stamp | None:
    """Size in bytes and time of the last change in nanoseconds; None where there is no file."""
    try:
        state = os.stat(file)
    except OSError:
        return None
    return state.st_size, state.st_mtime_ns


def outcome_of(told: Mapping[str, Any]) -> Checked:
    findings = tuple(Finding(**{**f, "items": tuple(f["items"])}) for f in told["findings"])
    return Checked(**{**told, "findings": findings})


def outcomes_key(context: CheckContext, checks: Mapping[str, Callable[..., Any]]) -> str:
    """Depends on everything that checks may look at, and on what they are."""
    index = context.index
    digest = hashlib.sha256()

    def add(*values: object) -> None:
        digest.update(repr(values).encode() + b"\n")

    add(index.layout, index.classes, index.positive, index.card, index.patients, str(index.root))
    add(index.strays, index.declared, index.findings, index.unlabelled)
    add({name: dict(own) for name, own in sorted(context.settings.items())}, context.card)
    for s in index.samples:
        record = context.scan[s.path]
        add(s.path, s.label, s.group, s.split, dict(s.columns), record.sha256, record.error)
    add(sources(checks))
    return digest.hexdigest()


def sources(checks: Mapping[str, Callable[..., Any]]) -> list[tuple[str, str]]:
    """Name and hash of every check's module, and of the core that they stand on."""
    found = [("core", file_hash(f)) for f in sorted(Path(__file__).parent.glob("*.py"))]
    for name, check in sorted(checks.items()):
        module = sys.modules.get(getattr(check, "__module__", ""))
        found.append((name, file_hash(Path(getattr(module, "__file__", None) or os.devnull))))
    return found


def file_hash(file: Path) -> str:
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError:
        return ""
