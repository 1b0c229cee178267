"""A run's predictions for its own test part, or for other data."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

from medimg.commands._evaluated import Asked, Work, as_external, fingerprint_of

if TYPE_CHECKING:
    from medimg.commands._job import Job
    from medimg.core.operating import Operating
    from medimg.core.runs import Run
    from medimg.core.types import DatasetIndex
    from medimg.training.experiment import Data


def of_run(job: Job, run: Run, dataset: str | None, asked: Asked) -> Work:
    """The run's predictions for the part that was asked for.

    Raises:
        Refused: other data hold images of training; a threshold would be chosen on test.
    """
    from medimg.core.operating import read_operating, write_operating
    from medimg.training.evaluation import predict_part, subject_of
    from medimg.training.exposure import (
        copies_within,
        patients_on_both_sides,
        refuse_known_images,
        remembered,
        seen_in_training,
    )
    from medimg.training.operating import choose_threshold, kept_point, refuse_test_as_validation
    from medimg.training.subgroup_columns import column_values

    run, operating = at_temperature(run, asked)
    subject = subject_of(run)
    cut = choose_threshold(
        asked.threshold,
        name=subject.name,
        classes=subject.classes,
        positive=subject.positive,
        val=subject.val,
        kept=subject.threshold,
    )
    data, own = read_test_data(job, run, dataset, asked)
    known = remembered(run, data, own, lambda recipe: records_of(job, recipe))
    seen = seen_in_training(known, data, asked.split)
    if not own:
        refuse_known_images(seen, asked.allow, data.index.name)
    else:
        seen += patients_on_both_sides(data, asked.split)
    seen += copies_within(data, asked.split)
    # a column that is not there is said before the network is asked
    columns = column_values(data, asked.split, asked.columns)
    evaluated = predict_part(run, data, asked.split, manager=job.manager, bar=job.progress)
    if asked.threshold is not None:
        refuse_test_as_validation(
            cut, subject.val, evaluated.predictions, allow=asked.allow, patients=own
        )
        if cut and cut["chosen_on"] and subject.val is not None:
            operating, cut = kept_point(operating, cut, subject.val, str(subject.positive))
    if operating != read_operating(run.folder):
        write_operating(run.folder, operating)
    return Work(
        subject,
        data,
        evaluated.predictions,
        cut,
        tuple(seen),
        run.folder.parent,
        training_of(run),
        f"medimg compare {quote(str(run.folder.parent))}/*",
        columns,
        None if own else external_of(job, run, data, asked),
        evaluated.runtime,
        used_temperature(run, operating),
        run.report.get("result"),
    )


def at_temperature(run: Run, asked: Asked) -> tuple[Run, Operating]:
    """The run at the temperature that it keeps, or at one fitted now, or at none; and what it
    keeps.

    Raises:
        UsageError: a temperature is asked for and there are no validation predictions.
    """
    from dataclasses import replace

    from medimg.core.operating import read_operating, tempered_card
    from medimg.core.runs import as_trained
    from medimg.training.evaluation import subject_of
    from medimg.training.operating import fitted_temperature

    operating = read_operating(run.folder)
    if asked.calibrate is False:
        return as_trained(run), operating
    if asked.calibrate and operating.temperature is None:
        plain = as_trained(run)
        subject = subject_of(plain)
        fitted = fitted_temperature(subject.val, run.name, subject.positive)
        # the points were chosen at other probabilities
        operating = replace(operating, temperature=fitted, points={})
        operating = with_point(plain, operating)
        return replace(plain, card=tempered_card(plain.card, operating)), operating
    return run, operating


def with_point(plain: Run, operating: Operating) -> Operating:
    """What a run keeps, with the threshold that its rule chooses at the temperature."""
    from dataclasses import replace

    from medimg.core.operating import tempered_card
    from medimg.training.evaluation import subject_of
    from medimg.training.operating import chosen_on_validation, kept_point

    subject = subject_of(replace(plain, card=tempered_card(plain.card, operating)))
    cut, val = plain.card.get("threshold"), subject.val
    if not cut or not cut["chosen_on"] or val is None or subject.positive is None:
        return operating
    chosen = chosen_on_validation(cut["rule"], val, subject.positive)
    return kept_point(operating, chosen, val, subject.positive)[0]


def used_temperature(run: Run, operating: Operating) -> dict[str, Any] | None:
    """What the report says of the temperature, where one was used."""
    from medimg.core.operating import FILE

    if run.card.get("temperature") is None or operating.temperature is None:
        return None
    return {**operating.temperature, "kept": FILE}


def read_test_data(
    job: Job,
    run: Run,
    dataset: str | None,
    asked: Asked,
) -> tuple[Data, bool]:
    """The run's own data with the run's split, or other data with theirs; and whether they are
    the run's own."""
    from dataclasses import replace

    from medimg.core.errors import InputError
    from medimg.core.split import ensure_splits, split_hash
    from medimg.training.evaluation import check_classes
    from medimg.training.experiment import Data, copies
    from medimg.training.external import mapped

    own = dataset is None
    index = job.open(
        dataset or run.recipe["dataset"],
        asked.layout if asked.layout or not own else run.recipe["layout"],
        asked.options if asked.options or not own else run.recipe["options"],
        splits=asked.splits if asked.splits or not own else run.recipe.get("splits"),
    )
    index = mapped(index, asked.mapping, run.card["classes"])
    check_classes(run, index)
    index = replace(index, positive=run.card["positive"])
    records = job.scan(index)
    fingerprint = fingerprint_of(index, records)
    # the same pictures in another place: what the run trained on must not pass as new
    moved = not own and not asked.splits and fingerprint == run.card["dataset"]["fingerprint"]
    alike = moved and is_named_alike(run, index)
    if own or alike:
        index, note = ensure_splits(
            index,
            asked.splits or str(run.folder / "splits.csv"),
            None,
            0,
            keep_together=copies(index, records),
        )
    elif asked.splits:
        index, note = ensure_splits(index, asked.splits, None, 0)
    elif moved and not index.splits():
        raise InputError(
            f"{index.name} holds the pictures that {run.name} was trained on, under other names",
            f"Say which are for {asked.split}: --splits FILE",
        )
    else:
        index, note = as_external(index, asked.split)
    return Data(index, records, fingerprint, split_hash(index.samples), note), own or alike


def is_named_alike(run: Run, index: DatasetIndex) -> bool:
    """Whether the run's splits.csv names the images of this dataset."""
    from medimg.core.runs import read_run_splits

    return set(read_run_splits(run.folder)) <= {s.path for s in index.samples}


def records_of(job: Job, recipe: Mapping[str, Any]) -> Mapping[str, Any]:
    """What the scan says of a recipe's dataset; nothing where it can't be read any more."""
    from medimg.core.errors import MedimgError

    try:
        return job.scan(job.open(recipe["dataset"], recipe["layout"], recipe["options"]))
    except MedimgError:
        return {}


def external_of(job: Job, run: Run, data: Data, asked: Asked) -> dict[str, Any]:
    """In what these data differ from those of training, as far as these can still be read."""
    from medimg.core.errors import MedimgError
    from medimg.core.runs import read_run_splits
    from medimg.training.external import differences, facts, facts_of_report

    trained: dict[str, Any] | None
    try:
        index = job.open(run.recipe["dataset"], run.recipe["layout"], run.recipe["options"])
        seen = {p for p, s in read_run_splits(run.folder).items() if s.split == "train"}
        trained = facts(index, [s for s in index.samples if s.path in seen], job.scan(index))
    except MedimgError:
        trained = facts_of_report(run.report)
    here = facts(data.index, data.index.part(asked.split), data.records)
    return {
        "mapping": asked.mapping,
        "training": trained,
        "here": here,
        "differences": differences(trained, here) if trained else [],
    }


def training_of(run: Run) -> dict[str, Any]:
    """What the evaluated run was, in short, for readers and for compare."""
    return {
        "run": run.name,
        "model": run.card["spec"]["name"],
        "backend": run.card["backend"],
        "parent": run.report["result"].get("parent"),
        "recipe": run.recipe,
        "dataset": run.card["dataset"],
        "seconds": run.report.get("seconds"),
    }


def evaluation_folder(run: Run, name: str | None, split: str, dataset: str | None) -> Path:
    """`<run>/evaluate/<name>`; a number is appended where that name is taken.

    Raises:
        InputError: a name that was given is taken.
    """
    from medimg.core.errors import InputError

    base = run.folder / "evaluate"
    if name:
        if (base / name / "report.json").exists():
            raise InputError(f"{base / name} exists", "Choose another --name, or remove it.")
        return base / name
    stem = split if dataset is None else f"{split}-{Path(dataset).stem}"
    number = 1
    while (base / (stem if number == 1 else f"{stem}-{number}")).exists():
        number += 1
    return base / (stem if number == 1 else f"{stem}-{number}")
