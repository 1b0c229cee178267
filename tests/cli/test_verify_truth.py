"""`medimg verify` held to what is known: planted faults, and natural ones counted independently."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medimg.cli.main import run
from medimg.phantom import PhantomTruth, make_dataset


def report_of(capsys, folder: Path, *options: str) -> tuple[int, dict]:
    capsys.readouterr()
    code = run(["verify", *map(str, (folder, *options)), "--json"])
    return code, json.loads(capsys.readouterr().out)


def finding_of(report: dict, check: str) -> dict:
    (finding,) = [f for f in report["findings"] if f["check"] == check]
    return finding


def files_of(finding: dict) -> set[str]:
    rows = finding["items"]
    return {f for row in rows for f in row.get("files", [row.get("file")]) if f is not None}


# -- phantoms ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory) -> tuple[Path, PhantomTruth]:
    folder = tmp_path_factory.mktemp("phantoms") / "chest_xray"
    return folder, make_dataset(folder, images=120, size_px=64)


def test_every_planted_fault_is_found_with_all_its_files(phantoms, tmp_path, monkeypatch, capsys):
    folder, truth = phantoms
    monkeypatch.chdir(tmp_path)
    code, report = report_of(capsys, folder)
    assert code == 1
    planted: dict[str, set[str]] = defaultdict(set)
    for fault in truth.faults:
        planted[fault.check] |= set(fault.files)
    tagged = planted.pop("shortcut")
    assert len(tagged) > 20 and finding_of(report, "shortcut")["severity"] == "warning"
    for check, files in planted.items():
        finding = finding_of(report, check)
        assert finding["severity"] == "error"
        assert files_of(finding) == files, check
    leak = finding_of(report, "patient-leakage")
    patients = {str(row["patient"]) for row in leak["items"]}
    assert patients == set(truth.fault("patient-leakage").patients)


def test_nothing_but_planted_faults_is_an_error(phantoms, tmp_path, monkeypatch, capsys):
    folder, truth = phantoms
    monkeypatch.chdir(tmp_path)
    _, report = report_of(capsys, folder)
    found = {f["check"] for f in report["findings"] if f["severity"] == "error"}
    # the cut files are named by the reason as well
    assert found == {f.check for f in truth.faults} - {"shortcut"} | {"truncated"}


def test_phantoms_without_faults_have_no_error(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    make_dataset(tmp_path / "clean", images=120, size_px=64, faults=())
    code, report = report_of(capsys, tmp_path / "clean")
    assert code == 0
    assert [f["check"] for f in report["findings"] if f["severity"] == "error"] == []


def test_the_clean_index_has_no_error_and_changes_no_file(phantoms, tmp_path, monkeypatch, capsys):
    folder, truth = phantoms
    monkeypatch.chdir(tmp_path)
    before = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    report_of(capsys, folder, "--write-clean", "clean.csv")
    assert {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()} == before
    code, report = report_of(capsys, tmp_path / "clean.csv")
    assert code == 0
    assert [f["check"] for f in report["findings"] if f["severity"] == "error"] == []
    # what no fault is about stays
    touched = {f for fault in truth.faults if fault.name != "shortcut" for f in fault.files}
    assert report["result"]["files"] >= sum(image.file not in touched for image in truth.images)


# -- real samples, counted anew with Pillow ------------------------------------------------------


def pixels_of(path: Path) -> str:
    """A hash of the picture as RGB, which grey stored as RGB shares with grey."""
    with Image.open(path) as image:
        array = np.asarray(image.convert("RGB"))
    return hashlib.sha256(str(array.shape).encode() + array.tobytes()).hexdigest()


def recounted(root: Path) -> dict[str, list[Path]]:
    groups = defaultdict(list)
    for path in sorted(root.rglob("*")):
        if path.suffix.lower() in (".jpg", ".jpeg", ".png"):
            groups[pixels_of(path)].append(path.relative_to(root))
    return {key: own for key, own in groups.items() if len(own) > 1}


def test_brain_tumours_stand_on_both_sides(shared_data, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    root = shared_data / "brain_tumor_mri"
    code, report = report_of(capsys, root, "--only", "duplicates-across-splits")
    across = {
        frozenset(map(Path.as_posix, own))
        for own in recounted(root).values()
        if len({p.parts[0] for p in own}) > 1
    }
    rows = finding_of(report, "duplicates-across-splits")["items"]
    identical = {frozenset(row["files"]) for row in rows if row["identical"] != "nearly"}
    assert code == 1 and len(across) == 167
    assert identical == across


def test_kermany_repeats_seven_pictures_in_their_class(shared_data, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    root = shared_data / "chest_xray_kermany"
    code, report = report_of(capsys, root, "--skip", "shortcut")
    finding = finding_of(report, "exact-duplicates")
    expected = {frozenset(map(Path.as_posix, own)) for own in recounted(root).values()}
    assert code == 0 and finding["count"] == len(expected) == 7
    assert {frozenset(row["files"]) for row in finding["items"]} == expected
    assert report["result"]["checks"]["patient-leakage"]["status"] == "ok"


def test_pneumoniamnist_repeats_what_its_arrays_repeat(shared_data, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    file = shared_data / "pneumoniamnist" / "pneumoniamnist.npz"
    places = defaultdict(list)
    with np.load(file) as arrays:
        for split in ("train", "val", "test"):
            pairs = zip(arrays[f"{split}_images"], arrays[f"{split}_labels"], strict=True)
            for picture, label in pairs:
                places[picture.tobytes()].append((split, int(label[0])))
    across = sum(len({split for split, _ in own}) > 1 for own in places.values())
    within = sum(own.count(place) > 1 for own in places.values() for place in set(own))
    code, report = report_of(capsys, file, "--skip", "shortcut")
    assert code == 1 and across == 8
    finding = finding_of(report, "duplicates-across-splits")
    assert finding["count"] == across
    assert {tuple(item["splits"]) for item in finding["items"]} == {("train", "val")}
    assert finding_of(report, "exact-duplicates")["count"] == within


def test_odir_asks_which_column_is_the_label(shared_data, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    root = shared_data / "odir_fundus_csv"
    assert run(["verify", str(root)]) == 2
    assert "-o label=" in capsys.readouterr().err
    code, report = report_of(
        capsys, root, "-o", "label=labels", "-o", "group=ID", "--skip", "shortcut"
    )
    assert code == 0
    assert report["dataset"]["images"] == 659 and report["dataset"]["groups"] == 350
    assert report["result"]["checks"]["patient-leakage"]["reason"] == "there is no split"
