"""What belongs to a patient: the shape of chest, heart, bones, vessels and a few marks.

Lengths are in image widths, with x = 0 on the midline (positive to the right of the picture, which
is the patient's left), y = 0 at the top of the field and growing downwards.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]
Pattern = Literal["bacteria", "virus"]

# Streams keep the draws for anatomy, disease, acquisition apart: adding one to a stream
# leaves the pictures' other parts as they were.
ANATOMY_STREAM, DISEASE_STREAM, ACQUISITION_STREAM, NOISE_STREAM, PLAN_STREAM = range(5)


def stream(seed: int, patient: int, image: int, purpose: int) -> np.random.Generator:
    """Random draws that depend on (seed, patient, image, purpose) and on nothing drawn before."""
    return np.random.default_rng([seed, patient, image, purpose])


@dataclass(frozen=True, slots=True)
class Chest:
    """The rib cage, which bounds the lungs, and the diaphragm under them."""

    apex_y: float
    dome_y: tuple[float, float]  # picture left (patient's right), picture right
    angle_depth: float  # from the dome down to the costophrenic angle
    half_width: float
    taper: float  # small: barrel; large: bell
    rib_count: int
    rib_slope: float
    rib_width: float
    rib_density: float


@dataclass(frozen=True, slots=True)
class Mediastinum:
    """Heart, great vessels, thymus, trachea and spine."""

    apex_x: float
    apex_y: float
    right_border: float
    waist: float
    upper_width: float
    knob: float
    trachea_x: float
    spine_curve: float
    spine_width: float
    vertebra_height: float
    bone_density: float


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Body outline, shoulders, clavicles, head and abdomen."""

    wall: float  # soft tissue outside the ribs
    shoulder_y: float
    arm_angle: tuple[float, float]  # degrees above the horizontal
    clavicle_rise: tuple[float, float]
    clavicle_bow: float
    clavicle_width: float
    chin_y: float
    thickness: float
    stomach_gas: tuple[float, float, float]  # x, y under the dome, radius (0: none)
    bowel_gas: tuple[tuple[float, float, float], ...]


@dataclass(frozen=True, slots=True)
class Branch:
    """One stretch of a pulmonary vessel (or of the airway beside it)."""

    points: tuple[tuple[float, float], ...]
    calibre: float  # 0..1, 1 at the hilum


@dataclass(frozen=True, slots=True)
class Mark:
    """Something one patient has and the next has not, such as a granuloma or an electrode."""

    kind: Literal["granuloma", "electrode", "line"]
    points: tuple[tuple[float, float], ...]
    radius: float


@dataclass(frozen=True, slots=True)
class Anatomy:
    """A patient as :func:`medimg.phantom.draw` needs it.

    ``seed`` and ``patient`` also seed what is drawn for each image (pose, exposure, noise).
    """

    seed: int
    patient: int
    pattern: Pattern
    chest: Chest
    mediastinum: Mediastinum
    surroundings: Surroundings
    vessels: tuple[Branch, ...]
    marks: tuple[Mark, ...]

    @classmethod
    def of(cls, seed: int, patient: int, pattern: Pattern = "bacteria") -> Anatomy:
        """Draw the patient with this number. The pattern is that of a pneumonia, if there is one.

        >>> Anatomy.of(0, 3) == Anatomy.of(0, 3)
        True
        """
        rng = stream(seed, patient, 0, ANATOMY_STREAM)
        chest = _chest(rng)
        mediastinum = _mediastinum(rng, chest)
        surroundings = _surroundings(rng, chest)
        vessels = _vessels(rng, chest)
        marks = _marks(rng, chest)
        return cls(seed, patient, pattern, chest, mediastinum, surroundings, vessels, marks)


def lateral_wall(chest: Chest, y: Array) -> Array:
    """Half-width of the rib cage at heights y: Float[N] to Float[N]."""
    base = max(chest.dome_y) + chest.angle_depth
    u = np.clip((y - chest.apex_y) / (base - chest.apex_y), 0, 1)
    tuck = 1 - 0.5 * np.clip(u - 0.78, 0, None) ** 2 / 0.22
    return chest.half_width * u**chest.taper * tuck


def _chest(rng: np.random.Generator) -> Chest:
    dome = rng.uniform(0.64, 0.78)
    return Chest(
        apex_y=rng.uniform(0.13, 0.23),
        dome_y=(dome, dome + rng.uniform(0.0, 0.035)),
        angle_depth=rng.uniform(0.08, 0.14),
        half_width=rng.uniform(0.34, 0.42),
        taper=rng.uniform(0.26, 0.42),
        rib_count=int(rng.integers(9, 12)),
        rib_slope=rng.uniform(0.2, 0.38),
        rib_width=rng.uniform(0.014, 0.021),
        rib_density=rng.uniform(0.75, 1.25),
    )


def _mediastinum(rng: np.random.Generator, chest: Chest) -> Mediastinum:
    return Mediastinum(
        apex_x=chest.half_width * rng.uniform(0.46, 0.68),
        apex_y=chest.dome_y[1] - rng.uniform(0.0, 0.035),
        right_border=rng.uniform(0.07, 0.125),
        waist=rng.uniform(0.07, 0.115),
        upper_width=rng.uniform(0.05, 0.1),
        knob=rng.uniform(0.012, 0.032),
        trachea_x=rng.uniform(-0.018, 0.008),
        spine_curve=rng.uniform(-0.018, 0.018),
        spine_width=rng.uniform(0.034, 0.05),
        vertebra_height=rng.uniform(0.047, 0.062),
        bone_density=rng.uniform(0.7, 1.3),
    )


def _surroundings(rng: np.random.Generator, chest: Chest) -> Surroundings:
    stance = rng.choice([rng.uniform(5, 60), rng.uniform(-75, -30)], p=[0.7, 0.3])
    has_stomach_gas = rng.random() < 0.6
    gas = (rng.uniform(0.1, 0.2), rng.uniform(0.045, 0.1), rng.uniform(0.03, 0.07))
    bowel = [
        (rng.uniform(-0.25, 0.25), rng.uniform(0.15, 0.27), rng.uniform(0.015, 0.045))
        for _ in range(int(rng.integers(0, 5)))
    ]
    return Surroundings(
        wall=rng.uniform(0.03, 0.075),
        shoulder_y=chest.apex_y - rng.uniform(0.02, 0.09),
        arm_angle=(stance + rng.normal(0, 6), stance + rng.normal(0, 6)),
        clavicle_rise=(rng.uniform(0.01, 0.1), rng.uniform(0.01, 0.1)),
        clavicle_bow=rng.uniform(0.008, 0.03),
        clavicle_width=rng.uniform(0.011, 0.017),
        chin_y=rng.uniform(-0.1, 0.09),
        thickness=rng.uniform(0.9, 1.12),
        stomach_gas=gas if has_stomach_gas else (0.0, 0.0, 0.0),
        bowel_gas=tuple(bowel),
    )


def _vessels(rng: np.random.Generator, chest: Chest) -> tuple[Branch, ...]:
    branches: list[Branch] = []
    hilum_y = 0.42 * chest.apex_y + 0.58 * chest.dome_y[0] - 0.04
    for side in (-1, 1):
        for angle in np.linspace(-70, 82, 6) + rng.uniform(-10, 10, 6):
            start = (side * rng.uniform(0.055, 0.085), hilum_y + rng.uniform(-0.03, 0.03))
            _grow(rng, branches, start, math.radians(angle), side, 1.0)
    return tuple(branches)


def _grow(
    rng: np.random.Generator,
    branches: list[Branch],
    start: tuple[float, float],
    angle: float,
    side: int,
    calibre: float,
) -> None:
    """Follow a vessel outwards; each fork is thinner, and the third is the last to be seen."""
    points = [start]
    step = 0.033 * (0.6 + 0.4 * calibre)
    for turn in rng.normal(0, 0.16, 3).tolist():
        angle += turn
        x, y = points[-1]
        points.append((x + side * step * math.cos(angle), y + step * math.sin(angle)))
    branches.append(Branch(tuple(points), calibre))
    if calibre > 0.3:
        spread = rng.uniform(0.25, 0.5)
        for turn in (-spread, spread):
            _grow(rng, branches, points[-1], angle + turn, side, calibre * rng.uniform(0.5, 0.68))


def _marks(rng: np.random.Generator, chest: Chest) -> tuple[Mark, ...]:
    marks = []
    for _ in range(int(rng.integers(0, 3))):
        at = (rng.choice([-1, 1]) * rng.uniform(0.1, 0.26), rng.uniform(0.33, 0.65))
        marks.append(Mark("granuloma", ((float(at[0]), at[1]),), rng.uniform(0.005, 0.01)))
    if rng.random() < 0.3:
        side = float(rng.choice([-1, 1]))
        disc = (side * chest.half_width * rng.uniform(0.55, 1.0), rng.uniform(0.18, 0.4))
        marks.append(Mark("electrode", (disc,), rng.uniform(0.012, 0.02)))
        knots = [
            (disc[0] + side * 0.06 * i + rng.normal(0, 0.02), disc[1] + d)
            for i, d in enumerate((0.0, 0.12, 0.3, 0.55))
        ]
        marks.append(Mark("line", tuple((float(x), float(y)) for x, y in knots), 0.004))
    return tuple(marks)
