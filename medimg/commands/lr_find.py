"""A learning rate by range test, with its reasons and a plot"""

from __future__ import annotations

from shlex import quote
from typing import TYPE_CHECKING, Any

import click

from medimg.commands._job import Job
from medimg.commands._options import (
    backend_option,
    dataset_argument,
    dataset_options,
    report_options,
    split_options,
)
from medimg.commands._training import (
    given,
    network_options,
    read_data,
    ready,
    recipe_from,
    told_of_data,
)
from medimg.commands.split import typed

if TYPE_CHECKING:
    from medimg.core.types import Network
    from medimg.training.experiment import Experiment
    from medimg.training.lr_finder import RangeTest


def find_learning_rate(
    experiment: Experiment,
    network: Network | None = None,
    cut: int = 0,
    *,
    steps: int = 100,
    start: float = 1e-6,
    end: float = 1.0,
    bar: Any,
) -> RangeTest:
    """A range test on a network trained from stage `cut` up; default a fresh one."""
    from medimg.training.lr_finder import range_test

    if network is None:
        network, _ = experiment.backend.build(experiment.spec, experiment.recipe.seed)
    with bar("Range test", steps, "step") as progress:
        return range_test(
            network,
            experiment.train,
            objective=experiment.objective,
            optimizer=experiment.optimizer,
            trainable_from=cut,
            start=start,
            end=end,
            steps=steps,
            seed=experiment.recipe.seed,
            on_step=lambda step, loss: progress.update(1),
        )


def as_result(test: RangeTest, plots: list[str]) -> dict[str, Any]:
    return {
        "suggestion": test.suggestion,
        "rule": test.rule,
        "candidates": test.candidates,
        "curve": {
            "learning_rate": test.learning_rates.tolist(),
            "loss": test.losses.tolist(),
        },
        "reason": test.reason,
        "plots": plots,
    }


@click.command("lr-find", epilog="Example: medimg lr-find ./chest_xray --model cnn3")
@dataset_argument
@dataset_options
@split_options
@backend_option
@network_options
@click.option("--steps", type=click.IntRange(20, 10_000), default=100, show_default=True)
@click.option("--start", type=float, default=1e-6, show_default=True, help="Lowest rate.")
@click.option("--end", type=float, default=1.0, show_default=True, help="Highest rate.")
@click.option("--allow", multiple=True, metavar="CHECK", help="Go on although it finds errors.")
@report_options
def command(steps: int, start: float, end: float, seed: int, **options: Any) -> None:
    """Find a learning rate by raising it until the loss diverges; suggest one, and say why."""
    from medimg.core.errors import UsageError

    if not 0 < start < end < float("inf"):
        raise UsageError(
            f"--start {start} must be above 0 and below --end {end}, a finite number",
            "For example --start 1e-6 --end 1",
        )
    common = {
        k: options.pop(k) for k in ("out", "name", "as_json", "quiet", "verbose", "no_progress")
    }
    job = Job("lr-find", seed=seed, **common)
    recipe = recipe_from({**given(options), "seed": seed}, None)
    data = read_data(job, recipe)
    experiment = ready(job, recipe, data)
    test = find_learning_rate(experiment, steps=steps, start=start, end=end, bar=job.progress)

    from medimg.reports.plots_training import lr_curve

    plot = job.folder / "plots" / "lr-find.png"
    lr_curve(test, plot, data.index)
    if test.suggestion is None:
        job.say(test.reason)
    else:
        shown = ", ".join(f"{k} {v:.1e}" for k, v in test.candidates.items() if v)
        job.say(f"Suggested learning rate: {test.suggestion:.2g} ({test.rule}: {shown})")
        job.say(f"Why: {test.reason}")
        shown = typed(recipe.dataset, recipe.layout, recipe.options)
        for option, value in (("--splits", recipe.splits), ("--split-ratios", recipe.split_ratios)):
            shown += f" {option} {quote(value)}" if value else ""
        job.say(f"Next: medimg train {shown} --lr {test.suggestion:.2g}")
    job.say(f"Plot: {plot}")
    job.finish(
        as_result(test, ["plots/lr-find.png"]),
        index=data.index,
        fingerprint=data.fingerprint,
        split_hash=data.split_hash,
        runtime=experiment.runtime,
        findings=(*told_of_data(data.index), *experiment.findings),
    )
