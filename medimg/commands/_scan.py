"""A dataset's files looked at: from the cache where they have not changed, else read."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from medimg.commands._job import Job
    from medimg.core.scan import ScanRecord
    from medimg.core.scan_cache import ScanCache, Stamp
    from medimg.core.types import DatasetIndex


@dataclass(frozen=True)
class Scanned:
    """What a scan gave.

    Args:
        records: path to record of every labelled image; those not reached have `kind` "not-read".
        read: files read now; cached: files known from an earlier run.
        missing: files not reached before an interrupt.
        seconds: what reading took.
    """

    records: dict[str, ScanRecord]
    read: int
    cached: int
    missing: int
    seconds: float

    @property
    def images_per_second(self) -> float | None:
        """Of those read now; None where none was."""
        return self.read / self.seconds if self.read and self.seconds > 0 else None


def scan_dataset(
    job: Job, index: DatasetIndex, cache: ScanCache, *, read_all: bool = False
) -> Scanned:
    """Reads what the cache does not know. An interrupt leaves what is done so far.

    Args:
        read_all: read every file, and put the cache right.
    """
    from medimg.core.scan import NOT_READ, scan_paths

    started = time.perf_counter()
    paths = list(dict.fromkeys(s.path for s in index.samples))
    known: dict[str, ScanRecord] = {}
    read: dict[str, ScanRecord] = {}
    stamps: dict[str, Stamp] = {}
    try:
        known = {} if read_all else cache.records(paths)
        wanted = [p for p in paths if p not in known]
        # taken before reading: a file that changes meanwhile is read again next time
        stamps = cache.stamps(wanted)
        with job.progress("Reading images", len(wanted)) as bar:
            for path, record in scan_paths(wanted, index.source, bar.update):
                read[path] = record
    except KeyboardInterrupt:
        done = len(known) + len(read)
        job.note(
            f"Interrupted after {done:,} of {len(paths):,} images"
            + (": the report will be about those." if done else ", before any was read."),
            severity="warning",
        )
    cache.keep(read, stamps)
    found = known | read
    records = {p: found.get(p, NOT_READ) for p in paths}
    seconds = time.perf_counter() - started
    return Scanned(records, len(read), len(known), len(paths) - len(found), seconds)
