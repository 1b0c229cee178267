"""A dataset's files looked at: from the cache where they have not changed, else read."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from medimg.commands._job import Job
    from medimg.core.interrupts import Interrupts
    from medimg.core.scan import ScanRecord
    from medimg.core.scan_cache import ScanCache, Stamp
    from medimg.core.types import DatasetIndex

# records written to the cache at once while files are read: what is not written by then is when
# somebody interrupts, and waits
KEPT_TOGETHER = 2_000


@dataclass(frozen=True)
class Scanned:
    """What a scan gave.

    Args:
        records: path to record of every labelled image; those not reached have `kind` "not-read".
        read: files read now; cached: files known from an earlier run.
        missing: files not reached before an interrupt.
        seconds: what reading took.
    """

    records: Mapping[str, ScanRecord]
    read: int
    cached: int
    missing: int
    seconds: float

    @property
    def all_read(self) -> bool:
        """Whether the bytes of every file are known."""
        return all(self.digests.values())

    @cached_property
    def digests(self) -> dict[str, str]:
        """Path to SHA-256 of each file's bytes; empty where it could not be read."""
        from medimg.core.scan_cache import KeptRecords

        if isinstance(self.records, KeptRecords):
            return self.records.digests
        return {path: record.sha256 for path, record in self.records.items()}

    @property
    def images_per_second(self) -> float | None:
        """Of those read now; None where none was."""
        return self.read / self.seconds if self.read and self.seconds > 0 else None


def unchanged(index: DatasetIndex, cache: ScanCache, stamps: Mapping[str, Stamp]) -> Scanned:
    """Files none of which has changed since all that is asked for was found out.

    Args:
        stamps: what the cache gives for all images.
    """
    from medimg.core.scan_cache import KeptRecords

    paths = list(dict.fromkeys(s.path for s in index.samples))
    return Scanned(KeptRecords(cache, paths, stamps), 0, len(paths), 0, 0.0)


def scan_dataset(
    job: Job,
    index: DatasetIndex,
    cache: ScanCache,
    interrupts: Interrupts,
    stamps: Mapping[str, Stamp] | None = None,
    *,
    read_all: bool = False,
) -> Scanned:
    """Reads what the cache does not know. An interrupt leaves what is done so far.

    Args:
        interrupts: minds them.
        stamps: what the cache gives for all images, where that is known already.
        read_all: read every file, and put the cache right.
    """
    from medimg.core.scan import NOT_READ, scan_paths

    started = time.perf_counter()
    paths = list(dict.fromkeys(s.path for s in index.samples))
    # taken before reading: a file that changes meanwhile is read again next time
    known_stamps = dict(stamps or {})
    known: dict[str, ScanRecord] = {}
    read: dict[str, ScanRecord] = {}
    to_keep: dict[str, ScanRecord] = {}

    def look() -> None:
        if stamps is None:
            known_stamps.update(cache.stamps(paths))
        known.update({} if read_all else cache.records(paths, known_stamps))
        wanted = [p for p in paths if p not in known]
        with job.progress("Reading images", len(wanted)) as bar:
            for path, record in scan_paths(wanted, index.source, bar.update):
                read[path] = to_keep[path] = record
                if len(to_keep) >= KEPT_TOGETHER:
                    cache.keep(to_keep, known_stamps)
                    to_keep.clear()

    interrupts.leave_off(look)
    cache.keep(to_keep, known_stamps)
    found = known | read
    records = {p: found.get(p, NOT_READ) for p in paths}
    seconds = time.perf_counter() - started
    return Scanned(records, len(read), len(known), len(paths) - len(found), seconds)
