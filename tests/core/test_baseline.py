"""What is new beside an earlier report."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest

from medimg.core.baseline import beside, read_baseline
from medimg.core.errors import InputError
from medimg.core.types import Finding


def finding(check: str, *files: str, severity: str = "warning", count: int | None = None):
    items = tuple({"file": f, "value": 0.5} for f in files)
    return Finding(check, severity, f"{len(files)} files", count or len(files), items)  # type: ignore[arg-type]


def accepted(*findings: Finding) -> list[dict]:
    return [asdict(f) for f in findings]


def test_the_same_is_known():
    blur = finding("blur", "a.png", "b.png")
    assert beside([blur], accepted(blur)) == ((), (blur,))


def test_new_items_stay_and_say_so():
    new, old = beside([finding("blur", "a.png", "c.png")], accepted(finding("blur", "a.png")))
    assert [row["file"] for row in new[0].items] == ["c.png"]
    assert new[0].count == 1 and "1 of them new" in new[0].message
    assert [row["file"] for row in old[0].items] == ["a.png"]


def test_the_same_files_under_another_check_or_worse_are_new():
    blur = finding("blur", "a.png")
    for other in (finding("blank", "a.png"), finding("blur", "a.png", severity="error")):
        assert beside([other], accepted(blur)) == ((other,), ())


def test_a_fault_that_became_milder_is_known():
    assert beside([finding("x", "a")], accepted(finding("x", "a", severity="error")))[0] == ()


def test_measured_numbers_do_not_make_an_item_new():
    before = Finding("patients", "info", "", 1, ({"patient": "p1", "share": 0.3},))
    now = Finding("patients", "info", "", 1, ({"patient": "p1", "share": 0.4},))
    assert beside([now], accepted(before))[0] == ()


def test_groups_of_files_are_compared_as_a_whole():
    before = Finding("copies", "error", "", 1, ({"files": ["a", "b"]},))
    turned = Finding("copies", "error", "", 1, ({"files": ["b", "a"]},))
    larger = Finding("copies", "error", "", 1, ({"files": ["a", "b", "c"]},))
    assert beside([turned], accepted(before))[0] == ()
    assert beside([larger], accepted(before))[0] == (larger,)


def test_without_items_the_check_alone_counts():
    said = Finding("imbalance", "warning", "3 to 1")
    assert beside([Finding("imbalance", "warning", "4 to 1")], accepted(said))[0] == ()


def test_a_list_that_was_cut_off_is_known_until_there_are_more():
    files = [f"{n}.png" for n in range(1000)]
    before = accepted(finding("blur", *files, count=1500))
    same = finding("blur", *files[500:], "other.png", count=1500)
    assert beside([same], before)[0] == ()
    more = finding("blur", *files[500:], "other.png", count=1502)
    assert beside([more], before)[0][0].count == 2


def test_what_is_new_beyond_all_lists_is_not_known():
    files = [f"{n}.png" for n in range(1000)]
    before = accepted(finding("blur", *files, count=1500))
    ((new,), (old,)) = beside([finding("blur", *files, count=1501)], before)
    assert (new.count, new.items) == (1, ()) and "(1 of them new)" in new.message
    assert old.count == 1500
    assert beside([finding("blur", *files, count=1500)], before)[0] == ()


@pytest.mark.parametrize("text", [None, "{", "[]", '{"command": "inspect"}'])
def test_what_is_no_report_of_verify_is_refused(tmp_path, text):
    file = tmp_path / "report.json"
    if text is not None:
        file.write_text(text)
    with pytest.raises(InputError) as error:
        read_baseline(file)
    assert "medimg verify" in error.value.hint


def test_what_an_earlier_baseline_had_is_known_too(tmp_path):
    known = asdict(finding("blur", "a.png"))
    report = {"command": "verify", "findings": [], "result": {"baseline": {"findings": [known]}}}
    (tmp_path / "report.json").write_text(json.dumps(report))
    assert read_baseline(tmp_path) == [known | {"items": list(known["items"])}]


def test_a_baseline_of_other_data_is_told(tmp_path):
    from medimg.core.baseline import other_dataset

    report = {"command": "verify", "dataset": {"name": "skin", "classes": {"mel": 1, "nev": 2}}}
    file = tmp_path / "report.json"
    file.write_text(json.dumps(report))
    assert other_dataset(file, "chest", ["NORMAL", "SICK"]) == "skin"
    assert other_dataset(file, "skin", ["mel"]) is None
    # the folder was renamed
    assert other_dataset(file, "skin2", ["mel", "nev"]) is None
