"""medimg verify: parameters, the cache, a baseline, the page, an interrupt."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from medimg.core import scan
from medimg.core.interrupts import Interrupts
from tests.cli.conftest import Answer


@pytest.fixture
def verify(medimg, phantoms, tmp_path, monkeypatch):
    """Verifies the phantoms without the one check that takes a second."""
    monkeypatch.setenv("MEDIMG_CACHE", str(tmp_path / "cache"))

    def call(*arguments: object, data: object = phantoms) -> Answer:
        return medimg("verify", data, "--skip", "shortcut", "--no-progress", *arguments)

    return call


@pytest.fixture
def images(phantoms, tmp_path):
    """A copy of the phantoms to change."""
    import shutil

    return shutil.copytree(phantoms, tmp_path / "images")


# -- parameters --------------------------------------------------------------------------------


def test_a_parameter_changes_what_is_found(verify):
    loose = verify("--json", "--set", "small-validation.images=1").report
    strict = verify("--json", "--set", "small-validation.images=1000").report
    assert loose["result"]["checks"]["small-validation"]["status"] == "ok"
    assert strict["result"]["checks"]["small-validation"]["status"] == "warning"
    assert strict["invocation"]["settings"]["given"] == {"small-validation.images": "1000"}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("small-validation.image=3", "Did you mean 'images'?"),
        ("smal-validation.images=3", "Did you mean 'small-validation'?"),
        ("small-validation.images=many", "not a whole number"),
        ("small-validation", "is not KEY=VALUE"),
        ("near-duplicates.distance=64", "0 to 12"),
        ("near-duplicates.correlation=1.5", "0 to 1"),
    ],
)
def test_a_setting_that_is_none_is_wrong_usage(verify, given, said):
    answer = verify("--set", given)
    assert answer.code == 2 and said in answer.err


def test_the_list_shows_parameters_with_defaults_and_meaning(medimg):
    table = medimg("verify", "--list").out
    assert "near-duplicates" in table and "distance=4" in table
    rows = {row["check"]: row for row in json.loads(medimg("verify", "--list", "--json").out)}
    distance = rows["near-duplicates"]["parameters"]["distance"]
    assert distance["default"] == 4 and "bits" in distance["meaning"]
    assert all(p["meaning"] for row in rows.values() for p in row["parameters"].values()), (
        "every parameter says what it means"
    )


# -- cache -------------------------------------------------------------------------------------


def without_times(report: dict) -> dict:
    kept = {k: report[k] for k in ("dataset", "findings")}
    kept["checks"] = {
        name: {k: v for k, v in c.items() if k != "seconds"}
        for name, c in report["result"]["checks"].items()
    }
    return kept


def test_unchanged_files_are_not_read_again(verify, monkeypatch):
    first = verify("--json").report
    monkeypatch.setattr(scan, "examine_all", None)
    second = verify("--json").report
    assert first["result"]["from_cache"] == 0
    assert second["result"]["from_cache"] == first["result"]["files"]
    assert second["result"]["images_per_second"] is None
    assert without_times(second) == without_times(first)


def test_of_unchanged_files_no_record_is_looked_at(verify, monkeypatch, tmp_path):
    first = verify("--json", "--write-clean", str(tmp_path / "first.csv")).report
    with monkeypatch.context() as patched:
        patched.setattr("medimg.core.scan_cache.ScanCache.records", None)
        second = verify("--json").report
    assert second["result"]["from_cache"] == first["result"]["files"]
    assert without_times(second) == without_times(first)
    assert second["dataset"]["fingerprint"].startswith("sha256:")
    # what needs them gets them
    again = verify("--json", "--write-clean", str(tmp_path / "again.csv")).report
    assert again["result"]["from_cache"] == first["result"]["files"]
    assert (tmp_path / "again.csv").read_text() == (tmp_path / "first.csv").read_text()


def test_what_was_skipped_is_not_taken_for_known(verify):
    fewer = verify("--json", "--skip", "nested-copy").report
    assert "nested-copy" not in fewer["result"]["checks"]
    assert "nested-copy" in verify("--json").report["result"]["checks"]


def test_a_changed_file_is_read_again(verify, images):
    first = verify("--json", data=images).report
    file = next(images.rglob("*.png"))
    file.write_bytes(file.read_bytes()[:200])
    second = verify("--json", data=images).report
    assert second["result"]["from_cache"] == first["result"]["files"] - 1
    (cut,) = [f for f in second["findings"] if f["check"] == "truncated"]
    assert cut["items"][0]["file"] == file.relative_to(images).as_posix()


def test_no_cache_reads_everything_and_puts_the_cache_right(verify, images):
    import os

    assert verify("--json", data=images).report["result"]["from_cache"] == 0
    file = next(images.rglob("*.png"))
    data, state = file.read_bytes(), file.stat()
    # a change that size and time don't show
    file.write_bytes(bytes(len(data)))
    os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns))
    for arguments, found in (((), "ok"), (("--no-cache",), "error"), ((), "error")):
        report = verify("--json", *arguments, data=images).report
        assert report["result"]["checks"]["unreadable"]["status"] == found


def test_names_with_commas_between_them(verify):
    result = verify("--only", "blur,blank", "--only", "odd-size", "--json").report["result"]
    assert set(result["checks"]) == {"blur", "blank", "odd-size"}
    left = verify("--only", "blur, blank", "--skip", "blank,", "--json").report
    assert set(left["result"]["checks"]) == {"blur"}
    assert left["invocation"]["settings"]["only"] == ["blur", "blank"]
    answer = verify("--only", "blur,blnk")
    assert answer.code == 2 and "no check is called 'blnk'" in answer.err


def test_what_skip_leaves_of_only(verify):
    answer = verify("--only", "blur", "--skip", "blur")
    assert answer.code == 2 and "--only" in answer.err


def test_a_splits_file_is_verified(verify, medimg, phantoms, tmp_path):
    """The phantoms' own split is sound; one that parts a patient is not."""
    import csv

    medimg("split", phantoms, "--name", "sound", "--no-progress")
    sound = tmp_path / "runs" / "sound" / "splits.csv"
    assert verify("--json", "--splits", sound).report["dataset"]["splits"]["test"]
    with sound.open(newline="") as file:
        rows = list(csv.DictReader(file))
    patient = next(r["group"] for r in rows if sum(r["group"] == o["group"] for o in rows) > 1)
    own = [r for r in rows if r["group"] == patient]
    own[0]["split"], own[1]["split"] = "train", "test"
    with (tmp_path / "leaky.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    answer = verify("--json", "--splits", "leaky.csv")
    (leak,) = [f for f in answer.report["findings"] if f["check"] == "patient-leakage"]
    assert answer.code == 1 and leak["items"][0]["patient"] == patient


# -- baseline ----------------------------------------------------------------------------------


def test_known_faults_are_accepted_and_new_ones_are_not(verify, images):
    files = sorted(images.rglob("train/NORMAL/*.png"))
    files[0].write_bytes(b"")
    first = verify("--name", "first", data=images)
    assert first.code == 1
    again = verify("--baseline", "runs/first", "--json", data=images)
    assert again.code == 0
    assert not [f for f in again.report["findings"] if f["severity"] == "error"]
    assert again.report["result"]["checks"]["empty-file"]["status"] == "error"
    known = {f["check"] for f in again.report["result"]["baseline"]["findings"]}
    assert {"empty-file", "unreadable"} <= known
    files[1].write_bytes(b"")
    worse = verify("--baseline", "runs/first/report.json", "--json", data=images)
    assert worse.code == 1
    (empty,) = [f for f in worse.report["findings"] if f["check"] == "empty-file"]
    assert [row["file"] for row in empty["items"]] == [files[1].relative_to(images).as_posix()]


def test_known_faults_that_nobody_looked_for_are_not_called_gone(verify, images, tmp_path):
    next(images.rglob("train/NORMAL/*.png")).write_bytes(b"")
    verify("--name", "first", data=images)
    answer = verify(
        "--baseline", "runs/first", "--only", "blur", "--html", "--name", "some", data=images
    )
    told = json.loads((tmp_path / "runs/some/report.json").read_text())["result"]["baseline"]
    assert {"empty-file", "unreadable"} <= set(told["unchecked"])
    page = (tmp_path / "runs/some/page.html").read_text()
    assert "Nothing of it" not in page and "Not checked this time: " in page
    assert re.search("Not checked this time: .*empty-file", page)
    assert re.search("Not checked this time: .*empty-file", answer.out)
    (tmp_path / "mended").mkdir()
    next(images.rglob("train/NORMAL/*.png")).unlink()
    whole = verify("--baseline", "runs/first", "--json", data=images).report
    assert whole["result"]["baseline"]["unchecked"] == []


def test_a_baseline_that_is_none_is_said_before_the_work(verify):
    answer = verify("--baseline", "nowhere.json")
    assert answer.code == 3 and "nowhere.json" in answer.err


# -- page, interrupt ---------------------------------------------------------------------------


def test_the_page_names_what_was_found(verify, images, tmp_path):
    file = next(images.rglob("*.png"))
    file.write_bytes(b"")
    answer = verify("--html", "--name", "seen", "--json", data=images)
    page = (tmp_path / "runs" / "seen" / answer.report["result"]["page"]).read_text()
    assert file.name in page and "empty-file" in page and "phantom" in page.lower()


def test_an_interrupt_leaves_a_report_about_what_was_read(verify, monkeypatch, tmp_path):
    reached = []

    def interrupt_later(source, path):
        reached.append(path)
        if len(reached) == 70:
            raise KeyboardInterrupt
        return read(source, path)

    from medimg.core.index import FileSource

    read = FileSource.read
    monkeypatch.setattr(FileSource, "read", interrupt_later)
    monkeypatch.setattr("medimg.core.workers.cores", lambda: 1)
    answer = verify("--name", "part")
    assert answer.code == 130, answer.err
    report = json.loads((tmp_path / "runs" / "part" / "report.json").read_text())
    assert report["result"]["partial"] == report["result"]["files"] - 64
    assert report["dataset"]["fingerprint"] is None
    assert not [f for f in report["findings"] if f["check"] in ("unreadable", "truncated")]
    assert "not read" in answer.out and "Interrupted after 64 of" in answer.err
    monkeypatch.setattr(FileSource, "read", read)
    assert verify("--json").report["result"]["from_cache"] == 64


def test_an_interrupt_during_the_checks_leaves_a_report_too(verify, monkeypatch, tmp_path):
    def interrupt(context):
        raise KeyboardInterrupt

    monkeypatch.setattr("medimg.checks.imbalance.check", interrupt)
    answer = verify("--name", "part")
    assert answer.code == 130
    checks = json.loads((tmp_path / "runs/part/report.json").read_text())["result"]["checks"]
    assert checks["blank"]["status"] == "ok"
    assert checks["imbalance"]["status"] == checks["unreadable"]["status"] == "skipped"
    assert "interrupted" in checks["unreadable"]["reason"]
    monkeypatch.undo()


def test_an_interrupt_during_the_checks_is_told_everywhere(verify, monkeypatch, tmp_path):
    def interrupt(context):
        raise KeyboardInterrupt

    verify("--name", "first")
    monkeypatch.setattr("medimg.checks.blank.check", interrupt)
    answer = verify(
        "--name", "part", "--html", "--write-clean", "clean.csv", "--baseline", "runs/first"
    )
    monkeypatch.undo()
    report = json.loads((tmp_path / "runs/part/report.json").read_text())
    result = report["result"]
    assert result["interrupted"] is True and result["partial"] == 0
    assert result["clean"] is None and not (tmp_path / "clean.csv").exists()
    assert "clean.csv is not written" in answer.err
    assert "not run" in answer.out and "Partial" in answer.out
    page = (tmp_path / "runs/part/page.html").read_text()
    assert "This report is partial" in page and "so far" in page
    assert "Nothing of it is still there" not in page


def test_files_that_nobody_read_are_not_called_fine(verify, monkeypatch, tmp_path):
    from medimg.core.index import FileSource

    def interrupt(source, path):
        raise KeyboardInterrupt

    monkeypatch.setattr(FileSource, "read", interrupt)
    monkeypatch.setattr("medimg.core.workers.cores", lambda: 1)
    answer = verify("--name", "none", "--no-cache")
    monkeypatch.undo()
    assert answer.code == 130
    result = json.loads((tmp_path / "runs/none/report.json").read_text())["result"]
    assert result["partial"] == result["files"]
    for name in ("truncated", "blank", "exact-duplicates", "near-duplicates", "odd-size"):
        assert result["checks"][name]["status"] == "skipped", name
        assert "not read" in result["checks"][name]["reason"], name
    # class folders are seen without reading a file
    assert result["checks"]["one-class"]["status"] == "ok"


def test_a_check_that_takes_long_after_an_interrupt_is_stopped(monkeypatch):
    import time

    from medimg.core import checking
    from medimg.core.types import DatasetIndex

    monkeypatch.setattr(checking, "AFTER_INTERRUPT_S", 0.1)
    index = DatasetIndex("d", Path("d"), "folder", None, (), ("a", "b"))
    context = checking.CheckContext(index, checking.PartialScan({}, missing=3))

    def slow(_context):
        time.sleep(20)

    started = time.perf_counter()
    outcomes = checking.run_checks(
        {"slow": slow, "quick": lambda _: []}, context, interrupts=Interrupts()
    )
    assert time.perf_counter() - started < 10
    assert outcomes["slow"].reason == checking.NOT_RUN and outcomes["quick"].status == "ok"


def test_all_checks_together_are_stopped_after_an_interrupt(monkeypatch):
    import time

    from medimg.core import checking
    from medimg.core.types import DatasetIndex

    monkeypatch.setattr(checking, "CHECKS_AFTER_INTERRUPT_S", 0.3)
    index = DatasetIndex("d", Path("d"), "folder", None, (), ("a", "b"))

    def runs(scan):
        checks = dict.fromkeys(map(str, range(12)), lambda _: time.sleep(0.1) or [])
        context = checking.CheckContext(index, scan)
        outcomes = checking.run_checks(checks, context, interrupts=Interrupts())
        return [outcomes[name].status for name in checks]

    stopped = runs(checking.PartialScan({}, missing=3))
    assert stopped[0] == "ok" and set(stopped[4:]) == {"skipped"}
    assert set(runs({})) == {"ok"}


def test_pictures_that_take_long_after_an_interrupt_are_left_out(verify, monkeypatch, tmp_path):
    def interrupt(context):
        raise KeyboardInterrupt

    for place in ("0.png", "1.png"):
        (tmp_path / "set" / "a").mkdir(parents=True, exist_ok=True)
        (tmp_path / "set" / "b").mkdir(parents=True, exist_ok=True)
        for label in "ab":
            pixels = np.full((40, 40), int(place[0]) + (label == "b"), np.uint8)
            cv2.imwrite(str(tmp_path / "set" / label / place), pixels)
    monkeypatch.setattr("medimg.commands.verify.PICTURES_AFTER_INTERRUPT_S", -1.0)
    monkeypatch.setattr("medimg.checks.unreadable.check", interrupt)
    assert verify("--html", "--name", "part", data=tmp_path / "set").code == 130
    page = (tmp_path / "runs/part/page.html").read_text()
    assert "picture left out: the command was interrupted" in page
    assert "data:image/png" not in page
    monkeypatch.undo()


@pytest.mark.slow
def test_ctrl_c_ends_soon_and_a_second_one_at_once(tmp_path, shared_data):
    import signal
    import subprocess
    import sys
    import time

    line = [sys.executable, "-m", "medimg", "verify", str(shared_data / "chest_xray_kermany")]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}

    def interrupted(name, presses):
        started = subprocess.Popen(
            [*line, "--no-cache", "--html", "--name", name],
            cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True, start_new_session=True,
        )  # fmt: skip
        until = time.monotonic() + 30
        # its processes are there: it reads
        while time.monotonic() < until and not children(started.pid):
            time.sleep(0.02)
        time.sleep(0.5)
        begun = time.monotonic()
        for _ in range(presses):
            os.killpg(started.pid, signal.SIGINT)
            time.sleep(0.05)
        said = started.communicate(timeout=60)[1]
        assert started.returncode == 130 and "Traceback" not in said
        return time.monotonic() - begun

    # two seconds where nobody else works; a quarter of a machine is given four times as long
    assert interrupted("once", 1) < 8
    assert (tmp_path / "runs/once/report.json").exists()
    assert interrupted("twice", 2) < 4


def children(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def test_an_interrupt_before_the_files_says_that_nothing_is_written(verify, monkeypatch, tmp_path):
    def interrupt(*arguments, **more):
        raise KeyboardInterrupt

    monkeypatch.setattr("medimg.opening.open_dataset", interrupt)
    answer = verify("--name", "none")
    assert answer.code == 130 and "no report was written" in answer.err
    assert not (tmp_path / "runs" / "none").exists()


def test_a_clean_index_says_what_it_does_not_mend(verify, tmp_path):
    import cv2
    import numpy as np

    for n in range(4):
        (tmp_path / "one/sick").mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(n).integers(0, 256, (20, 20), np.uint8)
        cv2.imwrite(str(tmp_path / f"one/sick/{n}.png"), pixels)
    answer = verify("--write-clean", "clean.csv", data=tmp_path / "one")
    assert "does not mend one-class" in answer.err and "Next: medimg verify clean.csv" in answer.out


# -- the next step -----------------------------------------------------------------------------


def test_faults_of_the_baseline_are_allowed_by_name(verify, images):
    files = sorted(images.rglob("train/NORMAL/*.png"))
    files[0].write_bytes(b"")
    verify("--name", "first", data=images)
    answer = verify("--baseline", "runs/first", data=images)
    assert f"Next: medimg train {images} --allow " in answer.out
    assert "--allow unreadable" in answer.out and "--allow empty-file" not in answer.out


def test_a_dataset_that_is_read_wrongly_is_not_trained_on():
    from medimg.commands.verify import Verified, next_step
    from medimg.core.types import Finding

    wrong = Finding("wrong-level", "warning", "the classes are one level down")
    assert "wrong-level first" in next_step("d", Verified({}, (wrong,)))
    blurred = Finding("blur", "warning", "2 are blurred")
    assert next_step("d", Verified({}, (blurred,))) == "Next: medimg train d"


def test_hints_name_the_dataset_as_it_was_typed(verify, images):
    (images / "train" / "NORMAL" / "Thumbs.db").write_bytes(b"x")
    assert " DATASET" not in verify(data=images).out
