"""Augmentation: one affine warp and one look-up table an image.

The draws of an epoch depend on the seed, the epoch and the sample's place alone, never on which
thread gets to it first, so that a run can be repeated.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import cv2
import numpy as np

from medimg.core.errors import UsageError

ALWAYS_HALF = 0.5


@dataclass(frozen=True, slots=True)
class Augmentation:
    """How far a picture may be changed; every draw is uniform within ± its bound.

    Args:
        rotation_deg: degrees.
        shift: share of the side, both ways.
        zoom: share of the size; 0.1 draws a scale in 0.9..1.1.
        shear_deg: degrees.
        horizontal_flip, vertical_flip: half of the pictures.
        brightness: share of the full range that is added.
        contrast: share by which differences from mid-grey are stretched.
    """

    rotation_deg: float = 0.0
    shift: float = 0.0
    zoom: float = 0.0
    shear_deg: float = 0.0
    horizontal_flip: bool = False
    vertical_flip: bool = False
    brightness: float = 0.0
    contrast: float = 0.0

    @classmethod
    def of(cls, preset: Mapping[str, Any]) -> Augmentation:
        """From a registry preset; fields that are no bounds are left aside."""
        known = {f.name for f in fields(cls)}
        return cls(**{key: value for key, value in preset.items() if key in known})

    @property
    def changes_nothing(self) -> bool:
        return not any(asdict(self).values())


@dataclass(frozen=True, slots=True)
class Draws:
    """An epoch's draws: `matrices` Float32[N, 2, 3] from output to input in units of the side,
    centred on the picture; `tables` UInt8[N, 256], or None where brightness stays."""

    matrices: np.ndarray
    tables: np.ndarray | None


def draw(augmentation: Augmentation, count: int, seed: int, epoch: int) -> Draws:
    """What happens to each of `count` samples in one epoch.

    Raises:
        UsageError: a bound that leaves nothing of the picture.
    """
    if augmentation.zoom >= 1:
        raise UsageError(f"zoom {augmentation.zoom} would shrink pictures to nothing")
    random = np.random.default_rng([seed, epoch, 0xA06])
    uniform = random.uniform(-1.0, 1.0, size=(count, 7))
    flips = random.random(size=(count, 2)) < ALWAYS_HALF
    angle = np.deg2rad(augmentation.rotation_deg) * uniform[:, 0]
    shear = np.tan(np.deg2rad(augmentation.shear_deg) * uniform[:, 1])
    scale = 1.0 + augmentation.zoom * uniform[:, 2]
    flip_x = np.where(flips[:, 0] & augmentation.horizontal_flip, -1.0, 1.0)
    flip_y = np.where(flips[:, 1] & augmentation.vertical_flip, -1.0, 1.0)
    cos, sin = np.cos(angle) / scale, np.sin(angle) / scale
    matrices = np.empty((count, 2, 3), np.float32)
    matrices[:, 0, 0] = cos * flip_x
    matrices[:, 0, 1] = (cos * shear - sin) * flip_x
    matrices[:, 1, 0] = sin * flip_y
    matrices[:, 1, 1] = (sin * shear + cos) * flip_y
    matrices[:, :, 2] = augmentation.shift * uniform[:, 3:5]
    if not (augmentation.brightness or augmentation.contrast):
        return Draws(matrices, None)
    stretch = 1.0 + augmentation.contrast * uniform[:, 5]
    offset = 255.0 * augmentation.brightness * uniform[:, 6]
    levels = np.arange(256)[None, :] - 127.5
    tables = levels * stretch[:, None] + 127.5 + offset[:, None]
    return Draws(matrices, np.clip(np.rint(tables), 0, 255).astype(np.uint8))


def warp(image: np.ndarray, draws: Draws, row: int, out: np.ndarray) -> None:
    """UInt8[h, w, C] into `out`, changed as row `row` of the draws says.

    Borders are mirrored: black wedges would be a sign of the rotation that a network can read.
    """
    height, width = image.shape[:2]
    matrix = draws.matrices[row].astype(np.float64)
    centre = np.array([(width - 1) / 2, (height - 1) / 2])
    size = np.array([width, height])
    # from centred units of the side to pixels: S·M·S⁻¹ keeps angles only on squares, so the
    # linear part works in pixels and only the shift in sides
    affine = matrix[:, :2]
    shift = centre + matrix[:, 2] * size - affine @ centre
    full = np.column_stack([affine, shift])
    warped = cv2.warpAffine(
        image,
        full,
        (width, height),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REFLECT_101,
    )
    if draws.tables is not None:
        warped = cv2.LUT(warped, draws.tables[row])
    out[...] = warped.reshape(out.shape)
