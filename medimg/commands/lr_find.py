"""A learning rate by range test, with its reasons and a plot"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from medimg.commands._job import Job
from medimg.commands._options import (
    backend_option,
    comma_lists,
    dataset_argument,
    dataset_options,
    report_options,
    retyped,
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

if TYPE_CHECKING:
    from medimg.core.types import Network
    from medimg.training.experiment import Experiment
    from medimg.training.lr_finder import Agreed, RangeTest

SEEDS = 3


def find_learning_rate(
    experiment: Experiment,
    network: Network | None = None,
    cut: int = 0,
    *,
    steps: int = 100,
    start: float = 1e-6,
    end: float = 1.0,
    seeds: int = SEEDS,
    bar: Any,
) -> Agreed:
    """Range tests of several seeds, on a network trained from stage `cut` up.

    Args:
        network: what training starts from, and left as it was; the seeds then draw the order of
            the images and dropout. Default: a fresh network a seed.
    """
    from dataclasses import replace

    from medimg.training.lr_finder import agree, range_test

    first, tests = experiment.recipe.seed, []
    with bar("Range test", steps * seeds, "step") as progress:
        for seed in range(first, first + seeds):
            tested = network or experiment.backend.build(experiment.spec, seed)[0]
            test = range_test(
                tested,
                replace(experiment.train, seed=seed),
                objective=experiment.objective,
                optimizer=experiment.optimizer,
                trainable_from=cut,
                start=start,
                end=end,
                steps=steps,
                seed=seed,
                spread=experiment.recipe.lr_spread,
                on_step=lambda step, loss: progress.update(1),
            )
            tests.append(test)
    return agree(tests)


def curve_of(test: RangeTest) -> dict[str, Any]:
    return {"learning_rate": test.learning_rates.tolist(), "loss": test.losses.tolist()}


def as_result(found: Agreed, plots: list[str]) -> dict[str, Any]:
    return {
        "suggestion": found.suggestion,
        "rule": found.rule,
        "candidates": found.candidates,
        "curve": curve_of(found.tests[0]),
        "reason": found.reason,
        "seeds": [
            {
                "seed": test.seed,
                "suggestion": test.suggestion,
                "candidates": test.candidates,
                "curve": curve_of(test),
                "reason": test.reason,
            }
            for test in found.tests
        ],
        "agreement": found.agreement,
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
@click.option(
    "--seeds",
    type=click.IntRange(1, 100),
    default=SEEDS,
    show_default=True,
    help="Repeat with so many draws of weights and order, from --seed up.",
)
@click.option(
    "--allow",
    multiple=True,
    metavar="CHECK",
    callback=comma_lists,
    help="Go on although it finds errors.",
)
@report_options
def command(steps: int, start: float, end: float, seeds: int, seed: int, **options: Any) -> None:
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
    found = find_learning_rate(
        experiment, steps=steps, start=start, end=end, seeds=seeds, bar=job.progress
    )

    from medimg.reports.plots_training import lr_curve

    plot = job.folder / "plots" / "lr-find.png"
    lr_curve(found, plot, data.index)
    if found.suggestion is None:
        job.say(found.reason)
    else:
        shown = ", ".join(f"{k} {v:.1e}" for k, v in found.candidates.items() if v)
        job.say(f"Suggested learning rate: {found.suggestion:.2g} ({found.rule}: {shown})")
        job.say(f"Why: {found.reason}")
        settings = retyped("steps", "start", "end", "seeds")
        job.say(f"Next: medimg train {settings} --lr {found.suggestion:.2g}")
    job.say(f"Plot: {plot}")
    job.finish(
        as_result(found, ["plots/lr-find.png"]),
        index=data.index,
        fingerprint=data.fingerprint,
        split_hash=data.split_hash,
        runtime=experiment.runtime,
        findings=(*told_of_data(data.index), *experiment.findings),
    )
