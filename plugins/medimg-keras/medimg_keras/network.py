"""A Keras network as medimg's core sees it: trained an epoch at a time, saved, embedded."""

from __future__ import annotations

import json
import warnings
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from medimg.api import (
    BackendError,
    Batch,
    EpochResult,
    LoadReport,
    ModelSpec,
    Objective,
    Optimizer,
    ParameterCounts,
)
from medimg_keras.applications import leaves
from medimg_keras.architectures import Parts
from medimg_keras.objective import data_loss, penalty
from medimg_keras.optimizers import Stepper
from medimg_keras.startup import GPUS, keras, tf

MODEL = "model.keras"
# of a training that goes on: written after every epoch, so without Keras' archive, which is slow
WEIGHTS, STATE = "weights.npz", "optimizer.npz"
POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16"}
# reading a loss waits for the accelerator; the protocol lets it be ten steps late
STEPS_BETWEEN_LOSSES = 10 if GPUS else 1


@contextmanager
def memory_said(images: np.ndarray, doing: str) -> Iterator[None]:
    """TensorFlow's exhausted memory as an error that says what to lower."""
    try:
        yield
    except tf.errors.ResourceExhaustedError as error:
        shape = "×".join(map(str, np.shape(images)))
        raise BackendError(
            f"the device ran out of memory {doing} a batch of {shape}",
            "Give a smaller --batch-size, or a smaller --image-size.",
        ) from error


class KerasNetwork:
    """A network, or the head of one.

    Args:
        spec: what it was built from.
        parts: its layers, by stage.
    """

    def __init__(self, spec: ModelSpec, parts: Parts) -> None:
        self.spec = spec
        self.parts = parts
        self.stages = parts.stages()
        self.trainable_from = 0
        self.objective = Objective()
        self.stepper: Stepper | None = None
        self._train_step: Any = None
        self._traced: dict[tuple[str, int], Any] = {}

    def parameters(self) -> ParameterCounts:
        return ParameterCounts(
            sum(p.size for p in self.parts.parameters), sum(p.size for p in self._trained())
        )

    def _trained(self) -> list[Any]:
        return [p for p in self.parts.parameters if p.learnt and p.stage >= self.trainable_from]

    # -- training ----------------------------------------------------------------------------

    def prepare(self, objective: Objective, optimizer: Optimizer, trainable_from: int) -> None:
        """A fresh optimizer; a step is compiled when the first batch comes.

        Raises:
            BackendError: an optimizer, a loss or a precision that this backend does not have.
        """
        if objective.loss != "cross-entropy":
            raise BackendError(
                f"the keras backend has no loss {objective.loss!r}", "Known: cross-entropy"
            )
        self.compute_in(optimizer.precision)
        self.objective = objective
        self.trainable_from = trainable_from
        self.stepper = Stepper(optimizer, self._trained())
        self._train_step = self._compiled_step(self.stepper)

    def compute_in(self, precision: str) -> None:
        """Layers compute in `precision`; weights and logits stay float32.

        Raises:
            BackendError: neither float32 nor bfloat16.
        """
        if precision not in POLICIES:
            raise BackendError(
                f"the keras backend does not compute in {precision!r}",
                f"Known: {', '.join(POLICIES)}",
            )
        policy = keras.dtype_policies.DTypePolicy(POLICIES[precision])
        for layer in leaves(self.parts.whole):
            if layer.name != "output" and not isinstance(layer, keras.layers.InputLayer):
                layer.dtype_policy = policy

    def _policies(self) -> str:
        return ",".join(layer.dtype_policy.name for layer in leaves(self.parts.whole))

    def _input(self) -> Any:
        """The signature of a batch; any number of images, so that the last one is no new graph."""
        wanted = self.parts.whole.inputs[0]
        return tf.TensorSpec(wanted.shape, wanted.dtype)

    def _compiled_step(self, stepper: Stepper) -> Any:
        frozen, learnt = self.parts.models[: self.trainable_from], self._trained()
        models, objective = self.parts.models[self.trainable_from :], self.objective
        kernels = [
            p.variable.value
            for p in learnt
            if p.name.startswith("fc") and p.name.endswith("/kernel")
        ]

        def step(images: Any, targets: Any, weights: Any, size: Any, numbers: Any) -> Any:
            x = images
            for model in frozen:
                x = model(x, training=False)
            with tf.GradientTape() as tape:
                for model in models:
                    x = model(x, training=True)
                loss = data_loss(x, targets, weights, size, objective)
                minimised = loss
                if objective.l2 and kernels:
                    minimised = loss + penalty(kernels, objective.l2)
            if learnt:
                gradients = tape.gradient(minimised, [p.variable.value for p in learnt])
                stepper.apply(gradients, numbers)
            return loss

        floats = tf.float32
        return tf.function(
            step,
            input_signature=[
                self._input(),
                tf.TensorSpec((None, max(self.spec.outputs, 2)), floats),
                tf.TensorSpec((None,), floats),
                tf.TensorSpec((), floats),
                tf.TensorSpec((3, len(self.stages)), floats),
            ],
            jit_compile=False,
            # there is no control flow to translate, and translating takes seconds
            autograph=False,
        )

    def train_epoch(
        self,
        batches: Iterable[Batch],
        rates: np.ndarray,
        *,
        seed: int,
        on_step: Callable[[int, float], bool],
    ) -> EpochResult:
        """One step a batch; on an accelerator losses are told ten steps at a time."""
        if self.stepper is None:
            raise BackendError("the network was not prepared for training")
        self._reseed_dropout(seed)
        rates = np.broadcast_to(rates, (len(rates), len(self.stages)))
        waiting: list[tuple[Any, int]] = []
        told = Told(on_step)
        for number, batch in enumerate(batches):
            waiting.append((self._step(batch, rates[number]), batch.global_size))
            if len(waiting) >= STEPS_BETWEEN_LOSSES and not told.tell(waiting):
                return told.result(stopped=True)
        return told.result(stopped=not told.tell(waiting))

    def _step(self, batch: Batch, rates: np.ndarray) -> Any:
        assert self.stepper is not None
        images = self._fitting(batch.images)
        with memory_said(images, "training on"):
            return self._train_step(
                tf.convert_to_tensor(images),
                tf.convert_to_tensor(batch.targets, tf.float32),
                tf.convert_to_tensor(batch.weights, tf.float32),
                tf.constant(batch.global_size, tf.float32),
                tf.constant(self.stepper.next_numbers(rates)),
            )

    def _reseed_dropout(self, seed: int) -> None:
        """Every epoch draws its dropout from its own seed, so that a resumed run draws the same.

        Layers are counted from the output down: a head alone draws what it draws in the whole.
        """
        # dropout, and what else draws while it trains (stochastic depth)
        drawing = [
            layer
            for layer in leaves(self.parts.whole)
            if getattr(layer, "seed_generator", None) is not None
        ]
        for number, layer in enumerate(reversed(drawing)):
            drawn = np.random.default_rng([seed, number]).integers(2**31)
            layer.seed_generator.state.assign([drawn, 0])

    def _fitting(self, images: np.ndarray) -> np.ndarray:
        """The images or features, if they are of the network's size.

        Raises:
            BackendError: they are not.
        """
        wanted = self._input()
        images = np.asarray(images, wanted.dtype.as_numpy_dtype)
        if images.shape[1:] != tuple(wanted.shape[1:]):
            raise BackendError(
                f"{self.spec.name} takes batches of {tuple(wanted.shape[1:])}, "
                f"not {images.shape[1:]}"
            )
        return images

    # -- inference ---------------------------------------------------------------------------

    def predict(self, batches: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Logits Float32[B, K]; one sigmoid logit z as (0, z)."""
        for scores in self._run(batches, len(self.parts.models)):
            if self.spec.outputs == 1:
                scores = np.concatenate([np.zeros_like(scores), scores], axis=1)
            yield scores

    def embed(self, batches: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Features under the head, Float32[B, D]."""
        return self._run(batches, len(self.parts.models) - 1)

    def _run(self, batches: Iterable[np.ndarray], stages: int) -> Iterator[np.ndarray]:
        forward = self._forward(stages)
        for batch in batches:
            images = self._fitting(batch)
            with memory_said(images, "predicting"):
                out = forward(tf.convert_to_tensor(images)).numpy()
            yield out

    def _forward(self, stages: int) -> Any:
        """The first `stages` stages in inference mode, compiled once for a precision."""
        key = (self._policies(), stages)
        if key not in self._traced:
            models = self.parts.models[:stages]

            def forward(x: Any) -> Any:
                for model in models:
                    x = model(x, training=False)
                return tf.cast(x, tf.float32)

            self._traced[key] = tf.function(
                forward, input_signature=[self._input()], jit_compile=False, autograph=False
            )
        return self._traced[key]

    def head(self) -> KerasNetwork:
        """The head alone, on the same variables."""
        return KerasNetwork(self.spec, self.parts.head())

    # -- weights -----------------------------------------------------------------------------

    def weights(self) -> dict[str, np.ndarray]:
        """Copies under neutral names; Keras' axis order is the neutral one."""
        return {p.name: p.variable.value.numpy().copy() for p in self.parts.parameters}

    def set_weights(self, weights: Mapping[str, np.ndarray]) -> LoadReport:
        """Takes what fits by name and shape."""
        loaded = []
        for parameter in self.parts.parameters:
            given = weights.get(parameter.name)
            if given is not None and np.shape(given) == tuple(parameter.variable.shape):
                parameter.variable.assign(given)
                loaded.append(parameter.name)
        for layer in leaves(self.parts.whole):
            if isinstance(layer, keras.layers.Normalization):
                # it computes with copies of its statistics
                layer.finalize_state()
        taken = set(loaded)
        return LoadReport(
            loaded=tuple(loaded),
            missing=tuple(p.name for p in self.parts.parameters if p.name not in taken),
            unexpected=tuple(name for name in weights if name not in taken),
        )

    def save(self, path: Path, training: bool) -> None:
        """`model.keras`, which Keras loads by itself in safe mode; when `training`, `weights.npz`
        and `optimizer.npz` in its stead.

        Raises:
            OSError: they can't be written.
        """
        path.mkdir(parents=True, exist_ok=True)
        for other in (MODEL,) if training else (WEIGHTS, STATE):
            (path / other).unlink(missing_ok=True)
        if not training:
            self.parts.whole.save(path / MODEL)
            return
        np.savez(path / WEIGHTS, allow_pickle=False, **self.weights())
        if self.stepper is not None:
            np.savez(path / STATE, allow_pickle=False, **self.stepper.state())

    def restore(self, path: Path) -> None:
        """Takes back what `save` wrote.

        Raises:
            BackendError: the files are missing, damaged or of another model.
        """
        if (path / WEIGHTS).is_file():
            self._restore_arrays(path / WEIGHTS)
        else:
            self._restore_model(path / MODEL)
        if self.stepper is not None and (path / STATE).exists():
            self.stepper.take(read_arrays(path / STATE))

    def _restore_arrays(self, file: Path) -> None:
        """All of them or none."""
        arrays = read_arrays(file)
        own = {p.name: tuple(p.variable.shape) for p in self.parts.parameters}
        if {name: np.shape(array) for name, array in arrays.items()} != own:
            raise BackendError(f"{file} holds another model than {self.spec.name}")
        self.set_weights(arrays)

    def _restore_model(self, file: Path) -> None:
        try:
            with warnings.catch_warnings():
                # Keras only warns where a layer finds nothing in the file and keeps its draw
                warnings.simplefilter("error", UserWarning)
                self.parts.whole.load_weights(file)
        except Exception as error:  # zipfile, h5py and Keras each raise their own
            first = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise BackendError(f"{file} can't be read as {self.spec.name}: {first}") from error


class Told:
    """The losses that `on_step` was told, and their mean over images."""

    def __init__(self, on_step: Callable[[int, float], bool]) -> None:
        self.on_step = on_step
        self.total, self.images, self.steps = 0.0, 0, 0

    def tell(self, waiting: list[tuple[Any, int]]) -> bool:
        """Tells what waits, oldest first; False where `on_step` wants to stop."""
        go_on = True
        for loss, size in waiting:
            value = float(loss)
            self.total += value * size
            self.images += size
            # every step that was made is told, those too that came before the answer was known
            go_on = bool(self.on_step(self.steps, value)) and go_on
            self.steps += 1
        waiting.clear()
        return go_on

    def result(self, stopped: bool) -> EpochResult:
        return EpochResult(self.total / max(self.images, 1), self.images, self.steps, stopped)


def saved_precision(file: Path) -> str:
    """bfloat16 where the network in a `.keras` file computes in it, else float32."""
    try:
        with zipfile.ZipFile(file) as archive:
            config = json.loads(archive.read("config.json"))
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise BackendError(f"{file} can't be read: {error}") from error
    return "bfloat16" if POLICIES["bfloat16"] in json.dumps(config) else "float32"


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
