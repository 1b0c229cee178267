"""Backbones that timm builds: those of the registry's cards, and any other as `timm:NAME`."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from medimg.api import BackendError, ModelSpec, UsageError
from medimg_torch.device import own_draws
from medimg_torch.layers import Flatten, GlobalAverage
from medimg_torch.scaling import own_scaling
from medimg_torch.timm_import import import_timm
from medimg_torch.weights import Weight, weights_of

FAMILY = "timm:"
CPU = torch.device("cpu")


@dataclass(frozen=True, slots=True)
class Body:
    """A network of timm without its head, as a registry's card names it.

    Args:
        timm: timm's name for it.
        stages: name, and a pattern of the module paths that belong to it, from the stem up; what
            none of them matches belongs to the last.
        numbered: it is the same network in every framework, so that its layers bear neutral
            numbers (`conv1`) and start from the same draws; else timm's paths (`layer1.0.conv1`)
            and timm's own initialisation.
        unused: modules of timm's head, taken away.
    """

    timm: str
    stages: tuple[tuple[str, str], ...]
    numbered: bool = False
    unused: tuple[str, ...] = ()


EFFICIENTNET = (
    ("stem", r"(conv_stem|bn1)\b"),
    *((f"block{n + 1}", rf"blocks\.{n}\b") for n in range(7)),
    ("top", r"(conv_head|bn2)\b"),
)
INCEPTION = ("5b", "5c", "5d", "6a", "6b", "6c", "6d", "6e", "7a", "7b", "7c")
BODIES = {
    "vgg16": Body(
        "vgg16",
        tuple(
            (f"block{number}", rf"features\.({'|'.join(map(str, range(first, last)))})\b")
            for number, (first, last) in enumerate(
                ((0, 5), (5, 10), (10, 17), (17, 24), (24, 31)), start=1
            )
        ),
        numbered=True,
        unused=("pre_logits", "head"),
    ),
    "resnet50": Body(
        "resnet50",
        (
            ("stem", r"(conv1|bn1|act1|maxpool)\b"),
            *((f"stage{n}", rf"layer{n}\b") for n in range(1, 5)),
        ),
    ),
    "inceptionv3": Body(
        "inception_v3",
        (
            ("stem", r"Conv2d_"),
            *((f"mixed{n}", rf"Mixed_{name}\b") for n, name in enumerate(INCEPTION)),
        ),
    ),
    "efficientnetb0": Body("efficientnet_b0", EFFICIENTNET),
    "efficientnet-lite0": Body("tf_efficientnet_lite0", EFFICIENTNET),
}


def built_by_timm(architecture: str) -> bool:
    return architecture in BODIES or architecture.startswith(FAMILY)


def timm_name(architecture: str) -> str:
    """timm's name of the network behind an architecture."""
    body = BODIES.get(architecture)
    return body.timm if body else architecture.removeprefix(FAMILY)


def resolved(spec: ModelSpec) -> ModelSpec:
    """The description with `own` replaced by the scaling that timm's weights were trained with."""
    if spec.scaling != "own" or not built_by_timm(spec.architecture):
        return spec
    from dataclasses import replace

    return replace(spec, scaling=own_scaling(pretrained_config(spec.architecture)))


def pretrained_config(architecture: str) -> dict[str, Any]:
    """What timm knows of a network's ImageNet weights: mean, std, input_size, where they are.

    Raises:
        UsageError: timm has no such network.
    """
    timm = import_timm()
    name = timm_name(architecture)
    check_known(name)
    found = timm.models.get_pretrained_cfg(name)
    return found.to_dict() if found is not None else {}


def check_known(name: str) -> None:
    """Raises UsageError where timm has no network of that name."""
    timm = import_timm()
    if timm.is_model(name.partition(".")[0]):
        return
    close = difflib.get_close_matches(name, timm.list_models(), n=3)
    raise UsageError(
        f"timm {timm.__version__} has no network {name!r}",
        f"Did you mean {', '.join(FAMILY + found for found in close)}?"
        if close
        else "All names: python -c 'import timm; print(timm.list_models())'",
    )


# -- building --------------------------------------------------------------------------------------


class Backbone(nn.Module):
    """A network of timm up to its features.

    Args:
        net: timm's network without a classifier.
        gather: from what `forward_features` gives to Float32[B, D].
    """

    def __init__(self, net: nn.Module, gather: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.net = net
        self.gather = gather

    def forward(self, x: Tensor) -> Tensor:
        return self.gather(self.net.forward_features(x))  # type: ignore[operator]


@dataclass(frozen=True, slots=True)
class Built:
    """A backbone and what medimg has to know of it.

    Args:
        module: from scaled pixels to features.
        names: of its stages.
        members: the modules of each stage, which train or infer with it.
        weights: in timm's order.
        features: D.
        drawn: its weights were drawn already, by timm.
    """

    module: Backbone
    names: tuple[str, ...]
    members: tuple[tuple[nn.Module, ...], ...]
    weights: tuple[Weight, ...]
    features: int
    drawn: bool


def build_backbone(spec: ModelSpec, seed: int) -> Built:
    """The backbone of a description, drawn from `seed` where timm draws it.

    Raises:
        UsageError: timm has no such network.
        BackendError: it can't be built for these pictures or this head.
    """
    body = BODIES.get(spec.architecture)
    net = bare_network(spec, body) if body and body.numbered else made_by_timm(spec, body, seed)
    for module in net.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.momentum = 1 - spec.bn_momentum
    backbone = Backbone(net, gather_of(spec, net, body)).eval()
    names, stage_of = stages_of(net, body)
    members: list[list[nn.Module]] = [[] for _ in names]
    for path, module in net.named_modules():
        members[stage_of(path)].append(module)
    members[-1] += [
        backbone,
        *([backbone.gather] if isinstance(backbone.gather, nn.Module) else []),
    ]
    numbered = bool(body and body.numbered)
    return Built(
        backbone,
        names,
        tuple(map(tuple, members)),
        tuple(named_weights(net, stage_of, numbered)),
        feature_count(spec, backbone),
        drawn=not numbered,
    )


def made_by_timm(spec: ModelSpec, body: Body | None, seed: int) -> nn.Module:
    """timm's network without a classifier, initialised by timm."""
    timm = import_timm()
    name = timm_name(spec.architecture)
    check_known(name)
    options: dict[str, Any] = {"in_chans": spec.channels, "num_classes": 0}
    if body:
        options["global_pool"] = ""
    elif takes_a_size(name):
        options["img_size"] = (spec.height, spec.width)
    with own_draws(CPU, seed):
        try:
            return timm.create_model(name, pretrained=False, **options)
        except (TypeError, ValueError, AssertionError, RuntimeError) as error:
            raise BackendError(
                f"timm can't build {name} for {spec.channels}-channel pictures of "
                f"{spec.height}×{spec.width}: {first_line(error)}",
                f"It was made for {native_size(spec.architecture)} px: --image-size "
                f"{native_size(spec.architecture)}",
            ) from error


def takes_a_size(name: str) -> bool:
    """Whether the network is built for one size of pictures (most transformers are)."""
    found = import_timm().models.get_pretrained_cfg(name)
    return bool(found is not None and found.fixed_input_size)


def native_size(architecture: str) -> int:
    """Pixels a side that timm's weights were trained with."""
    return int(pretrained_config(architecture).get("input_size", (3, 224, 224))[-1])


def bare_network(spec: ModelSpec, body: Body) -> nn.Module:
    """A network whose weights are all drawn or given later: none are drawn now, and its unused
    head (120 million weights of VGG-16) is never made."""
    with torch.device("meta"):
        net = import_timm().create_model(body.timm, pretrained=False, in_chans=spec.channels)
    for name in body.unused:
        setattr(net, name, nn.Identity())
    return net.to_empty(device=CPU)


def gather_of(spec: ModelSpec, net: nn.Module, body: Body | None) -> Callable[[Tensor], Tensor]:
    """What makes features of the last feature map, as the head asks for them."""
    if spec.head[0] == "flatten":
        return FlattenMap(spec.name, "NHWC" in str(getattr(net, "output_fmt", "")))
    # a stranger's network knows best how its features are pooled (tokens, channels last, …)
    return GlobalAverage() if body else lambda x: net.forward_head(x, pre_logits=True)  # type: ignore[operator]


class FlattenMap(Flatten):
    """A feature map pixel by pixel; timm keeps channels last in some networks.

    Raises:
        BackendError: the network gives no map (transformers give tokens).
    """

    def __init__(self, name: str, channels_last: bool) -> None:
        super().__init__()
        self.name = name
        self.channels_last = channels_last

    def forward(self, x: Tensor) -> Tensor:
        if x.dim() != 4:
            raise BackendError(
                f"{self.name} gives features of the shape {tuple(x.shape)}, which can't be "
                "flattened like a picture",
                "A head that begins with gap takes them.",
            )
        return x.flatten(1) if self.channels_last else super().forward(x)


def feature_count(spec: ModelSpec, backbone: Backbone) -> int:
    """D, by trying: also finds pictures that are too small."""
    try:
        with torch.inference_mode():
            out = backbone(torch.zeros((1, spec.channels, spec.height, spec.width)))
    except (RuntimeError, AssertionError, ValueError) as error:
        raise BackendError(
            f"{spec.name} can't be built for pictures of {spec.height}×{spec.width}: "
            f"{first_line(error)}",
            "Give a larger --image-size, or take a smaller model: medimg models",
        ) from error
    return int(out.shape[1])


def first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


# -- stages and weights ----------------------------------------------------------------------------


def stages_of(net: nn.Module, body: Body | None) -> tuple[tuple[str, ...], Callable[[str], int]]:
    """The names of the stages from the stem up, and the stage of a module's path."""
    if body:
        patterns = [re.compile(pattern) for _, pattern in body.stages]
        last = len(patterns) - 1

        def stage_of(path: str) -> int:
            return next((n for n, found in enumerate(patterns) if found.match(path)), last)

        return tuple(name for name, _ in body.stages), stage_of
    return grouped_by_timm(net)


def grouped_by_timm(net: nn.Module) -> tuple[tuple[str, ...], Callable[[str], int]]:
    """Stages as timm's own group matcher has them; one where it has none."""
    matcher = getattr(net, "group_matcher", None)
    if matcher is None:
        return ("backbone",), lambda path: 0
    # parameters and modules at once: a stage is a stage whether it has parameters or not
    owners = [path for path, _ in net.named_parameters()]
    grouped = import_timm().models.group_parameters(net, matcher(coarse=True), reverse=True)
    numbers = {number: place for place, number in enumerate(sorted(set(grouped.values())))}
    by_module = {path.rpartition(".")[0]: numbers[grouped[path]] for path in owners}
    last = len(numbers) - 1

    def stage_of(path: str) -> int:
        """That of the module; for one without parameters (dropout), of its nearest kin."""
        while path:
            inside = [n for p, n in by_module.items() if p == path or p.startswith(f"{path}.")]
            if inside:
                return max(inside)
            path = path.rpartition(".")[0]
        return last

    return tuple(f"stage{n}" if n else "stem" for n in range(len(numbers))), stage_of


def named_weights(
    net: nn.Module, stage_of: Callable[[str], int], numbered: bool
) -> Iterator[Weight]:
    """The arrays of a network of timm, in its order."""
    count = 0
    for path, module in net.named_modules():
        if numbered and isinstance(module, nn.Conv2d):
            count += 1
        name = f"conv{count}" if numbered else path
        yield from weights_of(name, module, stage_of(path), path)
