"""Whole datasets that are dark, flat, wide or look alike by nature: no check has a word to say."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from medimg.core.checking import CheckContext, run_checks
from medimg.manager import plugins
from tests.checks.conftest import BY_PATIENT, CLEAN_COUNTS, clean_files, look, noise, plant

# what has nothing to look at in data that nobody published
ELSEWHERE = {"registry-mismatch"}
# what all pictures have in common, as chests have ribs
COMMON = noise(0).astype(np.float32)

NATURES = {
    "dark": lambda picture: picture // 8,
    "bright": lambda picture: 255 - picture // 8,
    "flat": lambda picture: picture // 12 + 120,
    "blurred": lambda picture: cv2.GaussianBlur(picture, (0, 0), 2),
    "black and white": lambda picture: cv2.threshold(picture, 118, 255, cv2.THRESH_BINARY)[1],
    "coloured": lambda picture: cv2.merge([picture, picture // 2, picture // 3]),
    "12 bit in 16": lambda picture: picture.astype(np.uint16) * 16,
    "wide": lambda picture: cv2.resize(picture, (72, 24), interpolation=cv2.INTER_CUBIC),
    "alike": lambda picture: (0.4 * COMMON + 0.6 * picture).astype(np.uint8),
}


def spoken(context: CheckContext, leave_out: set[str]) -> dict[str, list[str]]:
    """Check to what it says, of those that say anything or could not look."""
    manager = plugins()
    wanted = {name: info for name, info in manager.checks().items() if name not in leave_out}
    outcomes = run_checks(manager.functions(wanted), context)
    return {
        name: [finding.message for finding in outcome.findings] or [str(outcome.reason)]
        for name, outcome in outcomes.items()
        if name in wanted and (outcome.findings or outcome.status != "ok")
    }


@pytest.mark.parametrize("nature", NATURES)
def test_no_check_speaks_of_what_a_modality_is_by_nature(nature, tmp_path):
    change = NATURES[nature]
    root = plant(tmp_path, {name: change(pixels) for name, pixels in clean_files().items()})
    # it takes a second and compares the classes, not a picture with the others: once is enough
    others = set() if nature == "dark" else {"shortcut"}
    assert spoken(look(root, **BY_PATIENT), ELSEWHERE | others) == {}


def chest_names(split: str, label: str, patients: range) -> list[str]:
    """Names as the published chest X-rays have them: two series a class, each counted from 1."""
    series = {"NORMAL": ("IM-{:04}-{:04}", "NORMAL2-IM-{:04}-{:04}"),
              "PNEUMONIA": ("person{}_virus_{}", "person{}_bacteria_{}")}[label]  # fmt: skip
    return [
        f"{split}/{label}/{series[(number + (split == 'test')) % 2].format(number, take)}.jpeg"
        for number in patients
        for take in (2 * number, 2 * number + 1)
    ]


def test_patients_whose_numbers_come_again_in_another_series(tmp_path):
    """Number 7 of one series is in train and number 7 of the other in test."""
    names = [
        name
        for split, count in CLEAN_COUNTS.items()
        for label in ("NORMAL", "PNEUMONIA")
        # those of validation are none of train's: the same series runs on
        for name in chest_names(split, label, range(101, 101 + count // 2)
                                if split == "val" else range(1, 1 + count // 2))
    ]  # fmt: skip
    root = plant(tmp_path, {name: noise(place) for place, name in enumerate(names)})
    pattern = plugins().registry().datasets["chest-xray-pneumonia"].patient_pattern
    own, bare = (look(root, group_regex=regex) for regex in (pattern, r"(?:person|IM-)(\d+)"))
    checks = {"patient-leakage", "patient-both-classes", "patient-dominates",
              "patient-ids-unusable"}  # fmt: skip
    others = set(plugins().checks()) - checks
    assert spoken(own, others) == {}
    # the same files under the bare number: the leaks are none, and the check would tell them
    assert set(spoken(bare, others)) >= {"patient-leakage"}
