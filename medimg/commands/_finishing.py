"""The end of a training: plots, the lines that say what it came to, and the report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medimg.commands._training import told, told_of_data

if TYPE_CHECKING:
    from medimg.commands._job import Job
    from medimg.training.experiment import Experiment
    from medimg.training.run import Finished


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
