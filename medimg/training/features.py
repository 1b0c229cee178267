"""Features of a frozen backbone: computed once, kept in a mapped file, the head trained on them."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from medimg.core.augment import Augmentation
from medimg.core.cache import DECODING, cache_folder, mapped, room_for
from medimg.core.errors import InputError, PluginError, UsageError
from medimg.training.loop import PREDICT_BATCH, memory_said

if TYPE_CHECKING:
    from medimg.core.loader import Loader
    from medimg.core.types import Network
    from medimg.training.checkpoints import Progress
    from medimg.training.experiment import Experiment

Bar = Callable[[str, int], AbstractContextManager[Any]]

# raise it when what is kept changes
VERSION = 1


@dataclass(frozen=True)
class Learner:
    """What an epoch trains: a network on pictures, or its head on what the frozen rest gives.

    Args:
        experiment: with loaders of pictures, or of features.
        network: the whole, or the head alone, which shares its weights with the whole.
        trainable_from: the lowest trained stage of `network`.
        key: of the features in the cache; None where pictures are trained on.
        told: what the report says of the features.
    """

    experiment: Experiment
    network: Network
    trainable_from: int
    key: str | None = None
    told: dict[str, Any] | None = None


def learner_of(
    experiment: Experiment,
    network: Network,
    cut: int,
    bar: Bar,
    note: Callable[[str], object],
    resume: Progress | None = None,
) -> Learner:
    """The head on features where the backbone is frozen and gives the same ones every epoch; else
    the network on pictures.

    Args:
        cut: the lowest trained stage.
        note: called with a remark, where features would be kept but there is no room for them.
        resume: what an unfinished run trained on is trained on again.

    Raises:
        UsageError: `views` are asked for where features can't be kept.
        InputError: the run to go on with was trained on other features.
    """
    on_pictures = Learner(experiment, network, cut)
    begun = resume is not None and resume.last is not None
    if not keepable(experiment, network, cut) or (begun and resume and not resume.features):
        return on_pictures
    key = features_key(experiment, network)
    if begun and resume and resume.features != key:
        raise InputError(
            "the frozen backbone, its pictures or the framework are not those that this run was "
            "begun with",
            "Bring back the weights file and the versions of its start, or train anew.",
        )
    started = time.perf_counter()
    try:
        kept, array = load_features(experiment, network, key, bar)
    except InputError as error:
        if begun:
            raise
        note(f"{error.message}; every epoch goes through the backbone instead")
        return on_pictures
    told = {
        "images": len(array),
        "size": array.shape[1],
        "views": views_of(experiment),
        "seconds": time.perf_counter() - started,
        "from_cache": kept,
    }
    return Learner(on_features(experiment, array), network.head(), 0, key, told)


def keepable(experiment: Experiment, network: Network, cut: int) -> bool:
    """Whether the network below the head gives the same features every epoch, or is asked for a
    number of augmented views.

    Raises:
        UsageError: views are asked for where they can't be had.
    """
    recipe = experiment.recipe
    frozen = 0 < cut == len(network.stages) - 1
    if recipe.views is not None and (not frozen or recipe.mixup or not recipe.keep_features):
        raise UsageError(
            "--views keeps what a frozen backbone makes of augmented pictures; here "
            + (
                "mixup blends them anew every epoch"
                if frozen and recipe.mixup
                else "nothing is kept (--no-keep-features)"
                if frozen
                else "the backbone is trained"
            ),
            "Leave --views out, or give --freeze backbone without --mixup.",
        )
    unchanging = experiment.train.augmentation.changes_nothing or recipe.views is not None
    return bool(frozen and unchanging and not recipe.mixup and recipe.keep_features)


def views_of(experiment: Experiment) -> int:
    """How many times each picture of the training part is looked at."""
    if experiment.train.augmentation.changes_nothing:
        return 1
    return experiment.recipe.views or 1


def distinct(train: Loader) -> tuple[np.ndarray, np.ndarray]:
    """(rows of the pictures that are there, each sample's place among them): what oversampling
    repeats is looked at once."""
    rows, places = np.unique(train.rows, return_inverse=True)
    return rows, places.reshape(-1)


def on_features(experiment: Experiment, array: np.ndarray) -> Experiment:
    """The experiment with loaders of features Float32[R, D]: the training part's, view by view,
    then the validation part's."""
    train, val, views = experiment.train, experiment.val, views_of(experiment)
    augmented = not train.augmentation.changes_nothing
    places = np.arange(len(train)) if augmented else distinct(train)[1]
    held = len(val) if val is not None else 0
    return replace(
        experiment,
        train=replace(train, pixels=array, rows=places, augmentation=Augmentation(), views=views),
        val=replace(val, pixels=array, rows=np.arange(len(array) - held, len(array)))
        if val is not None
        else None,
    )


def pictures(experiment: Experiment) -> tuple[int, Iterator[np.ndarray]]:
    """(how many, batches UInt8[B, H, W, C]) of all that the backbone has to look at, in order."""
    train, val = experiment.train, experiment.val
    if train.augmentation.changes_nothing:
        once = replace(train, rows=distinct(train)[0])
        count, parts = len(once), [once.images(PREDICT_BATCH)]
    else:
        views = views_of(experiment)
        count = views * len(train)
        parts = [train.augmented(view, PREDICT_BATCH) for view in range(views)]
    if val is not None:
        count += len(val)
        parts.append(val.images(PREDICT_BATCH))
    return count, chain.from_iterable(parts)


def load_features(
    experiment: Experiment, network: Network, key: str, bar: Bar
) -> tuple[bool, np.ndarray]:
    """(whether they were there, Float32[R, D] memory-mapped where the disk has room).

    Raises:
        InputError: there is room for them neither on the disk nor in memory.
    """
    file = cache_folder() / "features" / f"{key}.npy"
    count, batches = pictures(experiment)
    # nothing is trained meanwhile: every stage infers
    network.prepare(experiment.objective, experiment.optimizer, len(network.stages))
    size = feature_size(experiment, network)
    kept = mapped(file, (count, size), np.float32)
    if kept is not None:
        return True, kept
    with (
        memory_said(experiment.train, "embedding"),
        bar("Features", count) as progress,
        room_for(file, (count, size), np.float32, "features") as (array, keep),
    ):
        place = 0
        for features in network.embed(batches):
            array[place : place + len(features)] = features
            place += len(features)
            progress.update(len(features))
        if place != count:
            raise PluginError(f"the backend gave features of {place} pictures of {count}")
        return False, keep()


def feature_size(experiment: Experiment, network: Network) -> int:
    """D, by looking at one picture."""
    train = experiment.train
    one = np.asarray(train.pixels[train.rows[:1]])
    return int(next(iter(network.embed([one]))).shape[1])


def features_key(experiment: Experiment, network: Network) -> str:
    """Depends on the backbone's weights, on the pictures and their views, and on what computes."""
    spec, runtime, train = network.spec, experiment.runtime, experiment.train
    digest = hashlib.sha256()

    def take(*values: Any) -> None:
        digest.update(json.dumps(values, sort_keys=True).encode())

    take(VERSION, DECODING, runtime.name, runtime.version, runtime.device, runtime.precision)
    take(spec.architecture, spec.layers, spec.head[0], spec.scaling, spec.bn_epsilon)
    take(spec.height, spec.width, spec.channels, experiment.recipe.resize)
    if not train.augmentation.changes_nothing:
        take(asdict(train.augmentation), train.seed, views_of(experiment))
    sha256 = experiment.data.sha256()
    take([sha256[s.path] for s in experiment.train_samples])
    take([sha256[s.path] for s in experiment.val_samples])
    if (balance := experiment.balance) is not None:
        for array in (balance.plan.indices, balance.parents, balance.shares):
            digest.update(np.ascontiguousarray(array).tobytes())
    head = set(network.head().weights())
    for name, array in sorted(network.weights().items()):
        if name not in head:
            digest.update(name.encode())
            digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:32]
