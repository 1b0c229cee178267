"""What a run folder holds, for its report: training, evaluation, split, predictions, verify."""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from shlex import join, quote
from typing import Any

from medimg.core.as_typed import words_for
from medimg.core.errors import InputError, MedimgError
from medimg.core.report import read_report
from medimg.core.runs import RECIPE, SPLITS, Predictions, read_predictions
from medimg.training.comparison import EVALUATED, SEEN, TRAINED, evaluations

PARTS = ("test", "val", "train")
EVALUATIONS = "evaluate/*/report.json"


@dataclass(frozen=True)
class Study:
    """A run, or an evaluation of predictions made elsewhere.

    Args:
        folder: where the report goes.
        training: report of the training; None where it was made elsewhere.
        evaluation: report of the evaluation that is told about, and its `place`; None before any.
    """

    folder: Path
    training: dict[str, Any] | None
    evaluation: dict[str, Any] | None
    place: Path | None

    @property
    def name(self) -> str:
        return self.folder.name or self.folder.resolve().name

    @property
    def trained(self) -> dict[str, Any]:
        """The result of the training; empty where there is none."""
        return (self.training or {}).get("result") or {}

    @property
    def evaluated(self) -> dict[str, Any]:
        """The result of the evaluation; empty where there is none."""
        return (self.evaluation or {}).get("result") or {}

    @property
    def told(self) -> dict[str, Any]:
        """What the evaluation says of the training."""
        return self.evaluated.get("training") or {}

    @property
    def first(self) -> dict[str, Any]:
        """The training's report, else the evaluation's."""
        return self.training or self.evaluation or {}

    @property
    def dataset(self) -> dict[str, Any]:
        """The data that the run was trained on, else those it was evaluated on."""
        return self.first.get("dataset") or {}

    @property
    def tested(self) -> dict[str, Any]:
        """The data that it was evaluated on."""
        return (self.evaluation or {}).get("dataset") or self.dataset

    @property
    def backend(self) -> dict[str, Any]:
        found = (self.first.get("environment") or {}).get("backend") or {}
        return {"name": self.told.get("backend"), **found} if found else dict(found)

    @property
    def model(self) -> str | None:
        return self.trained.get("model") or self.told.get("model")

    @property
    def classes(self) -> list[str]:
        matrix = self.evaluated.get("confusion_matrix") or {}
        return list(matrix.get("labels") or self.dataset.get("classes") or ())

    @property
    def positive(self) -> str | None:
        return self.evaluated.get("positive") or self.dataset.get("positive")

    @property
    def threshold(self) -> dict[str, Any] | None:
        return self.evaluated.get("threshold") or self.trained.get("threshold")

    @property
    def is_external(self) -> bool:
        """Whether it was evaluated on other data than those of training."""
        if self.evaluated.get("external"):
            return True
        prints = [d.get("fingerprint") for d in (self.dataset, self.tested)]
        return bool(self.training and self.evaluation and all(prints) and prints[0] != prints[1])

    @property
    def made_elsewhere(self) -> bool:
        """Whether nothing is known of the training: the predictions were given."""
        return self.training is None and not self.told.get("run")

    @cached_property
    def tested_elsewhere(self) -> list[str]:
        """Datasets other than that of training that the run was evaluated on, with the number of
        images; those that hold images of training are left out."""
        own = self.dataset.get("fingerprint")
        if self.training is None or not own:
            return []
        told = [plain_report(file) for file in self.folder.glob(EVALUATIONS)]
        others = set()
        for report in told:
            tested, result = report.get("dataset") or {}, report.get("result") or {}
            if tested.get("fingerprint") in (None, own) or seen_in(report.get("findings") or ()):
                continue
            count = result.get("images") or tested.get("images")
            others.add(f"{tested.get('name')} ({count:,})" if count else str(tested.get("name")))
        return sorted(others)

    @cached_property
    def test_looks(self) -> int:
        """How often the evaluated images have been looked at as test by all that lies beside the
        run, as of now; 0 for other parts."""
        told = self.evaluated.get("test_looks") or 0
        if not told or self.place is None or self.predictions is None:
            return int(told)
        from medimg.training.ledger import looks, pictures_of

        runs = self.folder.resolve().parent
        counted = looks([runs], str(self.evaluated["split"]), pictures_of(self.predictions))
        return max(int(told), counted.times)

    @property
    def seen_before(self) -> int:
        """How many of the evaluated images training or validation had seen, by their content."""
        return seen_in(self.findings("evaluation"))

    @property
    def temperature(self) -> dict[str, Any] | None:
        """What the probabilities were divided by, as the evaluation's report tells it."""
        return self.evaluated.get("temperature")

    @cached_property
    def recipe(self) -> dict[str, Any]:
        """Every setting of the training; empty where it was made elsewhere."""
        from medimg.core.recipe import read_recipe

        file = self.folder / RECIPE
        try:
            return read_recipe(file) if file.is_file() else dict(self.told.get("recipe") or {})
        except MedimgError:
            return dict(self.told.get("recipe") or {})

    def typed(self, which: str) -> dict[str, str]:
        """What stands for DATASET and RUN in commands about its training or its evaluation."""
        report = self.evaluation if which == "evaluation" else None
        asked = ((report or {}).get("invocation") or {}).get("settings") or {}
        given = asked if asked.get("dataset") else self.recipe
        words = {"RUN": quote(str(self.folder))}
        # a recipe names the positive class that was found, too
        return (
            {**words, **words_for({**given, "positive": None})} if given.get("dataset") else words
        )

    @cached_property
    def predictions(self) -> Predictions | None:
        """Of the evaluation, else of validation; None where they can't be read."""
        file = self.place / "predictions.csv" if self.place else None
        file = file or self.folder / "predictions" / "val.csv"
        try:
            return read_predictions(file)
        except MedimgError:
            return None

    @cached_property
    def parts(self) -> Parts | None:
        """Images and patients by part; None where there is no splits.csv."""
        return read_parts(self.folder / SPLITS)

    @cached_property
    def verified(self) -> tuple[str, dict[str, Any]] | None:
        """The newest verify report of these very data beside the run, and its folder's name."""
        wanted = self.dataset.get("fingerprint")
        found = []
        for file in self.folder.resolve().parent.glob("*/report.json") if wanted else ():
            report = plain_report(file)
            if (
                report.get("command") == "verify"
                and (report.get("dataset") or {}).get("fingerprint") == wanted
            ):
                found.append((str(report.get("created")), file.parent.name, report))
        if not found:
            return None
        _, name, report = max(found, key=lambda row: row[:2])
        return name, report

    def plot(self, name: str) -> str:
        """A plot of the evaluation as the run's folder names it; empty where there is none."""
        if self.place is None or not (self.place / name).is_file():
            return ""
        return (self.place / name).relative_to(self.folder).as_posix()

    def findings(self, which: str) -> list[dict[str, Any]]:
        """Of `training` or `evaluation`, worst first."""
        report = self.training if which == "training" else self.evaluation
        rank = {"error": 0, "warning": 1, "info": 2}
        rows = list((report or {}).get("findings") or ())
        return sorted(rows, key=lambda row: rank.get(row["severity"], 3))


@dataclass(frozen=True, slots=True)
class Parts:
    """Images and patients of each part; `shared`: patients in two parts or more."""

    images: Mapping[str, int]
    patients: Mapping[str, int]
    shared: int | None


def read_parts(file: Path) -> Parts | None:
    """What a run's splits.csv says; None where it can't be read."""
    images: dict[str, int] = defaultdict(int)
    people: dict[str, set[str]] = defaultdict(set)
    unknown = False
    try:
        with file.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as text:
            for row in csv.DictReader(text):
                part = row["split"]
                if not part:
                    continue
                images[part] += 1
                if row.get("group"):
                    people[part].add(row["group"])
                else:
                    unknown = True
    except (OSError, KeyError, csv.Error):
        return None
    where: dict[str, int] = defaultdict(int)
    for found in people.values():
        for patient in found:
            where[patient] += 1
    order: list[str] = [part for part in ("train", "val", "test") if part in images]
    order += [part for part in images if part not in order]
    shared = None if unknown or not where else sum(times > 1 for times in where.values())
    return Parts(
        {part: images[part] for part in order},
        {} if shared is None else {part: len(people[part]) for part in order},
        shared,
    )


def plain_report(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def read_study(folder: Path, split: str | None = None) -> Study:
    """A run folder, or an evaluation that stands alone.

    Args:
        split: which evaluation; default the newest on test, else on val, else on train.
    Raises:
        InputError: it is no such folder, or holds no such evaluation.
    """
    report = read_report(folder / "report.json")
    command = report.get("command")
    if command == EVALUATED:
        if not (report.get("result") or {}).get("metrics"):
            made_by = (report.get("invocation") or {}).get("arguments") or []
            raise InputError(
                f"the evaluation in {folder} holds no metrics: it was cut short, or changed",
                f"Evaluate again: {join(['medimg', *made_by])}" if made_by else "Evaluate again.",
            )
        return Study(folder, None, report, folder)
    if command not in TRAINED:
        raise InputError(
            f"{folder} holds a report of medimg {command}, of which no page is made",
            "Give a run of train, finetune, evaluate or compare.",
        )
    for part in (split,) if split else PARTS:
        found = evaluations(folder, part)
        own = (report.get("dataset") or {}).get("fingerprint")
        at_home = [r for r in found if (r[1].get("dataset") or {}).get("fingerprint") == own]
        if found:
            place, evaluation = (at_home or found)[-1]
            return Study(folder, report, evaluation, place)
    if split:
        raise InputError(
            f"{folder.name} has not been evaluated on {split}",
            f"medimg evaluate {quote(str(folder))} --split {split}",
        )
    return Study(folder, report, None, None)


def seen_in(findings: Iterable[Mapping[str, Any]]) -> int:
    """How many of the evaluated images training or validation had seen."""
    return sum(
        row.get("count") or 0
        for row in findings
        if row["check"] == SEEN and row["severity"] == "error"
    )
