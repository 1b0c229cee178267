"""Run folders: where they go, what stands in them, and how they are read back."""

from __future__ import annotations

import csv
import json
import os
import re
import shlex
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medimg.core.errors import InputError, UsageError
from medimg.core.operating import read_operating, tempered_card

if TYPE_CHECKING:
    import numpy as np

    from medimg.core.types import Sample

REPORT = "report.json"
# its first key; the whole may be long
REPORT_BEGINS = re.compile(rb'\s*\{\s*"schema"\s*:\s*"medimg\.report/')
RECIPE = "recipe.yaml"
MODEL = "model"
MODEL_CARD = "model/model.json"
SPLITS = "splits.csv"
STATE = "checkpoints/state.json"
# how a training ended that going on with can't mend
HOPELESS = "non-finite-loss"
REWRITE = "medimg evaluate RUN writes predictions anew."
PREDICTION_FIELDS = ("path", "split", "label", "group", "sha256")


def check_name(name: str) -> None:
    """Raises UsageError where a name of a folder is none, or leads out of the folder around it."""
    if name in ("", ".", "..") or name != name.strip() or set(name) & set("/\\\0\n"):
        raise UsageError(
            f"--name {name!r} is not the name of a folder",
            "Give a name without / or ..; where it goes: --out DIR",
        )


def check_new_run_folder(out: Path, name: str | None = None) -> None:
    """Fails where `new_run_folder` would, before the work and without leaving anything.

    Raises:
        UsageError, InputError: as `new_run_folder`.
    """
    if name is not None:
        check_name(name)
    check_writable(out / name if name else out)
    if name is not None:
        refuse_taken(out / name)


def refuse_taken(folder: Path) -> None:
    """Raises InputError where something stands in a folder."""
    if folder.is_dir() and any(folder.iterdir()):
        raise InputError(
            f"{folder} exists and is not empty", "Choose another --name, or remove it."
        )


def check_writable(folder: Path) -> None:
    """Fails where nothing can be written into a folder, which may not be there yet.

    Raises:
        InputError: the folder that is there, it or one above it, takes nothing.
    """
    from medimg.core.report import cannot_write

    try:
        there = folder
        while not stands(there):
            there = there.parent
        # permissions tell less than a try: of root, of network drives, of full disks
        os.rmdir(tempfile.mkdtemp(dir=there, prefix=".medimg-"))
    except OSError as error:
        raise cannot_write(folder, error) from error


def stands(path: Path) -> bool:
    """Whether something is at `path`, be it a link that leads nowhere.

    Raises:
        OSError: nothing can be there.
    """
    try:
        path.lstat()
    except FileNotFoundError:
        return False
    return True


def new_run_folder(out: Path, command: str, subject: str, name: str | None = None) -> Path:
    """A fresh folder `<out>/<name or UTC stamp-command-subject>`.

    Raises:
        UsageError: the name leads out of `out`.
        InputError: the name is taken by a finished run, or the folder can't be made.
    """
    from medimg.core.report import cannot_write

    if name is not None:
        check_name(name)
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
    plain = re.sub(r"[^\w.-]+", "-", subject).strip("-.") or "run"
    folder = out / (name or f"{stamp}-{command}-{plain}")
    try:
        if name is not None:
            refuse_taken(folder)
            folder.mkdir(parents=True, exist_ok=True)
            return folder
        for number in range(1, 1000):
            candidate = folder if number == 1 else folder.with_name(f"{folder.name}-{number}")
            try:
                candidate.mkdir(parents=True)
                return candidate
            except FileExistsError:
                continue
    except OSError as error:
        raise cannot_write(folder, error) from error
    raise InputError(f"{out} holds too many runs of this second", "Give --name.")


def is_run_folder(folder: Path) -> bool:
    """Whether medimg wrote a folder as a run's or an evaluation's: its report says so."""
    try:
        with (folder / REPORT).open("rb") as file:
            return REPORT_BEGINS.match(file.read(200)) is not None
    except OSError:
        return False


@dataclass(frozen=True, slots=True)
class Predictions:
    """Predictions of one split.

    Args:
        classes: K names, in the order of the columns.
        paths, labels, groups, sha256: N rows; labels are class names; group None where unknown.
        probabilities: Float64[N, K].
        split: which part they are of.
    """

    classes: tuple[str, ...]
    paths: tuple[str, ...]
    labels: tuple[str, ...]
    groups: tuple[str | None, ...]
    sha256: tuple[str, ...]
    probabilities: np.ndarray
    split: str

    def label_numbers(self) -> np.ndarray:
        """Int[N], each label's place in `classes`."""
        import numpy as np

        place = {name: number for number, name in enumerate(self.classes)}
        return np.array([place[label] for label in self.labels], dtype=np.int64)

    def group_names(self) -> list[str] | None:
        """The patients, one an image; None unless every image has one."""
        if any(group is None for group in self.groups) or not self.groups:
            return None
        return [str(group) for group in self.groups]


def predictions_of(
    samples: Sequence[Sample],
    probabilities: np.ndarray,
    classes: Sequence[str],
    sha256: Iterable[str],
    split: str,
) -> Predictions:
    """Predictions from samples and Float[N, K] probabilities in the same order."""
    import numpy as np

    return Predictions(
        tuple(classes),
        tuple(s.path for s in samples),
        tuple(str(s.label) for s in samples),
        tuple(s.group for s in samples),
        tuple(sha256),
        np.asarray(probabilities, dtype=np.float64),
        split,
    )


def write_predictions(path: Path, predictions: Predictions) -> None:
    """`path,split,label,group,sha256,prob_<class>…`, a row an image, full float precision."""
    import io

    from medimg.core.report import write_atomically

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*PREDICTION_FIELDS, *(f"prob_{c}" for c in predictions.classes)])
    for row, path_, label, group, digest in zip(
        predictions.probabilities.tolist(),
        predictions.paths,
        predictions.labels,
        predictions.groups,
        predictions.sha256,
        strict=True,
    ):
        head = [path_, predictions.split, label, group if group is not None else "", digest]
        writer.writerow([*head, *(repr(p) for p in row)])
    write_atomically(path, text.getvalue())


def read_predictions(path: Path) -> Predictions:
    """What `write_predictions` wrote.

    Raises:
        InputError: the file is missing or not of that shape.
    """
    import numpy as np

    try:
        with path.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
            rows = list(csv.DictReader(file))
    except OSError as error:
        raise InputError(f"{path} can't be read: {error.strerror}", REWRITE) from error
    columns = [c for c in (rows[0] if rows else {}) if c and c.startswith("prob_")]
    missing = [f for f in PREDICTION_FIELDS if rows and f not in rows[0]]
    if not rows or not columns or missing:
        what = "holds no rows" if not rows else f"lacks {', '.join(missing) or 'prob_<class>'}"
        raise InputError(f"{path} {what}", "Columns: path,split,label,group,sha256,prob_<class>…")
    try:
        probabilities = np.array([[float(r[c]) for c in columns] for r in rows])
    except (TypeError, ValueError) as error:
        raise InputError(
            f"{path} holds a probability that is no number: {error}", REWRITE
        ) from error
    return Predictions(
        tuple(c.removeprefix("prob_") for c in columns),
        tuple(r["path"] for r in rows),
        tuple(r["label"] for r in rows),
        tuple(r["group"] or None for r in rows),
        tuple(r["sha256"] for r in rows),
        probabilities,
        rows[0]["split"],
    )


def write_run_splits(
    path: Path,
    samples: Iterable[Sample],
    sha256: Mapping[str, str],
    pixel_hash: Mapping[str, str] | None = None,
) -> None:
    """`path,label,group,split,sha256,pixel_hash`, a row an image, sorted by path: what a run was
    made of.

    A splits file as every command takes it; the hashes tell the pictures again wherever they lie,
    and however they are stored.

    Args:
        sha256, pixel_hash: of each image by its path; without the latter there is no such column.
    """
    import io

    from medimg.core.report import write_atomically

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    hashes = {"sha256": sha256, **({} if pixel_hash is None else {"pixel_hash": pixel_hash})}
    writer.writerow(["path", "label", "group", "split", *hashes])
    for s in sorted(samples, key=lambda s: s.path):
        row = [s.path, s.label or "", s.group or "", s.split or ""]
        writer.writerow([*row, *(of.get(s.path, "") for of in hashes.values())])
    write_atomically(path, text.getvalue())


@dataclass(frozen=True, slots=True)
class Seen:
    """One image as it stood in a run: its part, and the hashes of its file and of its pixels
    (None in old runs)."""

    split: str
    sha256: str | None
    pixel_hash: str | None = None


def read_run_splits(folder: Path) -> dict[str, Seen]:
    """Path to what a run folder says of the image.

    Raises:
        InputError: the run's splits.csv can't be read.
    """
    file = folder / SPLITS
    try:
        with file.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as text:
            rows = list(csv.DictReader(text))
        return {
            r["path"]: Seen(r["split"], r.get("sha256") or None, r.get("pixel_hash") or None)
            for r in rows
        }
    except (OSError, ValueError, KeyError, csv.Error) as error:
        why = getattr(error, "strerror", None) or f"{type(error).__name__} {error}"
        raise InputError(f"{file} can't be read: {why}", "Train it again.") from error


def pictures_in(path: Path) -> Counter[tuple[str, str]]:
    """(sha256, label) of each image of a predictions.csv, without its numbers.

    Raises:
        OSError, KeyError: it can't be read, or lacks a column.
    """
    with path.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as text:
        return Counter((row["sha256"], row["label"]) for row in csv.DictReader(text))


@dataclass(frozen=True)
class Run:
    """A finished train or finetune run, read back.

    Args:
        folder: the run folder.
        report: its report as plain data.
        recipe: every setting resolved.
        card: `model/model.json`: spec, classes, positive, resize, backend, threshold; and the
            temperature of `operating.json`, with the threshold chosen after it.
    """

    folder: Path
    report: dict[str, Any]
    recipe: dict[str, Any]
    card: dict[str, Any]

    @property
    def name(self) -> str:
        return self.folder.name


def as_trained(run: Run) -> Run:
    """A run without the temperature that it keeps.

    Raises:
        InputError: its model.json can't be read.
    """
    try:
        card = json.loads((run.folder / MODEL_CARD).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{run.folder} is damaged: {error}", "Train it again.") from error
    return Run(run.folder, run.report, run.recipe, card)


def unfinished(folder: Path) -> InputError:
    """The error for a run folder without a report: what it is, and whether to go on with it."""
    if not (folder / RECIPE).is_file():
        return InputError(
            f"{folder} holds no report.json: it is no run folder",
            "Give a folder that medimg train or finetune made.",
        )
    if is_hopeless(folder):
        return InputError(
            f"{folder} holds no report.json: its training ended because the loss was no number",
            "Train anew at a lower learning rate: --lr auto, or medimg lr-find DATASET",
        )
    return InputError(
        f"{folder} holds no report.json: the run did not finish",
        f"Go on with it: medimg train --resume {shlex.quote(str(folder))}",
    )


def is_hopeless(folder: Path) -> bool:
    """Whether the training in an unfinished run folder broke down, so that it would again."""
    try:
        state = json.loads((folder / STATE).read_text(encoding="utf-8"))
        return state["stopped_by"] == HOPELESS
    except (OSError, ValueError, KeyError, TypeError):
        return False


def read_run(folder: Path) -> Run:
    """A trained run.

    Raises:
        InputError: the folder is missing, unfinished, or no training run.
    """
    import yaml

    from medimg.core.report import read_report

    if not folder.exists():
        raise InputError(f"the run folder {folder} does not exist", "ls runs/ shows your runs.")
    if not (folder / REPORT).is_file():
        raise unfinished(folder)
    report = read_report(folder / REPORT)
    if report.get("command") not in ("train", "finetune"):
        raise InputError(
            f"{folder} is a run of medimg {report.get('command')}, not of train or finetune",
            "Give a folder that medimg train or finetune made.",
        )
    try:
        card = json.loads((folder / MODEL_CARD).read_text(encoding="utf-8"))
        recipe = yaml.safe_load((folder / RECIPE).read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise InputError(f"{folder} is damaged: {error}", "Train it again.") from error
    return Run(folder, report, recipe, tempered_card(card, read_operating(folder)))
