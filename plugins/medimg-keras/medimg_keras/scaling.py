"""UInt8 pixels to floats, by name."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from medimg_keras.startup import keras

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# factor and offset
PLAIN_SCALINGS = {
    "unit": (1 / 255, 0.0),
    "signed": (2 / 255, -1.0),
    "none": (1.0, 0.0),
    # what scales the pixels stands in the network itself
    "inside": (1.0, 0.0),
}
CAFFE_MEAN = (103.939, 116.779, 123.68)
STATED = re.compile(r"mean=([\d.,e-]+) std=([\d.,e-]+)")


def factors(scaling: str) -> tuple[Any, Any] | None:
    """(factor, offset), a number or one a channel (after RGB became BGR for `caffe`); None where
    there is no such scaling."""
    if scaling in PLAIN_SCALINGS:
        return PLAIN_SCALINGS[scaling]
    if scaling == "caffe":
        return 1.0, [-m for m in CAFFE_MEAN]
    found = STATED.fullmatch(scaling)
    if scaling == "imagenet":
        mean, std = np.asarray(IMAGENET_MEAN), np.asarray(IMAGENET_STD)
    elif found is not None:
        mean, std = (np.asarray([float(n) for n in g.split(",")]) for g in found.groups())
    else:
        return None
    return (1 / (255 * std)).tolist(), (-mean / std).tolist()


def scaled(x: Any, scaling: str) -> Any:
    """UInt8 pixels as floats, on the device; layers of the network, so that they are saved."""
    factor, offset = factors(scaling) or (1.0, 0.0)
    rescale = keras.layers.Rescaling(factor, offset, name="scale")
    return rescale(x[..., ::-1] if scaling == "caffe" else x)


def scaled_by_numpy(pixels: np.ndarray, scaling: str) -> np.ndarray:
    """The same on an array."""
    factor, offset = factors(scaling) or (1.0, 0.0)
    ordered = pixels[..., ::-1] if scaling == "caffe" else pixels
    return ordered * np.asarray(factor) + np.asarray(offset)
