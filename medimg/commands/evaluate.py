"""Metrics with intervals on a part that training did not see, or on other data"""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

import click

from medimg.commands._evaluated import Asked, Work
from medimg.commands._evaluated_predictions import of_predictions
from medimg.commands._evaluated_run import evaluation_folder, of_run
from medimg.commands._job import Job
from medimg.commands._options import (
    comma_lists,
    dataset_options,
    key_values,
    report_options,
)

if TYPE_CHECKING:
    from medimg.core.types import Finding

COMMON = ("out", "name", "as_json", "quiet", "verbose", "no_progress")


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
    metavar="N",
    help="Patients (images where they are unknown), below which a subgroup is named without its "
    "numbers.  [default: 20 images, and 5 patients]",
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
@click.option(
    "--allow",
    multiple=True,
    metavar="CHECK",
    callback=comma_lists,
    help="training-images-in-test or patient-leakage.",
)
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
    min_group: int | None,
    pooling: str,
    plots: bool,
    resamples: int,
    **settings: Any,
) -> None:
    """Evaluate a run on its test part, or on other data, with 95 % intervals.

    Intervals are by patient where patients are known. The threshold comes from validation.
    Predictions of any model are evaluated with: medimg evaluate --predictions preds.csv DATASET
    """
    from medimg.training.subgroup_columns import parse_by

    common = {key: settings.pop(key) for key in COMMON}
    asked = Asked(**settings, columns=parse_by(by))
    check_asked(run, dataset, predictions, asked)
    if predictions:
        job = Job("evaluate", seed=asked.seed, **common)
        job.subject = Path(predictions[0]).stem
        work = of_predictions(job, predictions, str(run), asked)
    else:
        job, work = start_run(Path(str(run)), dataset, asked, common)
    result = judge(job, work, plots, least=min_group, pooling=pooling, resamples=resamples)
    findings = (*work.findings, *alarms_of(work, result))
    say(job, work, result)
    for finding in findings:
        job.note(finding.told, severity=finding.severity)
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
        if name not in (CHECK, "patient-leakage"):
            raise UsageError(
                f"--allow {name} changes nothing here", f"Known: {CHECK}, patient-leakage"
            )


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
    from medimg.reports.plots_training import learning_curves
    from medimg.training.conclusions import validation_metrics
    from medimg.training.evaluation import evaluation
    from medimg.training.ledger import digest_of, linear_baseline, looks, pictures_of

    functions = job.manager.functions(job.manager.metrics())
    numbers = evaluation(
        work.subject,
        work.predictions,
        work.threshold,
        functions,
        columns=work.columns,
        seed=job.seed,
        **settings,
    )
    seen = looks([work.ledger], work.predictions.split, pictures_of(work.predictions).elements())
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
    if plots and work.trained:
        dataset = str((work.training.get("recipe") or {}).get("dataset") or "")
        pictures += learning_curves(work.trained, Path(dataset).name, phantom, job.folder)
    return {
        "split": work.predictions.split,
        "unit": "image",
        "threshold": work.threshold,
        "temperature": work.temperature,
        "test_looks": seen.times + 1,
        "looks_in_part": seen.rows(),
        "pictures": digest_of(pictures_of(work.predictions)),
        "linear_baseline": None
        if work.training.get("backend") == "linear"
        else linear_baseline(work.ledger, work.predictions, work.training["run"]),
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
    scores = work.predictions.probabilities
    accuracy = (result["metrics"].get("accuracy") or {}).get("ci95")
    return [
        *alarms(
            matrix["counts"],
            matrix["labels"],
            split,
            work.threshold,
            accuracy,
            elsewhere=bool(work.training.get("predictions")),
            constant=bool((scores == scores[:1]).all()),
        ),
        *far_apart(result["validation"], result["metrics"], split),
        *too_wide(result["metrics"], result["images"], result["groups"], split),
        *reused(result["test_looks"], split, result["looks_in_part"], result["images"]),
    ]


def say(job: Job, work: Work, result: dict[str, Any]) -> None:
    from medimg.core.index import counted
    from medimg.reports.evaluation_text import (
        bootstrap_line,
        calibration_line,
        class_table,
        confusion_table,
        metrics_table,
        patient_table,
        subgroup_table,
        temperature_lines,
    )

    patients = f" of {counted(result['groups'], 'patient')}" if result["groups"] else ""
    job.say(
        f"{work.subject.name} on {work.data.index.name}, {result['split']}: "
        f"{counted(result['images'], 'image')}{patients}"
    )
    for line in (work.external or {}).get("differences", ()):
        job.say(f"Unlike training: {line}")
    for line, severity in temperature_lines(result["temperature"]):
        job.note(line, severity=severity) if severity else job.say(line)
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
    if result["positive"] is None:
        job.say(class_table(result["per_class_intervals"], result["per_class"]))
        job.say("")
    job.say(calibration_line(result["calibration"]))
    for column, table in result["subgroups"].items():
        job.say("")
        job.say(subgroup_table(column, table))
    job.say("")
    job.say(bootstrap_line(result["ci"]))
    if result["groups"] is None:
        job.say(
            "Patients are unknown: where they have several images, these intervals are too "
            "narrow. Say who they are: -o group_regex=… or -o group=COLUMN, in training too."
        )
    job.say(f"Next: {work.next_step}")
