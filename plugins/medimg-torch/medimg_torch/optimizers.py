"""Adam, AdamW and SGD with momentum, with a learning rate a stage.

PyTorch's own optimizers, fused where they can be. Adam is algorithm 1 of Kingma and Ba 2015:
epsilon is added after the bias correction of the second moment. Keras' own Adam adds it before, so
that its epsilon counts 1 / sqrt(1 - beta2^t) times as much (32 times in the first step at 0.999);
medimg's Keras backend does as PyTorch does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from medimg.api import BackendError, Optimizer
from medimg_torch.weights import Weight

# what an optimizer keeps for each weight; a step count is kept beside them
SLOTS = {
    "adam": ("exp_avg", "exp_avg_sq"),
    "adamw": ("exp_avg", "exp_avg_sq"),
    "sgd": ("momentum_buffer",),
}
STEP = "step"


class Stepper:
    """One optimizer over a network's trained weights.

    Args:
        settings: adam, adamw (decoupled decay of kernels) or sgd (momentum, without Nesterov's).
        weights: those that are trained.

    Raises:
        BackendError: an optimizer that this backend does not have.
    """

    def __init__(self, settings: Optimizer, weights: Sequence[Weight]) -> None:
        if settings.name not in SLOTS:
            raise BackendError(
                f"the torch backend has no optimizer {settings.name!r}",
                f"Known: {', '.join(SLOTS)}",
            )
        self.settings = settings
        self.weights = tuple(weights)
        self.tensors = [w.tensor for w in weights]
        self.optimizer = make_optimizer(settings, groups_of(weights, settings))

    def apply(self, loss: Tensor, rates: np.ndarray) -> None:
        """One step down the gradient of `loss`, at learning rates Float[G] by stage."""
        for group in self.optimizer.param_groups:
            group["lr"] = float(rates[group["stage"]])
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if self.settings.clip_norm is not None:
            clip_grad_norm_(self.tensors, self.settings.clip_norm)
        self.optimizer.step()

    def state(self) -> dict[str, Tensor]:
        """What a resumed run needs, by `<weight>/<slot>`; empty before the first step."""
        return {
            f"{weight.name}/{slot}": torch.as_tensor(value).detach().contiguous().cpu()
            for weight in self.weights
            for slot, value in self.optimizer.state.get(weight.tensor, {}).items()
            if value is not None
        }

    def take(self, state: Mapping[str, Tensor]) -> None:
        """Takes back what `state` gave.

        Raises:
            BackendError: it is the state of another optimizer, or of other trained layers.
        """
        if state and set(state) != self._expected():
            raise BackendError(
                f"the optimizer's state that was saved is not one of {self.settings.name} "
                "for this network's trained layers",
                "Resume with the settings that the run was started with.",
            )
        self.optimizer.state.clear()
        for weight in self.weights if state else ():
            tensor = weight.tensor
            for slot in self._slots():
                saved = state[f"{weight.name}/{slot}"]
                # a step count stays where PyTorch wants it, a moment lies as its weight does
                kept = step_count(saved, tensor) if slot == STEP else laid_out(saved, tensor)
                self.optimizer.state[tensor][slot] = kept

    def _slots(self) -> tuple[str, ...]:
        slots = SLOTS[self.settings.name]
        if self.settings.name == "sgd":
            return slots if self.settings.momentum else ()
        return (*slots, STEP)

    def _expected(self) -> set[str]:
        return {f"{weight.name}/{slot}" for weight in self.weights for slot in self._slots()}


def groups_of(weights: Sequence[Weight], settings: Optimizer) -> list[dict]:
    """Groups by stage, kernels apart from the rest: only they decay."""
    kinds = sorted({(w.stage, w.is_kernel) for w in weights})
    decay = settings.weight_decay if settings.name == "adamw" else 0.0
    return [
        {
            "params": [w.tensor for w in weights if (w.stage, w.is_kernel) == (stage, is_kernel)],
            "stage": stage,
            "weight_decay": decay if is_kernel else 0.0,
        }
        for stage, is_kernel in kinds
    ]


def make_optimizer(settings: Optimizer, groups: list[dict]) -> torch.optim.Optimizer:
    """PyTorch's optimizer; rates are set before every step."""
    fused = {t.device.type for g in groups for t in g["params"]} <= {"cpu", "cuda"}
    if settings.name == "sgd":
        return torch.optim.SGD(groups, lr=0.0, momentum=settings.momentum, fused=fused)
    make = torch.optim.AdamW if settings.name == "adamw" else torch.optim.Adam
    return make(groups, lr=0.0, betas=settings.betas, eps=settings.epsilon, fused=fused)


def laid_out(saved: Tensor, like: Tensor) -> Tensor:
    """A copy on the device and in the memory order of `like`."""
    return torch.empty_like(like, requires_grad=False).copy_(saved)


def step_count(saved: Tensor, like: Tensor) -> Tensor:
    """A copy on the device: the fused step reads it there."""
    return saved.to(like.device, torch.float32, copy=True)
