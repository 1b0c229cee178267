"""Every exact and near duplicate that CleanVision and imagededup find, held against medimg's.

Both are run as their users run them, with their own thresholds, on every set of real samples. A
pair of theirs that medimg does not name has to have a reason that pixels give: it is blank, or
the two pictures, compared pixel by pixel, are not the same however they are moved.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections import Counter
from itertools import combinations
from pathlib import Path

import cv2
import numpy as np
import pytest

from medimg.core.checking import CheckContext, grouped
from medimg.core.images import is_image_name
from medimg.core.near_copies import CONFIRMED, LEAST_SPREAD, PLAUSIBLE, keys_of
from medimg.core.scan import scan
from medimg.manager import plugins
from medimg.opening import open_dataset

SETS = (
    "actualmed_covid_csv",
    "brain_tumor_mri",
    "breakhis_mini",
    "chest_xray_kermany",
    "covid19_radiography",
    "dicom_small",
    "idc_breast_histopathology",
    "odir_fundus_csv",
    "pneumoniamnist",
    "wbc_zheng_csv",
)
# processes of their own: one starts workers that import the main module, the other loads torch
CLEANVISION = """
import json, sys
from pathlib import Path
from cleanvision import Imagelab
if __name__ == "__main__":
    lab = Imagelab(filepaths=sorted(map(str, Path(sys.argv[1]).iterdir())))
    lab.find_issues({"exact_duplicates": {}, "near_duplicates": {}}, verbose=False)
    told = {
        kind: [[Path(file).name for file in group] for group in lab.info[kind]["sets"]]
        for kind in ("exact_duplicates", "near_duplicates")
    }
    Path(sys.argv[2]).write_text(json.dumps(told))
"""
IMAGEDEDUP = """
import json, sys
from pathlib import Path
from unittest.mock import MagicMock
# it imports networks too; hashes need none
for part in ("", ".models", ".models.vision_transformer", ".transforms"):
    sys.modules["torchvision" + part] = MagicMock()
from imagededup.methods import DHash, PHash
if __name__ == "__main__":
    told = {}
    for method in (PHash, DHash):
        hasher = method(verbose=False)
        codes = hasher.encode_images(image_dir=sys.argv[1], num_enc_workers=0)
        found = hasher.find_duplicates(encoding_map=codes, num_dist_workers=0)
        told[method.__name__] = [
            [one, other] for one, others in found.items() for other in others if one < other
        ]
    Path(sys.argv[2]).write_text(json.dumps(told))
"""
COMPARED_PX, MOVED_PX = 64, 8
# half-size decoding and whole grey levels leave this much between two ways to compare
ROUNDING = 5e-4
# by whole pixels of half the size no copy falls below this
NEARLY = 0.97
# of tiny pictures, of which hashes that lie far apart make millions of pairs
MOST_OF_AN_ARCHIVE = {"cleanvision": 10_000, "imagededup": 1_500}
Pair = frozenset[str]


@pytest.fixture(scope="session")
def one_folder(shared_data, tmp_path_factory):
    """A function that copies every picture of a set into one folder without classes."""
    root = tmp_path_factory.mktemp("beside")

    def make(name: str, most: int) -> Path:
        made = root / f"{name}-{most}" / "all"
        if made.is_dir():
            return made
        made.mkdir(parents=True)
        files = sorted(p for p in (shared_data / name).rglob("*") if is_image_name(p.name))
        for number, file in enumerate(files):
            shutil.copyfile(file, made / f"{number:05d}{file.suffix}")
        for archive in sorted((shared_data / name).glob("*.npz")):
            arrays = np.load(archive)
            pictures = np.concatenate(
                [arrays[f"{part}_images"] for part in ("train", "val", "test")]
            )
            for number, picture in enumerate(pictures[:most]):
                assert cv2.imwrite(str(made / f"{number:05d}.png"), picture)
        return made

    return make


def pairs_of(groups: list[list[str]]) -> set[Pair]:
    return {frozenset(two) for group in groups for two in combinations(group, 2)}


class Found:
    """What medimg finds in a folder: pairs of file names."""

    def __init__(self, folder: Path) -> None:
        manager = plugins()
        index = open_dataset(
            str(folder.parent),
            layout=None,
            options={},
            manager=manager,
            registry=manager.registry(),
        )
        context = CheckContext(index, scan(index))
        name = {s.path: Path(s.path).name for s in index.samples}
        self.files = sorted(name.values())
        self.unreadable = {name[p] for p, record in context.scan.items() if record.error}
        self.exact = pairs_of([[name[s.path] for s in group] for group in context.copies()])
        alike = context.near_search.pairs
        assert context.near_search.not_searched == ""
        # where many more look nearly as alike, a pair that is not the same picture is no finding
        self.by_nature = context.near_search.look_alikes >= 3 * max(1, len(alike))
        # of many copies of one picture only the pairs that connect them are told
        keys = keys_of(context.readable(), context.scan, alike)
        same = grouped(context.readable(), lambda s: keys[s.path]).values()
        self.confirmed = pairs_of([[name[s.path] for s in group] for group in same])
        self.unconfirmed = pairs_of(
            [
                [name[s.path] for s in context.pictures_of(pair)]
                for pair in alike
                if not (pair.confirmed or pair.moved)
            ]
        )


class Pixels:
    """Pairs compared with NumPy and OpenCV alone."""

    def __init__(self, folder: Path, names: list[str]) -> None:
        greys = {name: self.grey(folder / name) for name in names}
        self.row = {name: row for row, name in enumerate(names)}
        self.blank = np.array([greys[name].std() < LEAST_SPREAD for name in names])
        self.few = np.array([min(greys[name].shape) < COMPARED_PX for name in names])
        self.larger = [sized(greys[name], 2 * COMPARED_PX) for name in names]
        small = [sized(greys[name], COMPARED_PX) for name in names]
        coarse = [cv2.resize(p, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA) for p in small]
        self.small, self.coarse = standardised(small), standardised(coarse)

    @staticmethod
    def grey(file: Path) -> np.ndarray:
        """Float32[h, w], 0..255."""
        image = cv2.imread(str(file), cv2.IMREAD_ANYDEPTH)
        low, high = (0, 255) if image.dtype == np.uint8 else np.percentile(image, [0.5, 99.5])
        return np.clip((image.astype(np.float32) - low) * (255 / max(high - low, 1e-6)), 0, 255)

    def moved(self, one: int, other: int) -> float:
        """The middle of one, wherever it lies in the other; at half size where that tells."""
        half = [self.small[place].reshape(COMPARED_PX, -1) for place in (one, other)]
        rough = best_place(*half, MOVED_PX // 2)
        if rough < NEARLY:
            return rough
        return best_place(self.larger[one], self.larger[other], MOVED_PX)

    def reasons(self, pairs: set[Pair], by_nature: bool) -> dict[Pair, str]:
        """Why a pair need not be named; nothing where it should.

        Args:
            by_nature: the set's pictures look alike, so that only copies count.
        """
        least = CONFIRMED if by_nature else PLAUSIBLE
        told = {}
        for pair in pairs:
            one, other = sorted(self.row[name] for name in pair)
            # of few pixels what is finer than 32×32 is noise
            pixels = self.coarse if self.few[one] or self.few[other] else self.small
            likeness = float(pixels[one] @ pixels[other])
            if self.blank[one] or self.blank[other]:
                told[pair] = "blank"
            elif likeness >= least + ROUNDING:
                told[pair] = ""
            elif likeness >= 0.9 and self.moved(one, other) >= CONFIRMED:
                told[pair] = ""
            else:
                told[pair] = "other pixels"
        return told


def best_place(first: np.ndarray, second: np.ndarray, most_px: int) -> float:
    middle = np.ascontiguousarray(first[most_px:-most_px, most_px:-most_px])
    return float(cv2.matchTemplate(second, middle, cv2.TM_CCOEFF_NORMED).max())


def sized(grey: np.ndarray, side: int) -> np.ndarray:
    how = cv2.INTER_AREA if min(grey.shape) >= side else cv2.INTER_LINEAR
    return cv2.GaussianBlur(cv2.resize(grey, (side, side), interpolation=how), (3, 3), 0)


def standardised(pictures: list[np.ndarray]) -> np.ndarray:
    """Float32[N, P] of mean 0 and length 1."""
    flat = np.stack(pictures).reshape(len(pictures), -1)
    flat -= flat.mean(axis=1, keepdims=True)
    return flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-6)


def told_by(program: str, folder: Path, tmp_path: Path, run_command) -> dict[str, set[Pair]]:
    script, answer = tmp_path / "peer.py", tmp_path / "answer.json"
    script.write_text(program)
    run_command([sys.executable, str(script), str(folder), str(answer)])
    return {kind: pairs_of(groups) for kind, groups in json.loads(answer.read_text()).items()}


@pytest.mark.parametrize("peer", ["cleanvision", "imagededup"])
def test_no_pair_of_theirs_is_missed(peer, one_folder, run_command, tmp_path, table):
    pytest.importorskip(peer)
    rows, missed = [], {}
    for name in SETS:
        folder = one_folder(name, MOST_OF_AN_ARCHIVE[peer])
        found = Found(folder)
        pixels = Pixels(folder, found.files)
        ours = found.exact | found.confirmed | found.unconfirmed
        program = CLEANVISION if peer == "cleanvision" else IMAGEDEDUP
        for kind, theirs in told_by(program, folder, tmp_path, run_command).items():
            why = pixels.reasons(theirs - ours, found.by_nature)
            reasons = Counter(why.values())
            unexplained = [sorted(pair) for pair, reason in why.items() if not reason]
            rows.append(
                [
                    *(name, kind, len(found.files), len(theirs)),
                    *(
                        len(theirs & part)
                        for part in (found.exact, found.confirmed - found.exact, found.unconfirmed)
                    ),
                    *(reasons["blank"], reasons["other pixels"], len(unexplained)),
                    len((found.exact | found.confirmed) - theirs),
                ]
            )
            if unexplained:
                missed[name, kind] = unexplained[:5]
    table(
        f"Pairs that {peer} finds, and what medimg says of them",
        [
            "set",
            "kind",
            "files",
            "theirs",
            "identical",
            "confirmed",
            "alike",
            "blank",
            "other pixels",
            "unexplained",
            "medimg's alone",
        ],
        rows,
    )
    assert sum(row[3] for row in rows) > 0
    assert missed == {}
