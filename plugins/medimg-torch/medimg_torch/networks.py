"""The networks, built from a model's description stage by stage.

Layers bear medimg's neutral names: numbered by kind from 1, in order, over the whole network.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn
from torch.nn.utils import skip_init

from medimg.api import BackendError, ModelSpec, Stage
from medimg_torch.backbones import BODIES, FAMILY, build_backbone, built_by_timm
from medimg_torch.layers import BatchNorm, Flatten, GlobalAverage, Output
from medimg_torch.resnet import resnet18_small
from medimg_torch.scaling import Scale, factors
from medimg_torch.weights import Weight, weights_of


@dataclass(frozen=True)
class Parts:
    """A network taken apart.

    Args:
        scale: from pixels to floats; None for a head, which is given features.
        modules: to be called one after the other; the last is the head, and what gathers its
            features ends the one before it. A network of medimg's own has one a stage, a backbone
            of another library is one module with several stages in it.
        names: of the stages.
        weights: in the order of the network.
        features: D, the size of the features under the head.
        ends: the last stage of each of `modules`.
        members: by stage, the modules that train or infer with it.
        drawn_from: the lowest stage whose weights are still to be drawn.
    """

    scale: nn.Module | None
    modules: tuple[nn.Module, ...]
    names: tuple[str, ...]
    weights: tuple[Weight, ...]
    features: int
    ends: tuple[int, ...]
    members: tuple[tuple[nn.Module, ...], ...]
    drawn_from: int = 0

    def stages(self) -> tuple[Stage, ...]:
        return tuple(
            Stage(name, sum(w.tensor.numel() for w in self.weights if w.stage == number))
            for number, name in enumerate(self.names)
        )

    def head(self) -> Parts:
        """The last stage as a network on features; it shares its tensors."""
        last = len(self.names) - 1
        own = tuple(replace(w, stage=0) for w in self.weights if w.stage == last)
        head = self.modules[-1:]
        return Parts(None, head, self.names[-1:], own, self.features, (0,), self.members[-1:])

    def on(self, device: torch.device) -> Parts:
        """Itself, moved to a device, with channels innermost."""
        if self.scale is not None:
            self.scale.to(device)
        for module in self.modules:
            module.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        return self


class Plan:
    """Layers as they are added: named, counted and kept by stage.

    `shape` is (channels, height, width) of what the layers so far give.
    """

    def __init__(self, spec: ModelSpec) -> None:
        self.spec = spec
        self.shape = (spec.channels, spec.height, spec.width)
        self.counts: Counter[str] = Counter()
        self.names: list[str] = []
        self.stages: list[list[nn.Module]] = []
        self.weights: list[Weight] = []

    def begin(self, name: str) -> None:
        """A stage starts here."""
        self.names.append(name)
        self.stages.append([])

    def add(self, *modules: nn.Module) -> None:
        """Puts modules at the end of the stage."""
        self.stages[-1] += modules

    def _named(self, kind: str, module: nn.Module) -> nn.Module:
        self.counts[kind] += 1
        name = kind if kind == "output" else f"{kind}{self.counts[kind]}"
        self.weights += weights_of(name, module, len(self.names) - 1)
        return module

    def _shrunk(self, channels: int, height: int, width: int) -> None:
        if min(height, width) < 1:
            raise BackendError(
                f"{self.spec.name} can't be built for pictures of "
                f"{self.spec.height}×{self.spec.width}: nothing is left of them under its layers",
                "Give a larger --image-size, or take a smaller model: medimg models",
            )
        self.shape = (channels, height, width)

    def conv(
        self, filters: int, size: int = 3, stride: int = 1, padding: int = 0, bias: bool = True
    ) -> nn.Module:
        channels, height, width = self.shape
        rows, columns = ((n + 2 * padding - size) // stride + 1 for n in (height, width))
        self._shrunk(filters, rows, columns)
        options: dict[str, Any] = {"stride": stride, "padding": padding, "bias": bias}
        # its own draws would be thrown away, and would move the caller's random state
        return self._named("conv", skip_init(nn.Conv2d, channels, filters, size, **options))

    def bn(self) -> nn.Module:
        momentum, epsilon = 1 - self.spec.bn_momentum, self.spec.bn_epsilon
        return self._named("bn", BatchNorm(self.shape[0], eps=epsilon, momentum=momentum))

    def pool(self) -> nn.Module:
        channels, height, width = self.shape
        self._shrunk(channels, height // 2, width // 2)
        return nn.MaxPool2d(2)

    def dense(self, kind: str, inputs: int, units: int) -> nn.Module:
        return self._named(
            kind, skip_init(Output if kind == "output" else nn.Linear, inputs, units)
        )

    def gather(self) -> int:
        """Features for the head; the number of them."""
        channels, height, width = self.shape
        if not self.names:
            self.begin("stem")
        if self.spec.head[0] == "gap":
            self.add(GlobalAverage())
            return channels
        self.add(Flatten())
        return channels * height * width


def layer_by_layer(plan: Plan) -> None:
    """The layers that the description lists; a conv begins a stage."""
    for layer in plan.spec.layers:
        filters = count_in(layer, "conv")
        if filters is not None:
            plan.begin(f"conv{plan.counts['conv'] + 1}")
            plan.add(plan.conv(filters), nn.ReLU(inplace=True))
            continue
        if not plan.names:
            plan.begin("stem")
        if layer not in ("pool", "bn"):
            raise unknown(plan.spec, "layer", layer, "conv32, pool, bn")
        plan.add(plan.pool() if layer == "pool" else plan.bn())


BACKBONES: dict[str, Callable[[Plan], None]] = {
    "layers": layer_by_layer,
    "resnet18-small": resnet18_small,
}
ARCHITECTURES = (*BACKBONES, *BODIES, f"{FAMILY}*")


def head_layers(plan: Plan, inputs: int) -> None:
    """fc and dropout as described, then the output layer."""
    for layer in plan.spec.head[1:]:
        units = count_in(layer, "fc")
        if units is not None:
            plan.add(plan.dense("fc", inputs, units), nn.ReLU(inplace=True))
            inputs = units
        elif layer.startswith("dropout"):
            plan.add(nn.Dropout(float(layer.removeprefix("dropout"))))
        else:
            raise unknown(plan.spec, "head layer", layer, "fc128, dropout0.5")
    plan.add(plan.dense("output", inputs, plan.spec.outputs))


def count_in(layer: str, kind: str) -> int | None:
    """32 of `conv32`; None where the layer is of another kind."""
    number = layer.removeprefix(kind)
    return int(number) if number != layer and number.isdecimal() else None


def unknown(spec: ModelSpec, what: str, layer: str, known: str) -> BackendError:
    return BackendError(
        f"the torch backend does not know the {what} {layer!r} of {spec.name!r}",
        f"Known, with numbers of your own: {known}",
    )


def check(spec: ModelSpec) -> None:
    """Raises BackendError where this backend can't build `spec`."""
    if spec.architecture not in BACKBONES and not built_by_timm(spec.architecture):
        raise BackendError(
            f"the torch backend can't build {spec.name!r} ({spec.architecture})",
            f"It builds: {', '.join(ARCHITECTURES)}",
        )
    if spec.architecture == "layers" and not spec.layers:
        raise BackendError(f"{spec.name!r} has no layers")
    if not spec.head or spec.head[0] not in ("flatten", "gap"):
        raise BackendError(f"the head of {spec.name!r} must begin with flatten or gap")
    found = factors(spec.scaling)
    if found is None:
        raise BackendError(f"the torch backend does not know the scaling {spec.scaling!r}")
    if (
        len(found[0]) > 1
        and len(found[0]) != spec.channels
        or (spec.channels != 3 and spec.scaling == "caffe")
    ):
        raise BackendError(f"the scaling {spec.scaling!r} of {spec.name!r} needs 3 channels")


def assemble(spec: ModelSpec, seed: int = 0) -> Parts:
    """The network of a description; weights from the stage `drawn_from` up are not drawn yet.

    Args:
        seed: of the draws that a library's own initialisation makes.

    Raises:
        BackendError: it can't be built, or the pictures are too small for its layers.
        UsageError: timm has no such network.
    """
    check(spec)
    plan = Plan(spec)
    if built_by_timm(spec.architecture):
        return assemble_on_timm(plan, seed)
    BACKBONES[spec.architecture](plan)
    features = plan.gather()
    plan.begin("head")
    head_layers(plan, features)
    modules = tuple(nn.Sequential(*stage).eval() for stage in plan.stages)
    return Parts(
        Scale(spec.scaling),
        modules,
        tuple(plan.names),
        tuple(plan.weights),
        features,
        tuple(range(len(modules))),
        tuple(tuple(module.modules()) for module in modules),
    )


def assemble_on_timm(plan: Plan, seed: int) -> Parts:
    """A head of medimg's on a backbone of timm's."""
    built = build_backbone(plan.spec, seed)
    for name in (*built.names, "head"):
        plan.begin(name)
    head_layers(plan, built.features)
    head, last = nn.Sequential(*plan.stages[-1]).eval(), len(built.names)
    return Parts(
        Scale(plan.spec.scaling),
        (built.module, head),
        tuple(plan.names),
        (*built.weights, *plan.weights),
        built.features,
        (last - 1, last),
        (*built.members, tuple(head.modules())),
        drawn_from=last if built.drawn else 0,
    )
