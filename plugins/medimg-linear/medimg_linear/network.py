"""The logistic network: a standardiser under a linear classifier."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path

import numpy as np
from threadpoolctl import ThreadpoolController

from medimg.api import (
    BackendError,
    Batch,
    EpochResult,
    LoadReport,
    ModelSpec,
    Objective,
    Optimizer,
    ParameterCounts,
    Stage,
)
from medimg_linear.objective import loss_and_gradient, two_columns
from medimg_linear.optimizers import Stepper

FIT_IMAGES = 1024
WEIGHTS, STATE = "weights.npz", "optimizer.npz"
SCALINGS = ("unit", "signed", "imagenet", "caffe", "none")
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CAFFE_MEAN = (103.939, 116.779, 123.68)
BLAS = ThreadpoolController()


def one_thread():  # type: ignore[no-untyped-def]
    """BLAS on one thread while it lasts: the order of a sum, and so its last bit, is fixed."""
    return BLAS.limit(limits=1, user_api="blas")


def scaled(images: np.ndarray, scaling: str) -> np.ndarray:
    """UInt8[B, H, W, C] as Float32, scaled as `ModelSpec.scaling` says."""
    pixels = images.astype(np.float32)
    if scaling == "none":
        return pixels
    if scaling == "caffe":
        return pixels[..., ::-1] - np.asarray(CAFFE_MEAN, np.float32)
    pixels /= np.float32(255)
    if scaling == "signed":
        return pixels * np.float32(2) - np.float32(1)
    if scaling == "imagenet":
        mean, std = (np.asarray(v, np.float32) for v in (IMAGENET_MEAN, IMAGENET_STD))
        return (pixels - mean) / std
    return pixels


class Standardiser:
    """Every pixel minus its mean, over its standard deviation.

    Args:
        spec: gives the input's shape, its scaling, and `bn_epsilon`, which is added to the
            variance.
    """

    def __init__(self, spec: ModelSpec) -> None:
        self.spec = spec
        size = spec.height * spec.width * spec.channels
        self.mean = np.zeros(size, np.float32)
        self.variance = np.ones(size, np.float32)

    @property
    def fitted(self) -> bool:
        """Whether statistics were taken from images; mean 0 and variance 1 are the untaken."""
        return bool(self.mean.any() or (self.variance != 1).any())

    def flat(self, images: np.ndarray) -> np.ndarray:
        """Scaled pixels Float32[B, D] in (h, w, C) order.

        Raises:
            BackendError: the images have another size.
        """
        images = np.asarray(images)
        expected = (self.spec.height, self.spec.width, self.spec.channels)
        if images.shape[1:] != expected:
            raise BackendError(
                f"{self.spec.name} takes images of {expected}, not {images.shape[1:]}"
            )
        return scaled(images, self.spec.scaling).reshape(len(images), -1)

    def fit(self, images: np.ndarray) -> None:
        """Takes mean and variance from UInt8[N, H, W, C]."""
        pixels = self.flat(images)
        self.mean[...] = pixels.mean(axis=0, dtype=np.float64)
        self.variance[...] = pixels.var(axis=0, dtype=np.float64)

    def apply(self, images: np.ndarray) -> np.ndarray:
        """Float32[B, D]."""
        root = np.sqrt(self.variance + np.float32(self.spec.bn_epsilon))
        return (self.flat(images) - self.mean) / root


class Logistic:
    """A linear classifier, on pixels through a standardiser or on features without one.

    Args:
        spec: the model; `outputs` and the input's size are used.
        kernel: Float32[D, outputs], changed in place by training.
        bias: Float32[outputs], likewise.
        standardiser: None for a head.
    """

    def __init__(
        self,
        spec: ModelSpec,
        kernel: np.ndarray,
        bias: np.ndarray,
        standardiser: Standardiser | None,
    ) -> None:
        self.spec = spec
        self.standardiser = standardiser
        self.trained = {"output/kernel": kernel, "output/bias": bias}
        self.stepper: Stepper | None = None
        self.objective = Objective()
        self.trainable_from = 0
        head = Stage("head", kernel.size + bias.size)
        below = (Stage("standardise", 2 * len(kernel)),) if standardiser else ()
        self.stages = (*below, head)

    def parameters(self) -> ParameterCounts:
        """The pixels' means and variances count like BatchNorm's: in the total alone."""
        trainable = self.stages[-1].parameters if self.trainable_from < len(self.stages) else 0
        return ParameterCounts(sum(s.parameters for s in self.stages), trainable)

    # -- training --------------------------------------------------------------------------

    def prepare(self, objective: Objective, optimizer: Optimizer, trainable_from: int) -> None:
        """A fresh optimizer.

        Raises:
            BackendError: an optimizer, a loss or a precision that this backend does not have.
        """
        if optimizer.precision != "float32":
            raise BackendError(
                f"the linear backend computes in float32, not in {optimizer.precision}",
                "Leave --precision out, or say --precision float32.",
            )
        if objective.loss != "cross-entropy":
            raise BackendError(
                f"the linear backend has no loss {objective.loss!r}", "Known: cross-entropy"
            )
        self.objective = objective
        self.trainable_from = trainable_from
        self.stepper = Stepper(optimizer, self.trained)

    def train_epoch(
        self,
        batches: Iterable[Batch],
        rates: np.ndarray,
        *,
        seed: int,
        on_step: Callable[[int, float], bool],
    ) -> EpochResult:
        """One step a batch; `seed` has nothing to fix, for there is no dropout here."""
        if self.stepper is None:
            raise BackendError("the network was not prepared for training")
        total, images, steps = 0.0, 0, 0
        for batch in self._fit_ahead(batches):
            with one_thread(), np.errstate(over="ignore", invalid="ignore"):
                loss = self._step(batch, float(rates[steps, -1]))
            total += loss * batch.global_size
            images += batch.global_size
            steps += 1
            if not on_step(steps - 1, loss):
                return EpochResult(total / images, images, steps, stopped=True)
        return EpochResult(total / max(images, 1), images, steps)

    def _fit_ahead(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """The same batches; before the first of a network that has no statistics yet, they are
        taken from the first images, so that all steps see pixels on one scale."""
        stream = iter(batches)
        if self.standardiser is None or self.standardiser.fitted or self.trainable_from > 0:
            return stream
        ahead: list[Batch] = []
        while sum(len(b.images) for b in ahead) < FIT_IMAGES:
            batch = next(stream, None)
            if batch is None:
                break
            ahead.append(batch)
        if ahead:
            first = np.concatenate([b.images for b in ahead])[:FIT_IMAGES]
            self.standardiser.fit(first)
        return chain(ahead, stream)

    def _step(self, batch: Batch, rate: float) -> float:
        assert self.stepper is not None
        features = self._features(batch.images)
        loss, gradient = loss_and_gradient(self._scores(features), batch, self.objective)
        if self.trainable_from < len(self.stages):
            self.stepper.step(
                {"output/kernel": features.T @ gradient, "output/bias": gradient.sum(axis=0)}, rate
            )
        return loss

    # -- inference -------------------------------------------------------------------------

    def _features(self, images: np.ndarray) -> np.ndarray:
        if self.standardiser is None:
            return np.asarray(images, np.float32)
        return self.standardiser.apply(images)

    def _scores(self, features: np.ndarray) -> np.ndarray:
        return features @ self.trained["output/kernel"] + self.trained["output/bias"]

    def predict(self, batches: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Logits Float32[B, K] for UInt8[B, H, W, C], or for features of a head."""
        for images in batches:
            with one_thread(), np.errstate(over="ignore", invalid="ignore"):
                logits = two_columns(self._scores(self._features(images)))
            yield logits

    def embed(self, batches: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Standardised pixels Float32[B, D]."""
        for images in batches:
            yield self._features(images)

    def head(self) -> Logistic:
        """The classifier alone, on the same arrays."""
        return Logistic(self.spec, self.trained["output/kernel"], self.trained["output/bias"], None)

    # -- weights ---------------------------------------------------------------------------

    def _arrays(self) -> dict[str, np.ndarray]:
        below = (
            {"bn1/mean": self.standardiser.mean, "bn1/variance": self.standardiser.variance}
            if self.standardiser
            else {}
        )
        return {**below, **self.trained}

    def weights(self) -> dict[str, np.ndarray]:
        """`bn1/mean`, `bn1/variance` Float32[D]; `output/kernel` [D, outputs], `output/bias`."""
        return {name: array.copy() for name, array in self._arrays().items()}

    def set_weights(self, weights: Mapping[str, np.ndarray]) -> LoadReport:
        """Takes what fits by name and shape."""
        own = self._arrays()
        fitting = [n for n in own if n in weights and np.shape(weights[n]) == own[n].shape]
        for name in fitting:
            own[name][...] = weights[name]
        return LoadReport(
            loaded=tuple(fitting),
            missing=tuple(n for n in own if n not in fitting),
            unexpected=tuple(n for n in weights if n not in fitting),
        )

    def save(self, path: Path, training: bool) -> None:
        """`weights.npz`, and `optimizer.npz` when `training`."""
        path.mkdir(parents=True, exist_ok=True)
        np.savez(path / WEIGHTS, allow_pickle=False, **self._arrays())
        if training and self.stepper is not None:
            np.savez(path / STATE, allow_pickle=False, **self.stepper.state())
        else:
            (path / STATE).unlink(missing_ok=True)

    def restore(self, path: Path) -> None:
        """Takes back what `save` wrote.

        Raises:
            BackendError: the files are missing, damaged or of another model.
        """
        report = self.set_weights(read_arrays(path / WEIGHTS))
        if report.missing or report.unexpected:
            wrong = ", ".join((*report.missing, *report.unexpected))
            raise BackendError(
                f"{path / WEIGHTS} holds another model than {self.spec.name}: {wrong} do not fit"
            )
        if self.stepper is not None and (path / STATE).exists():
            self.stepper.take(read_arrays(path / STATE))


def read_arrays(file: Path) -> dict[str, np.ndarray]:
    """The arrays of a `.npz`, read without pickle.

    Raises:
        BackendError: it is missing or damaged.
    """
    try:
        with np.load(file, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except Exception as error:  # zipfile, zlib and numpy each raise their own
        raise BackendError(f"{file} can't be read: {error}") from error
