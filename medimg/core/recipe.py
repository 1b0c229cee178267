"""A recipe: every setting of a training run, resolved from flags, file, registry and defaults."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from medimg.core.errors import InputError, UsageError, near_misses

# settings that the command line calls otherwise
OPTIONS = {"lr": "learning_rate", "option": "options", "o": "options"}
Schedule = Literal["one-cycle", "cosine", "constant", "plateau"]


class Recipe(BaseModel):
    """What `recipe.yaml` holds: enough to run it again.

    Learning rates are per step of the optimizer; `patience` counts epochs; `minutes` is wall time
    of training and validation; `mixup` is the alpha of its Beta distribution, 0 for none;
    `shift`-like augmentation settings come from the registry's presets. Where the backbone is
    frozen, `keep_features` computes what it gives once, with augmentation for so many `views`.
    `lr_spread` is by how much slower the lowest trained stage learns than the head; with `gradual`
    the stages under the head open one after another over the epochs.
    """

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    dataset: str = ""
    layout: str | None = None
    options: dict[str, str] = {}
    positive: str | None = None
    splits: str | None = None
    split_ratios: str | None = None
    allow: list[str] = []

    model: str | None = None
    backend: str = "auto"
    weights: str = "none"
    freeze: Literal["backbone", "none"] | None = None
    image_size: int | None = Field(None, ge=8, le=4096)
    resize: Literal["squash", "pad"] = "squash"

    epochs: int = Field(15, ge=1, le=100_000)
    batch_size: int = Field(32, ge=1, le=65_536)
    learning_rate: float | Literal["auto"] = 1e-3
    optimizer: Literal["adam", "adamw", "sgd"] = "adam"
    schedule: Schedule = "one-cycle"
    momentum: float = Field(0.9, ge=0, lt=1)
    weight_decay: float = Field(0.0, ge=0)
    clip_norm: float | None = Field(None, gt=0)
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    focal_gamma: float = Field(0.0, ge=0)
    mixup: float = Field(0.0, ge=0, le=10)
    l2: float = Field(0.0, ge=0)
    monitor: Literal["auto", "val_loss", "val_auroc", "val_accuracy", "loss"] = "auto"
    patience: int | None = Field(None, ge=1)
    min_delta: float = Field(1e-4, ge=0)
    minutes: float | None = Field(None, gt=0)
    plateau_patience: int = Field(5, ge=1)
    plateau_factor: float = Field(0.1, gt=0, lt=1)
    plateau_floor: float = Field(1e-7, ge=0)
    precision: Literal["auto", "float32", "bfloat16"] = "auto"

    balance: str = "none"
    recalibrate: Literal["auto", "none"] = "auto"
    augment: str = "auto"
    seed: int = Field(0, ge=0, le=2**32 - 1)
    preflight: bool = True
    tensorboard: bool = False

    keep_features: bool = True
    views: int | None = Field(None, ge=1, le=1000)

    parent: str | None = None
    unfreeze: float | None = Field(None, gt=0, le=1)
    gradual: bool = False
    lr_spread: float = Field(1.0, ge=1, le=1e6)


def check_learning_rate(recipe: Recipe) -> None:
    """Raises UsageError where a learning rate is not positive."""
    rate = recipe.learning_rate
    if rate != "auto" and not 0 < float(rate) <= 100:
        raise UsageError(
            f"the learning rate {rate} is out of range", "Usual: 1e-5 to 1e-1, or auto."
        )


def check_together(recipe: Recipe) -> None:
    """Raises UsageError where settings that are fine alone don't go together."""
    if recipe.weight_decay and recipe.optimizer != "adamw":
        raise UsageError(
            f"weight decay is for adamw, not for {recipe.optimizer}",
            "Give --optimizer adamw, or --l2 for a penalty on the hidden dense layers.",
        )
    if recipe.unfreeze is not None and recipe.freeze == "backbone":
        raise UsageError(
            "--freeze backbone does not go with --unfreeze, which trains part of it",
            "Leave one of them out.",
        )
    if recipe.gradual and recipe.freeze == "backbone":
        raise UsageError(
            "--gradual opens stages of the backbone, which --freeze backbone keeps shut",
            "Leave one of them out.",
        )
    if recipe.minutes is not None and recipe.schedule == "one-cycle":
        raise UsageError(
            "--minutes does not go with the schedule one-cycle, which has to know its end",
            "Give --schedule plateau, cosine or constant, or --epochs without --minutes.",
        )


def resolve(
    flags: Mapping[str, Any], file: Mapping[str, Any], card: Mapping[str, Any] | None = None
) -> Recipe:
    """Flags win over the file, the file over the model card, the card over the defaults.

    Args:
        flags: options that were given (those left at their default are absent).
        file: settings of `--recipe FILE`.
        card: the model card's own settings.

    Raises:
        UsageError: an unknown or unusable setting.
    """
    settings: dict[str, Any] = {**(card or {}), **file, **flags}
    known = list(Recipe.model_fields)
    for name in settings:
        if name not in known:
            hint = f"Did you mean {OPTIONS[name]!r}?" if name in OPTIONS else ""
            raise UsageError(f"no setting is called {name!r}", hint or near_misses(name, known))
    try:
        recipe = Recipe.model_validate(settings)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        raise UsageError(
            f"{name.replace('_', '-')} can't be {first.get('input')!r}: {first['msg']}",
            within(name) or "medimg train --help lists what can be given.",
        ) from error
    check_learning_rate(recipe)
    check_together(recipe)
    return recipe


def within(setting: str) -> str:
    """`Give a number from 1 to 65,536`; empty for what is no number, or has no bounds.

    >>> within("batch_size"), within("clip_norm"), within("balance")
    ('Give a whole number from 1 to 65,536', 'Give a number above 0', '')
    """
    field = Recipe.model_fields[setting]
    bounds = {
        kind: getattr(bound, kind)
        for bound in field.metadata
        for kind in ("ge", "gt", "le", "lt")
        if getattr(bound, kind, None) is not None
    }
    words = {"ge": "from", "gt": "above", "le": "to", "lt": "below"}
    said = " ".join(f"{words[kind]} {bound:,}" for kind, bound in bounds.items())
    whole = "whole " if "int" in str(field.annotation) else ""
    return f"Give a {whole}number {said}" if said else ""


def read_recipe(path: Path) -> dict[str, Any]:
    """The settings of a recipe file.

    Raises:
        InputError: it can't be read, or is no mapping.
    """
    import yaml

    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(
            f"the recipe {path} can't be read: {error.strerror}", "Give a file: --recipe FILE.yaml"
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(
            f"the recipe {path} is no YAML: {error}", "One setting a line, for example: epochs: 20"
        ) from error
    if not isinstance(data, dict):
        raise InputError(f"the recipe {path} holds no settings", "For example: epochs: 20")
    return {str(key).replace("-", "_"): value for key, value in data.items()}


def write_recipe(path: Path, recipe: Recipe) -> None:
    """Every setting, one a line."""
    import yaml

    from medimg.core.report import write_atomically

    write_atomically(path, yaml.safe_dump(recipe.model_dump(), sort_keys=False))
