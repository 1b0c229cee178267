"""One run: weights, history, plots, validation predictions, report"""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

import click

from medimg.commands._job import Job
from medimg.commands._options import (
    backend_option,
    dataset_options,
    report_options,
    split_options,
)
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
    told_of_data,
    training_options,
    with_changes,
)

if TYPE_CHECKING:
    from medimg.core.recipe import Recipe
    from medimg.core.types import LoadReport, Network
    from medimg.training.experiment import Experiment
    from medimg.training.features import Learner
    from medimg.training.loop import Progress
    from medimg.training.run import Finished

COMMON = ("out", "name", "as_json", "quiet", "verbose", "no_progress")
FALLBACK_RATE = 1e-3


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
    say_frozen(job, network, cut, loaded)
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


def learn_from(
    experiment: Experiment, job: Job, network: Network, cut: int, resume: Progress | None = None
) -> Learner:
    """The network on pictures, or its head on features that are computed now or were kept."""
    from medimg.training.features import learner_of

    def note(text: str) -> None:
        job.note(text, severity="warning")

    learner = learner_of(experiment, network, cut, job.progress, note, resume)
    if told := learner.told:
        views = f" in {told['views']} views" if told["views"] > 1 else ""
        job.say(
            f"The frozen backbone's features, {told['images']:,} times {told['size']:,} "
            f"numbers{views}: "
            + ("kept from before" if told["from_cache"] else f"{told['seconds']:.1f} s")
        )
    return learner


def say_frozen(job: Job, network: Network, cut: int, loaded: LoadReport | None) -> None:
    """What is trained and what is not, and a warning where what is frozen was never taught."""
    from medimg.training.pretrained import listed

    if cut == 0:
        return
    job.say(
        f"Trained: {', '.join(s.name for s in network.stages[cut:])}; frozen: "
        f"{', '.join(s.name for s in network.stages[:cut])}"
    )
    own = set(network.head().weights())
    fresh = tuple(n for n in (loaded.missing if loaded else network.weights()) if n not in own)
    if fresh:
        job.note(
            f"the frozen backbone keeps weights drawn at random: {listed(fresh)}",
            severity="warning",
        )
        job.note("  --freeze none trains it; --weights imagenet|FILE|RUN gives it others")


def resolve_learning_rate(
    experiment: Experiment, job: Job, network: Network | None = None, cut: int = 0
) -> Experiment:
    """`--lr auto` runs the range test; without a safe suggestion the default is taken, aloud.

    Args:
        network, cut: what training starts from, and its lowest trained stage; default fresh.
    """
    from medimg.commands.lr_find import find_learning_rate
    from medimg.training.run import with_learning_rate

    if experiment.recipe.learning_rate != "auto":
        return experiment
    found = find_learning_rate(experiment, network, cut, bar=job.progress)
    if found.suggestion is None:
        job.note(f"{found.reason}; going on with {FALLBACK_RATE:g}", severity="warning")
        return with_learning_rate(experiment, FALLBACK_RATE)
    job.say(f"Learning rate {found.suggestion:.2g}: {found.reason}")
    return with_learning_rate(experiment, found.suggestion)


def finish(job: Job, experiment: Experiment, finished: Finished, next_step: str) -> None:
    """Plots, the lines at the end, and the report."""
    from medimg.reports.plots_training import run_plots
    from medimg.training.recalibration import in_words

    plots = run_plots(finished, experiment, job.folder)
    finished.result["artifacts"] += plots
    if words := in_words(finished.result["recalibration"]):
        job.say(words)
    say_result(job, finished)
    alarms = [f for f in finished.findings if f not in experiment.findings]
    for finding in alarms:
        told(job, finding)
    job.say(f"Run folder: {job.folder}")
    job.say(f"Next: {next_step}")
    job.finish(
        finished.result,
        index=experiment.data.index,
        fingerprint=experiment.data.fingerprint,
        split_hash=experiment.data.split_hash,
        findings=(*told_of_data(experiment.data.index), *finished.findings),
        runtime=finished.runtime,
        settings=experiment.recipe.model_dump(),
    )


def say_result(job: Job, finished: Finished) -> None:
    from medimg.training.answers import in_words

    result = finished.result
    job.say(
        f"{result['epochs']} epochs (stopped by {result['stopped_by']}), best epoch "
        f"{result['best_epoch']}, {result['images_per_second']:.0f} images/s"
        if result["images_per_second"]
        else f"{result['epochs']} epochs, best epoch {result['best_epoch']}"
    )
    names = ("auroc", "accuracy", "balanced_accuracy", "sensitivity", "specificity", "macro_f1")
    values = [
        f"{name} {result['metrics'][name]:.3f}"
        for name in names
        if result["metrics"].get(name) is not None
    ]
    if values:
        job.say(
            f"Validation{in_words(result['threshold'])} (it chose the epoch, so it flatters): "
            + ", ".join(values)
        )


def unfinished(folder: Path) -> tuple[Recipe, Progress | None]:
    """The recipe and the state of an unfinished run.

    Raises:
        InputError: no such folder, no recipe in it, or it finished.
    """
    from medimg.core.errors import InputError
    from medimg.core.recipe import read_recipe, resolve
    from medimg.core.runs import RECIPE, REPORT, is_hopeless
    from medimg.core.runs import unfinished as as_error
    from medimg.training.loop import Checkpoints

    if not (folder / RECIPE).is_file():
        raise InputError(
            f"{folder} holds no recipe.yaml: it is no run folder",
            "Give the folder of a training that was cut short.",
        )
    if (folder / REPORT).is_file():
        raise InputError(
            f"{folder} is finished", f"Go on from its weights: medimg finetune {quote(str(folder))}"
        )
    if is_hopeless(folder):
        raise as_error(folder)
    recipe = resolve(read_recipe(folder / RECIPE), {})
    return recipe, Checkpoints(folder / "checkpoints").read()


def go_on(folder: Path, common: dict[str, Any]) -> None:
    """`--resume RUN`: the same recipe, the same split, from the last epoch that ended."""
    recipe, state = unfinished(folder)
    if recipe.parent:
        from medimg.commands import finetune

        finetune.go_on(folder, recipe, state, common)
        return
    job = Job("train", seed=recipe.seed, **common, folder=folder)
    data = with_changes(job, read_data(job, pinned(recipe, folder)), folder)
    experiment = ready(job, pinned(recipe, folder), data)
    say_going_on(job, folder, recipe, state)
    experiment, finished = train(experiment, job, weights=recipe.weights, resume=state)
    finish(job, experiment, finished, f"medimg evaluate {quote(str(folder))}")


def pinned(recipe: Recipe, folder: Path) -> Recipe:
    """The recipe with the split that the run folder holds."""
    from medimg.core.runs import SPLITS

    return recipe.model_copy(update={"splits": str(folder / SPLITS), "split_ratios": None})


def say_going_on(job: Job, folder: Path, recipe: Recipe, state: Progress | None) -> None:
    done = state.epoch if state else 0
    job.say(f"Going on with {folder} after epoch {done} of {recipe.epochs}")


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


def refuse_settings(flags: dict[str, Any]) -> None:
    """Raises UsageError where `--resume` stands beside a setting, which it would not heed."""
    from medimg.core.errors import UsageError

    if asked := given(flags):
        raise UsageError(
            f"--resume goes on with the run's own settings, so {', '.join(asked)} can't be given",
            "Leave it out, or train anew.",
        )


def absolute(recipe: Recipe) -> Recipe:
    """Paths as they hold from anywhere, so that resume and evaluate find the data again."""
    changes = {}
    for name in ("dataset", "splits", "weights"):
        value = getattr(recipe, name)
        if value and value not in ("none", "imagenet") and Path(value).exists():
            changes[name] = str(Path(value).resolve())
    return recipe.model_copy(update=changes)
