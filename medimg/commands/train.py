"""One run: weights, history, plots, validation predictions, report"""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

import click

from medimg.commands._finishing import finish
from medimg.commands._job import Job
from medimg.commands._learning import learn_from, resolve_learning_rate, say_frozen
from medimg.commands._options import (
    COMMON,
    backend_option,
    dataset_options,
    report_options,
    split_options,
)
from medimg.commands._resuming import absolute, go_on, pinned, refuse_settings, say_going_on
from medimg.commands._training import (
    epoch_bar,
    given,
    network_options,
    preflight,
    read_data,
    ready,
    recipe_from,
    resumable,
    told,
    training_options,
    with_changes,
)

if TYPE_CHECKING:
    from medimg.core.recipe import Recipe
    from medimg.core.types import LoadReport, Network
    from medimg.training.checkpoints import Progress
    from medimg.training.experiment import Experiment
    from medimg.training.run import Finished


def train(
    experiment: Experiment, job: Job, *, weights: str = "none", resume: Progress | None = None
) -> tuple[Experiment, Finished]:
    """Builds the network, trains it and fills the run folder with all but report.json.

    The experiment comes back with its learning rate resolved and what the pre-flight found.
    """
    from dataclasses import replace

    from medimg.training.experiment import trainable_from
    from medimg.training.run import train_run

    network, loaded = start_network(experiment, job, weights)
    experiment = with_scaling_checked(experiment, job, network, weights)
    cut = trainable_from(experiment.recipe, network)
    say_frozen(experiment, job, network, cut, loaded)
    learner = learn_from(experiment, job, network, cut, resume)
    if resume is None:
        fresh = weights == "none"
        found = preflight(learner.experiment, job, learner.network, learner.trainable_from, fresh)
        started = learner.network if cut or not fresh else None
        found = resolve_learning_rate(found, job, started, learner.trainable_from)
        learner = replace(learner, experiment=found)
    experiment = learner.experiment
    with resumable(job.folder), epoch_bar(job, experiment, resume) as (on_step, on_epoch):
        return experiment, train_run(
            learner,
            network,
            job.folder,
            job.manager.functions(job.manager.metrics()),
            resume=resume,
            loaded=loaded,
            on_step=on_step,
            on_epoch=on_epoch,
            on_alarm=lambda finding: told(job, finding),
        )


def start_network(
    experiment: Experiment, job: Job, weights: str
) -> tuple[Network, LoadReport | None]:
    """A fresh network, or one that starts from weights from elsewhere; what was and wasn't taken
    of them is said.

    Raises:
        UsageError, InputError, BackendError: weights that can't be had or don't fit.
    """
    from medimg.training.pretrained import NONE, said, take_weights

    network, _ = experiment.backend.build(experiment.spec, experiment.recipe.seed)
    if weights == NONE:
        return network, None
    report = take_weights(network, weights, experiment.backend, job.manager)
    job.say(said(report, weights))
    return network, report


def with_scaling_checked(
    experiment: Experiment, job: Job, network: Network, weights: str
) -> Experiment:
    """The experiment with a warning where weights were trained on pixels of another scale."""
    from dataclasses import replace

    from medimg.training.pixel_scaling import scaling_mismatch

    found = scaling_mismatch(network, weights, experiment.backend)
    if found is None:
        return experiment
    told(job, found)
    return replace(experiment, findings=(*experiment.findings, found))


def go_on_with(
    folder: Path, recipe: Recipe, state: Progress | None, common: dict[str, Any]
) -> None:
    """Goes on with an unfinished training from the last epoch that ended."""
    job = Job("train", seed=recipe.seed, **common, folder=folder)
    data = with_changes(job, read_data(job, pinned(recipe, folder)), folder)
    experiment = ready(job, pinned(recipe, folder), data)
    say_going_on(job, folder, recipe, state)
    experiment, finished = train(experiment, job, weights=recipe.weights, resume=state)
    finish(job, experiment, finished, f"medimg evaluate {quote(str(folder))}")


@click.command("train", epilog="Example: medimg train ./chest_xray --model cnn3 --epochs 20")
@click.argument("dataset", metavar="DATASET", required=False)
@dataset_options
@split_options
@backend_option
@network_options
@training_options()
@click.option(
    "--weights",
    metavar="imagenet|none|FILE|RUN",
    help="What to start from: ImageNet's weights, a file's (.safetensors, .pth, .weights.h5, "
    ".keras) or another run's.  [default: none]",
)
@click.option("--resume", metavar="RUN", help="Go on with an unfinished run folder.")
@report_options
def command(
    dataset: str | None, resume: str | None, recipe_file: str | None, seed: int, **options: Any
) -> None:
    """Train a classifier and write a run folder: weights, history, plots, predictions, report.

    Data with errors that make the result meaningless are refused (exit 1) unless --allow
    names the check.
    """
    from medimg.core.errors import UsageError
    from medimg.training.pretrained import check_source

    common = {key: options.pop(key) for key in COMMON}
    if resume:
        refuse_settings({**options, "dataset": dataset, "recipe": recipe_file, "seed": seed})
        go_on(Path(resume), common)
        return
    flags = given({**options, "dataset": dataset, "seed": seed})
    recipe = recipe_from(flags, recipe_file)
    if not recipe.dataset:
        raise UsageError("no DATASET was given", "For example: medimg train ./chest_xray")
    check_source(recipe.weights)
    job = Job("train", seed=recipe.seed, **common)
    data = read_data(job, recipe)
    experiment = ready(job, absolute(recipe), data)
    job.subject = f"{experiment.spec.name}-{data.index.name}"
    experiment, finished = train(experiment, job, weights=recipe.weights)
    finish(job, experiment, finished, f"medimg evaluate {quote(str(job.folder))}")
