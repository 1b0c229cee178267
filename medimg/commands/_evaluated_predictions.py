"""Predictions made elsewhere, for a dataset."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

from medimg.commands._evaluated import Asked, Work, as_external, fingerprint_of

if TYPE_CHECKING:
    from medimg.commands._job import Job
    from medimg.core.runs import Predictions
    from medimg.core.types import DatasetIndex
    from medimg.training.evaluation import Subject
    from medimg.training.experiment import Data


def of_predictions(job: Job, files: tuple[str, ...], dataset: str, asked: Asked) -> Work:
    """The predictions of some files for the part that was asked for.

    Raises:
        InputError: rows that are missing, double, no probabilities, or of other classes.
        Refused: a threshold would be chosen on test.
    """
    from medimg.training.evaluation import Subject
    from medimg.training.exposure import (
        chosen_here,
        copies_of_training,
        copies_within,
        patients_on_both_sides,
        pixels_of,
    )
    from medimg.training.external import mapped
    from medimg.training.given_predictions import (
        check_contents,
        class_order,
        given_part,
        matched,
        other_parts,
        other_patients,
        read_given,
        strangers_refused,
        told_matches,
    )
    from medimg.training.operating import (
        choose_threshold,
        fitted_temperature,
        refuse_test_as_validation,
        tempered,
    )
    from medimg.training.subgroup_columns import column_values

    given = read_given([Path(file) for file in files])
    whole = job.open(dataset, asked.layout, asked.options, asked.positive, asked.splits)
    known = given.classes or tuple(sorted({asked.mapping.get(c, c) for c in whole.classes} - {""}))
    index = mapped(whole, asked.mapping, known)
    classes = class_order(given, index, index.positive)
    records = job.scan(index)
    sha256 = {path: record.sha256 for path, record in records.items()}
    pixels = pixels_of(records)
    rows, strangers = matched(given, whole, sha256)
    strangers_refused(strangers, len(rows), whole)
    check_contents(rows, sha256, whole.name)
    data = parts_of(index, records, rows, asked)
    odd = [*other_parts(rows, data.index, bool(asked.splits)), *other_patients(rows, data.index)]
    odd += told_matches(rows)
    positive = data.index.positive if len(classes) == 2 else None
    check_part(data.index, asked.split)

    def part(split: str) -> Predictions:
        return given_part(
            rows,
            data.index,
            split,
            classes,
            positive,
            sha256,
            one_probability=given.classes is None,
            called=asked.mapping,
        )

    predictions = part(asked.split)
    chosen = any(s.path in rows for s in data.index.part("val"))
    val = part("val") if chosen else None
    name, temperature = Path(files[0]).stem, None
    if asked.calibrate:
        temperature = fitted_temperature(val, name, positive)
        refuse_test_as_validation(temperature, val, predictions, allow=asked.allow, pixels=pixels)
        predictions = tempered(predictions, temperature["value"])
        val = None if val is None else tempered(val, temperature["value"])
    prior, of = prior_of(data.index, classes, asked.split)
    subject = Subject(name, classes, positive, val, None, prior, of)
    cut = choose_threshold(
        asked.threshold or default_rule(subject),
        name=subject.name,
        classes=classes,
        positive=positive,
        val=subject.val,
        kept=None,
    )
    refuse_test_as_validation(cut, subject.val, predictions, allow=asked.allow, pixels=pixels)
    return Work(
        subject,
        data,
        predictions,
        cut,
        (
            *copies_of_training(data, asked.split),
            *patients_on_both_sides(data, asked.split),
            *copies_within(data, asked.split),
            *chosen_here(cut, data, asked.split),
            *odd,
        ),
        job.out,
        {"run": None, "model": subject.name, "backend": None, "predictions": list(files)},
        f"medimg compare {quote(str(job.out))}/*",
        column_values(data, asked.split, asked.columns),
        temperature=temperature,
    )


def parts_of(
    index: DatasetIndex, records: Mapping[str, Any], rows: Mapping[str, Any], asked: Asked
) -> Data:
    """The dataset with its parts: those of --splits, its own, those that the predictions name,
    else all of it is the part that is evaluated."""
    from medimg.core.split import apply_splits_file, split_hash
    from medimg.training.experiment import Data
    from medimg.training.given_predictions import splits_of

    if asked.splits:
        index, note = apply_splits_file(index, asked.splits), f"splits from {asked.splits}"
    elif not index.splits() and (named := splits_of(rows, index)) is not None:
        index, note = named, "the parts that the predictions name"
    else:
        index, note = as_external(index, asked.split)
    return Data(index, records, fingerprint_of(index, records), split_hash(index.samples), note)


def check_part(index: DatasetIndex, split: str) -> None:
    """Raises InputError where the dataset has no image in the part that was asked for."""
    from medimg.core.errors import InputError

    if not index.part(split):
        present = ", ".join(index.splits()) or "none"
        raise InputError(
            f"{index.name} has no {split} part (it has: {present})",
            f"Choose another: --split {index.splits()[-1] if index.splits() else 'val'}",
        )


def default_rule(subject: Subject) -> str | None:
    """Youden on validation, as in a run, where validation can tell."""
    if subject.positive is None or subject.val is None or len(set(subject.val.labels)) < 2:
        return None
    return "youden"


def prior_of(
    index: DatasetIndex, classes: tuple[str, ...], split: str
) -> tuple[list[float] | None, str]:
    """Class shares of the dataset's training part, else of validation, where it has them and they
    are not what is evaluated; and which part that is."""
    for part in ("train", "val"):
        samples = index.part(part)
        if samples and part != split:
            counts = index.class_counts(samples)
            return [counts.get(c, 0) / len(samples) for c in classes], part
    return None, "train"
