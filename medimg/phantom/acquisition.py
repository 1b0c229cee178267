"""What belongs to one exposure: how the patient stood, how the film was exposed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from medimg.phantom.anatomy import ACQUISITION_STREAM, Anatomy, Array, stream


@dataclass(frozen=True, slots=True)
class Acquisition:
    """Pose, exposure and collimation of one image; lengths in image widths."""

    rotation_deg: float
    scale: float
    aspect: float  # the real set is squashed to a square from films of many shapes
    shift: tuple[float, float]
    yaw: float  # turning of the body, seen as a shift of the middle against the ribs
    inspiration: float  # how far the diaphragm stands below its middle position
    arm_lift_deg: float
    exposure: float  # > 1: brighter
    contrast: float
    vignette: float
    heel: tuple[float, float]  # slope of brightness from edge to edge
    noise: float
    blur: float
    collimation: tuple[float, float, float, float]  # left, top, right, bottom; 0: open
    side_marker: tuple[float, float] | None  # where the letter R lies

    @classmethod
    def of(cls, anatomy: Anatomy, image: int) -> Acquisition:
        """Draw the conditions of a patient's image number ``image``."""
        rng = stream(anatomy.seed, anatomy.patient, image, ACQUISITION_STREAM)
        edges = rng.uniform(0.012, 0.05, 4) * (rng.random(4) < 0.12)
        marker = (rng.uniform(0.03, 0.1), rng.uniform(0.06, 0.5))
        return cls(
            rotation_deg=rng.normal(0, 2.2),
            scale=rng.uniform(0.97, 1.14),
            aspect=rng.uniform(0.94, 1.08),
            shift=(rng.normal(0, 0.015), rng.normal(0.0, 0.025)),
            yaw=rng.normal(0, 0.011),
            inspiration=rng.normal(0, 0.016),
            arm_lift_deg=rng.normal(0, 7),
            exposure=float(np.exp(rng.normal(0, 0.11))),
            contrast=float(np.exp(rng.normal(0, 0.12))),
            vignette=rng.uniform(0, 0.1),
            heel=(rng.normal(0, 0.03), rng.normal(0, 0.03)),
            noise=rng.uniform(0.004, 0.015),
            blur=rng.uniform(0.0015, 0.0045),
            collimation=tuple(float(edge) for edge in edges),  # type: ignore[arg-type]
            side_marker=marker if rng.random() < 0.5 else None,
        )

    def matrix(self, size_px: int) -> Array:
        """Float[2, 3] from body coordinates to pixels of a square image."""
        angle = np.deg2rad(self.rotation_deg)
        cos, sin = np.cos(angle) * self.scale, np.sin(angle) * self.scale
        linear = np.array([[cos * self.aspect, -sin], [sin * self.aspect, cos]])
        centre = np.array([0.5 + self.shift[0], 0.5 + self.shift[1]])
        return np.column_stack([linear, centre - linear @ [0.0, 0.5]]) * size_px
