"""Backbones of keras.applications: those of the registry's cards, and any other as `keras:NAME`."""

from __future__ import annotations

import difflib
import inspect
import random
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from medimg.api import BackendError, ModelSpec, UsageError
from medimg_keras.parameters import Parameter, parameters_of
from medimg_keras.scaling import IMAGENET_MEAN, IMAGENET_STD, scaled_by_numpy
from medimg_keras.startup import keras

if TYPE_CHECKING:
    from medimg_keras.architectures import Plan

FAMILY = "keras:"
# a stage of a network that the registry does not know ends where pictures get this much smaller
HALVED = 0.6
# the second division of an EfficientNet's normalisation
AGAIN = "rescaling_again"


@dataclass(frozen=True, slots=True)
class Body:
    """A network of keras.applications without its top, as a registry's card names it.

    Args:
        keras: its name there.
        stages: name and last layer, from the stem up.
        numbered: it is the same network in every framework, so that its layers bear neutral
            numbers (`conv1`) and start from the same draws; else Keras' names (`conv1_conv`) and
            Keras' own initialisation.
    """

    keras: str
    stages: tuple[tuple[str, str], ...]
    numbered: bool = False


BODIES = {
    "vgg16": Body(
        "VGG16", tuple((f"block{n}", f"block{n}_pool") for n in range(1, 6)), numbered=True
    ),
    "resnet50": Body(
        "ResNet50",
        (
            ("stem", "pool1_pool"),
            ("stage1", "conv2_block3_out"),
            ("stage2", "conv3_block4_out"),
            ("stage3", "conv4_block6_out"),
            ("stage4", "conv5_block3_out"),
        ),
    ),
    "inceptionv3": Body(
        "InceptionV3",
        (("stem", "max_pooling2d_1"), *((f"mixed{n}", f"mixed{n}") for n in range(11))),
    ),
    "efficientnetb0": Body(
        "EfficientNetB0",
        (
            ("stem", "stem_activation"),
            ("block1", "block1a_project_bn"),
            ("block2", "block2b_add"),
            ("block3", "block3b_add"),
            ("block4", "block4c_add"),
            ("block5", "block5c_add"),
            ("block6", "block6d_add"),
            ("block7", "block7a_project_bn"),
            ("top", "top_activation"),
        ),
    ),
}


def is_application(architecture: str) -> bool:
    return architecture in BODIES or architecture.startswith(FAMILY)


def keras_name(architecture: str) -> str:
    """Keras' name of the network behind an architecture."""
    body = BODIES.get(architecture)
    return body.keras if body else architecture.removeprefix(FAMILY)


def application(architecture: str) -> Any:
    """The function of keras.applications that builds a network.

    Raises:
        UsageError: there is none of that name.
    """
    name = keras_name(architecture)
    known = {n: f for n, f in vars(keras.applications).items() if inspect.isfunction(f)}
    if name in known:
        return known[name]
    lowered = {n.lower(): n for n in known}
    close = difflib.get_close_matches(name.lower(), list(lowered), n=3)
    raise UsageError(
        f"keras.applications has no network {name!r}",
        f"Did you mean {', '.join(FAMILY + lowered[found] for found in close)}?"
        if close
        else f"Known: {', '.join(sorted(known))}",
    )


def resolved(spec: ModelSpec) -> ModelSpec:
    """The description with `own` replaced by what the network's preprocess_input does."""
    if spec.scaling != "own" or not is_application(spec.architecture):
        return spec
    return replace(spec, scaling=own_scaling(spec.architecture))


def own_scaling(architecture: str) -> str:
    """The scaling that does to pixels what a network's own preprocess_input does, by trying.

    Raises:
        BackendError: medimg has no such scaling.
    """
    pixels = np.asarray([[[[0, 0, 0], [255, 255, 255], [255, 0, 0], [9, 80, 200]]]])
    home = sys.modules[application(architecture).__module__]
    wanted = home.preprocess_input(pixels.astype("float32"))
    for name in ("inside", "signed", "caffe", "imagenet", "unit"):
        if np.allclose(scaled_by_numpy(pixels, name), wanted, atol=1e-3):
            return name
    raise BackendError(f"medimg does not know how {keras_name(architecture)} scales its pixels")


# -- building --------------------------------------------------------------------------------------


def build_backbone(plan: Plan, x: Any, seed: int) -> Any:
    """Adds a network of keras.applications, its stages and its parameters to a plan.

    Raises:
        UsageError: there is no such network.
        BackendError: it can't be built for these pictures.
    """
    spec = plan.spec
    body = BODIES.get(spec.architecture)
    make = application(spec.architecture)
    shape = (spec.height, spec.width, spec.channels)
    with seeded(seed):
        try:
            made = make(include_top=False, weights=None, input_tensor=x, input_shape=shape)
        except (ValueError, TypeError) as error:
            raise BackendError(
                f"{spec.name} can't be built for {spec.channels}-channel pictures of "
                f"{spec.height}×{spec.width}: {str(error).strip().splitlines()[0]}",
                "Give a larger --image-size, or take a smaller model: medimg models",
            ) from error
        if make.__name__.startswith("EfficientNetB"):
            made = with_imagenet_statistics(made)
    for layer in leaves(made):
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = spec.bn_momentum
    ends = stated_ends(made, body) if body else found_ends(made)
    add_stages(plan, made.input, ends, bool(body and body.numbered))
    return made.output


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Keras' initialisers draw their seeds from Python's generator, which is put back afterwards.

    Source: keras.random.SeedGenerator, make_default_seed.
    """
    state = random.getstate()
    random.seed(seed)
    try:
        yield
    finally:
        random.setstate(state)


def with_imagenet_statistics(made: Any) -> Any:
    """An EfficientNet whose first layers do to pixels what they do with ImageNet weights.

    Keras builds another network with `weights="imagenet"` than without: its normalisation divides
    by the square root of what the weights hold, the standard deviation, and one more layer does so
    again. Without that layer the same weights see other pixels.
    """
    deviation = np.asarray(IMAGENET_STD)
    again = keras.layers.Rescaling((1 / np.sqrt(deviation)).tolist(), name=AGAIN)

    def call(layer: Any, *given: Any, **options: Any) -> Any:
        out = layer(*given, **options)
        return again(out) if isinstance(layer, keras.layers.Normalization) else out

    cloned = keras.models.clone_model(made, input_tensors=made.input, call_function=call)
    (normalization,) = (x for x in cloned.layers if isinstance(x, keras.layers.Normalization))
    for variable, values in zip(normalization.weights, (IMAGENET_MEAN, deviation), strict=False):
        variable.assign(np.asarray(values, "float32"))
    normalization.finalize_state()
    return cloned


def leaves(model: Any) -> Iterator[Any]:
    """The layers of a model, those inside nested models too."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from leaves(layer)
        else:
            yield layer


# -- stages ----------------------------------------------------------------------------------------


def stated_ends(made: Any, body: Body) -> list[tuple[str, Any]]:
    """Name and last tensor of each stage that a registry's network is known to have."""
    names = canonical([(layer.name, type(layer).__name__) for layer in made.layers])
    by_name = dict(zip(names, made.layers, strict=True))
    return [(stage, by_name[last].output) for stage, last in body.stages]


def found_ends(made: Any) -> list[tuple[str, Any]]:
    """Name and last tensor of each stage of a stranger's network: a stage ends at the last tensor
    that everything passes through before pictures get about half as large."""
    gates = [output_of(made.operations[n]) for n in passages(made)]
    ends = []
    for this, following in zip(gates, [*gates[1:], None], strict=True):
        if this is gates[-1] or side(following) <= HALVED * side(this):
            ends.append(this)
    ends = without_empty(made, ends)
    return [(f"stage{n}" if n else "stem", end) for n, end in enumerate(ends)]


def passages(made: Any) -> list[int]:
    """Places in `made.operations` (which come after what they need) whose output is the only thing
    that later ones see of earlier ones; the output's place is the last."""
    place = {id(operation): n for n, operation in enumerate(made.operations)}
    reach = [0] * len(place)
    for n, operation in enumerate(made.operations):
        for tensor in operation._inbound_nodes[-1].input_tensors:
            source = place[id(tensor._keras_history.operation)]
            reach[source] = max(reach[source], n)
    found, farthest = [], 0
    end = place[id(made.output._keras_history.operation)]
    for n, operation in enumerate(made.operations[: end + 1]):
        if farthest <= n and len(output_of(operation).shape) == 4:
            found.append(n)
        farthest = max(farthest, reach[n])
    return found


def output_of(operation: Any) -> Any:
    """What a layer gives in this network; a nested model has an output of its own besides."""
    return operation._inbound_nodes[-1].outputs[0]


def side(tensor: Any) -> int:
    """Pixels a side of a feature map."""
    return int(tensor.shape[1]) if len(tensor.shape) == 4 else 1


def without_empty(made: Any, ends: list[Any]) -> list[Any]:
    """The ends of those stages that hold weights; the others join the stage above."""
    kept, start = [], made.input
    for end in ends:
        if keras.Model(start, end).count_params():
            kept.append(end)
            start = end
    return [*kept[:-1], ends[-1]]


def add_stages(plan: Plan, start: Any, ends: Iterable[tuple[str, Any]], numbered: bool) -> None:
    """Puts stages and their parameters into the plan."""
    layers: list[tuple[int, Any]] = []
    seen: set[int] = set()
    for name, end in ends:
        plan.begin(name, start)
        for layer in leaves(keras.Model(start, end)):
            if id(layer) not in seen:
                seen.add(id(layer))
                layers.append((len(plan.names) - 1, layer))
        start = end
    plan.given = named(layers, numbered)
    plan.drawn_from = 0 if numbered else len(plan.names)


def named(layers: list[tuple[int, Any]], numbered: bool) -> list[Parameter]:
    """The parameters of layers, by stage."""
    with_weights = [(stage, layer) for stage, layer in layers if layer.weights]
    names = canonical([(layer.name, type(layer).__name__) for _, layer in with_weights])
    if numbered:
        names = [f"conv{n}" for n in range(1, len(with_weights) + 1)]
    return [
        parameter
        for name, (stage, layer) in zip(names, with_weights, strict=True)
        for parameter in parameters_of(layer, name, stage)
    ]


def canonical(layers: list[tuple[str, str]]) -> list[str]:
    """Names of layers that do not depend on what else the process has built.

    Keras numbers layers without a name of their own (`conv2d_17`) through the whole process; here
    they are numbered through the network, in the order in which they were made.

    Args:
        layers: name and class of each.

    >>> canonical([("conv2d_8", "Conv2D"), ("top", "Conv2D"), ("conv2d_7", "Conv2D")])
    ['conv2d_1', 'top', 'conv2d']
    """
    automatic: dict[str, list[int]] = {}
    for name, kind in layers:
        number = number_of(name, kind)
        if number is not None:
            automatic.setdefault(kind, []).append(number)
    names = []
    for name, kind in layers:
        number = number_of(name, kind)
        if number is not None:
            rank = sorted(automatic[kind]).index(number)
            name = f"{snake_case(kind)}_{rank}" if rank else snake_case(kind)
        names.append(name)
    return names


def number_of(name: str, kind: str) -> int | None:
    """17 of `conv2d_17`, 0 of `conv2d`; None of a name that somebody gave."""
    if not kind:
        return None
    found = re.fullmatch(rf"{re.escape(snake_case(kind))}(?:_(\d+))?", name)
    return int(found[1] or 0) if found else None


def snake_case(kind: str) -> str:
    """`max_pooling2d` of MaxPooling2D, as Keras has it."""
    kind = re.sub(r"\W+", "", kind)
    kind = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", kind)
    return re.sub("([a-z])([A-Z])", r"\1_\2", kind).lower()
