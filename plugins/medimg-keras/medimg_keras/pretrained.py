"""Weights from elsewhere: ImageNet's as keras.applications has them, and files.

Everything is brought to the names of the network that is to take it; what has no counterpart keeps
its own name, so that it can be said.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from medimg.api import BackendError, InputError, ModelSpec, UsageError
from medimg_keras.applications import (
    AGAIN,
    BODIES,
    application,
    canonical,
    is_application,
    keras_name,
    leaves,
    snake_case,
)
from medimg_keras.scaling import IMAGENET_STD
from medimg_keras.startup import keras

ADDRESS = re.compile(r"https?://\S+?(?=:? |$)")
OTHER_BACKENDS = (".pth", ".pt", ".bin")
# inside a `.keras` file the weights are those of a `.weights.h5`; both hold the layers' names
LAYERS, VARIABLES = "layers", "vars"


@dataclass(frozen=True, slots=True)
class Donor:
    """A layer whose arrays are offered, in Keras' order."""

    name: str
    kind: str
    arrays: tuple[np.ndarray, ...]


def read_weights(source: str, spec: ModelSpec, parts: Any) -> dict[str, np.ndarray]:
    """Arrays under the names of a network, where they have one there.

    Args:
        source: `imagenet`, or the path of a `.keras`, `.weights.h5`, `.h5` or `.safetensors` file.
        spec, parts: of the network that is to take them.

    Raises:
        UsageError: there are no ImageNet weights for this network.
        InputError: the file is missing, broken, or not one of this backend's.
        BackendError: the download failed.
    """
    if source == "imagenet":
        return offered(imagenet(spec), parts)
    file = Path(source)
    if not file.is_file():
        raise InputError(f"there is no weights file {file}", "Give its path: --weights FILE")
    if file.suffix == ".safetensors":
        return neutral_arrays(file)
    if file.suffix in OTHER_BACKENDS:
        raise InputError(
            f"{file} is a file of PyTorch's, which the keras backend does not read",
            "Train with PyTorch: --backend torch; or give a .keras or .weights.h5 file.",
        )
    if file.suffix not in (".keras", ".h5"):
        raise InputError(
            f"{file} is no weights file that the keras backend knows",
            "Known: .keras, .weights.h5, .h5, .safetensors",
        )
    try:
        return offered(donors_in(file, spec), parts)
    except InputError:
        raise
    except Exception as error:  # h5py, zipfile and Keras each raise their own
        raise broken(file, error) from error


def broken(file: Path, error: BaseException) -> InputError:
    return InputError(
        f"the weights file {file} can't be read: {first_line(error)}",
        "Download or copy it again: it may have been cut short.",
    )


def first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def neutral_arrays(file: Path) -> dict[str, np.ndarray]:
    """The arrays of a safetensors file, which bear medimg's names in a run of another backend."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        return load_file(file)
    except (OSError, SafetensorError) as error:
        raise broken(file, error) from error


def offered(donors: Sequence[Donor], parts: Any) -> dict[str, np.ndarray]:
    """What layers of the same names hold, under the network's names for it."""
    own = [layer for layer in layers_and_models(parts.whole) if layer.weights]
    own_names = canonical([(layer.name, type(layer).__name__) for layer in own])
    by_name = dict(zip(own_names, own, strict=True))
    parameter_of = {id(p.variable): p.name for p in parts.parameters}
    arrays: dict[str, np.ndarray] = {}
    for name, donor in zip(canonical([(d.name, d.kind) for d in donors]), donors, strict=True):
        layer = by_name.get(name)
        if layer is None or len(layer.weights) != len(donor.arrays):
            arrays |= {f"{name}/{n}": array for n, array in enumerate(donor.arrays)}
            continue
        # the order of Keras' files
        variables = [*layer.trainable_weights, *layer.non_trainable_weights]
        given = undivided(donor.arrays) if divided_again(layer, parts.whole) else donor.arrays
        for variable, array in zip(variables, given, strict=True):
            arrays[parameter_of[id(variable)]] = array
    return arrays


def layers_and_models(model: Any) -> list[Any]:
    """The layers of a network, and the models nested in it: old files keep those as one."""
    nested = [layer for layer in model.layers if isinstance(layer, keras.Model)]
    return [*leaves(model), *nested]


def divided_again(layer: Any, whole: Any) -> bool:
    """Whether it is the normalisation of an EfficientNet as `weights="imagenet"` has it."""
    return isinstance(layer, keras.layers.Normalization) and any(
        other.name == AGAIN for other in whole.layers
    )


def undivided(arrays: tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
    """The statistics with which a normalisation that is divided once more does what the donor's
    did: one that leaves pixels at 0..1 comes from a network without the second division."""
    mean, variance, *count = arrays
    if mean.any() or (variance != 1).any():
        return arrays
    return (mean, (1 / np.asarray(IMAGENET_STD)).astype("float32"), *count)


def donors_of(model: Any) -> list[Donor]:
    """The layers of a network in memory."""
    return [
        Donor(layer.name, type(layer).__name__, tuple(np.asarray(v.numpy()) for v in layer.weights))
        for layer in leaves(model)
        if layer.weights
    ]


# -- ImageNet --------------------------------------------------------------------------------------


def imagenet(spec: ModelSpec) -> list[Donor]:
    """What keras.applications downloads, or has in its cache (~/.keras/models).

    Raises:
        UsageError: there are no weights for this network.
        BackendError: they could not be downloaded.
    """
    if not is_application(spec.architecture):
        raise UsageError(
            f"there are no ImageNet weights for {spec.name!r}",
            f"They exist for {', '.join(BODIES)} and keras:NAME; else --weights none.",
        )
    name = keras_name(spec.architecture)
    try:
        model = application(spec.architecture)(include_top=False, weights="imagenet")
    except UsageError:
        raise
    except Exception as error:  # get_file raises a plain Exception
        address = ADDRESS.search(str(error))
        raise BackendError(
            f"the ImageNet weights of {name} could not be downloaded: {first_line(error)}",
            how_to_bring(address[0] if address else "its weights"),
        ) from error
    return donors_of(model)


def how_to_bring(address: str) -> str:
    """How to get the weights onto a computer that is not online."""
    return (
        f"On a computer that is online, download {address}, bring the file here and give "
        f"--weights {address.rpartition('/')[2]}"
    )


# -- files -----------------------------------------------------------------------------------------


def donors_in(file: Path, spec: ModelSpec) -> list[Donor]:
    """The layers in a file of Keras'; nothing in it is run."""
    import h5py

    if file.suffix == ".keras":
        return donors_of(model_in(file))
    with h5py.File(file) as opened:
        if LAYERS in opened and "layer_names" not in opened.attrs:
            return donors_by_path(opened[LAYERS])
        if "layer_names" in opened.attrs or "model_weights" in opened:
            return donors_of_old_format(opened)
    raise InputError(f"{file} holds no weights of Keras' layers", "Give a file of save_weights().")


def model_in(file: Path) -> Any:
    """The model in a `.keras` file, which is read without running code from it.

    Raises:
        InputError: it is cut short, or can't be read so.
    """
    if not zipfile.is_zipfile(file):
        raise broken(file, ValueError("it is no whole archive, as .keras files are"))
    try:
        return keras.saving.load_model(file, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises what the file makes it raise
        raise InputError(
            f"the model in {file} can't be built without running code from it (a Lambda layer, or "
            "a class of its author's), or this Keras does not know its layers",
            "Where its author's code is at hand, load it there and save its weights alone: "
            "model.save_weights('NAME.weights.h5')",
        ) from error


def donors_by_path(group: Any) -> list[Donor]:
    """The layers in a `.weights.h5`; each group's attribute says what its layer was called."""
    import h5py

    found: list[Donor] = []

    def look(path: str, entry: Any) -> None:
        if not isinstance(entry, h5py.Group) or path.rpartition("/")[2] != VARIABLES or not entry:
            return
        place = path.rpartition("/")[0].rpartition("/")[2]
        name = entry.attrs.get("name", place)
        arrays = tuple(np.asarray(entry[number]) for number in sorted(entry, key=int))
        found.append(Donor(text(name), kind_of(place), arrays))

    group.visititems(look)
    return found


def kind_of(name: str) -> str:
    """The class in words, as Keras numbers layers without a name: `conv2d` of `conv2d_17`; empty
    where somebody gave the name."""
    kind = re.sub(r"_\d+$", "", name)
    return kind if kind in {snake_case(known) for known in dir(keras.layers)} else ""


def donors_of_old_format(opened: Any) -> list[Donor]:
    """The layers in an `.h5` of Keras 1 and 2, the format of the published ImageNet weights."""
    group = opened["model_weights"] if "model_weights" in opened else opened
    found = []
    for name in map(text, group.attrs["layer_names"]):
        arrays = tuple(np.asarray(group[name][text(n)]) for n in group[name].attrs["weight_names"])
        if arrays:
            found.append(Donor(name, kind_of(name), arrays))
    return found


def text(name: Any) -> str:
    return name.decode("utf-8") if isinstance(name, bytes) else str(name)
