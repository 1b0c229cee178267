"""What evaluate was asked for, and what it has to judge: predictions beside the truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from medimg.core.runs import Predictions
    from medimg.core.types import DatasetIndex, Finding, RuntimeInfo
    from medimg.training.evaluation import Subject
    from medimg.training.experiment import Data


@dataclass(frozen=True)
class Asked:
    """What was asked for, beside RUN and DATASET."""

    split: str
    splits: str | None
    threshold: str | None
    layout: str | None
    options: dict[str, str]
    positive: str | None
    mapping: dict[str, str]
    allow: tuple[str, ...]
    seed: int
    columns: dict[str, str | None]
    calibrate: bool | None = None


@dataclass(frozen=True)
class Work:
    """Predictions beside the truth, ready to be judged.

    Args:
        subject: whose they are.
        ledger: the folder of runs in which looks are counted.
        training: what stands in the report of how the model came about.
        next_step: the command that a reader would go on with.
        columns: what each column of --by says of each image.
        trained: the `result` of the training's report, whose learning curves are drawn again.
    """

    subject: Subject
    data: Data
    predictions: Predictions
    threshold: dict[str, Any] | None
    findings: tuple[Finding, ...]
    ledger: Path
    training: dict[str, Any]
    next_step: str
    columns: Mapping[str, Sequence[str | None]]
    external: dict[str, Any] | None = None
    runtime: RuntimeInfo | None = None
    temperature: dict[str, Any] | None = None
    trained: Mapping[str, Any] | None = None


def fingerprint_of(index: DatasetIndex, records: Any) -> str:
    from medimg.core.index import fingerprint

    return fingerprint(index, {path: record.sha256 for path, record in records.items()})


def as_external(index: DatasetIndex, split: str) -> tuple[DatasetIndex, str]:
    """Other data without splits are wholly the part that is evaluated."""
    from dataclasses import replace

    if index.splits():
        return index, "the dataset's own splits"
    samples = [replace(s, split=split) for s in index.samples]
    return index.with_samples(samples), f"the dataset has no splits: all of it is {split}"
