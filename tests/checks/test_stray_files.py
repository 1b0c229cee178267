"""Files beside the images that are no images."""

from __future__ import annotations


def test_strays_are_information_and_named(planted, run_check, small_set):
    strays = {"train/a/.DS_Store": b"\0\0\0\1Bud1", "__MACOSX/train/a/._p0_1.png": b"x"}
    context = planted(small_set | strays)
    (finding,) = run_check("stray-files", context)
    assert finding.severity == "info"
    assert {row["file"] for row in finding.items} >= {"train/a/.DS_Store"}
    assert len(context.index) == len(small_set)
