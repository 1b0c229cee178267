"""What lr-find, train and finetune share: their options, and from options to an experiment."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from medimg.commands._options import Decorator, comma_lists, stack

if TYPE_CHECKING:
    from medimg.commands._job import Job
    from medimg.core.recipe import Recipe
    from medimg.core.types import DatasetIndex, Finding, ModelSpec, Network
    from medimg.training.checkpoints import Progress
    from medimg.training.experiment import Data, Experiment


GUESS = "positive-guessed"


class LearningRate(click.ParamType):
    """A positive number, or `auto`."""

    name = "X|auto"

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        if value == "auto" or isinstance(value, float):
            return value
        try:
            return float(value)
        except ValueError:
            self.fail(f"{value!r} is neither a number nor auto", param, ctx)


model_options = stack(
    click.option("--model", metavar="NAME", help="A model of the registry (medimg models)."),
    click.option("--image-size", type=int, metavar="PX", help="Side of the network's input."),
    click.option(
        "--resize",
        type=click.Choice(["squash", "pad"]),
        help="Squash to a square, or pad and keep the aspect ratio.  [default: squash]",
    ),
)


def step_options(default: bool = True) -> Decorator:
    """What a step of training is made of.

    Args:
        default: nothing given means medimg's defaults; else the settings of the run gone on from.
    """

    def said(text: str) -> str:
        return f"  [default: {text if default else 'as the run'}]"

    return stack(
        click.option("--batch-size", type=int, metavar="N", help=f"Images a step.{said('32')}"),
        click.option(
            "--precision",
            type=click.Choice(["auto", "float32", "bfloat16"]),
            help="auto: bfloat16 where the device has it and images are 64 px or more."
            + said("auto"),
        ),
        click.option("--optimizer", metavar="NAME", help=f"adam, adamw or sgd.{said('adam')}"),
        click.option(
            "--augment",
            metavar="PRESET|none",
            help="A preset of the registry." + said("the dataset's"),
        ),
    )


network_options = stack(model_options, step_options())


def training_options(
    epochs: str = "15",
    rate: str = "0.001",
    schedule: str = "one-cycle",
    spread: str = "1",
) -> Decorator:
    """What a training is made of; the arguments are the defaults that help shows."""
    return stack(
        click.option(
            "--epochs", type=int, metavar="N", help=f"At most so many.  [default: {epochs}]"
        ),
        click.option(
            "--lr",
            "learning_rate",
            type=LearningRate(),
            metavar="X|auto",
            help=f"Learning rate; auto runs lr-find first.  [default: {rate}]",
        ),
        click.option(
            "--schedule",
            metavar="NAME",
            help=f"one-cycle, cosine, constant or plateau.  [default: {schedule}]",
        ),
        click.option(
            "--monitor",
            type=click.Choice(["auto", "val_loss", "val_auroc", "val_accuracy", "loss"]),
            help="What chooses the best epoch.  [default: val_auroc for one-cycle and cosine, "
            "else val_loss]",
        ),
        click.option("--patience", type=int, metavar="N", help="Stop after N epochs without gain."),
        click.option(
            "--minutes",
            type=float,
            metavar="X",
            help="Stop at the end of the epoch that ends before so long; not with one-cycle.",
        ),
        click.option(
            "--balance",
            metavar="METHOD",
            help="Of the training part: class-weight, oversample, undersample, smote, …, none.",
        ),
        click.option(
            "--recalibrate",
            type=click.Choice(["auto", "none"]),
            help="auto: after balancing, probabilities are put right for the data's class shares.",
        ),
        click.option(
            "--freeze",
            type=click.Choice(["backbone", "none"]),
            help="Train the head alone, or all.  [default: backbone where --weights are given, "
            "else none]",
        ),
        click.option(
            "--keep-features/--no-keep-features",
            default=True,
            help="Where the backbone is frozen and pictures stay the same, compute what it gives "
            "once.  [default: keep]",
        ),
        click.option(
            "--views",
            type=int,
            metavar="N",
            help="With a frozen backbone and augmentation: keep N augmented passes, and train on "
            "them in turn.",
        ),
        click.option(
            "--lr-spread",
            type=float,
            metavar="X",
            help="The lowest trained stage learns X times slower than the head, those between in "
            f"equal steps.  [default: {spread}]",
        ),
        click.option("--weight-decay", type=float, metavar="X"),
        click.option("--label-smoothing", type=float, metavar="X"),
        click.option("--focal-gamma", type=float, metavar="X", help="Focal loss; usual: 2."),
        click.option(
            "--mixup", type=float, metavar="ALPHA", help="Blend pictures and labels; usual: 0.2."
        ),
        click.option("--l2", type=float, metavar="X", help="L2 penalty on hidden dense kernels."),
        click.option("--clip-norm", type=float, metavar="X", help="Clip gradients to this norm."),
        click.option(
            "--allow",
            multiple=True,
            metavar="CHECK",
            callback=comma_lists,
            help="Train although this check finds errors.",
        ),
        click.option(
            "--preflight/--no-preflight",
            default=True,
            help="Before training, ask whether the loss fits the labels and eight pictures can be "
            "learnt.  [default: ask]",
        ),
        click.option(
            "--tensorboard", is_flag=True, help="Write events for TensorBoard into the run folder."
        ),
        click.option("--recipe", "recipe_file", metavar="FILE", help="Settings from a YAML file."),
    )


def given(values: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that were given on the command line; the others are left to file and card."""
    context = click.get_current_context(silent=True)
    found = {}
    for name, value in values.items():
        if value is None or value == () or value == {}:
            continue
        if context is not None:
            source = context.get_parameter_source(name)
            if source is not None and source.name == "DEFAULT":
                continue
        found[name] = list(value) if isinstance(value, tuple) else value
    return found


def recipe_from(flags: Mapping[str, Any], recipe_file: str | None) -> Recipe:
    """Flags over the recipe file over the defaults."""
    from medimg.core.recipe import read_recipe, resolve

    recipe = resolve(flags, read_recipe(Path(recipe_file)) if recipe_file else {})
    if recipe.tensorboard:
        from medimg.training.events import require_tensorboard

        require_tensorboard()
    return recipe


def read_data(
    job: Job, recipe: Recipe, accept: Callable[[DatasetIndex], DatasetIndex] | None = None
) -> Data:
    """Opens, splits and scans the recipe's dataset.

    Args:
        accept: looks at the index before any file is read, sets its positive class in the
            recipe's stead, or refuses it.
    """
    from medimg.training.experiment import split_and_scan

    positive = None if accept else recipe.positive
    index = job.open(recipe.dataset, recipe.layout, recipe.options, positive, recipe.splits)
    index = with_some_positive(job, accept(index) if accept else index)
    data = split_and_scan(
        index,
        splits=recipe.splits,
        split_ratios=recipe.split_ratios,
        scan=job.scan,
    )
    describe(job, data)
    return data


def with_some_positive(job: Job, index: DatasetIndex) -> DatasetIndex:
    """The index with a positive class in any two-class task: where the names don't tell, the last
    of them by name, aloud."""
    from dataclasses import replace
    from shlex import quote

    from medimg.core.types import Finding

    if len(index.classes) != 2 or index.positive is not None:
        return index
    other, taken = sorted(index.classes)
    finding = Finding(
        GUESS,
        "warning",
        f"the names {other} and {taken} don't tell which is the positive class: {taken} is taken, "
        "the last by name",
        1,
        ({"class": taken},),
        f"If it is the other: --positive {quote(other)}",
    )
    job.note(finding.told, severity="warning")
    job.note(f"  {finding.hint}")
    return replace(index, positive=taken, findings=(*index.findings, finding))


def with_changes(job: Job, data: Data, run: Path) -> Data:
    """The data, with a warning where images are not the files that a run knew at their place."""
    from dataclasses import replace

    from medimg.core.runs import read_run_splits
    from medimg.training.exposure import changed_since

    found = changed_since(read_run_splits(run), data, data.index.samples)
    for finding in found:
        job.note(finding.told, severity=finding.severity)
        job.note(f"  {finding.hint}")
    return replace(data, index=replace(data.index, findings=(*data.index.findings, *found)))


def told_of_data(index: DatasetIndex) -> tuple[Finding, ...]:
    """What was guessed and noticed about the data, for a training's report."""
    return tuple(f for f in index.findings if f.check in (GUESS, "data-changed"))


@contextmanager
def resumable(folder: Path) -> Iterator[None]:
    """Says on Ctrl-C how to go on with a run that has begun."""
    from shlex import quote

    try:
        yield
    except KeyboardInterrupt:
        click.echo(f"\nTo go on: medimg train --resume {quote(str(folder))}", err=True)
        raise


def describe(job: Job, data: Data) -> None:
    """The lines that say what is trained on."""
    index = data.index
    parts = ", ".join(f"{name} {len(index.part(name)):,}" for name in index.splits())
    patients = f", {len(index.groups()):,} patients" if index.groups() else ", patients unknown"
    job.say(f"{index.name}: {len(index):,} images ({parts}){patients}; {data.split_note}")
    if index.recognised_by:
        job.say(f"Known as {index.card}: {index.recognised_by}")
    if index.positive:
        job.say(f"Positive class: {index.positive}")


def ready(job: Job, recipe: Recipe, data: Data, spec: ModelSpec | None = None) -> Experiment:
    """The experiment, with progress bars, and a line that says what runs where."""
    from medimg.training.experiment import prepare

    experiment = prepare(
        recipe,
        data,
        manager=job.manager,
        registry=job.manager.registry(),
        bar=job.progress,
        spec=spec,
    )
    made = experiment.spec
    job.say(
        f"Model {made.name} at {made.height}×{made.width}×{made.channels} "
        f"({experiment.recipe.resize}), backend {experiment.runtime.name} on "
        f"{experiment.runtime.device}, {experiment.recipe.precision}"
    )
    for finding in experiment.findings:
        if finding.severity == "error":
            job.note(f"allowed: {finding.told}", severity="warning")
        else:
            told(job, finding)
    return experiment


def preflight(
    experiment: Experiment, job: Job, network: Network, cut: int = 0, fresh: bool = True
) -> Experiment:
    """Looks before training whether the loss fits the labels and the network can learn.

    Args:
        network, cut: what is about to be trained, and its lowest trained stage; left as it was.
        fresh: the network has learnt nothing yet.
    Returns:
        the experiment with the warnings among its findings.
    Raises:
        BackendError: a batch does not fit in memory.
        Refused: the loss does not fit the labels.
    """
    from dataclasses import replace

    from medimg.core.errors import Refused
    from medimg.training.memory import demand_memory
    from medimg.training.preflight import preflight as look

    if not experiment.recipe.preflight:
        return experiment
    if not experiment.runtime.accelerator:
        # an accelerator says itself when its memory is full
        demand_memory(
            network,
            experiment.train,
            objective=experiment.objective,
            optimizer=experiment.optimizer,
            trainable_from=cut,
        )
    found = look(
        network,
        experiment.train,
        objective=experiment.objective,
        optimizer=experiment.optimizer,
        trainable_from=cut,
        fresh=fresh,
    )
    for finding in found:
        if finding.severity == "error":
            raise Refused(
                finding.told,
                f"{finding.hint}\nTrain all the same: --no-preflight",
                (finding,),
            )
        told(job, finding)
    return replace(experiment, findings=(*experiment.findings, *found))


def told(job: Job, finding: Finding) -> None:
    """Something that a user should know now, with what to do about it."""
    job.note(finding.told, severity=finding.severity)
    if finding.hint:
        job.note(f"  {finding.hint}")


@contextmanager
def epoch_bar(
    job: Job, experiment: Experiment, resume: Progress | None = None
) -> Iterator[tuple[Any, Any]]:
    """(on_step, on_epoch): a bar with loss, images a second and time left; a line an epoch."""
    recipe, train = experiment.recipe, experiment.train
    with job.progress("Training", len(train) * recipe.epochs) as bar:
        if resume:
            # of an earlier process: they say nothing about the speed of this one
            bar.initial = bar.n = len(train) * resume.epoch

        def on_step(epoch: int, step: int, loss: float) -> None:
            bar.update(min(recipe.batch_size, len(train) - step * recipe.batch_size))
            if step % 10 == 0:
                bar.set_postfix(epoch=f"{epoch + 1}/{recipe.epochs}", loss=f"{loss:.3f}")

        def on_epoch(row: Mapping[str, float | None]) -> None:
            bar.clear()
            job.say(epoch_line(row, recipe.epochs))

        yield on_step, on_epoch


def epoch_line(row: Mapping[str, float | None], epochs: int) -> str:
    """`epoch 3/15  loss 0.312  val_loss 0.290  val_accuracy 0.880  …`"""
    shown = [f"epoch {int(row['epoch'] or 0):>3}/{epochs}"]
    for name in ("loss", "val_loss", "val_accuracy", "val_auroc"):
        value = row.get(name)
        if value is not None:
            shown.append(f"{name} {value:.4f}")
    shown.append(f"lr {row['learning_rate']:.1e}  {row['seconds']:.1f} s")
    return "  ".join(shown)
