"""What a phantom has to look like, measured in pixels."""

from __future__ import annotations

import doctest
import subprocess
import sys

import numpy as np
import pytest

import medimg.phantom
from medimg.core.errors import UsageError
from medimg.phantom import Anatomy, anatomy, draw, drawing
from medimg.phantom.acquisition import Acquisition

LUNGS = np.s_[30:80, 20:108]  # rows and columns of a 128-px film in which the lungs lie


@pytest.mark.parametrize("size_px", [64, 96, 150, 256])
def test_shape_and_type(size_px: int) -> None:
    grey = draw(Anatomy.of(0, 1), size_px=size_px)
    assert grey.shape == (size_px, size_px) and grey.dtype == np.uint8


def test_sizes_show_the_same_picture() -> None:
    patient = Anatomy.of(0, 1)
    small = draw(patient, severity=0.7, size_px=64).astype(float)
    large = draw(patient, severity=0.7, size_px=256).astype(float)
    shrunk = large.reshape(64, 4, 64, 4).mean(axis=(1, 3))
    assert np.corrcoef(small.ravel(), shrunk.ravel())[0, 1] > 0.97


@pytest.mark.parametrize("pattern", ["bacteria", "virus"])
def test_severity_brightens_the_lungs_step_by_step(pattern: anatomy.Pattern) -> None:
    for number in range(8):
        patient = Anatomy.of(1, number, pattern)
        films = [draw(patient, severity=s)[LUNGS].mean() for s in (0, 0.25, 0.5, 0.75, 1.0)]
        assert np.all(np.diff(films) > 0), films


def test_pneumonia_stays_between_the_lungs_apex_and_base() -> None:
    for number in range(8):
        patient = Anatomy.of(2, number)
        added = np.abs(draw(patient, severity=1.0).astype(int) - draw(patient))
        chest, matrix = patient.chest, Acquisition.of(patient, 0).matrix(128)
        base = max(chest.dome_y) + chest.angle_depth
        top, bottom = (int((matrix @ (0, y, 1))[1]) for y in (chest.apex_y - 0.1, base + 0.1))
        assert added.max() > 25
        # Noise scales with brightness, by a grey level or two.
        assert added[: max(top, 0)].max(initial=0) <= 3
        assert added[bottom:].max(initial=0) <= 3


def test_lungs_are_dark_and_the_middle_is_bright() -> None:
    mean = np.mean([draw(Anatomy.of(0, n)).astype(float) for n in range(40)], axis=0)
    right_lung, middle, left_lung = mean[60, 30:42], mean[60, 60:68], mean[50, 84:98]
    abdomen, air = mean[115:122, 50:78], mean[70:120, :3]
    assert right_lung.mean() + 60 < middle.mean() and left_lung.mean() + 60 < middle.mean()
    assert abdomen.mean() > 180 and air.mean() < right_lung.mean()


def test_the_heart_points_to_the_right_of_the_picture() -> None:
    mean = np.mean([draw(Anatomy.of(0, n)).astype(float) for n in range(40)], axis=0)
    assert mean[78:86, 78:88].mean() > mean[78:86, 40:50].mean() + 30


def test_images_of_a_patient_resemble_one_another_more_than_others() -> None:
    films = np.array(
        [
            [draw(Anatomy.of(4, n), size_px=64, image=i).ravel() for i in range(4)]
            for n in range(20)
        ],
        float,
    )
    same = np.kron(np.eye(20), np.ones((4, 4))).astype(bool) & ~np.eye(80, dtype=bool)
    other = ~np.kron(np.eye(20), np.ones((4, 4))).astype(bool)
    alike = np.corrcoef(films.reshape(80, -1))
    assert alike[same].mean() > alike[other].mean() + 0.03
    assert len(np.unique(films.reshape(80, -1), axis=0)) == 80


def test_images_do_not_depend_on_the_order_of_drawing() -> None:
    forwards = [draw(Anatomy.of(0, n), image=1, size_px=64) for n in range(4)]
    backwards = [draw(Anatomy.of(0, n), image=1, size_px=64) for n in reversed(range(4))]
    assert np.array_equal(forwards, backwards[::-1])


@pytest.mark.parametrize("wrong", [{"severity": 1.5}, {"severity": -0.1}, {"size_px": 300}])
def test_values_out_of_range_are_refused(wrong: dict) -> None:
    with pytest.raises(UsageError):
        draw(Anatomy.of(0, 0), **wrong)


def test_naming_the_package_loads_no_numpy() -> None:
    program = "import sys, medimg.phantom; print({'numpy', 'cv2'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize("module", [medimg.phantom, anatomy, drawing])
def test_examples_in_docstrings_are_true(module: object) -> None:
    assert doctest.testmod(module).failed == 0
