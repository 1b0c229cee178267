"""The data that crosses medimg's seams: samples, indexes, findings, batches, networks.

Small frozen dataclasses, no behaviour beyond looking things up in themselves. This module
imports neither NumPy nor a framework, so that plugins can name their records at start-up.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray
else:
    Array = Any

SPLITS = ("train", "val", "test")
Severity = Literal["info", "warning", "error"]


# -- datasets ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Sample:
    """One row of an index.

    Args:
        path: the image's key in the index's source; a POSIX path relative to the root for
            files, `<file>::<part>/<number>` for a picture inside an archive.
        label: class name, or None where the dataset gives none.
        group: patient (or whatever must stay on one side of a split), None where unknown.
        split: `train`, `val`, `test`, or None where the dataset is not split.
        columns: further columns (magnification, sex, …) as text.
    """

    path: str
    label: str | None
    group: str | None = None
    split: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)


@runtime_checkable
class Source(Protocol):
    """Where an index's images come from.

    One that gives pixels may have a `format`, the name of what it reads them from (`DICOM`).
    """

    def read(self, path: str) -> bytes | Array:
        """The encoded file as bytes, or pixels as UInt8/UInt16[h, w] or [h, w, C] (RGB order).

        Raises:
            OSError: the image can't be read.
        """


# controls, line and paragraph separators, marks that turn the direction of writing
UNPRINTABLE = re.compile("[\\x00-\\x1f\\x7f-\\x9f\\u2028-\\u202e\\u2066-\\u2069]")
# items of a finding that a report holds; a check names more, so that new ones can be told
MOST_IN_REPORT = 1000


@dataclass(frozen=True, slots=True)
class Finding:
    """Something the reader, a check or a run has to say.

    Args:
        check: stable name (`patient-leakage`).
        severity: `info`, `warning` or `error`.
        message: one sentence with the numbers.
        count: how many items there are in all.
        items: the files, classes, patients concerned, as flat JSON-able dicts (keys among
            `file`, `class`, `split`, `patient`, `copies`, …).
        hint: the next step.
    """

    check: str
    severity: Severity
    message: str
    count: int = 0
    items: tuple[Mapping[str, Any], ...] = ()
    hint: str = ""

    @property
    def told(self) -> str:
        """Its name and message on one line, for a terminal."""
        return f"{self.check}: {on_one_line(self.message)}"


def on_one_line(text: str) -> str:
    """A text in which line ends and control characters, of file names mostly, are escaped.

    >>> print(on_one_line("no image in a\\nb\\x1b[31m"))
    no image in a\\nb\\x1b[31m
    """
    return UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


@dataclass(frozen=True)
class DatasetIndex:
    """A dataset: one row a sample, whatever shape it came in.

    Args:
        name: what to call it (folder or file name).
        root: the folder or file given.
        layout: name of the layout plugin that read it.
        reason: why that layout, in words.
        source: where pixels come from.
        samples: every labelled image, in a stable order.
        classes: class names, sorted; classes without an image included.
        positive: the class sensitivity is about, in a two-class task; None till known.
        card: registry name of the known dataset it was recognised as.
        recognised_by: why it was recognised, in words.
        patients: where `group` comes from, in words; None where patients are unknown, empty where
            somebody said that there are none (`-o group=none`).
        unlabelled: images that have no label; never trained on.
        strays: files beside the images that are no images (relative paths).
        declared: (split, class) pairs that the layout declares, with or without images, so that
            an empty folder is seen.
        findings: what the reader met (rows without a file, nested copies, …).
    """

    name: str
    root: Path
    layout: str
    source: Source
    samples: tuple[Sample, ...]
    classes: tuple[str, ...]
    reason: str = ""
    positive: str | None = None
    card: str | None = None
    recognised_by: str = ""
    patients: str | None = None
    unlabelled: tuple[Sample, ...] = ()
    strays: tuple[str, ...] = ()
    declared: tuple[tuple[str | None, str], ...] = ()
    findings: tuple[Finding, ...] = ()

    def __len__(self) -> int:
        return len(self.samples)

    def with_samples(self, samples: Iterable[Sample], **changes: Any) -> DatasetIndex:
        """The same dataset with other rows."""
        return replace(self, samples=tuple(samples), **changes)

    def part(self, split: str | None) -> tuple[Sample, ...]:
        """The samples of one split."""
        return tuple(s for s in self.samples if s.split == split)

    def splits(self) -> tuple[str, ...]:
        """The splits that hold a sample, in the order train, val, test."""
        present = {s.split for s in self.samples}
        return tuple(name for name in SPLITS if name in present)

    def class_counts(self, samples: Iterable[Sample] | None = None) -> dict[str, int]:
        """Images by class, zero included."""
        counts = Counter(s.label for s in (self.samples if samples is None else samples))
        return {name: counts.get(name, 0) for name in self.classes}

    def split_counts(self) -> dict[str, dict[str, int]]:
        """Images by split and class."""
        return {name: self.class_counts(self.part(name)) for name in self.splits()}

    def groups(self) -> tuple[str, ...]:
        """The patients, sorted; empty where they are unknown."""
        return tuple(sorted({s.group for s in self.samples if s.group is not None}))


@dataclass(frozen=True, slots=True)
class Guess:
    """How sure a layout is that it reads a path: `confidence` in 0..1 and the reason in words."""

    confidence: float
    reason: str


class Layout(Protocol):
    """A dataset plugin's reader.

    Where files need no labels to be looked at, it may offer `pictures(path, options) ->
    (Source, keys)` as well: the pictures in a file or folder, relative to the folder, for
    `medimg predict`; no keys where it reads nothing there.
    """

    def sniff(self, path: Path) -> Guess:
        """How sure this layout is that it reads `path`; quick, reads no pixels."""

    def read(self, path: Path, options: Mapping[str, str]) -> DatasetIndex:
        """The index of `path`.

        Raises:
            InputError: the folder or file can't be read as this layout.
            UsageError: an unknown option.
        """


# -- the seam between core and backend -----------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Batch:
    """What a backend is handed for one step.

    Args:
        images: UInt8[B, H, W, C] pixels, or Float32[B, D] features for a head.
        targets: Float32[B, K], soft: mixup and label smoothing are done.
        weights: Float32[B], class and sample weights.
        global_size: images in the step over all processes; loss = sum(w * l) / global_size.
    """

    images: Array
    targets: Array
    weights: Array
    global_size: int


@dataclass(frozen=True, slots=True)
class Objective:
    """What is minimised: cross-entropy, its focal form, and an L2 penalty on hidden fc kernels."""

    loss: str = "cross-entropy"
    focal_gamma: float = 0.0
    l2: float = 0.0


@dataclass(frozen=True, slots=True)
class Optimizer:
    """`name` is adam, adamw or sgd; `precision` is float32 or bfloat16."""

    name: str = "adam"
    betas: tuple[float, float] = (0.9, 0.999)
    epsilon: float = 1e-7
    momentum: float = 0.9
    weight_decay: float = 0.0
    clip_norm: float | None = None
    precision: str = "float32"


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A network, wholly described.

    Args:
        name: registry name (`cnn3`).
        architecture: `layers` (built from `layers` below) or a name that the backend knows
            (`resnet18-small`, `vgg16`, `logistic`, `timm:NAME`, `keras:NAME`).
        layers: the backbone in order: `conv32` (3×3, valid padding, ReLU), `pool` (2×2 max),
            `bn`. A stage is a run of layers that begins with a conv.
        head: `flatten` or `gap`, then `fc128` (dense, ReLU), `dropout0.5`; the output layer
            follows by itself.
        height, width, channels: the input in pixels; channels 1 or 3.
        outputs: 1 (one sigmoid logit, two classes) or K.
        scaling: how UInt8 pixels become floats on the device: `unit` (0..1), `signed` (-1..1),
            `imagenet` (mean and std of ImageNet on 0..1), `caffe` (BGR, ImageNet mean
            subtracted, 0..255), `none` (0..255), `inside` (0..255, the network's first layers
            scale them), `mean=0.48,0.46,0.41 std=0.27,0.26,0.28` (on 0..1, a number a channel);
            `own` is whichever of these the network's ImageNet weights were trained with, and a
            built network's spec says which.
        bn_momentum: share of the running statistic that is kept a step (Keras' convention;
            PyTorch's momentum is 1 minus it).
        bn_epsilon: added to the variance; a backbone of another library keeps its own.
    """

    name: str
    architecture: str
    layers: tuple[str, ...]
    head: tuple[str, ...]
    height: int
    width: int
    channels: int
    outputs: int
    scaling: str = "unit"
    bn_momentum: float = 0.99
    bn_epsilon: float = 1e-3


@dataclass(frozen=True, slots=True)
class Stage:
    """A part of a network that is frozen or trained as one, from the stem to the head."""

    name: str
    parameters: int


@dataclass(frozen=True, slots=True)
class ParameterCounts:
    """`total` counts weights and BatchNorm running statistics; `trainable` what is trained now."""

    total: int
    trainable: int


@dataclass(frozen=True, slots=True)
class LoadReport:
    """What was and wasn't taken from given weights, by framework-neutral names."""

    loaded: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RuntimeInfo:
    """What a backend runs on; `bfloat16` says whether the device computes in it natively."""

    name: str
    version: str
    device: str
    precision: str = "float32"
    bfloat16: bool = False
    accelerator: bool = False
    rank: int = 0
    world_size: int = 1
    details: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class EpochResult:
    """One epoch's steps: mean loss over the images seen, and whether `on_step` stopped it."""

    loss: float
    images: int
    steps: int
    stopped: bool = False


class Network(Protocol):
    """A built network. Shapes: B images, K outputs, S steps, G stages."""

    spec: ModelSpec
    stages: tuple[Stage, ...]

    def parameters(self) -> ParameterCounts: ...

    def prepare(self, objective: Objective, optimizer: Optimizer, trainable_from: int) -> None:
        """A fresh optimizer; stages below `trainable_from` run in inference mode, untrained."""

    def train_epoch(
        self,
        batches: Iterable[Batch],
        rates: Array,
        *,
        seed: int,
        on_step: Callable[[int, float], bool],
    ) -> EpochResult:
        """One step a batch, at learning rate rates[s, g] (Float32[S, G], or [S, 1] for all).

        `seed` fixes dropout for this epoch. `on_step(step, loss)` is called once for every step,
        in order, at most 10 steps late; False stops the epoch. The loss it is given is the
        batch's data loss, sum(w * l) / global_size, without the L2 penalty.
        """

    def predict(self, batches: Iterable[Array]) -> Iterator[Array]:
        """Logits Float32[B, K] for images UInt8[B, H, W, C] (or features of a head), K ≥ 2;
        one sigmoid logit z is given as (0, z). Inference mode, float32 out."""

    def embed(self, batches: Iterable[Array]) -> Iterator[Array]:
        """Features under the head, Float32[B, D], streamed."""

    def head(self) -> Network:
        """The head alone; shares its weights, is trained and predicts on features."""

    def weights(self) -> dict[str, Array]:
        """Framework-neutral names and axis order: `conv1/kernel` Float32[h, w, in, out],
        `conv1/bias`, `bn1/gamma|beta|mean|variance`, `fc1/kernel` Float32[in, out] with the
        flattened input in (h, w, C) order, `output/kernel`, `output/bias`. Layers are numbered
        by kind from 1, in order, over the whole network."""

    def set_weights(self, weights: Mapping[str, Array]) -> LoadReport:
        """Takes what fits by name and shape and says what did not."""

    def save(self, path: Path, training: bool) -> None:
        """Writes weights into the folder `path`, with the optimizer's state when `training`."""

    def restore(self, path: Path) -> None:
        """Takes back what `save` wrote; the optimizer's state too where it is there and the
        network has been prepared."""


class Backend(Protocol):
    """A deep-learning framework, ready to build networks."""

    def runtime(self) -> RuntimeInfo: ...

    def architectures(self) -> tuple[str, ...]:
        """The values of ModelSpec.architecture that it builds; `timm:*` stands for every name
        that begins so."""

    def build(
        self, spec: ModelSpec, seed: int, weights: Mapping[str, Array] | None = None
    ) -> tuple[Network, LoadReport]:
        """A network with weights drawn from `seed`, then `weights` put over them.

        Every backend starts from equal weights: kernels are drawn in the order of the network by
        `numpy.random.default_rng(seed).uniform(-limit, limit, shape).astype("float32")` in the
        neutral shape and axis order, limit = sqrt(6 / (fan_in + fan_out)) with the receptive
        field counted in (Glorot uniform); biases 0, BatchNorm gamma 1, beta 0, mean 0, variance 1.
        A backbone that is not the same network in every framework bears its library's own names
        and is initialised by its library from `seed`; its head is drawn as above.
        """

    def read_weights(self, source: str, network: Network) -> dict[str, Array]:
        """Arrays for `network.set_weights`: ImageNet's (`source` is `imagenet`) or a file's, under
        the network's names where they have one there, else under their own. A backend may lack it.

        Raises:
            UsageError: there are no ImageNet weights for this network.
            InputError: the file is missing, broken, or not one of this backend's.
            BackendError: the download failed; the hint says how to bring the file.
        """

    def pretrained_scaling(self, architecture: str) -> str | None:
        """The scaling (as in `ModelSpec`) that a network's ImageNet weights were trained with; None
        for a network that has none. A backend may lack it."""

    def load(self, path: Path, spec: ModelSpec) -> Network:
        """The network that `save` wrote into the folder `path`."""


class Sampler(Protocol):
    """A way to balance the training part.

    A sampler may say three things of itself, as class attributes:

    - `needs_embedding = True`: `plan` takes the keyword `embedding`, Float32[N, D], a place for
      each picture in which near ones look alike (a small grey picture's principal components).
    - `least_images = n`: each class but the largest must have n images.
    - `at_random = True`: within a class the images are kept and repeated at random, and weighed
      alike, so that balancing moves the classes' shares and nothing else. Probabilities are then
      corrected exactly; otherwise a correction is fitted on validation.
    """

    def plan(self, labels: Array, groups: Array | None, seed: int) -> SamplingPlan:
        """labels Int[N] of the training part (0..K-1); groups Int[N] or None."""


@dataclass(frozen=True, slots=True)
class SamplingPlan:
    """What an epoch is made of.

    Args:
        indices: Int[M] into the training part; repeats and omissions are allowed.
        class_weights: Float[K]; ones where the method only resamples.
        parents: Int[S, 2] into the training part, two images of one class: S synthetic pictures
            beside the M, blended pixel by pixel as they are needed. None where there are none.
        shares: Float[S] in 0..1, how far each lies from its first parent towards its second.
    """

    indices: Array
    class_weights: Array
    parents: Array | None = None
    shares: Array | None = None
