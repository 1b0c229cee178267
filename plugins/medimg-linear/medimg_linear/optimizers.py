"""Adam, AdamW and SGD with momentum on NumPy arrays, in PyTorch's conventions."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from medimg.api import BackendError, Optimizer

Arrays = dict[str, np.ndarray]
SLOTS = {"adam": ("m", "v"), "adamw": ("m", "v"), "sgd": ("momentum",)}


def clipped(gradients: Arrays, limit: float | None) -> Arrays:
    """The gradients, scaled down together where their joint norm exceeds `limit`."""
    if limit is None:
        return gradients
    norm = np.sqrt(sum(float(np.square(g, dtype=np.float64).sum()) for g in gradients.values()))
    factor = np.float32(min(1.0, limit / (norm + 1e-6)))
    return {name: g * factor for name, g in gradients.items()}


class Stepper:
    """One optimizer over named parameters, which it changes in place.

    Args:
        settings: adam, adamw (decoupled decay of kernels) or sgd (momentum).
        parameters: name to Float32 array.
    """

    def __init__(self, settings: Optimizer, parameters: Arrays) -> None:
        if settings.name not in SLOTS:
            raise BackendError(
                f"the linear backend has no optimizer {settings.name!r}",
                f"Known: {', '.join(SLOTS)}",
            )
        self.settings = settings
        self.parameters = parameters
        self.steps = 0
        self.slots: Arrays = {
            f"{name}/{slot}": np.zeros_like(array)
            for name, array in parameters.items()
            for slot in SLOTS[settings.name]
        }

    def step(self, gradients: Arrays, rate: float) -> None:
        """One step down `gradients` at learning rate `rate`."""
        self.steps += 1
        gradients = clipped(gradients, self.settings.clip_norm)
        update = self._sgd if self.settings.name == "sgd" else self._adam
        for name, parameter in self.parameters.items():
            if self.settings.name == "adamw" and name.endswith("/kernel"):
                parameter *= np.float32(1 - rate * self.settings.weight_decay)
            parameter -= update(name, gradients[name], rate)

    def _sgd(self, name: str, gradient: np.ndarray, rate: float) -> np.ndarray:
        velocity = self.slots[f"{name}/momentum"]
        velocity *= np.float32(self.settings.momentum)
        velocity += gradient
        return np.float32(rate) * velocity

    def _adam(self, name: str, gradient: np.ndarray, rate: float) -> np.ndarray:
        """Kingma & Ba 2015, algorithm 1; epsilon is added after the bias correction."""
        beta1, beta2 = self.settings.betas
        m, v = self.slots[f"{name}/m"], self.slots[f"{name}/v"]
        m += np.float32(1 - beta1) * (gradient - m)
        v += np.float32(1 - beta2) * (np.square(gradient) - v)
        root = np.sqrt(v / np.float32(1 - beta2**self.steps)) + np.float32(self.settings.epsilon)
        return np.float32(rate / (1 - beta1**self.steps)) * m / root

    def state(self) -> Arrays:
        """What a resumed run needs, as arrays."""
        return {"steps": np.asarray(self.steps, np.int64), **self.slots}

    def take(self, state: Mapping[str, np.ndarray]) -> None:
        """Takes back what `state` gave.

        Raises:
            BackendError: it is the state of another optimizer.
        """
        if set(state) != {"steps", *self.slots}:
            raise BackendError(
                f"the optimizer's state that was saved is not one of {self.settings.name} "
                f"for {', '.join(self.parameters)}",
                "Resume with the settings that the run was started with.",
            )
        self.steps = int(state["steps"])
        for name, array in self.slots.items():
            array[...] = state[name]
