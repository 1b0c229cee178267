"""From a method's name to a checked plan, and what it comes to: balance and train share it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from medimg.api import InputError, PluginError, SamplingPlan, UsageError
from medimg.balance._synthetic import check_enough
from medimg.core.errors import near_misses
from medimg.core.types import Sample

FILE = "balance.json"
# of the classes' weighted shares: below it balancing changed nothing to speak of
SHIFT = 0.005


@dataclass(frozen=True)
class Balance:
    """A method's plan for a training part, and what it does to the classes.

    Args:
        method: its name.
        plan: indices, weights and parents, as places in `samples`.
        samples: the training part.
        labels: Int[N] of the samples.
        classes: K names.
        at_random: within a class, images were kept, repeated and weighed alike: the shares are all
            that changed.
        seed: the plan was drawn from.
    """

    method: str
    plan: SamplingPlan
    samples: tuple[Sample, ...]
    labels: np.ndarray
    classes: tuple[str, ...]
    at_random: bool
    seed: int

    @property
    def parents(self) -> np.ndarray:
        """Int[S, 2]; S is 0 where nothing is synthetic."""
        given = self.plan.parents
        return np.zeros((0, 2), np.int64) if given is None else np.asarray(given)

    @property
    def shares(self) -> np.ndarray:
        """Float[S]."""
        return np.zeros(0) if self.plan.shares is None else np.asarray(self.plan.shares)

    def epoch_labels(self) -> np.ndarray:
        """Int[M + S], the class of each image of an epoch, the synthetic ones last."""
        return self.labels[np.concatenate([self.plan.indices, self.parents[:, 0]])]

    def epoch_weights(self) -> np.ndarray:
        """Float[M + S]."""
        return np.asarray(self.plan.class_weights)[self.epoch_labels()]

    def natural_shares(self) -> np.ndarray:
        """Float[K], the classes' shares of the training part."""
        return np.bincount(self.labels, minlength=len(self.classes)) / max(1, len(self.labels))

    def trained_shares(self) -> np.ndarray:
        """Float[K], the classes' shares of the loss with this plan."""
        loads = np.bincount(self.epoch_labels(), self.epoch_weights(), len(self.classes))
        return loads / loads.sum()

    def result(self) -> dict[str, Any]:
        """What stands in a report."""
        after = np.bincount(self.epoch_labels(), minlength=len(self.classes))
        weights = dict(zip(self.classes, map(float, self.plan.class_weights), strict=False))
        counts = np.bincount(self.labels, minlength=len(self.classes))
        return {
            "method": self.method,
            "before": dict(zip(self.classes, counts.tolist(), strict=True)),
            "after": dict(zip(self.classes, after.tolist(), strict=True)),
            "class_weights": {name: weights.get(name, 1.0) for name in self.classes},
            "synthetic": len(self.parents),
        }

    def pairs(self) -> list[dict[str, Any]]:
        """A synthetic picture each: its class, its two parents, and the second's share."""
        rows = zip(self.parents.tolist(), self.shares.tolist(), strict=True)
        return [
            {
                "class": self.samples[first].label,
                "parents": [self.samples[first].path, self.samples[second].path],
                "share": share,
            }
            for (first, second), share in rows
        ]

    def file_text(self, split_hash: str) -> str:
        """balance.json: the numbers, how often each image of the training part is used, and what
        each synthetic picture is made of, a line each."""
        times = Counter(self.plan.indices.tolist())
        used = {s.path: times[place] for place, s in enumerate(self.samples)}
        content = {**self.result(), "seed": self.seed, "split_hash": split_hash, "images": used}
        text = json.dumps(content, indent=1).removesuffix("\n}")
        made = ",\n  ".join(json.dumps(pair) for pair in self.pairs())
        return f'{text},\n "made": [{chr(10) + "  " + made + chr(10) + " " if made else ""}]\n}}\n'


def make_balance(
    method: str,
    samplers: Mapping[str, Any],
    resolve: Callable[[Any], Any],
    samples: Sequence[Sample],
    classes: Sequence[str],
    seed: int,
    embedding: Callable[[], np.ndarray],
) -> Balance:
    """The plan of a method for a training part, checked.

    Args:
        samplers: name to the record of each method; `resolve` gives its class.
        embedding: Float32[N, D] of the samples, asked for by methods that need it.

    Raises:
        UsageError: no such method.
        InputError: a class has too few images for it.
        PluginError: the plan does not fit the training part.
    """
    sampler = sampler_of(method, samplers, resolve)
    number = {name: place for place, name in enumerate(classes)}
    labels = np.array([number[str(s.label)] for s in samples], dtype=np.int64)
    check_enough(labels, getattr(sampler, "least_images", 1), method, classes)
    needs = {"embedding": embedding()} if getattr(sampler, "needs_embedding", False) else {}
    plan = sampler.plan(labels, group_numbers([s.group for s in samples]), seed, **needs)
    check_plan(plan, labels, method)
    at_random = bool(getattr(sampler, "at_random", False)) and plan.parents is None
    return Balance(method, plan, tuple(samples), labels, tuple(classes), at_random, seed)


def sampler_of(method: str, samplers: Mapping[str, Any], resolve: Callable[[Any], Any]) -> Any:
    """An instance of a method's class.

    Raises:
        UsageError: no such method.
    """
    if method not in samplers:
        raise UsageError(
            f"no way to balance is called {method!r}", near_misses(method, list(samplers))
        )
    return resolve(samplers[method])()


def group_numbers(groups: Sequence[str | None]) -> np.ndarray | None:
    """Int[N], each patient's number; None unless every image has one."""
    if any(group is None for group in groups):
        return None
    return np.unique([str(group) for group in groups], return_inverse=True)[1]


def check_plan(plan: SamplingPlan, labels: np.ndarray, method: str) -> None:
    """Raises PluginError where a plan names images or classes that do not exist."""
    check_places(np.asarray(plan.indices), len(labels), method)
    if len(labels) and len(plan.class_weights) <= labels.max():
        raise PluginError(
            f"{method} gives {len(plan.class_weights)} weights for {labels.max() + 1} classes"
        )
    if plan.parents is None and plan.shares is None:
        return
    parents, shares = np.asarray(plan.parents), np.asarray(plan.shares)
    if parents.ndim != 2 or parents.shape[1:] != (2,) or shares.shape != parents.shape[:1]:
        raise PluginError(
            f"{method} gives parents of shape {parents.shape} with shares of shape {shares.shape}, "
            "not [S, 2] and [S]"
        )
    check_places(parents, len(labels), method)
    if (labels[parents[:, 0]] != labels[parents[:, 1]]).any():
        raise PluginError(f"{method} blends images of two classes")
    if not ((shares >= 0) & (shares <= 1)).all():
        raise PluginError(f"{method} gives a share that is not between 0 and 1")


def check_places(places: np.ndarray, count: int, method: str) -> None:
    if places.size and not (0 <= places.min() and places.max() < count):
        raise PluginError(f"{method} names images {places.min()} to {places.max()} of {count}")


def check_classes(name: str, before: Mapping[str, int]) -> None:
    """Raises InputError where a training part holds fewer than two classes."""
    present = [label for label, images in before.items() if images]
    if len(present) < 2:
        held = f"one class, {present[0]}" if present else "no image"
        raise InputError(
            f"there is nothing to balance: the training part of {name} holds {held}",
            "medimg inspect DATASET shows the classes by split.",
        )


def shares(result: Mapping[str, Any]) -> dict[str, tuple[float, float]]:
    """Class to its share of the loss, without and with balancing."""
    before, after, weights = result["before"], result["after"], result["class_weights"]
    weighted = {name: after[name] * weights[name] for name in after}
    total, total_after = sum(before.values()), sum(weighted.values())
    return {name: (before[name] / total, weighted[name] / total_after) for name in before}


def note_on_patients(result: Mapping[str, Any]) -> str:
    """Where the parents of synthetic pictures stand; empty where there are none."""
    made = result["synthetic"]
    if not made:
        return ""
    pictures = "picture is" if made == 1 else "pictures are"
    return (
        f"{made:,} synthetic {pictures} blended from two images of one class each, both in train: "
        f"validation and test lend nothing to them. Their parents stand in {FILE}."
    )


def note_on_probabilities(result: Mapping[str, Any]) -> str:
    """What training on other shares than the data's does to probabilities."""
    moved = {name: pair for name, pair in shares(result).items() if abs(pair[1] - pair[0]) > SHIFT}
    if not moved:
        return "The classes' shares stay as they are, and so do probabilities."
    name = max(moved, key=lambda n: moved[n][1] - moved[n][0])
    was, now = moved[name]
    return (
        f"A network trained so learns class {name} as {100 * now:.0f} % of the cases instead of "
        f"{100 * was:.0f} %: its probabilities of {name} come out too high for data with the "
        "dataset's shares. Ranking (AUROC) need not change. medimg train corrects the "
        "probabilities afterwards (--recalibrate auto) and then chooses the threshold on "
        "validation, which is not balanced."
    )
