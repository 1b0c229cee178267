"""What is trained of a network, on what, and how fast: said before training begins."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from medimg.commands._job import Job
    from medimg.core.types import LoadReport, Network
    from medimg.training.checkpoints import Progress
    from medimg.training.experiment import Experiment
    from medimg.training.features import Learner

FALLBACK_RATE = 1e-3


def say_trained(experiment: Experiment, job: Job, network: Network, cut: int) -> None:
    """Which stages are trained, from which epoch on, and which are not."""
    from medimg.training.unfreezing import cuts, in_words, openings

    recipe, names = experiment.recipe, [stage.name for stage in network.stages]
    by_epoch = cuts(cut, len(names), recipe.epochs, recipe.gradual)
    job.say(in_words(openings(by_epoch, names), names))


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


def say_frozen(
    experiment: Experiment, job: Job, network: Network, cut: int, loaded: LoadReport | None
) -> None:
    """What is trained and what is not, and a warning where what is frozen was never taught."""
    from medimg.training.pretrained import listed

    if cut or experiment.recipe.gradual:
        say_trained(experiment, job, network, cut)
    if cut == 0:
        return
    own, weights = set(network.head().weights()), network.weights()
    # what starts as one value, as statistics of batches do, was not drawn
    fresh = tuple(
        name
        for name in (loaded.missing if loaded else weights)
        if name not in own and weights[name].min() < weights[name].max()
    )
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
