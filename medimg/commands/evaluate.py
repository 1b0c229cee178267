"""Metrics with intervals on a part that training did not see, or on other data"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

import click

from medimg.commands._job import Job
from medimg.commands._options import dataset_options, report_options

if TYPE_CHECKING:
    from medimg.core.runs import Run
    from medimg.core.types import DatasetIndex
    from medimg.training.experiment import Data

COMMON = ("out", "name", "as_json", "quiet", "verbose", "no_progress")
SHOWN = (
    "auroc",
    "average_precision",
    "accuracy",
    "balanced_accuracy",
    "sensitivity",
    "specificity",
    "precision",
    "f1",
    "macro_f1",
    "mcc",
    "brier",
    "ece",
)


def read_test_data(
    job: Job,
    run: Run,
    dataset: str | None,
    split: str,
    layout: str | None,
    options: dict[str, str],
    splits: str | None,
) -> tuple[Data, bool]:
    """The run's own data with the run's split, or other data with theirs; and whether they are
    the run's own."""
    from dataclasses import replace

    from medimg.core.errors import InputError
    from medimg.core.split import ensure_splits, split_hash
    from medimg.training.evaluation import check_classes
    from medimg.training.experiment import Data, copies

    own = dataset is None
    index = job.open(
        dataset or run.recipe["dataset"],
        layout if layout or not own else run.recipe["layout"],
        options if options or not own else run.recipe["options"],
    )
    check_classes(run, index)
    index = replace(index, positive=run.card["positive"])
    records = job.scan(index)
    fingerprint = fingerprint_of(index, records)
    # the same pictures in another place: what the run trained on must not pass as new
    moved = not own and not splits and fingerprint == run.card["dataset"]["fingerprint"]
    alike = moved and is_named_alike(run, index)
    if own or alike:
        index, note = ensure_splits(
            index,
            splits or str(run.folder / "splits.csv"),
            None,
            0,
            keep_together=copies(index, records),
        )
    elif splits:
        index, note = ensure_splits(index, splits, None, 0)
    elif moved and not index.splits():
        raise InputError(
            f"{index.name} holds the pictures that {run.name} was trained on, under other names",
            f"Say which are for {split}: --splits FILE",
        )
    else:
        index, note = as_external(index, split)
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


def looks(run: Run, pictures: Counter[tuple[str, str]], split: str) -> int:
    """How often these images have been looked at as this part by runs beside this one, this time
    included.

    Args:
        pictures: (sha256, label) of each image: the same ones count wherever they lie and however
            they were given.
    """
    import json

    from medimg.core.runs import pictures_in

    count = 1
    for file in run.folder.parent.glob("*/evaluate/*/report.json"):
        try:
            report = json.loads(file.read_text(encoding="utf-8"))
            same_part = report["result"]["split"] == split
            count += same_part and pictures_in(file.parent / "predictions.csv") == pictures
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return count


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


def table(result: dict[str, Any]) -> str:
    """The metrics people look at, with intervals, beside the majority class."""
    from tabulate import tabulate

    baseline = result["baseline"]
    rows = []
    for name in SHOWN:
        cell = result["metrics"].get(name)
        if cell is None:
            continue
        rows.append([name, shown(cell), interval(cell), shown(baseline.get(name) or {})])
    return tabulate(
        rows,
        headers=["metric", "value", "95 % interval", "majority class"],
        disable_numparse=True,
    )


def shown(cell: dict[str, Any]) -> str:
    value = cell.get("value")
    return "–" if value is None else f"{value:.3f}"


def interval(cell: dict[str, Any]) -> str:
    if cell.get("ci95") is None:
        return cell.get("reason") or ""
    low, high = cell["ci95"]
    return f"{low:.3f} to {high:.3f}"


@click.command("evaluate", epilog="Example: medimg evaluate runs/cnn3 --threshold sensitivity=0.95")
@click.argument("run", metavar="RUN")
@click.argument("dataset", metavar="[DATASET]", required=False)
@dataset_options
@click.option("--split", default="test", show_default=True, metavar="NAME", help="Which part.")
@click.option("--splits", metavar="FILE", help="A splits.csv other than the run's.")
@click.option(
    "--threshold",
    metavar="VALUE|RULE",
    help="A value, youden, sensitivity=0.95 or specificity=0.95; rules use validation.",
)
@click.option("--resamples", type=click.IntRange(100, 100_000), default=2000, show_default=True)
@report_options
def command(
    run: str,
    dataset: str | None,
    layout: str | None,
    options: dict[str, str],
    positive: str | None,
    split: str,
    splits: str | None,
    threshold: str | None,
    resamples: int,
    seed: int,
    **common: Any,
) -> None:
    """Evaluate a run on its test part, or on other data, with 95 % intervals.

    Intervals are by patient where patients are known. The threshold comes from validation.
    """
    from medimg.core.errors import UsageError, near_misses
    from medimg.core.runs import read_run, write_predictions
    from medimg.core.types import SPLITS
    from medimg.training.answers import alarms
    from medimg.training.evaluation import (
        choose_threshold,
        evaluation,
        predict_part,
        remembered,
        seen_in_training,
    )

    if split not in SPLITS:
        raise UsageError(f"no split is called {split!r}", near_misses(split, list(SPLITS)))
    trained = read_run(Path(run))
    if positive is not None and positive != trained.card["positive"]:
        raise UsageError(
            f"the positive class of {trained.name} is {trained.card['positive']}",
            "It was fixed in training, with the threshold.",
        )
    cut = choose_threshold(trained, threshold)
    folder = evaluation_folder(trained, common["name"], split, dataset)
    job = Job("evaluate", seed=seed, **common, folder=folder)
    data, own = read_test_data(job, trained, dataset, split, layout, options, splits)
    evaluated = predict_part(trained, data, split, manager=job.manager, bar=job.progress)
    numbers = evaluation(
        trained,
        evaluated,
        cut,
        job.manager.functions(job.manager.metrics()),
        seed=seed,
        resamples=resamples,
    )
    matrix = numbers["confusion_matrix"]
    findings = [
        *seen_in_training(remembered(trained, data, own), data, split),
        *alarms(matrix["counts"], matrix["labels"], split, cut),
    ]

    from medimg.reports.plots import is_phantom
    from medimg.reports.plots_evaluation import evaluation_plots

    write_predictions(folder / "predictions.csv", evaluated.predictions)
    phantom = is_phantom(data.index)
    plots = evaluation_plots(
        evaluated.predictions,
        numbers,
        trained.card["positive"],
        folder,
        phantom=phantom,
    )
    made = evaluated.predictions
    look = looks(trained, Counter(zip(made.sha256, made.labels, strict=True)), split)
    result = {
        "split": split,
        "unit": "image",
        "threshold": cut,
        "test_looks": look,
        "training": training_of(trained),
        "phantom": phantom,
        "artifacts": ["predictions.csv", *plots],
        **numbers,
    }
    say(job, trained, result, data)
    for finding in findings:
        job.note(f"{finding.check}: {finding.message}", severity=finding.severity)
        job.note(f"  {finding.hint}")
    job.finish(
        result,
        index=data.index,
        fingerprint=data.fingerprint,
        split_hash=data.split_hash,
        findings=tuple(findings),
        runtime=evaluated.runtime,
    )


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


def say(job: Job, run: Run, result: dict[str, Any], data: Data) -> None:
    patients = f" of {result['groups']:,} patients" if result["groups"] else ""
    job.say(
        f"{run.name} on {data.index.name}, {result['split']}: {result['images']:,} images"
        + patients
    )
    cut = result["threshold"]
    if cut:
        on = f", chosen on {cut['chosen_on']}" if cut["chosen_on"] else ""
        job.say(f"Positive: {result['positive']}; threshold {cut['value']:.4f} ({cut['rule']}{on})")
    job.say("")
    job.say(table(result))
    job.say("")
    job.say(confusion(result["confusion_matrix"]))
    job.say("")
    job.say(f"Intervals: {result['ci']['method']}, {result['ci']['resamples']:,} resamples")
    if result["split"] == "test" and result["test_looks"] > 1:
        job.say(f"This test part has been looked at {result['test_looks']} times by runs here.")
    job.say(f"Next: medimg compare {quote(str(run.folder.parent))}/*")


def confusion(matrix: dict[str, Any]) -> str:
    from tabulate import tabulate

    rows = [
        [f"true {label}", *row]
        for label, row in zip(matrix["labels"], matrix["counts"], strict=True)
    ]
    return tabulate(rows, headers=["", *(f"said {label}" for label in matrix["labels"])])
