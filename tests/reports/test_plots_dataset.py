"""Plots of a dataset: which are drawn, and that what they hide is written on them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from medimg.core.scan import scan
from medimg.reports import plots_dataset
from medimg.reports.narrow_tables import shortened
from medimg.reports.plots_dataset import dataset_plots


@pytest.fixture
def titles(monkeypatch) -> dict[str, str]:
    """File name to the title that each plot is saved under."""
    seen: dict[str, str] = {}
    save = plots_dataset.save

    def keep(figure, path: Path, **more) -> None:
        seen[path.name] = more["title"]
        save(figure, path, **more)

    monkeypatch.setattr(plots_dataset, "save", keep)
    return seen


def draw(index, folder: Path) -> list[Path]:
    return [folder / p for p in dataset_plots(index, scan(index), folder)]


def test_the_five_plots_of_a_set_with_patients(phantoms, opened, tmp_path):
    index = opened(phantoms, group_regex=r"(IM-\d+|person\d+)")
    drawn = draw(index, tmp_path)
    assert [p.name for p in drawn] == [
        "classes.png", "samples.png", "intensities.png", "sizes.png", "patients.png",
    ]  # fmt: skip
    for path in drawn:
        picture = cv2.imread(str(path))
        # something dark and something coloured stands on the white
        assert (picture.min(axis=2) < 100).mean() > 0.003, path.name
    # without patients there is nothing to count
    assert len(draw(opened(phantoms, group="none"), tmp_path / "b")) == 4


def test_nothing_but_bars_where_no_picture_can_be_read(tmp_path, write_image, opened):
    for label in "ab":
        write_image(tmp_path / "d" / label / "1.png").write_bytes(b"\x89PNG nothing")
    assert [p.name for p in draw(opened(tmp_path / "d"), tmp_path)] == ["classes.png"]


def test_one_size_is_written_and_several_are_scattered(tmp_path, write_image, opened, titles):
    for label in "ab":
        write_image(tmp_path / "one" / label / "1.png", size=(20, 30))
        write_image(tmp_path / "two" / label / "1.png", size=(20, 30 if label == "a" else 40))
    draw(opened(tmp_path / "one"), tmp_path / "1")
    assert titles["sizes.png"] == "one: all 2 images have one size"
    draw(opened(tmp_path / "two"), tmp_path / "2")
    assert titles["sizes.png"] == "two: 2 sizes"


def test_too_many_classes_are_said_to_be_left_out(tmp_path, write_image, opened, titles):
    for n in range(19):
        write_image(tmp_path / "d" / f"a_class_with_a_long_name_{n:02}" / "1.png")
    drawn = draw(opened(tmp_path / "d"), tmp_path)
    assert titles["samples.png"] == "d: samples of 16 of 19 classes drawn at random"
    assert all(max(cv2.imread(str(p)).shape) < 4000 for p in drawn)


def test_black_surroundings_do_not_press_the_curves_flat():
    class Axis:
        top, said = None, ""

        def set_ylim(self, low, high):
            self.top = high

        def annotate(self, words, *_, **__):
            self.said = words

    curves = np.full((2, 64), 0.01)
    curves[:, 0], curves[:, 1] = (0.3, 0.4), 0.05
    axis = Axis()
    plots_dataset.cut_off_black(axis, curves)
    assert axis.top == pytest.approx(0.0125)
    assert axis.said == "levels 0 to 15: 37 to 47 % of the pixels, by class"
    even = Axis()
    plots_dataset.cut_off_black(even, np.full((2, 64), 1 / 64))
    assert even.top is None


@pytest.mark.parametrize("name", ["normal", "squamous_cell_carcinoma_grade_2", "x" * 200])
def test_long_names_keep_their_end(name):
    short = shortened(name)
    assert len(short) <= 20 and short[0] == name[0] and short[-1] == name[-1]
