"""Adam, AdamW and SGD with momentum, with a learning rate a stage.

Explicit steps rather than `keras.optimizers`: a rate for every stage and step, epsilon where
PyTorch has it (after the bias correction), and a state of plain arrays.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from medimg.api import BackendError, Optimizer
from medimg_keras.parameters import Parameter
from medimg_keras.startup import tf

SLOTS = {"adam": ("m", "v"), "adamw": ("m", "v"), "sgd": ("momentum",)}


class Stepper:
    """One optimizer over a network's parameters.

    Args:
        settings: adam, adamw (decoupled decay of kernels) or sgd (momentum).
        parameters: those that are trained.

    Raises:
        BackendError: an optimizer that this backend does not have.
    """

    def __init__(self, settings: Optimizer, parameters: Sequence[Parameter]) -> None:
        if settings.name not in SLOTS:
            raise BackendError(
                f"the keras backend has no optimizer {settings.name!r}",
                f"Known: {', '.join(SLOTS)}",
            )
        self.settings = settings
        self.parameters = tuple(parameters)
        self.steps = 0
        self.slots = {
            f"{p.name}/{slot}": tf.Variable(tf.zeros(p.variable.shape), trainable=False)
            for p in parameters
            for slot in SLOTS[settings.name]
        }

    def next_numbers(self, rates: np.ndarray) -> np.ndarray:
        """What changes from step to step, Float32[3, G]: step size, share of the weights that
        decay leaves, bias correction of the second moment. In float64 till the end, for 1 - 0.999
        has few digits in float32."""
        self.steps += 1
        rates = rates.astype(np.float64)
        beta1, beta2 = self.settings.betas
        adam = self.settings.name != "sgd"
        decay = self.settings.weight_decay if self.settings.name == "adamw" else 0.0
        size = rates / (1 - beta1**self.steps) if adam else rates
        correction = np.sqrt(1 - beta2**self.steps) if adam else 1.0
        numbers = np.stack([size, 1 - rates * decay, np.full_like(rates, correction)])
        return numbers.astype("float32")

    def apply(self, gradients: list[Any], numbers: Any) -> None:
        """The step down `gradients`, as operations of the graph."""
        if self.settings.clip_norm is not None:
            norm = tf.linalg.global_norm(gradients)
            factor = tf.minimum(1.0, self.settings.clip_norm / (norm + 1e-6))
            gradients = [g * factor for g in gradients]
        update = self._sgd if self.settings.name == "sgd" else self._adam
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            size, keep, correction = tf.unstack(numbers[:, parameter.stage])
            weights = parameter.variable.value
            if self.settings.name == "adamw" and parameter.name.endswith("/kernel"):
                weights.assign(weights * keep)
            weights.assign_sub(size * update(parameter.name, gradient, correction))

    def _sgd(self, name: str, gradient: Any, _correction: Any) -> Any:
        velocity = self.slots[f"{name}/momentum"]
        return velocity.assign(velocity * self.settings.momentum + gradient)

    def _adam(self, name: str, gradient: Any, correction: Any) -> Any:
        """Kingma & Ba 2015, algorithm 1."""
        beta1, beta2 = self.settings.betas
        m, v = self.slots[f"{name}/m"], self.slots[f"{name}/v"]
        mean = m.assign_add((1 - beta1) * (gradient - m))
        square = v.assign_add((1 - beta2) * (tf.square(gradient) - v))
        return mean / (tf.sqrt(square) / correction + self.settings.epsilon)

    def state(self) -> dict[str, np.ndarray]:
        """What a resumed run needs, as arrays."""
        slots = {name: slot.numpy() for name, slot in self.slots.items()}
        return {"steps": np.asarray(self.steps, np.int64), **slots}

    def take(self, state: Mapping[str, np.ndarray]) -> None:
        """Takes back what `state` gave.

        Raises:
            BackendError: it is the state of another optimizer.
        """
        if set(state) != {"steps", *self.slots}:
            raise BackendError(
                f"the optimizer's state that was saved is not one of {self.settings.name} "
                f"for this network's trained layers",
                "Resume with the settings that the run was started with.",
            )
        self.steps = int(state["steps"])
        for name, slot in self.slots.items():
            slot.assign(state[name])
