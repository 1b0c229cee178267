"""`--resume RUN`: going on with a training that was cut short, on its own recipe and split."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

from medimg.commands._training import given

if TYPE_CHECKING:
    from medimg.commands._job import Job
    from medimg.core.recipe import Recipe
    from medimg.training.checkpoints import Progress


# settings that the command line calls otherwise
AS_TYPED = {"dataset": "DATASET", "learning_rate": "--lr", "options": "-o"}


def go_on(folder: Path, common: dict[str, Any]) -> None:
    """The command that began a run goes on with it, from the last epoch that ended."""
    from medimg.commands import finetune, train

    recipe, state = unfinished(folder)
    command = finetune if recipe.parent else train
    command.go_on_with(folder, recipe, state, common)


def unfinished(folder: Path) -> tuple[Recipe, Progress | None]:
    """The recipe and the state of an unfinished run.

    Raises:
        InputError: no such folder, no recipe in it, or it finished.
    """
    from medimg.core.errors import InputError
    from medimg.core.recipe import read_recipe, resolve
    from medimg.core.runs import RECIPE, REPORT, is_hopeless
    from medimg.core.runs import unfinished as as_error
    from medimg.training.checkpoints import Checkpoints

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


def pinned(recipe: Recipe, folder: Path) -> Recipe:
    """The recipe with the split that the run folder holds."""
    from medimg.core.runs import SPLITS

    return recipe.model_copy(update={"splits": str(folder / SPLITS), "split_ratios": None})


def say_going_on(job: Job, folder: Path, recipe: Recipe, state: Progress | None) -> None:
    done = state.epoch if state else 0
    job.say(f"Going on with {folder} after epoch {done} of {recipe.epochs}")


def refuse_settings(flags: dict[str, Any]) -> None:
    """Raises UsageError where `--resume` stands beside a setting, which it would not heed."""
    from medimg.core.errors import UsageError

    if asked := [AS_TYPED.get(n, f"--{n.replace('_', '-')}") for n in given(flags)]:
        raise UsageError(
            f"--resume goes on with the run's own settings, so {', '.join(asked)} can't be given",
            f"Leave {'them' if len(asked) > 1 else 'it'} out, or train anew without --resume.",
        )


def absolute(recipe: Recipe) -> Recipe:
    """Paths as they hold from anywhere, so that resume and evaluate find the data again."""
    changes = {}
    for name in ("dataset", "splits", "weights"):
        value = getattr(recipe, name)
        if value and value not in ("none", "imagenet") and Path(value).exists():
            changes[name] = str(Path(value).resolve())
    return recipe.model_copy(update=changes)
