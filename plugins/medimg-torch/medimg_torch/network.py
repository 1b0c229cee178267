"""A PyTorch network as medimg's core sees it: trained an epoch at a time, saved, embedded."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

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
from medimg_torch.device import PRECISIONS, memory_said, own_draws
from medimg_torch.files import STATE, WEIGHTS, read_tensors, write_tensors
from medimg_torch.networks import Parts
from medimg_torch.objective import data_loss, penalty, two_columns
from medimg_torch.optimizers import Stepper
from medimg_torch.weights import Weight, get, put

# reading a loss waits for the accelerator; the protocol lets it be ten steps late
STEPS_BETWEEN_LOSSES = 10


class TorchNetwork:
    """A network, or the head of one.

    Args:
        spec: what it was built from.
        parts: its layers by stage, on `device`.
        device: where it computes.
        precision: `float32` or `bfloat16`; weights, logits and the loss are float32 always.
    """

    def __init__(
        self, spec: ModelSpec, parts: Parts, device: torch.device, precision: str = "float32"
    ) -> None:
        self.spec = spec
        self.parts = parts
        self.device = device
        self.stages = parts.stages()
        self.trainable_from = 0
        self.objective = Objective()
        self.prepared = False
        self.stepper: Stepper | None = None
        self.compute_in(precision)

    def parameters(self) -> ParameterCounts:
        return ParameterCounts(
            sum(w.tensor.numel() for w in self.parts.weights),
            sum(w.tensor.numel() for w in self._trained()),
        )

    def _trained(self) -> list[Weight]:
        return [w for w in self.parts.weights if w.learnt and w.stage >= self.trainable_from]

    def compute_in(self, precision: str) -> None:
        """Layers compute in `precision` from now on, in training and in prediction.

        Raises:
            BackendError: neither float32 nor bfloat16.
        """
        if precision not in PRECISIONS:
            raise BackendError(
                f"the torch backend does not compute in {precision!r}",
                f"Known: {', '.join(PRECISIONS)}",
            )
        self.precision = precision

    # -- training ----------------------------------------------------------------------------

    def prepare(self, objective: Objective, optimizer: Optimizer, trainable_from: int) -> None:
        """A fresh optimizer.

        Raises:
            BackendError: an optimizer, a loss or a precision that this backend does not have.
        """
        if objective.loss != "cross-entropy":
            raise BackendError(
                f"the torch backend has no loss {objective.loss!r}", "Known: cross-entropy"
            )
        self.compute_in(optimizer.precision)
        self.objective = objective
        self.trainable_from = trainable_from
        for weight in self.parts.weights:
            if weight.learnt:
                weight.tensor.requires_grad_(weight.stage >= trainable_from)
        trained = self._trained()
        self.stepper = Stepper(optimizer, trained) if trained else None
        self.prepared = True

    def train_epoch(
        self,
        batches: Iterable[Batch],
        rates: np.ndarray,
        *,
        seed: int,
        on_step: Callable[[int, float], bool],
    ) -> EpochResult:
        """One step a batch; on an accelerator losses are told ten steps at a time."""
        if not self.prepared:
            raise BackendError("the network was not prepared for training")
        rates = np.broadcast_to(rates, (len(rates), len(self.stages)))
        patience = 1 if self.device.type == "cpu" else STEPS_BETWEEN_LOSSES
        waiting: list[tuple[Tensor, int]] = []
        told = Told(on_step)
        self._train_mode(True)
        try:
            with own_draws(self.device, seed):
                for number, batch in enumerate(batches):
                    waiting.append((self._step(batch, rates[number]), batch.global_size))
                    if len(waiting) >= patience and not told.tell(waiting):
                        return told.result(stopped=True)
            return told.result(stopped=not told.tell(waiting))
        finally:
            self._train_mode(False)

    def _train_mode(self, training: bool) -> None:
        """Stages below the trained ones infer always: BatchNorm and dropout as in prediction."""
        for number, members in enumerate(self.parts.members):
            for module in members:
                module.training = training and number >= self.trainable_from

    def _step(self, batch: Batch, rates: np.ndarray) -> Tensor:
        """One step; the data loss, left on the device."""
        with memory_said(np.shape(batch.images), "training on"):
            scores = self._forward(self._sent(batch.images))
            targets, weights = self._floats(batch.targets), self._floats(batch.weights)
            loss = data_loss(scores, targets, weights, batch.global_size, self.objective)
            if self.stepper is not None:
                self.stepper.apply(self._minimised(loss), rates)
        return loss.detach()

    def _minimised(self, loss: Tensor) -> Tensor:
        """The data loss and the penalty on the kernels of hidden dense layers."""
        hidden = [w.tensor for w in self._trained() if w.is_kernel and w.name.startswith("fc")]
        return loss + penalty(hidden, self.objective.l2) if self.objective.l2 and hidden else loss

    # -- the forward pass --------------------------------------------------------------------

    def _forward(self, x: Tensor, head: bool = True) -> Tensor:
        """Float32 out of the network, or out of all of it but its head."""
        modules = self.parts.modules if head else self.parts.modules[:-1]
        with torch.autocast(
            self.device.type, PRECISIONS["bfloat16"], enabled=self.precision == "bfloat16"
        ):
            x = self.parts.scale(x) if self.parts.scale is not None else x
            for module, last in zip(modules, self.parts.ends, strict=False):
                with torch.set_grad_enabled(
                    torch.is_grad_enabled() and last >= self.trainable_from
                ):
                    x = module(x)
        return x.float()

    def _sent(self, images: np.ndarray) -> Tensor:
        """Images UInt8[B, H, W, C] or features Float32[B, D], on the device.

        Raises:
            BackendError: they are of another size than the network's.
        """
        on_pixels = self.parts.scale is not None
        size = (self.spec.height, self.spec.width, self.spec.channels)
        wanted = size if on_pixels else (self.parts.features,)
        images = np.asarray(images, np.uint8 if on_pixels else np.float32)
        if images.shape[1:] != wanted:
            raise BackendError(
                f"{self.spec.name} takes batches of {wanted}, not {images.shape[1:]}"
            )
        return self._moved(images)

    def _floats(self, values: np.ndarray) -> Tensor:
        return self._moved(np.asarray(values, np.float32))

    def _moved(self, array: np.ndarray) -> Tensor:
        """On the device; to a GPU from pinned memory, so that nothing waits for the copy."""
        # PyTorch has no read-only tensors, and none with negative strides
        plain = np.require(array, requirements=("C", "W"))
        tensor = torch.from_numpy(plain)
        if self.device.type == "cuda":
            return tensor.pin_memory().to(self.device, non_blocking=True)
        return tensor.to(self.device)

    # -- inference ---------------------------------------------------------------------------

    def predict(self, batches: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Logits Float32[B, K]; one sigmoid logit z as (0, z)."""
        for scores in self._run(batches):
            yield two_columns(scores).cpu().numpy()

    def embed(self, batches: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Features under the head, Float32[B, D]."""
        for features in self._run(batches, head=False):
            yield features.cpu().numpy()

    def _run(self, batches: Iterable[np.ndarray], head: bool = True) -> Iterator[Tensor]:
        for images in batches:
            # inside the loop: what reads the results must not inherit inference mode
            with torch.inference_mode(), memory_said(np.shape(images), "predicting"):
                out = self._forward(self._sent(images), head)
            yield out

    def head(self) -> TorchNetwork:
        """The head alone, on the same tensors."""
        return TorchNetwork(self.spec, self.parts.head(), self.device, self.precision)

    # -- weights -----------------------------------------------------------------------------

    def weights(self) -> dict[str, np.ndarray]:
        """Copies under neutral names and in neutral axis order."""
        return get(self.parts.weights)

    def set_weights(self, weights: Mapping[str, np.ndarray]) -> LoadReport:
        """Takes what fits by name and shape."""
        return put(self.parts.weights, weights)

    def save(self, path: Path, training: bool) -> None:
        """`weights.safetensors`, and `optimizer.safetensors` when `training`.

        Raises:
            OSError: they can't be written.
        """
        path.mkdir(parents=True, exist_ok=True)
        tensors = {w.name: w.neutral.contiguous().cpu() for w in self.parts.weights}
        about = {
            "model": self.spec.name,
            "precision": self.precision,
            "scaling": self.spec.scaling,
        }
        write_tensors(path / WEIGHTS, tensors, about)
        if training and self.stepper is not None:
            about = {"optimizer": self.stepper.settings.name}
            write_tensors(path / STATE, self.stepper.state(), about)
        else:
            (path / STATE).unlink(missing_ok=True)

    def restore(self, path: Path) -> None:
        """Takes back what `save` wrote; the precision stays as it was prepared.

        Raises:
            BackendError: the files are missing, damaged or of another model.
        """
        tensors, _ = read_tensors(path / WEIGHTS)
        self._put_all(path / WEIGHTS, tensors)
        if self.stepper is not None and (path / STATE).exists():
            self.stepper.take(read_tensors(path / STATE)[0])

    def _put_all(self, file: Path, tensors: Mapping[str, Tensor]) -> None:
        """All of them or none."""
        own = {w.name: tuple(w.neutral.shape) for w in self.parts.weights}
        found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
        wrong = sorted(n for n in own.keys() | found.keys() if own.get(n) != found.get(n))
        if wrong:
            raise BackendError(
                f"{file} holds another model than {self.spec.name}: "
                f"{', '.join(wrong[:5])}{', …' if len(wrong) > 5 else ''} do not fit"
            )
        for weight in self.parts.weights:
            weight.take(tensors[weight.name])


class Told:
    """The losses that `on_step` was told, and their mean over images."""

    def __init__(self, on_step: Callable[[int, float], bool]) -> None:
        self.on_step = on_step
        self.total, self.images, self.steps = 0.0, 0, 0

    def tell(self, waiting: list[tuple[Tensor, int]]) -> bool:
        """Tells what waits, oldest first; False where `on_step` wants to stop."""
        go_on = True
        # one copy from the device for all of them
        values = torch.stack([loss for loss, _ in waiting]).tolist() if waiting else []
        for value, (_, size) in zip(values, waiting, strict=True):
            self.total += value * size
            self.images += size
            go_on = bool(self.on_step(self.steps, value)) and go_on
            self.steps += 1
        waiting.clear()
        return go_on

    def result(self, stopped: bool) -> EpochResult:
        return EpochResult(self.total / max(self.images, 1), self.images, self.steps, stopped)
