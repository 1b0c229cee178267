"""medimg verify: planted faults by name, exit codes, and a clean index that holds none of them."""

from __future__ import annotations

import csv
import io
import json
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest

from medimg.cli.main import run
from medimg.core.report import check_shape

GATE_NAMES = {
    "unreadable",
    "truncated",
    "empty-file",
    "patient-leakage",
    "duplicates-across-splits",
    "duplicates-across-classes",
}


def picture(seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).integers(0, 256, (32, 32), np.uint8)
    return cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 3), None, 10, 245, cv2.NORM_MINMAX)


def put(root: Path, path: str, seed: int) -> Path:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(cv2.imencode(".png", picture(seed))[1].tobytes())
    return file


@pytest.fixture
def chest(tmp_path) -> Path:
    """A clean set, named like the real one: a patient an image, 40 a class in each part."""
    root, patient = tmp_path / "chest", 0
    for split in ("train", "val", "test"):
        for label, name in (("NORMAL", "IM-{:04}-0001.png"), ("SICK", "person{}_virus_1.png")):
            for _ in range(40):
                patient += 1
                put(root, f"{split}/{label}/{name.format(patient)}", patient)
    return root


@dataclass
class Result:
    exit_code: int
    stdout: str
    stderr: str


def call(*arguments: object, cwd: Path) -> Result:
    """The command line, as a shell would call it; without the one check that takes a second."""
    if not {"--only", "--list"} & set(arguments):
        arguments = (*arguments, "--skip", "shortcut")
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = run(["verify", *map(str, arguments), "--out", str(cwd / "runs")])
    return Result(code, out.getvalue(), err.getvalue())


def report_of(*arguments: object, cwd: Path) -> tuple[dict, int]:
    result = call(*arguments, "--json", cwd=cwd)
    report = json.loads(result.stdout)
    assert check_shape(report) == []
    return report, result.exit_code


def errors(report: dict) -> dict[str, dict]:
    return {f["check"]: f for f in report["findings"] if f["severity"] == "error"}


def test_clean_data_end_with_exit_code_0(chest, tmp_path):
    report, code = report_of(chest, cwd=tmp_path)
    assert code == 0 and errors(report) == {}
    assert report["result"]["files"] == 240 and report["result"]["images_per_second"] > 0
    statuses = report["result"]["checks"]
    assert {statuses[name]["status"] for name in GATE_NAMES if name != "patient-leakage"} == {"ok"}
    assert statuses["csv-missing-files"]["status"] == "skipped"
    assert statuses["csv-missing-files"]["reason"]
    assert report["dataset"]["fingerprint"].startswith("sha256:")


@pytest.fixture
def faulty(chest) -> Path:
    """The same with one of each fault that forbids training."""
    train = chest / "train"
    (train / "NORMAL" / "IM-0001-0001.png").write_bytes(b"")
    half = train / "NORMAL" / "IM-0002-0001.png"
    half.write_bytes(half.read_bytes()[:200])
    (train / "NORMAL" / "IM-0003-0001.png").write_bytes(b"<html>not found</html>")
    put(chest, "train/SICK/person901_virus_1.png", 4)  # NORMAL/IM-0004 again: two classes
    put(chest, "test/NORMAL/IM-0902-0001.png", 5)  # train/NORMAL/IM-0005 again: two splits
    put(chest, "val/NORMAL/IM-0006-0002.png", 906)  # another picture of a training patient
    return chest


REGEX = "group_regex=(person[0-9]+|IM-[0-9]+)"


def test_every_fault_is_named_with_its_files(faulty, tmp_path):
    report, code = report_of(faulty, "-o", REGEX, cwd=tmp_path)
    assert code == 1
    found = errors(report)
    assert set(found) == GATE_NAMES
    assert [i["file"] for i in found["empty-file"]["items"]] == ["train/NORMAL/IM-0001-0001.png"]
    assert [i["file"] for i in found["truncated"]["items"]] == ["train/NORMAL/IM-0002-0001.png"]
    assert "train/NORMAL/IM-0003-0001.png" in {i["file"] for i in found["unreadable"]["items"]}
    (copies,) = found["duplicates-across-classes"]["items"]
    assert copies["files"] == ["train/NORMAL/IM-0004-0001.png", "train/SICK/person901_virus_1.png"]
    assert copies["classes"] == ["NORMAL", "SICK"] and copies["identical"] == "bytes"
    (copies,) = found["duplicates-across-splits"]["items"]
    assert set(copies["files"]) == {"train/NORMAL/IM-0005-0001.png", "test/NORMAL/IM-0902-0001.png"}
    (patient,) = found["patient-leakage"]["items"]
    assert (patient["patient"], patient["splits"]) == ("IM-0006", ["train", "val"])
    for name in GATE_NAMES:
        assert report["result"]["checks"][name]["status"] == "error"
        assert report["result"]["checks"][name]["count"] == found[name]["count"] > 0


def test_what_is_printed_says_what_where_and_what_next(faulty, tmp_path):
    result = call(faulty, "-o", REGEX, cwd=tmp_path)
    text = result.stdout
    assert "error   patient-leakage: 1 patient has images on two sides of the split" in text
    assert "train/NORMAL/IM-0001-0001.png" in text
    assert "6 errors" in text and f"Next: medimg verify {faulty}" in text
    assert "--write-clean clean.csv" in text
    # errors come first
    assert text.index("error   ") < text.index("ok      ")


def test_the_clean_index_is_accepted_and_free_of_errors(faulty, tmp_path):
    before = {p: p.read_bytes() for p in sorted(faulty.rglob("*")) if p.is_file()}
    clean = tmp_path / "elsewhere" / "clean.csv"
    result = call(faulty, "-o", REGEX, "--write-clean", clean, cwd=tmp_path)
    assert result.exit_code == 1, "the dataset itself is still in error"
    assert f"Next: medimg train {clean}" in result.stdout
    assert {p: p.read_bytes() for p in sorted(faulty.rglob("*")) if p.is_file()} == before
    with clean.open(newline="") as file:
        kept = {Path(row["image"]).name: row for row in csv.DictReader(file)}
    gone = {
        "IM-0001-0001.png",
        "IM-0002-0001.png",
        "IM-0003-0001.png",  # unreadable
        "IM-0004-0001.png",
        "person901_virus_1.png",  # both of them: one label is wrong
        "IM-0005-0001.png",
        "IM-0006-0001.png",
    }  # the training side
    everything = {p.name for p in before}
    assert everything - set(kept) == gone
    assert kept["IM-0902-0001.png"]["split"] == "test"
    assert kept["IM-0006-0002.png"]["group"] == "IM-0006"
    report, code = report_of(clean, cwd=tmp_path)
    assert code == 0 and errors(report) == {}
    assert report["dataset"]["images"] == len(kept)


def test_a_recompressed_copy_is_left_out_of_the_clean_index(chest, tmp_path):
    image = cv2.resize(picture(5000), (160, 160), interpolation=cv2.INTER_CUBIC)
    jpeg = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 85])[1].tobytes()
    (chest / "train/NORMAL/IM-0950-0001.png").write_bytes(cv2.imencode(".png", image)[1].tobytes())
    (chest / "test/NORMAL/IM-0951-0001.jpeg").write_bytes(jpeg)
    clean = tmp_path / "clean.csv"
    report, _ = report_of(chest, "--write-clean", clean, cwd=tmp_path)
    (copies,) = errors(report)["duplicates-across-splits"]["items"]
    assert copies["identical"] == "nearly"
    assert report["result"]["clean"] == str(clean)
    text = clean.read_text()
    assert "IM-0950" not in text and "IM-0951" in text
    assert errors(report_of(clean, cwd=tmp_path)[0]) == {}


def test_nothing_is_written_where_nothing_would_be_left(tmp_path):
    for label in "ab":
        (tmp_path / "data" / label).mkdir(parents=True)
        (tmp_path / "data" / label / "1.png").write_bytes(b"")
    result = call(tmp_path / "data", "--write-clean", tmp_path / "clean.csv", cwd=tmp_path)
    assert result.exit_code == 3 and not (tmp_path / "clean.csv").exists()
    assert "is without an error" in result.stderr


def test_a_file_of_the_users_is_not_replaced(faulty, tmp_path):
    mine = tmp_path / "labels.csv"
    mine.write_text("id,dx\n1,a\n")
    result = call(faulty, "--write-clean", mine, cwd=tmp_path)
    assert result.exit_code == 3 and mine.read_text() == "id,dx\n1,a\n"


def test_one_check_alone(faulty, tmp_path):
    report, code = report_of(faulty, "--only", "empty-file", cwd=tmp_path)
    assert list(report["result"]["checks"]) == ["empty-file"] and code == 1
    assert {f["check"] for f in report["findings"]} == {"empty-file"}


def test_a_check_left_out(faulty, tmp_path):
    report, _ = report_of(
        faulty, "-o", REGEX, "--skip", "empty-file", "--skip", "patient-leakage", cwd=tmp_path
    )
    assert set(errors(report)) == GATE_NAMES - {"empty-file", "patient-leakage"}
    assert "empty-file" not in report["result"]["checks"]


def test_what_the_reader_met_can_be_left_out_and_asked_for(chest, tmp_path):
    table = tmp_path / "labels.csv"
    rows = [
        f"chest/train/{label}/{p.name},{label}"
        for label in ("NORMAL", "SICK")
        for p in sorted((chest / "train" / label).iterdir())
    ]
    table.write_text("image,label\n" + "\n".join([*rows, "chest/train/SICK/gone.png,SICK"]) + "\n")
    checks = report_of(table, cwd=tmp_path)[0]["result"]["checks"]
    assert (checks["csv-missing-files"]["status"], checks["csv-missing-files"]["count"]) == (
        "warning",
        1,
    )
    report, _ = report_of(table, "--skip", "csv-missing-files", cwd=tmp_path)
    assert "csv-missing-files" not in {f["check"] for f in report["findings"]}
    report, _ = report_of(table, "--only", "csv-missing-files", cwd=tmp_path)
    assert list(report["result"]["checks"]) == ["csv-missing-files"]


def test_a_misspelt_check_has_a_near_miss(chest, tmp_path):
    result = call(chest, "--skip", "patient-leakge", cwd=tmp_path)
    assert result.exit_code == 2
    assert "no check is called 'patient-leakge'" in result.stderr
    assert "Did you mean 'patient-leakage'?" in result.stderr


@pytest.mark.parametrize(("fail_on", "code"), [("error", 0), ("warning", 1), ("never", 0)])
def test_warnings_count_only_where_asked(chest, tmp_path, fail_on, code):
    put(chest, "train/NORMAL/IM-0001-0002.png", 1)  # a copy beside the original
    report, got = report_of(chest, "--fail-on", fail_on, cwd=tmp_path)
    assert report["result"]["checks"]["exact-duplicates"]["status"] == "warning"
    assert got == code


def test_errors_can_be_looked_at_without_failing(faulty, tmp_path):
    assert call(faulty, "--fail-on", "never", cwd=tmp_path).exit_code == 0


def test_the_checks_are_listed_without_a_dataset(tmp_path):
    result = call("--list", cwd=tmp_path)
    assert result.exit_code == 0 and not (tmp_path / "runs").exists()
    for name in (*GATE_NAMES, "one-class", "imbalance", "csv-contradictions", "nested-copy"):
        assert f"\n{name} " in result.stdout


def test_no_dataset_is_a_usage_error(tmp_path):
    result = call(cwd=tmp_path)
    assert result.exit_code == 2 and "no DATASET was given" in result.stderr


def test_a_missing_folder(tmp_path):
    result = call(tmp_path / "nowhere", cwd=tmp_path)
    assert result.exit_code == 3 and "does not exist" in result.stderr


# -- the faults that real samples have by nature ---------------------------------------------------


def verified(folder: Path, tmp_path: Path, *options: str) -> tuple[dict, int]:
    return report_of(folder, *options, cwd=tmp_path)


def test_kermanys_patients_are_on_one_side(shared_data, tmp_path):
    report, code = verified(shared_data / "chest_xray_kermany", tmp_path)
    assert (code, errors(report)) == (0, {})
    assert report["dataset"]["groups"] == 941
    assert report["result"]["checks"]["patient-leakage"]["status"] == "ok"


def test_a_bare_person_number_reports_false_leaks(shared_data, tmp_path):
    """Numbers count anew in the virus and the bacteria series."""
    report, code = verified(
        shared_data / "chest_xray_kermany", tmp_path, "-o", r"group_regex=(person\d+)"
    )
    assert code == 1 and errors(report)["patient-leakage"]["count"] > 10


def test_white_cells_have_a_class_of_one_image(shared_data, tmp_path):
    report, code = verified(shared_data / "wbc_zheng_csv", tmp_path)
    assert code == 1 and set(errors(report)) == {"small-class"}
    assert errors(report)["small-class"]["items"] == [{"class": "5", "images": 1}]
    (copies,) = [f for f in report["findings"] if f["check"] == "exact-duplicates"]
    assert copies["items"][0]["files"] == ["Dataset 1/112.bmp", "Dataset 1/139.bmp"]


def test_brain_tumours_are_on_both_sides(shared_data, tmp_path):
    report, code = verified(shared_data / "brain_tumor_mri", tmp_path)
    assert code == 1 and errors(report)["duplicates-across-splits"]["count"] >= 167
    clean = tmp_path / "clean.csv"
    verified(shared_data / "brain_tumor_mri", tmp_path, "--write-clean", str(clean))
    assert errors(verified(clean, tmp_path)[0]) == {}


def test_one_folder_of_16_bit_pictures_is_one_class(shared_data, tmp_path):
    report, code = verified(shared_data / "dicom_small", tmp_path, "--layout", "folder")
    assert code == 1 and set(errors(report)) == {"one-class"}
    # each is there as PNG and as TIFF
    (copies,) = [f for f in report["findings"] if f["check"] == "exact-duplicates"]
    assert copies["count"] == 3 and {i["identical"] for i in copies["items"]} == {"pixels"}


def test_a_clean_index_among_the_images_is_remarked(faulty, tmp_path):
    inside = call(faulty, "--write-clean", faulty / "clean.csv", cwd=tmp_path)
    assert "lies in the dataset's own folder" in inside.stderr
    outside = call(faulty, "--write-clean", tmp_path / "clean.csv", cwd=tmp_path)
    assert "own folder" not in outside.stderr
