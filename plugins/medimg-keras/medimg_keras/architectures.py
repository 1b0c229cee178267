"""The networks, built from a model's description into Keras layers, stage by stage.

Layers bear medimg's neutral names: numbered by kind from 1, in order, over the whole network.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from medimg.api import BackendError, ModelSpec, Stage
from medimg_keras.applications import BODIES, FAMILY, build_backbone, is_application
from medimg_keras.parameters import Parameter, parameters_of
from medimg_keras.scaling import factors, scaled
from medimg_keras.startup import keras


@dataclass(frozen=True)
class Parts:
    """A network taken apart.

    Args:
        whole: from the input to the logits.
        models: one a stage, to be called one after the other; they share `whole`'s layers.
        names: of the stages.
        parameters: in the order of the network.
        drawn_from: the lowest stage whose weights are still to be drawn.
    """

    whole: Any
    models: tuple[Any, ...]
    names: tuple[str, ...]
    parameters: tuple[Parameter, ...]
    drawn_from: int = 0

    def stages(self) -> tuple[Stage, ...]:
        return tuple(
            Stage(name, sum(p.size for p in self.parameters if p.stage == number))
            for number, name in enumerate(self.names)
        )

    def head(self) -> Parts:
        """The last stage as a network on features."""
        last = len(self.models) - 1
        own = tuple(replace(p, stage=0) for p in self.parameters if p.stage == last)
        return Parts(self.models[-1], self.models[-1:], self.names[-1:], own)


class Plan:
    """Layers as they are added: named, counted and kept by stage."""

    def __init__(self, spec: ModelSpec) -> None:
        self.spec = spec
        self.counts: Counter[str] = Counter()
        self.names: list[str] = []
        self.layers: list[tuple[int, Any]] = []
        self.ends: list[Any] = []
        # of a backbone from elsewhere
        self.given: list[Parameter] = []
        self.drawn_from = 0

    def begin(self, name: str, x: Any) -> None:
        """A stage starts where `x` is."""
        if self.names:
            self.ends.append(x)
        self.names.append(name)

    def add(self, kind: str, layer: Callable[..., Any], x: Any, **options: Any) -> Any:
        """`x` through a new layer, named for its kind and number."""
        self.counts[kind] += 1
        name = kind if kind == "output" else f"{kind}{self.counts[kind]}"
        made = layer(name=name, **options)
        self.layers.append((len(self.names) - 1, made))
        return made(x)

    def conv(self, x: Any, filters: int, size: int = 3, **options: Any) -> Any:
        return self.add(
            "conv",
            keras.layers.Conv2D,
            x,
            filters=filters,
            kernel_size=size,
            kernel_initializer="zeros",
            **options,
        )

    def bn(self, x: Any) -> Any:
        return self.add(
            "bn",
            keras.layers.BatchNormalization,
            x,
            momentum=self.spec.bn_momentum,
            epsilon=self.spec.bn_epsilon,
        )

    def pool(self, x: Any) -> Any:
        return self.add("pool", keras.layers.MaxPooling2D, x, pool_size=2)

    def dense(self, kind: str, x: Any, units: int, **options: Any) -> Any:
        return self.add(
            kind, keras.layers.Dense, x, units=units, kernel_initializer="zeros", **options
        )

    def parameters(self) -> tuple[Parameter, ...]:
        own = (p for stage, layer in self.layers for p in parameters_of(layer, layer.name, stage))
        return (*self.given, *own)


# -- backbones -------------------------------------------------------------------------------------


def layer_by_layer(plan: Plan, x: Any) -> Any:
    """The layers that the description lists; a conv begins a stage."""
    for layer in plan.spec.layers:
        if layer.startswith("conv"):
            plan.begin(f"conv{plan.counts['conv'] + 1}", x)
            x = plan.conv(x, int(layer.removeprefix("conv")), activation="relu")
            continue
        if not plan.names:
            plan.begin("stem", x)
        if layer not in ("pool", "bn"):
            raise unknown(plan.spec, "layer", layer)
        x = plan.pool(x) if layer == "pool" else plan.bn(x)
    return x


def padded_conv(plan: Plan, x: Any, filters: int, strides: int) -> Any:
    """3×3 with a pixel of padding on each side, without bias.

    Keras' own "same" pads stride 2 on the right and below alone.
    """
    if strides == 1:
        return plan.conv(x, filters, padding="same", use_bias=False)
    x = keras.layers.ZeroPadding2D(1)(x)
    return plan.conv(x, filters, strides=strides, use_bias=False)


def basic_block(plan: Plan, x: Any, filters: int, strides: int) -> Any:
    """He et al. 2016, fig. 5 left; a 1×1 shortcut where the shape changes."""
    y = plan.bn(padded_conv(plan, x, filters, strides))
    y = plan.bn(padded_conv(plan, keras.layers.ReLU()(y), filters, 1))
    if strides != 1 or x.shape[-1] != filters:
        x = plan.bn(plan.conv(x, filters, 1, strides=strides, use_bias=False))
    return keras.layers.ReLU()(keras.layers.Add()([y, x]))


def resnet18_small(plan: Plan, x: Any) -> Any:
    """ResNet-18 for small pictures: 3×3 stem of stride 1, no first pooling."""
    plan.begin("stem", x)
    x = keras.layers.ReLU()(plan.bn(padded_conv(plan, x, 64, 1)))
    for number, filters in enumerate((64, 128, 256, 512), start=1):
        plan.begin(f"stage{number}", x)
        x = basic_block(plan, x, filters, 1 if number == 1 else 2)
        x = basic_block(plan, x, filters, 1)
    return x


BACKBONES: dict[str, Callable[[Plan, Any], Any]] = {
    "layers": layer_by_layer,
    "resnet18-small": resnet18_small,
}
ARCHITECTURES = (*BACKBONES, *BODIES, f"{FAMILY}*")


# -- the whole -------------------------------------------------------------------------------------


def head_layers(plan: Plan, x: Any) -> Any:
    """fc and dropout as described, then the output layer; logits are float32 always."""
    for layer in plan.spec.head[1:]:
        if layer.startswith("fc"):
            x = plan.dense("fc", x, int(layer.removeprefix("fc")), activation="relu")
        elif layer.startswith("dropout"):
            rate = float(layer.removeprefix("dropout"))
            x = plan.add("dropout", keras.layers.Dropout, x, rate=rate, seed=0)
        else:
            raise unknown(plan.spec, "head layer", layer)
    return plan.dense("output", x, plan.spec.outputs, dtype="float32")


def unknown(spec: ModelSpec, what: str, name: str) -> BackendError:
    return BackendError(f"the keras backend does not know the {what} {name!r} of {spec.name!r}")


def check(spec: ModelSpec) -> None:
    """Raises BackendError where this backend can't build `spec`."""
    if spec.architecture not in BACKBONES and not is_application(spec.architecture):
        raise BackendError(
            f"the keras backend can't build {spec.name!r} ({spec.architecture})",
            f"It builds: {', '.join(ARCHITECTURES)}",
        )
    if spec.architecture == "layers" and not spec.layers:
        raise BackendError(f"{spec.name!r} has no layers")
    if not spec.head or spec.head[0] not in ("flatten", "gap"):
        raise BackendError(f"the head of {spec.name!r} must begin with flatten or gap")
    found = factors(spec.scaling)
    if found is None:
        raise unknown(spec, "scaling", spec.scaling)
    if isinstance(found[1], list) and len(found[1]) not in (1, spec.channels):
        raise BackendError(f"the scaling {spec.scaling!r} of {spec.name!r} needs 3 channels")


def assemble(spec: ModelSpec, seed: int = 0) -> Parts:
    """The network of a description; weights from the stage `drawn_from` up are not drawn yet.

    Args:
        seed: of the draws that Keras' own initialisation makes.

    Raises:
        BackendError: it can't be built, or the pictures are too small for its layers.
        UsageError: keras.applications has no such network.
    """
    check(spec)
    plan = Plan(spec)
    shape = (spec.height, spec.width, spec.channels)
    pixels = keras.Input(shape, dtype="uint8", name="pixels")
    try:
        x = scaled(pixels, spec.scaling)
        if is_application(spec.architecture):
            x = build_backbone(plan, x, seed)
        else:
            x = BACKBONES[spec.architecture](plan, x)
    except ValueError as error:
        raise BackendError(
            f"{spec.name} can't be built for pictures of {spec.height}×{spec.width}",
            "Give a larger --image-size, or take a smaller model: medimg models",
        ) from error
    gather = {"flatten": keras.layers.Flatten, "gap": keras.layers.GlobalAveragePooling2D}
    if not all(x.shape[1:]):
        raise BackendError(f"nothing is left of {spec.height}×{spec.width} pictures in {spec.name}")
    features = gather[spec.head[0]](name="features")(x)
    plan.begin("head", features)
    logits = head_layers(plan, features)
    edges = [pixels, *plan.ends, logits]
    models = tuple(
        keras.Model(first, last, name=name)
        for name, first, last in zip(plan.names, edges[:-1], edges[1:], strict=True)
    )
    whole = keras.Model(pixels, logits, name=spec.name.replace(":", "-"))
    return Parts(whole, models, tuple(plan.names), plan.parameters(), plan.drawn_from)
