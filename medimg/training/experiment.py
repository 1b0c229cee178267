"""From a recipe to something that can be trained: data, network, batches, settings resolved."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from medimg.core.augment import Augmentation
from medimg.core.blend import Blended, fixed_point
from medimg.core.cache import Pixels, PixelSpec, load_pixels
from medimg.core.errors import InputError, Refused, UsageError, near_misses
from medimg.core.loader import Loader
from medimg.core.near_copies import picture_keys
from medimg.core.types import (
    DatasetIndex,
    Finding,
    ModelSpec,
    Network,
    Objective,
    Optimizer,
    RuntimeInfo,
    Sample,
)

if TYPE_CHECKING:
    from medimg.balance._planning import Balance
    from medimg.core.recipe import Recipe
    from medimg.core.registry import ModelCard, Registry
    from medimg.manager import PluginManager

Bar = Callable[[str, int], AbstractContextManager[Any]]

SMALL_SIDE_PX = 64
# runs of several seeds have to share their test part to be compared; `medimg split --seed N` makes
# another split
SPLIT_SEED = 0
DEFAULT_AUGMENTATION = "light"
DEFAULT_PATIENCE = 10


@dataclass(frozen=True)
class Data:
    """A dataset that has been read, split and scanned.

    Args:
        index: with a split on every sample that is used.
        records: path to ScanRecord.
        fingerprint: of the dataset.
        split_hash: of the split; `split_note` says where the split comes from.
        validation_made: the validation part is none of the user's: it was cut for this training.
    """

    index: DatasetIndex
    records: Mapping[str, Any]
    fingerprint: str
    split_hash: str
    split_note: str
    validation_made: bool = False

    def sha256(self) -> dict[str, str]:
        return {path: record.sha256 for path, record in self.records.items()}

    def pixel_hash(self) -> dict[str, str]:
        return {path: record.pixel_hash for path, record in self.records.items()}

    def class_number(self) -> dict[str, int]:
        return {name: number for number, name in enumerate(self.index.classes)}

    def labels(self, samples: Sequence[Sample]) -> np.ndarray:
        """Int64[N], each label's place in the classes."""
        number = self.class_number()
        return np.array([number[str(s.label)] for s in samples], dtype=np.int64)


@dataclass(frozen=True)
class Experiment:
    """Everything a run needs, resolved.

    Args:
        recipe: with nothing left at "auto" but the learning rate.
        trainable_from: index of the lowest trained stage.
        balance: what was done to the training part's classes; None where nothing.
    """

    recipe: Recipe
    data: Data
    backend: Any
    spec: ModelSpec
    runtime: RuntimeInfo
    positive: int | None
    train: Loader
    val: Loader | None
    train_samples: tuple[Sample, ...]
    val_samples: tuple[Sample, ...]
    objective: Objective
    optimizer: Optimizer
    findings: tuple[Finding, ...]
    balance: Balance | None = None

    @property
    def classes(self) -> tuple[str, ...]:
        return self.data.index.classes


# -- data ----------------------------------------------------------------------------------------


def split_and_scan(
    index: DatasetIndex,
    *,
    splits: str | None,
    split_ratios: str | None,
    scan: Callable[[DatasetIndex], Mapping[str, Any]],
) -> Data:
    """Reads every file once and applies the rule for splits.

    Raises:
        InputError, UsageError: an unusable split or dataset.
    """
    from medimg.core.index import fingerprint
    from medimg.core.split import apply_splits_file, ensure_splits, split_hash

    records = scan(index)
    given = apply_splits_file(index, splits) if splits is not None else index
    made = split_ratios is not None or "val" not in given.splits()
    index, note = ensure_splits(
        index, splits, split_ratios, SPLIT_SEED, keep_together=copies(index, records)
    )
    digests = {path: record.sha256 for path, record in records.items()}
    return Data(index, records, fingerprint(index, digests), split_hash(index.samples), note, made)


def copies(index: DatasetIndex, records: Mapping[str, Any]) -> dict[str, str]:
    """Path to a key, for pictures that stand in the dataset more than once: a split that medimg
    makes keeps them on one side."""
    keys = picture_keys(index.samples, records, index.source)
    times = Counter(keys.values())
    return {path: key for path, key in keys.items() if times[key] > 1}


def refuse_bad_data(data: Data, manager: PluginManager, allow: Sequence[str]) -> list[Finding]:
    """The gate before training: what was allowed comes back as findings for the report.

    Raises:
        Refused: the data hold errors that make a result meaningless.
        UsageError: `allow` names no check.
    """
    from medimg.core.checking import GATE, gate

    for name in allow:
        if name not in manager.checks() and name not in GATE:
            raise UsageError(f"no check is called {name!r}", near_misses(name, list(GATE)))
    blocking, allowed = gate(
        data.index, data.records, manager.functions(manager.checks()), set(allow)
    )
    for finding in unjudged_classes(data):
        (allowed if finding.check in allow else blocking).append(finding)
    if blocking:
        raise refusal(blocking)
    return list(allowed)


def unjudged_classes(data: Data) -> list[Finding]:
    """The error that the validation part which training cut itself lacks a class."""
    if not data.validation_made:
        return []
    held = data.index.class_counts(data.index.part("val"))
    total = data.index.class_counts()
    lost = [name for name in data.index.classes if total[name] and not held[name]]
    if not lost:
        return []
    return [
        Finding(
            "class-missing-in-split",
            "error",
            f"the validation part that training made holds no image of {', '.join(lost)} "
            f"({sum(held.values()):,} of others): it can choose neither epoch nor threshold "
            f"({data.split_note})",
            len(lost),
            tuple({"class": name, "split": "val"} for name in lost),
            "It takes three patients or more of each class; give a split of your own: --splits "
            "FILE, or leave a class out: -o classes=…",
        )
    ]


def refusal(blocking: Sequence[Finding]) -> Refused:
    lines = [f"{f.check}: {f.message}" for f in blocking]
    names = " ".join(f"--allow {f.check}" for f in blocking)
    hints = [f.hint for f in blocking if f.hint]
    return Refused(
        "the data would make the result meaningless\n  " + "\n  ".join(lines),
        "\n".join(
            [
                *hints[:3],
                "See the files: medimg verify DATASET; leave them out: "
                "medimg verify DATASET --write-clean clean.csv",
                f"Train all the same: {names}",
            ]
        ),
        tuple(blocking),
    )


# -- model ---------------------------------------------------------------------------------------


def median_side(records: Mapping[str, Any]) -> int:
    """The median of the images' longer sides, in pixels."""
    sides = [max(r.width, r.height) for r in records.values() if r.width and r.height]
    if not sides:
        raise InputError("no image can be read", "medimg verify DATASET says why.")
    return int(np.median(sides))


def choose_model(
    recipe: Recipe, data: Data, registry: Registry, backend: str
) -> tuple[str, ModelCard]:
    """The model asked for, the dataset card's, or the default for this size and backend."""
    if recipe.model is not None:
        card = registry.model(recipe.model)
        if backend not in card.backends:
            raise UsageError(
                f"the backend {backend!r} does not build {recipe.model!r} "
                f"(its backends: {', '.join(card.backends)})",
                f"Give --backend {card.backends[0]}, or a model that {backend} builds: "
                + ", ".join(n for n, c in registry.models.items() if backend in c.backends),
            )
        return recipe.model, card
    small = median_side(data.records) <= SMALL_SIDE_PX
    known = registry.datasets.get(data.index.card or "")
    wishes = [known.model if known else None, "cnn2" if small else "cnn3"]
    built = [name for name, card in registry.models.items() if backend in card.backends]
    for name in wishes:
        if name in built:
            return name, registry.models[name]
    if not built:
        raise UsageError(
            f"no model of the registry is built by the backend {backend!r}",
            "medimg models lists what others build: --backend NAME",
        )
    return built[0], registry.models[built[0]]


def default_input(
    recipe: Recipe, index: DatasetIndex, records: Mapping[str, Any], registry: Registry
) -> tuple[int, int]:
    """(side in pixels, channels) of the network that would be trained where none is named."""
    known = registry.datasets.get(index.card or "")
    side = median_side(records)
    small = "cnn2" if side <= SMALL_SIDE_PX else "cnn3"
    card = registry.model((known.model if known else None) or small)
    return recipe.image_size or min(card.input_size, max(8, side)), card.channels


def choose_size(recipe: Recipe, card: ModelCard, data: Data) -> int:
    """The size asked for, else the card's, but never larger than the pictures are."""
    if recipe.image_size is not None:
        return recipe.image_size
    return min(card.input_size, max(8, median_side(data.records)))


def resolve_precision(asked: str, runtime: RuntimeInfo, side: int) -> str:
    """bfloat16 on GPUs that have it and on CPUs with AMX-BF16 from 64 px, else float32."""
    if asked != "auto":
        return asked
    worthwhile = runtime.accelerator or side >= SMALL_SIDE_PX
    return "bfloat16" if runtime.bfloat16 and worthwhile else "float32"


# -- batches -------------------------------------------------------------------------------------


def augmentation_of(
    recipe: Recipe, index: DatasetIndex, registry: Registry
) -> tuple[str, Augmentation]:
    """The preset asked for; `auto` takes the dataset card's, else a light one.

    Raises:
        UsageError: no such preset.
    """
    name = recipe.augment
    if name == "auto":
        known = registry.datasets.get(index.card or "")
        name = (known.augmentation if known else None) or DEFAULT_AUGMENTATION
    if name == "none":
        return name, Augmentation()
    return name, Augmentation.of(registry.augmentation(name).model_dump())


def against_anatomy(recipe: Recipe, index: DatasetIndex, registry: Registry) -> list[Finding]:
    """Where augmentation makes pictures that no patient has: a warning where a preset was chosen
    over the dataset's own, a note where it is the dataset's own."""
    known = registry.datasets.get(index.card or "")
    name, augmentation = augmentation_of(recipe, index, registry)
    if known is None:
        return []
    wrong = {s: why for s, why in known.unnatural.items() if getattr(augmentation, s)}
    if not wrong:
        return []
    own = known.augmentation == name
    reasons = "; ".join(f"{s.replace('_', ' ')}: {why}" for s, why in wrong.items())
    return [
        Finding(
            "augmentation-anatomy",
            "info" if own else "warning",
            f"the augmentation {name!r} is anatomically wrong for {known.name} "
            f"({known.modality}, {known.anatomy}): {reasons}",
            len(wrong),
            tuple({"setting": s, "why": why} for s, why in wrong.items()),
            "Look at it: medimg inspect DATASET --augment "
            f"{name}; others: --augment {known.augmentation if not own else 'light'}, none",
        )
    ]


def balance_of(
    recipe: Recipe, data: Data, train: Sequence[Sample], manager: PluginManager, bar: Bar
) -> Balance | None:
    """What the recipe's method makes of the training part; None for `none`.

    Raises:
        UsageError: no such method.
        InputError: a class has too few images for it.
    """
    if recipe.balance == "none":
        return None
    from medimg.balance._planning import make_balance

    def embedding() -> np.ndarray:
        from medimg.balance._embedding import picture_embedding

        with bar("Decoding", len(train)) as progress:
            return picture_embedding(train, data.index.source, data.sha256(), progress.update)

    return make_balance(
        recipe.balance,
        manager.samplers(),
        manager.resolve,
        train,
        data.index.classes,
        recipe.seed,
        embedding,
    )


def balanced(plain: Loader, balance: Balance | None) -> Loader:
    """The training part's loader with a plan put to it.

    Args:
        plain: over the training part, in its order.
    """
    if balance is None:
        return plain
    pixels, rows = plain.pixels, plain.rows[balance.plan.indices]
    if len(balance.parents):
        assert isinstance(pixels, np.ndarray)
        pixels = Blended(pixels, plain.rows[balance.parents], fixed_point(balance.shares))
        rows = np.concatenate([rows, len(plain.pixels) + np.arange(len(balance.parents))])
    return replace(
        plain,
        pixels=pixels,
        rows=rows,
        labels=balance.epoch_labels(),
        weights=balance.epoch_weights(),
    )


def load_parts(
    data: Data, samples: Sequence[Sample], spec: ModelSpec, resize: str, bar: Bar
) -> Pixels:
    """Decoded pixels of some samples."""
    pixel_spec = PixelSpec(spec.height, spec.width, spec.channels, resize)
    with bar("Decoding", len(samples)) as progress:
        return load_pixels(samples, data.index.source, data.sha256(), pixel_spec, progress.update)


def readable(data: Data, split: str) -> tuple[Sample, ...]:
    """A part without the files that can't be decoded (which `--allow unreadable` let through)."""
    return tuple(s for s in data.index.part(split) if not data.records[s.path].error)


def loader_of(
    data: Data, samples: Sequence[Sample], pixels: Pixels, batch_size: int, seed: int
) -> Loader:
    """A plain loader over some samples, in their order."""
    digests = [data.records[s.path].sha256 for s in samples]
    return Loader(
        pixels.array,
        pixels.rows_of(digests),
        data.labels(samples),
        len(data.index.classes),
        batch_size,
        seed=seed,
    )


# -- all of it -----------------------------------------------------------------------------------


def prepare(
    recipe: Recipe,
    data: Data,
    *,
    manager: PluginManager,
    registry: Registry,
    bar: Bar,
    spec: ModelSpec | None = None,
) -> Experiment:
    """Resolves what the recipe leaves open and readies data and settings.

    Args:
        spec: the network of a parent run; default the recipe's or the dataset's model.

    Raises:
        Refused: the gate found errors.
        UsageError, InputError, BackendError: what can't be used.
    """
    findings = refuse_bad_data(data, manager, recipe.allow)
    backend_name, backend = manager.backend(recipe.backend)
    runtime = backend.runtime()
    if spec is None:
        name, card = choose_model(recipe, data, registry, backend_name)
        size = choose_size(recipe, card, data)
        spec = card.spec(classes=len(data.index.classes), size=size, backend=backend_name)
        recipe = with_card_settings(recipe, card)
    else:
        name = spec.name
    precision = resolve_precision(recipe.precision, runtime, min(spec.height, spec.width))
    preset, augmentation = augmentation_of(recipe, data.index, registry)
    findings += against_anatomy(recipe, data.index, registry)
    recipe = recipe.model_copy(
        update={
            "model": name,
            "backend": backend_name,
            "image_size": spec.height,
            "precision": precision,
            "augment": preset,
            "freeze": freeze_of(recipe),
            "patience": patience_of(recipe),
            "monitor": monitor_of(recipe),
            "positive": data.index.positive,
        }
    )
    train, val = readable(data, "train"), readable(data, "val")
    balance = balance_of(recipe, data, train, manager, bar)
    pixels = load_parts(data, [*train, *val], spec, recipe.resize, bar)
    plain = loader_of(data, train, pixels, recipe.batch_size, recipe.seed)
    number = data.class_number()
    return Experiment(
        recipe=recipe,
        data=data,
        backend=backend,
        spec=spec,
        runtime=replace(runtime, precision=precision),
        positive=number[data.index.positive] if data.index.positive else None,
        train=replace(
            balanced(plain, balance),
            augmentation=augmentation,
            label_smoothing=recipe.label_smoothing,
            mixup=recipe.mixup,
        ),
        val=loader_of(data, val, pixels, recipe.batch_size, recipe.seed) if val else None,
        train_samples=tuple(train),
        val_samples=tuple(val),
        objective=Objective(focal_gamma=recipe.focal_gamma, l2=recipe.l2),
        optimizer=Optimizer(
            name=recipe.optimizer,
            momentum=recipe.momentum,
            weight_decay=recipe.weight_decay,
            clip_norm=recipe.clip_norm,
            precision=precision,
        ),
        findings=tuple(findings),
        balance=balance,
    )


def with_card_settings(recipe: Recipe, card: ModelCard) -> Recipe:
    """The model card's own settings, where neither flag nor file said otherwise."""
    given = recipe.model_fields_set
    settings = {k: v for k, v in (card.recipe or {}).items() if k not in given}
    return recipe.model_validate({**recipe.model_dump(exclude_unset=True), **settings})


def patience_of(recipe: Recipe) -> int | None:
    """Schedules that end by themselves run to their end; the others stop early."""
    if recipe.patience is not None or recipe.schedule in ("one-cycle", "cosine"):
        return recipe.patience
    return DEFAULT_PATIENCE


def monitor_of(recipe: Recipe) -> str:
    """What chooses the best epoch.

    A schedule that anneals to its end is followed by AUROC: its last epochs grow confident, which
    raises the loss of the few that are wrong while the ranking still improves.
    """
    if recipe.monitor != "auto":
        return recipe.monitor
    return "val_auroc" if recipe.schedule in ("one-cycle", "cosine") else "val_loss"


def freeze_of(recipe: Recipe) -> str:
    """A backbone that was taught elsewhere is frozen unless somebody says otherwise."""
    return recipe.freeze or ("none" if recipe.weights == "none" else "backbone")


def trainable_from(recipe: Recipe, network: Network) -> int:
    """The lowest trained stage: 0, or the head where the backbone is frozen.

    With `unfreeze` it is that share of the backbone's stages, counted from the head.
    """
    head = len(network.stages) - 1
    if recipe.unfreeze is not None:
        return head - max(1, round(recipe.unfreeze * head)) if head else 0
    return head if freeze_of(recipe) == "backbone" else 0


# -- what stands in model/model.json -------------------------------------------------------------


def model_card(
    experiment: Experiment,
    threshold: Mapping[str, Any] | None,
    recalibration: Mapping[str, Any] | None = None,
) -> str:
    """What predict, evaluate and finetune need to use the network again.

    Args:
        threshold: at probabilities that are recalibrated, as `recalibration` says.
    """
    return (
        json.dumps(
            {
                "backend": experiment.recipe.backend,
                "spec": asdict(experiment.spec),
                "classes": list(experiment.classes),
                "positive": experiment.data.index.positive,
                "resize": experiment.recipe.resize,
                "precision": experiment.recipe.precision,
                "recalibration": recalibration,
                "threshold": threshold,
                "dataset": {
                    "name": experiment.data.index.name,
                    "fingerprint": experiment.data.fingerprint,
                    "split_hash": experiment.data.split_hash,
                },
            },
            indent=2,
        )
        + "\n"
    )


def spec_of(card: Mapping[str, Any]) -> ModelSpec:
    """The ModelSpec that a model.json holds."""
    values = dict(card["spec"])
    values["layers"], values["head"] = tuple(values["layers"]), tuple(values["head"])
    return ModelSpec(**values)
