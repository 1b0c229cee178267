"""Metrics with intervals on a part that training did not see, or on other data"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

import click

from medimg.commands._job import Job
from medimg.commands._options import dataset_options, key_values, report_options

if TYPE_CHECKING:
    from medimg.core.operating import Operating
    from medimg.core.runs import Predictions, Run
    from medimg.core.types import DatasetIndex, Finding, RuntimeInfo
    from medimg.training.evaluation import Subject
    from medimg.training.experiment import Data

# a temperature from here on says that something else than sharpness is wrong
EXTREME = 5.0
COMMON = ("out", "name", "as_json", "quiet", "verbose", "no_progress")


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
    calibrate: bool | None = None


@dataclass(frozen=True)
class Work:
    """Predictions beside the truth, ready to be judged.

    Args:
        subject: whose they are.
        ledger: the folder of runs in which looks are counted.
        training: what stands in the report of how the model came about.
        next_step: the command that a reader would go on with.
    """

    subject: Subject
    data: Data
    predictions: Predictions
    threshold: dict[str, Any] | None
    findings: tuple[Finding, ...]
    ledger: Path
    training: dict[str, Any]
    next_step: str
    external: dict[str, Any] | None = None
    runtime: RuntimeInfo | None = None
    temperature: dict[str, Any] | None = None


# -- a run --------------------------------------------------------------------------------------


def of_run(job: Job, run: Run, dataset: str | None, asked: Asked) -> Work:
    """The run's predictions for the part that was asked for.

    Raises:
        Refused: other data hold images of training; a threshold would be chosen on test.
    """
    from medimg.core.operating import read_operating, write_operating
    from medimg.training.evaluation import predict_part, subject_of
    from medimg.training.exposure import refuse_known_images, remembered, seen_in_training
    from medimg.training.operating import choose_threshold, kept_point, refuse_test_as_validation

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
    seen = seen_in_training(remembered(run, data, own), data, asked.split)
    if not own:
        refuse_known_images(seen, asked.allow, data.index.name)
    evaluated = predict_part(run, data, asked.split, manager=job.manager, bar=job.progress)
    if asked.threshold is not None:
        refuse_test_as_validation(cut, subject.val, evaluated.predictions)
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
        None if own else external_of(job, run, data, asked),
        evaluated.runtime,
        used_temperature(run, operating),
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
        fitted = fitted_temperature(subject_of(plain).val, run.name)
        # the points were chosen at other probabilities
        operating = replace(operating, temperature=fitted, points={})
        return replace(plain, card=tempered_card(plain.card, operating)), operating
    return run, operating


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


# -- predictions made elsewhere -------------------------------------------------------------------


def of_predictions(job: Job, files: tuple[str, ...], dataset: str, asked: Asked) -> Work:
    """The predictions of some files for the part that was asked for.

    Raises:
        InputError: rows that are missing, double, no probabilities, or of other classes.
        Refused: a threshold would be chosen on test.
    """
    from medimg.training.evaluation import Subject
    from medimg.training.exposure import copies_of_training
    from medimg.training.external import mapped
    from medimg.training.given_predictions import (
        class_order,
        given_part,
        matched,
        read_given,
        strangers_refused,
    )
    from medimg.training.operating import (
        choose_threshold,
        fitted_temperature,
        refuse_test_as_validation,
        tempered,
    )

    given = read_given([Path(file) for file in files])
    whole = job.open(dataset, asked.layout, asked.options, asked.positive)
    known = given.classes or tuple(sorted({asked.mapping.get(c, c) for c in whole.classes} - {""}))
    index = mapped(whole, asked.mapping, known)
    classes = class_order(given, index, index.positive)
    records = job.scan(index)
    sha256 = {path: record.sha256 for path, record in records.items()}
    rows, strangers = matched(given, whole, sha256)
    strangers_refused(strangers, len(rows), whole)
    data = parts_of(index, records, rows, asked)
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
        temperature = fitted_temperature(val, name)
        refuse_test_as_validation(temperature, val, predictions)
        predictions = tempered(predictions, temperature["value"])
        val = None if val is None else tempered(val, temperature["value"])
    subject = Subject(name, classes, positive, val, None, prior_of(data.index, classes))
    cut = choose_threshold(
        asked.threshold or default_rule(subject),
        name=subject.name,
        classes=classes,
        positive=positive,
        val=subject.val,
        kept=None,
    )
    refuse_test_as_validation(cut, subject.val, predictions)
    return Work(
        subject,
        data,
        predictions,
        cut,
        tuple(copies_of_training(data, asked.split)),
        job.out,
        {"run": None, "model": subject.name, "backend": None, "predictions": list(files)},
        f"medimg compare {quote(str(job.out))}/*",
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


def prior_of(index: DatasetIndex, classes: tuple[str, ...]) -> list[float] | None:
    """Class shares of the dataset's training part, where it has one."""
    train = index.part("train")
    counts = index.class_counts(train)
    return [counts.get(c, 0) / len(train) for c in classes] if train else None


# -- the command ----------------------------------------------------------------------------------


@click.command("evaluate", epilog="Example: medimg evaluate runs/cnn3 --threshold sensitivity=0.95")
@click.argument("run", metavar="RUN", required=False)
@click.argument("dataset", metavar="[DATASET]", required=False)
@dataset_options
@click.option("--split", default="test", show_default=True, metavar="NAME", help="Which part.")
@click.option("--splits", metavar="FILE", help="A splits.csv other than the run's.")
@click.option(
    "--threshold",
    metavar="VALUE|RULE",
    help="A value, or by a rule on validation: youden, sensitivity=0.95, specificity=0.95, "
    "fbeta=2, cost=10:1 (a missed one, a false alarm).",
)
@click.option(
    "--calibrate/--no-calibrate",
    default=None,
    help="Fit a temperature on validation and keep it in the run / leave a kept one out.",
)
@click.option(
    "--by",
    multiple=True,
    metavar="COLUMN[,COLUMN]",
    help="Subgroups by a column of the dataset, or folder, size, mode, format, NAME=REGEX.",
)
@click.option(
    "--min-group",
    type=click.IntRange(2, 100_000),
    default=20,
    show_default=True,
    help="Images, below which a subgroup is named without its numbers.",
)
@click.option(
    "--map",
    "mapping",
    multiple=True,
    metavar="A=B",
    callback=key_values("--map", "COVID=PNEUMONIA"),
    help="DATASET's class A is the model's B (nothing after =: leave A out).",
)
@click.option(
    "--predictions",
    multiple=True,
    metavar="CSV",
    help="Evaluate these predictions of any model on DATASET, without a RUN.",
)
@click.option(
    "--patient-probability",
    "pooling",
    type=click.Choice(["mean", "max"]),
    default="mean",
    show_default=True,
    help="A patient's probability, from that of the images.",
)
@click.option("--plots/--no-plots", default=True, help="Draw pictures (a second or two).")
@click.option("--allow", multiple=True, metavar="CHECK", help="training-images-in-test.")
@click.option(
    "--resamples",
    type=click.IntRange(100, 100_000),
    default=2000,
    show_default=True,
    help="Of the bootstrap.",
)
@report_options
def command(
    run: str | None,
    dataset: str | None,
    predictions: tuple[str, ...],
    by: tuple[str, ...],
    min_group: int,
    pooling: str,
    plots: bool,
    resamples: int,
    **settings: Any,
) -> None:
    """Evaluate a run on its test part, or on other data, with 95 % intervals.

    Intervals are by patient where patients are known. The threshold comes from validation.
    Predictions of any model are evaluated with: medimg evaluate --predictions preds.csv DATASET
    """
    from medimg.training.subgroup_columns import column_values, parse_by

    common = {key: settings.pop(key) for key in COMMON}
    asked = Asked(**settings)
    check_asked(run, dataset, predictions, asked)
    columns = parse_by(by)
    if predictions:
        job = Job("evaluate", seed=asked.seed, **common)
        job.subject = Path(predictions[0]).stem
        work = of_predictions(job, predictions, str(run), asked)
    else:
        job, work = start_run(Path(str(run)), dataset, asked, common)
    samples = work.data.index.part(asked.split)
    values = column_values(work.data.index, samples, work.data.records, columns)
    result = judge(
        job, work, plots, columns=values, least=min_group, pooling=pooling, resamples=resamples
    )
    findings = (*work.findings, *alarms_of(work, result))
    say(job, work, result)
    for finding in findings:
        job.note(f"{finding.check}: {finding.message}", severity=finding.severity)
        job.note(f"  {finding.hint}")
    job.finish(
        result,
        index=work.data.index,
        fingerprint=work.data.fingerprint,
        split_hash=work.data.split_hash,
        findings=findings,
        runtime=work.runtime,
    )


def check_asked(
    run: str | None, dataset: str | None, predictions: tuple[str, ...], asked: Asked
) -> None:
    """Raises UsageError where options can't stand together."""
    from medimg.core.errors import UsageError, near_misses
    from medimg.core.types import SPLITS
    from medimg.training.exposure import CHECK

    if asked.split not in SPLITS:
        raise UsageError(f"no split is called {asked.split!r}", near_misses(asked.split, [*SPLITS]))
    if run is None:
        raise UsageError(
            "neither a RUN nor a DATASET was given",
            "medimg evaluate runs/NAME, or medimg evaluate --predictions preds.csv DATASET",
        )
    if predictions and dataset is not None:
        raise UsageError(
            "--predictions are evaluated on a DATASET, without a RUN",
            f"medimg evaluate --predictions {quote(predictions[0])} {quote(dataset)}",
        )
    for name in asked.allow:
        if name != CHECK:
            raise UsageError(f"--allow {name} changes nothing here", f"Known: {CHECK}")


def start_run(
    folder: Path, dataset: str | None, asked: Asked, common: dict[str, Any]
) -> tuple[Job, Work]:
    from medimg.core.errors import UsageError
    from medimg.core.runs import read_run

    trained = read_run(folder)
    if asked.positive is not None and asked.positive != trained.card["positive"]:
        raise UsageError(
            f"the positive class of {trained.name} is {trained.card['positive']}",
            "It was fixed in training, with the threshold.",
        )
    place = evaluation_folder(trained, common["name"], asked.split, dataset)
    job = Job("evaluate", seed=asked.seed, **common, folder=place)
    return job, of_run(job, trained, dataset, asked)


def judge(job: Job, work: Work, plots: bool = True, **settings: Any) -> dict[str, Any]:
    """The report's `result`; writes predictions and plots beside it.

    Args:
        settings: of `medimg.training.evaluation.evaluation`.
    """
    from medimg.core.runs import write_predictions
    from medimg.reports.plots import is_phantom
    from medimg.reports.plots_evaluation import evaluation_plots
    from medimg.training.conclusions import validation_metrics
    from medimg.training.evaluation import evaluation
    from medimg.training.ledger import digest_of, linear_baseline, looks, pictures_of

    functions = job.manager.functions(job.manager.metrics())

    numbers = evaluation(
        work.subject,
        work.predictions,
        work.threshold,
        functions,
        seed=job.seed,
        **settings,
    )
    look = looks(work.ledger, work.predictions)
    write_predictions(job.folder / "predictions.csv", work.predictions)
    phantom = is_phantom(work.data.index)
    pictures = (
        evaluation_plots(
            work.predictions,
            numbers,
            work.subject.positive,
            job.folder,
            threshold=work.threshold,
            index=work.data.index,
            phantom=phantom,
        )
        if plots
        else []
    )
    return {
        "split": work.predictions.split,
        "unit": "image",
        "threshold": work.threshold,
        "temperature": work.temperature,
        "test_looks": look,
        "pictures": digest_of(pictures_of(work.predictions)),
        "linear_baseline": linear_baseline(work.ledger, work.predictions, work.training["run"]),
        "validation": validation_metrics(
            work.subject.val, work.subject.positive, work.threshold, functions, job.seed
        ),
        "training": work.training,
        "external": work.external,
        "phantom": phantom,
        "artifacts": ["predictions.csv", *pictures],
        **numbers,
    }


def alarms_of(work: Work, result: dict[str, Any]) -> list[Finding]:
    """What the numbers should make a reader distrust."""
    from medimg.training.answers import alarms
    from medimg.training.conclusions import far_apart, too_wide
    from medimg.training.ledger import reused

    matrix, split = result["confusion_matrix"], result["split"]
    return [
        *alarms(matrix["counts"], matrix["labels"], split, work.threshold),
        *far_apart(result["validation"], result["metrics"], split),
        *too_wide(result["metrics"], result["images"], result["groups"], split),
        *reused(result["test_looks"], split),
    ]


def say(job: Job, work: Work, result: dict[str, Any]) -> None:
    from medimg.reports.evaluation_text import (
        calibration_line,
        confusion_table,
        metrics_table,
        patient_table,
        subgroup_table,
    )

    patients = f" of {result['groups']:,} patients" if result["groups"] else ""
    job.say(
        f"{work.subject.name} on {work.data.index.name}, {result['split']}: "
        f"{result['images']:,} images{patients}"
    )
    for line in (work.external or {}).get("differences", ()):
        job.say(f"Unlike training: {line}")
    if found := result["temperature"]:
        loss = found["log_loss"]
        job.say(
            f"Probabilities at temperature {found['value']:.3f}, fitted on {found['images']:,} "
            f"{found['fitted_on']} images: log loss there {loss['before']:.4f} → "
            f"{loss['after']:.4f}"
        )
        if found["value"] > EXTREME:
            job.note(
                "That leaves little of them: they are shifted rather than too sure, which a "
                "temperature can't mend; train with --recalibrate auto, or longer.",
                severity="warning",
            )
    cut = result["threshold"]
    if cut:
        on = f", chosen on {cut['chosen_on']}" if cut["chosen_on"] else ""
        job.say(f"Positive: {result['positive']}; threshold {cut['value']:.4f} ({cut['rule']}{on})")
    job.say("")
    job.say(metrics_table(result))
    if result["by_group"] and result["by_group"]["metrics"]:
        job.say("")
        job.say(patient_table(result["by_group"]))
    job.say("")
    job.say(confusion_table(result["confusion_matrix"]))
    job.say("")
    job.say(calibration_line(result["calibration"]))
    for column, table in result["subgroups"].items():
        job.say("")
        job.say(subgroup_table(column, table))
    job.say("")
    drawn = "patients" if "by patient" in result["ci"]["method"] else "images"
    job.say(
        f"Bootstrap: {result['ci']['resamples']:,} resamples of {drawn} among those that show the "
        "same classes, so that the prevalence is held fixed"
    )
    job.say(f"Next: {work.next_step}")
