"""Goes on from a run at a low learning rate, part of the backbone unfrozen"""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

import click

from medimg.commands._finishing import finish
from medimg.commands._job import Job
from medimg.commands._learning import learn_from, resolve_learning_rate, say_trained
from medimg.commands._options import COMMON, dataset_options, report_options, split_options
from medimg.commands._resuming import absolute, go_on, pinned, refuse_settings, say_going_on
from medimg.commands._training import (
    epoch_bar,
    given,
    preflight,
    read_data,
    ready,
    recipe_from,
    resumable,
    step_options,
    told,
    training_options,
    with_changes,
)

if TYPE_CHECKING:
    from medimg.core.recipe import Recipe
    from medimg.core.runs import Run
    from medimg.core.types import DatasetIndex
    from medimg.training.checkpoints import Progress
    from medimg.training.experiment import Experiment
    from medimg.training.run import Finished

EPOCHS = 5
RATE_SHARE = 0.1
# after a head on a frozen backbone: the half of its stages next to the head, the lowest of them at
# a tenth of the head's rate
UNFROZEN = 0.5
SPREAD = 10.0


def was_frozen(parent: Run) -> bool:
    """Whether the parent trained a head alone."""
    from medimg.core.recipe import resolve
    from medimg.training.experiment import freeze_of

    recipe = resolve(parent.recipe, {})
    return recipe.unfreeze is None and freeze_of(recipe) == "backbone"


def recipe_for(parent: Run, flags: dict[str, Any], file: str | None) -> Recipe:
    """The parent's recipe at a tenth of its learning rate, then what was given."""
    from medimg.core.recipe import resolve

    asked = recipe_from(flags, file)
    chosen = {name: getattr(asked, name) for name in asked.model_fields_set}
    unfreeze = chosen.get("unfreeze", UNFROZEN if was_frozen(parent) else None)
    settings = {
        **parent.recipe,
        "epochs": EPOCHS,
        "learning_rate": float(parent.recipe["learning_rate"]) * RATE_SHARE,
        "schedule": "constant",
        "patience": None,
        "minutes": None,
        "monitor": "auto",
        "weights": "none",
        "freeze": "none",
        "unfreeze": None if chosen.get("freeze") else unfreeze,
        "gradual": False,
        "views": None,
        "lr_spread": SPREAD if unfreeze and not chosen.get("freeze") else 1.0,
        "splits": str((parent.folder / "splits.csv").resolve()),
        "split_ratios": None,
    }
    return resolve({**settings, **chosen, "parent": str(parent.folder.resolve())}, {})


def finetune(
    parent: Run, experiment: Experiment, job: Job, resume: Progress | None = None
) -> tuple[Experiment, Finished]:
    """Trains on from the parent's weights; the result holds validation before and after.

    The experiment comes back with its learning rate resolved.
    """
    from dataclasses import replace

    from medimg.core.runs import MODEL
    from medimg.training.change import change_of
    from medimg.training.experiment import trainable_from
    from medimg.training.run import (
        metric_values,
        operating_point,
        train_run,
        validation_predictions,
    )

    network = experiment.backend.load(parent.folder / MODEL, experiment.spec)
    metrics = job.manager.functions(job.manager.metrics())
    cut = trainable_from(experiment.recipe, network)
    say_trained(experiment, job, network, cut)
    learner = learn_from(experiment, job, network, cut, resume)
    found = resolve_learning_rate(learner.experiment, job, learner.network, learner.trainable_from)
    if resume is None:
        found = preflight(found, job, learner.network, learner.trainable_from, fresh=False)
    learner = replace(learner, experiment=found)
    start = validation_predictions(found, learner.network, parent.card.get("recalibration"))
    threshold = operating_point(start, found.positive)
    before = metric_values(start, found.positive, threshold, metrics) if start is not None else None
    with resumable(job.folder), epoch_bar(job, found, resume) as (on_step, on_epoch):
        finished = train_run(
            learner,
            network,
            job.folder,
            metrics,
            resume=resume,
            parent=parent.name,
            before=before,
            inherited=parent.card.get("recalibration"),
            on_step=on_step,
            on_epoch=on_epoch,
            on_alarm=lambda finding: told(job, finding),
        )
    finished.result["change"] = change_of(
        start, finished.predictions, found.positive, metrics, found.recipe.seed
    )
    return found, finished


def say_change(job: Job, finished: Finished) -> None:
    """Before and after, and whether it helped."""
    from medimg.training.change import in_words

    change = finished.result["change"]
    if change is None:
        return
    for name, row in change["differences"].items():
        if name != change["metric"]:
            job.say(
                f"Validation {name}: {row['before']:.4f} → {row['after']:.4f} "
                f"({row['difference']:+.4f})"
            )
    job.say(in_words(change))
    if change["helped"] is False:
        job.note("  The parent is the better one: medimg evaluate it instead.")


def go_on_with(
    folder: Path, recipe: Recipe, state: Progress | None, common: dict[str, Any]
) -> None:
    """Goes on with an unfinished finetune from the last epoch that ended."""
    from medimg.core.runs import read_run

    parent = read_run(Path(str(recipe.parent)))
    job = Job("finetune", seed=recipe.seed, **common, folder=folder)
    say_going_on(job, folder, recipe, state)
    finetune_on(job, parent, pinned(recipe, folder), state)


def finetune_on(job: Job, parent: Run, recipe: Recipe, state: Progress | None = None) -> None:
    """Everything from the data to the report."""
    from medimg.training.experiment import spec_of

    data = read_data(job, recipe, lambda index: as_the_parent(parent, index))
    if recipe.dataset == parent.recipe["dataset"]:
        data = with_changes(job, data, parent.folder)
    experiment = ready(job, recipe, data, spec=spec_of(parent.card))
    job.subject = f"{experiment.spec.name}-{data.index.name}"
    experiment, finished = finetune(parent, experiment, job, state)
    say_change(job, finished)
    folders = f"{quote(str(parent.folder))} {quote(str(job.folder))}"
    finish(job, experiment, finished, f"medimg compare {folders}")


def refuse_other_splits(flags: dict[str, Any], dataset: str | None) -> None:
    """Raises UsageError where the parent's data would be split or read anew."""
    from medimg.core.errors import UsageError

    asked = [n for n in ("splits", "split_ratios", "layout", "options") if n in flags]
    if asked and dataset is None:
        raise UsageError(
            f"{' and '.join('--' + n.replace('_', '-') for n in asked)} goes with --dataset",
            "On the parent's own data its split stays, so that its test part stays unseen.",
        )


@click.command("finetune", epilog="Example: medimg finetune runs/cnn3 --unfreeze 0.5 --lr 1e-5")
@click.argument("run", metavar="RUN", required=False)
@training_options("5", "a tenth of the run's", "constant", "10 with --unfreeze, else 1")
@step_options(default=False)
@click.option("--dataset", metavar="DATASET", help="Other data than the parent's.")
@dataset_options
@split_options
@click.option(
    "--unfreeze",
    type=click.FloatRange(0, 1, min_open=True),
    metavar="FRACTION",
    help="Share of the backbone's stages that becomes trainable, from the head down.  "
    "[default: 0.5 where the run trained a head on a frozen backbone, else everything]",
)
@click.option(
    "--gradual",
    is_flag=True,
    help="Open those stages one after another over the epochs, from the head down, not at once.",
)
@click.option("--resume", metavar="RUN", help="Go on with an unfinished finetune.")
@report_options
def command(
    run: str | None,
    dataset: str | None,
    positive: str | None,
    resume: str | None,
    recipe_file: str | None,
    seed: int,
    **options: Any,
) -> None:
    """Train on from a run at a tenth of its learning rate; a new run folder names its parent.

    The split stays the parent's, so that what it was tested on stays unseen.
    """
    from medimg.core.errors import UsageError
    from medimg.core.runs import read_run

    common = {key: options.pop(key) for key in COMMON}
    flags = given({**options, "seed": seed})
    if resume:
        asked = {**flags, "run": run, "dataset": dataset, "recipe": recipe_file}
        refuse_settings(asked | {"positive": positive})
        go_on(Path(resume), common)
        return
    if run is None:
        raise UsageError("no RUN was given", "For example: medimg finetune runs/cnn3")
    parent = read_run(Path(run))
    if positive is not None and positive != parent.card["positive"]:
        raise UsageError(
            f"the positive class of {parent.name} is {parent.card['positive']}",
            "It was fixed in training, with the threshold.",
        )
    refuse_other_splits(flags, dataset)
    if dataset:
        flags = {"splits": None, "layout": None, "options": {}, **flags, "dataset": dataset}
    recipe = recipe_for(parent, flags, recipe_file)
    job = Job("finetune", seed=recipe.seed, **common)
    job.subject = recipe.model or "run"
    finetune_on(job, parent, absolute(recipe))


def as_the_parent(parent: Run, index: DatasetIndex) -> DatasetIndex:
    """The index with the parent's positive class.

    Raises:
        InputError: the data's classes are not the run's.
    """
    from dataclasses import replace

    from medimg.core.errors import InputError

    if tuple(parent.card["classes"]) != index.classes:
        raise InputError(
            f"{parent.name} knows the classes {', '.join(parent.card['classes'])}, "
            f"the data hold {', '.join(index.classes)}",
            "Finetune on data with the same classes, or train anew.",
        )
    return replace(index, positive=parent.card["positive"])
