"""What a scan and the checks found, kept between runs in the user's cache folder.

A record is good as long as its file's size and time of change are; what checks said is good as
long as those of all files, labels, settings and the checks' own sources are, and then no record
is looked at. A cache that can't be read or written is passed over: it only saves time.
"""

from __future__ import annotations

import gc
import hashlib
import json
import os
import sqlite3
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from medimg.core.cache import cache_folder
from medimg.core.checking import CheckContext, Checked
from medimg.core.index import MEMBER, FileSource
from medimg.core.scan import ScanRecord, scan_paths
from medimg.core.types import Finding, Source

# another name wherever the tables have other columns
FILE = "scans3.sqlite"
# raise it when a record's fields or their meaning change
RECORDS = 8
PARSED = 10_000
TABLES = """
create table if not exists records (
    root text, path text, size integer, changed integer, version integer, record text, arrays blob,
    primary key (root, path)
) without rowid;
create table if not exists judged (
    key text primary key, root text, fingerprint text, outcomes text
)
"""
Stamp = tuple[int, int]


@dataclass(frozen=True)
class Judged:
    """What is known of a dataset none of whose files has changed.

    Args:
        fingerprint: of `medimg.core.index`.
    """

    outcomes: dict[str, Checked]
    fingerprint: str


class KeptRecords(Mapping[str, ScanRecord]):
    """Records of files that have not changed, read from the cache once one is asked for.

    Args:
        paths: of all images; stamps: what `ScanCache.stamps` gives for them.
    """

    def __init__(self, cache: ScanCache, paths: Sequence[str], stamps: Mapping[str, Stamp]) -> None:
        self._cache = cache
        self._paths = paths
        self._stamps = stamps

    @cached_property
    def _records(self) -> dict[str, ScanRecord]:
        found = self._cache.records(self._paths, self._stamps)
        # the cache may have been cleared meanwhile
        missing = [path for path in self._paths if path not in found]
        return found | dict(scan_paths(missing, self._cache.source))

    @cached_property
    def digests(self) -> dict[str, str]:
        """Path to SHA-256 of each file's bytes."""
        found = self._cache.digests(self._stamps)
        if all(path in found for path in self._paths):
            return found
        return {path: record.sha256 for path, record in self._records.items()}

    def __getitem__(self, path: str) -> ScanRecord:
        return self._records[path]

    def __iter__(self) -> Iterator[str]:
        return iter(self._paths)

    def __len__(self) -> int:
        return len(self._paths)


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

    def records(
        self, paths: Iterable[str], stamps: Mapping[str, Stamp] | None = None
    ) -> dict[str, ScanRecord]:
        """Path to record, of the files that have not changed since.

        Args:
            stamps: what `stamps` gave for the paths, or more.
        """
        found: dict[str, ScanRecord] = {}
        if self.root is None or not self.file.exists():
            return found
        wanted = set(paths)
        now = self.stamps(wanted) if stamps is None else stamps
        with suppress(sqlite3.Error, OSError, ValueError, TypeError), no_collecting():
            rows = [row for row in self._rows() if row[0] in wanted and now.get(row[0]) == row[1:3]]
            # parsed in one piece: a call for each takes four times as long
            for start in range(0, len(rows), PARSED):
                some = rows[start : start + PARSED]
                parsed = json.loads(f"[{','.join(row[3] for row in some)}]")
                for (path, *_, arrays), values in zip(some, parsed, strict=True):
                    found[path] = ScanRecord.unpacked(values, arrays)
        return found

    def digests(self, stamps: Mapping[str, Stamp]) -> dict[str, str]:
        """Path to SHA-256, of the files whose stamps are those of their records."""
        # the first value of a record; to parse them all would take several times as long
        query = (
            "select path, size, changed, substr(record, 3, 64) from records "
            "where root = ? and version = ?"
        )
        with suppress(sqlite3.Error, OSError), closing(self._open()) as base:
            rows = base.execute(query, [self.root, RECORDS])
            return {row[0]: row[3] for row in rows if stamps.get(row[0]) == row[1:3]}
        return {}

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
        root = self.root
        if root is None:
            return {}
        seen = {p: stamp(os.path.join(root, p)) for p in paths if MEMBER not in p}
        return {path: told for path, told in seen.items() if told is not None}

    def judged(self, key: str) -> Judged | None:
        """What was said under a key last time, or None."""
        if not key or not self.file.exists():
            return None
        query = "select outcomes, fingerprint from judged where key = ?"
        with suppress(sqlite3.Error, OSError, ValueError, TypeError, KeyError):
            with closing(self._open()) as base:
                row = base.execute(query, [key]).fetchone()
            if row:
                told = json.loads(row[0])
                return Judged({name: outcome_of(own) for name, own in told.items()}, row[1])
        return None

    def keep_judged(self, key: str, judged: Judged) -> None:
        """Stores what the checks said; not where one of them failed, or without a key."""
        if not key or any(outcome.failed for outcome in judged.outcomes.values()):
            return
        text = json.dumps({name: asdict(outcome) for name, outcome in judged.outcomes.items()})
        row = (key, self.root, judged.fingerprint, text)
        self._write("insert or replace into judged values (?, ?, ?, ?)", [row])

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


def judged_key(
    context: CheckContext,
    stamps: Mapping[str, Stamp],
    checks: Mapping[str, Callable[..., Any]],
    asked: object = None,
) -> str:
    """Depends on everything that checks may look at, and on what they are; no record is read.

    Args:
        stamps: path to `stamp` of every image.
        asked: what else was wanted of them.
    Returns:
        Empty where an image has no stamp: nobody knows whether it has changed.
    """
    index = context.index
    if any(s.path not in stamps for s in index.samples):
        return ""
    digest = hashlib.sha256()

    def add(*values: object) -> None:
        digest.update(repr(values).encode("utf-8", "surrogateescape") + b"\n")

    add(index.layout, index.classes, index.positive, index.card, index.patients, str(index.root))
    add(index.strays, index.declared, index.findings, index.unlabelled)
    add({name: dict(own) for name, own in sorted(context.settings.items())}, context.card)
    add(RECORDS, asked, sources(checks))
    # labels and patients recur: a set of them, written once each, takes half the time
    told = {word: repr(word) for s in index.samples for word in (s.label, s.group, s.split)}
    rows = [
        f"{s.path}\0{told[s.label]}\0{told[s.group]}\0{told[s.split]}\0{stamps[s.path]}"
        for s in index.samples
    ]
    digest.update("\n".join(rows).encode("utf-8", "surrogateescape"))
    for s in index.samples:
        if s.columns:
            add(s.path, dict(s.columns))
    return digest.hexdigest()


def sources(checks: Mapping[str, Callable[..., Any]]) -> list[tuple[str, str]]:
    """Name and hash of every check's module and those it shares with others of its folder
    (`_outliers.py`), and of the core that they stand on."""
    found = [("core", file_hash(f)) for f in sorted(Path(__file__).parent.glob("*.py"))]
    folders = set()
    for name, check in sorted(checks.items()):
        module = sys.modules.get(getattr(check, "__module__", ""))
        file = Path(getattr(module, "__file__", None) or os.devnull)
        folders.add(file.parent)
        found.append((name, file_hash(file)))
    shared = (f for folder in sorted(folders) for f in sorted(folder.glob("_*.py")))
    return found + [("shared", file_hash(f)) for f in shared]


def file_hash(file: Path) -> str:
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError:
        return ""
