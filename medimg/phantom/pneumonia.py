"""Pneumonia as added density: patchy, ill-defined, confined to the lungs.

``bacteria`` gives one or two lobar consolidations with air bronchograms, ``virus`` many small
patches around the bronchi of both lungs. Where they lie belongs to the patient, how dense they are
to the image.
"""

from __future__ import annotations

import cv2
import numpy as np

from medimg.phantom.anatomy import DISEASE_STREAM, Anatomy, Array, lateral_wall, stream

GRID_PX = 64  # body coordinates x -0.5..0.5, y 0..1
_USUAL_SHARE = 0.34  # of the lungs' area that is filled at severity 1


def opacity(anatomy: Anatomy) -> Array:
    """Added density of the disease at severity 1 in body coordinates.

    Returns:
        Float32[64, 64], 0 where there is none, about 1 in the middle of a consolidation.
    """
    rng = stream(anatomy.seed, anatomy.patient, 0, DISEASE_STREAM)
    lobar = anatomy.pattern == "bacteria"
    foci = _foci(rng, anatomy, int(rng.integers(1, 4)) if lobar else int(rng.integers(9, 17)))
    y, x = np.mgrid[0:GRID_PX, 0:GRID_PX].astype(np.float32) / GRID_PX
    density = np.zeros((GRID_PX, GRID_PX), np.float32)
    for fx, fy in foci:
        wide, tall = rng.uniform(0.08, 0.15, 2) if lobar else rng.uniform(0.03, 0.065, 2)
        squared = ((x - 0.5 - fx) / wide) ** 2 + ((y - fy) / tall) ** 2
        density = np.maximum(density, rng.uniform(0.7, 1.0) * np.exp(-(squared**0.65)))
    # Ragged edges: the texture eats into the flanks of a focus more than into its middle.
    texture = patches(rng, GRID_PX)
    ragged = np.clip(1.35 * density + 0.7 * (texture - 0.5) * (density > 0.04), 0, 1.1)
    uneven = ragged * (0.75 + 0.5 * texture)
    # Severity has to mean the same in every patient, wherever the patches happen to lie.
    share = float(uneven[_lung_field(anatomy, x - 0.5, y)].mean())
    return np.clip(uneven * np.clip(_USUAL_SHARE / share, 0.7, 2.0), 0, 1.3).astype(np.float32)


def _lung_field(anatomy: Anatomy, x: Array, y: Array) -> Array:
    """Bool mask of the grid points that lie in a lung and beside the heart."""
    chest, heart = anatomy.chest, anatomy.mediastinum
    beside_heart = (x < -heart.right_border) | (x > heart.waist)
    high = (y > chest.apex_y) & (y < min(chest.dome_y))
    return beside_heart & high & (np.abs(x) < lateral_wall(chest, y))


def patches(rng: np.random.Generator, size_px: int) -> Array:
    """Cloudy texture of three scales: Float32[size, size], mean near 0.5, range about 0..1."""
    field = np.zeros((size_px, size_px), np.float32)
    for cells, weight in ((7, 0.45), (14, 0.33), (28, 0.22)):
        coarse = rng.random((cells, cells), dtype=np.float32)
        field += weight * cv2.resize(coarse, (size_px, size_px), interpolation=cv2.INTER_CUBIC)
    return np.clip(0.5 + 1.7 * (field - 0.5), 0, 1)


def _foci(rng: np.random.Generator, anatomy: Anatomy, count: int) -> list[tuple[float, float]]:
    """Middles of the patches, inside the lungs and rather low than high."""
    chest = anatomy.chest
    found = []
    for _ in range(count):
        side = int(rng.integers(0, 2))
        height = float(rng.beta(2.2, 1.5))
        y = chest.apex_y + 0.1 + height * (chest.dome_y[side] - chest.apex_y - 0.12)
        wall = float(lateral_wall(chest, np.array([y]))[0])
        # Behind the heart there is little lung to fill.
        inner = 0.08 + (0.6 * (anatomy.mediastinum.apex_x - 0.08) * height if side else 0)
        x = inner + rng.beta(1.3, 1.6) * max(wall - 0.04 - inner, 0.02)
        found.append(((-1, 1)[side] * x, float(y)))
    return found
