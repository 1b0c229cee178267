"""The sheet on which shapes in body coordinates become masks in pixels."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import cv2
import numpy as np

from medimg.phantom.anatomy import Array

_SUBPIXEL_BITS = 4


class Film:
    """A square film under a patient in one pose.

    Args:
        matrix: Float[2, 3] from body coordinates to pixels.
        size_px: side of the film.
    """

    def __init__(self, matrix: Array, size_px: int) -> None:
        self.matrix = matrix
        self.size_px = size_px

    def blank(self) -> Array:
        """UInt8[size, size] mask with nothing on it."""
        return np.zeros((self.size_px, self.size_px), np.uint8)

    def pixels(self, points: Array) -> Array:
        """Body coordinates Float[..., 2] to OpenCV's fixed-point pixels Int32[..., 2]."""
        placed = points @ self.matrix[:, :2].T + (self.matrix[:, 2] - 0.5)
        return np.round(placed * (1 << _SUBPIXEL_BITS)).astype(np.int32)

    def fill(self, mask: Array, points: Array, value: int = 255) -> Array:
        """Fill a polygon (smooth edges) with a value; returns the mask it drew on."""
        cv2.fillPoly(mask, [self.pixels(points)], value, cv2.LINE_AA, _SUBPIXEL_BITS)
        return mask

    def band(self, mask: Array, centre: Array, width: Array | float, value: int = 255) -> Array:
        """Fill a band of this width along a curve Float[N, 2]."""
        return self.fill(mask, band_outlines(centre, width), value)

    def fill_all(self, mask: Array, outlines: Array, values: Array | int = 255) -> Array:
        """Fill polygons Float[B, N, 2] one after the other, each with its value Int[B]."""
        fixed = self.pixels(outlines)
        each = np.broadcast_to(values, len(fixed)).tolist()
        for outline, value in zip(fixed, each, strict=True):
            cv2.fillPoly(mask, [outline], value, cv2.LINE_AA, _SUBPIXEL_BITS)
        return mask

    def ellipse(
        self, mask: Array, centre: tuple[float, float], radii: tuple[float, float], value: int = 255
    ) -> Array:
        """Fill an ellipse that lies along the body's axes."""
        return self.fill(mask, np.asarray(centre) + circle(24) * radii, value)

    def soften(self, mask: Array, sigma: float) -> Array:
        """A mask as Float32 in 0..1, blurred by sigma image widths."""
        unit = np.multiply(mask, np.float32(1 / 255), dtype=np.float32)
        return blur(unit, sigma * self.size_px)

    def warp(self, field: Array) -> Array:
        """Lay a square map in body coordinates (x -0.5..0.5, y 0..1) on the film."""
        cell = 1 / field.shape[0]
        to_body = np.array([[cell, 0, 0.5 * cell - 0.5], [0, cell, 0.5 * cell], [0, 0, 1]])
        matrix = (self.matrix @ to_body) - [[0, 0, 0.5], [0, 0, 0.5]]
        size = (self.size_px, self.size_px)
        return cv2.warpAffine(
            field, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )


def blur(image: Array, sigma_px: float) -> Array:
    """Gaussian blur; a wide one is made on a small copy, where it costs a fraction."""
    if sigma_px < 0.2:
        return image
    if sigma_px < 3:
        return cv2.GaussianBlur(image, (0, 0), sigma_px, borderType=cv2.BORDER_REPLICATE)
    small = cv2.resize(image, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), sigma_px / 4, borderType=cv2.BORDER_REPLICATE)
    return cv2.resize(small, image.shape[::-1], interpolation=cv2.INTER_LINEAR)


def curve(points: Sequence[tuple[float, float]], closed: bool = False, steps: int = 8) -> Array:
    """Smooth curve through points (Catmull-Rom): Float[N * steps, 2]."""
    return _catmull_rom(len(points), closed, steps) @ np.asarray(points, float)


@lru_cache(maxsize=64)
def _catmull_rom(count: int, closed: bool, steps: int) -> Array:
    spans = count if closed else count - 1
    rows = []
    for span in range(spans):
        around = [span - 1, span, span + 1, span + 2]
        around = [i % count if closed else min(max(i, 0), count - 1) for i in around]
        for t in np.linspace(0, 1, steps, endpoint=False):
            rows.append(_row(count, around, t))
    if not closed:
        rows.append(np.eye(count)[-1])
    return np.array(rows)


def _row(count: int, around: list[int], t: float) -> Array:
    weights = 0.5 * np.array(
        [-t + 2 * t**2 - t**3, 2 - 5 * t**2 + 3 * t**3, t + 4 * t**2 - 3 * t**3, -(t**2) + t**3]
    )
    row = np.zeros(count)
    np.add.at(row, around, weights)
    return row


@lru_cache(maxsize=4)
def circle(corners: int) -> Array:
    """Corners of a unit circle: Float[corners, 2]."""
    t = np.linspace(0, 2 * np.pi, corners, endpoint=False)
    return np.column_stack([np.cos(t), np.sin(t)])


def band_outlines(centres: Array, widths: Array | float) -> Array:
    """Outlines of bands along curves: Float[..., N, 2] to Float[..., 2 N, 2]."""
    along = np.empty_like(centres)
    along[..., 1:-1, :] = centres[..., 2:, :] - centres[..., :-2, :]
    along[..., 0, :] = centres[..., 1, :] - centres[..., 0, :]
    along[..., -1, :] = centres[..., -1, :] - centres[..., -2, :]
    length = np.hypot(along[..., 0], along[..., 1]) + 1e-9
    half = (widths / (2 * length))[..., None] * along[..., ::-1] * (-1.0, 1.0)
    return np.concatenate([centres + half, (centres - half)[..., ::-1, :]], axis=-2)
