"""TensorBoard's event files: a scalar an epoch for each column of the history.

Written with the records and messages of the `tensorboard` package, which needs neither TensorFlow
nor PyTorch for that.
"""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Iterable
from pathlib import Path

from medimg.core.errors import UsageError
from medimg.core.report import cannot_write

FOLDER = "tensorboard"
PACKAGE = "tensorboard"


def require_tensorboard() -> None:
    """Raises UsageError where the package is missing; asked before anything is trained."""
    if importlib.util.find_spec(PACKAGE) is None:
        raise UsageError(
            "--tensorboard needs the package tensorboard, which is not installed",
            "pip install tensorboard, or leave --tensorboard out: history.csv has the same numbers",
        )


class Events:
    """One event file in `folder`.

    Earlier files go: a resumed run writes its whole history anew, so that no epoch stands there
    twice.

    Args:
        rows: of the epochs that are done already.
    """

    def __init__(self, folder: Path, rows: Iterable[dict[str, float | None]] = ()) -> None:
        from tensorboard.compat.proto.event_pb2 import Event

        self.file = folder / f"events.out.tfevents.{int(time.time())}.medimg"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for old in folder.glob("events.out.tfevents.*.medimg"):
                old.unlink()
        except OSError as error:
            raise cannot_write(self.file, error) from error
        self._append([Event(wall_time=time.time(), file_version="brain.Event:2")])
        for row in rows:
            self.add(row)

    def add(self, row: dict[str, float | None]) -> None:
        """One epoch's numbers, those that exist."""
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary

        values = [
            Summary.Value(tag=name, simple_value=value)
            for name, value in row.items()
            if name != "epoch" and value is not None
        ]
        step = int(row["epoch"] or 0)
        self._append([Event(wall_time=time.time(), step=step, summary=Summary(value=values))])

    def _append(self, events: list) -> None:  # type: ignore[type-arg]
        from tensorboard.summary.writer.record_writer import RecordWriter

        try:
            with self.file.open("ab") as file:
                writer = RecordWriter(file)
                for event in events:
                    writer.write(event.SerializeToString())
        except OSError as error:
            raise cannot_write(self.file, error) from error
