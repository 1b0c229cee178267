"""Ctrl-C while verify is at work: once its scan has begun a report is left, whatever was cut."""

from __future__ import annotations

import importlib
import json
import shutil
import signal
from pathlib import Path

import pytest

from medimg.core.interrupts import Interrupts

RUN = Path("runs/part")
# after the files were read: all that a report needs is known, or can be in a second
LATE = [
    "medimg.core.scan_cache:ScanCache.keep",
    "medimg.core.checking:CheckContext.readable",
    "medimg.commands.verify:judged_now",
    "medimg.core.index:fingerprint",
    "medimg.core.scan_cache:ScanCache.keep_judged",
    "medimg.reports.findings:say_findings",
    "medimg.reports.findings:say_fine",
    "medimg.core.clean_index:clean",
    "medimg.core.index:write_index_csv",
    "medimg.core.runs:write_run_splits",
    "medimg.core.report:build",
    "medimg.core.report:write_atomically",
    "medimg.core.report:read_report",
    "medimg.reports.html:verify_page",
    "medimg.reports.thumbnails:Thumbnails.of",
    "medimg.reports.html:write_page",
]


@pytest.fixture
def press(monkeypatch):
    """Presses Ctrl-C, so often in a row, when a function is called the first time."""

    def on(target: str, times: int = 1) -> list[int]:
        module, _, name = target.partition(":")
        holder = importlib.import_module(module)
        *path, last = name.split(".")
        for part in path:
            holder = getattr(holder, part)
        real = getattr(holder, last)
        pressed: list[int] = []

        def pressing(*arguments, **named):
            while len(pressed) < times:
                pressed.append(1)
                signal.raise_signal(signal.SIGINT)
            return real(*arguments, **named)

        monkeypatch.setattr(holder, last, pressing)
        return pressed

    return on


@pytest.fixture
def verify(medimg, draw_folder):
    """Verifies two classes of pictures as `part`; one is empty and one a copy."""
    data = draw_folder("set", {"": {"a": 6, "b": 6}})
    (data / "a" / "a9.png").write_bytes(b"")
    shutil.copy(data / "a" / "a0.png", data / "a" / "a8.png")
    return lambda *more: medimg("verify", data, "--name", "part", *more)


@pytest.mark.parametrize("stage", LATE)
def test_an_interrupt_after_the_files_were_read_leaves_all_that_is_known(verify, press, stage):
    pressed = press(stage)
    answer = verify("--html", "--write-clean", "clean.csv")
    assert pressed, "this stage was not reached"
    assert answer.code == 130 and answer.err.strip().endswith("Interrupted.")
    report = json.loads((RUN / "report.json").read_text())
    assert report["result"]["partial"] == 0 and report["dataset"]["images"] == 14
    assert (RUN / "page.html").is_file() and f"Report: {RUN / 'report.json'}" in answer.out
    left_out = [
        c for c in report["result"]["checks"].values() if "interrupted" in (c["reason"] or "")
    ]
    assert report["result"]["interrupted"] == bool(left_out)
    if stage not in LATE[:2]:
        # of the checks none was cut
        assert {"empty-file", "exact-duplicates"} <= {f["check"] for f in report["findings"]}
        assert not left_out
    # what the report says of the clean index is what lies there
    assert (report["result"]["clean"] == "clean.csv") == Path("clean.csv").exists()


def test_an_interrupt_while_records_are_kept_loses_none_of_them(verify, press, medimg):
    press("medimg.core.scan_cache:ScanCache.keep")
    verify()
    assert json.loads((RUN / "report.json").read_text())["result"]["interrupted"] is False
    again = medimg("verify", "set", "--json")
    assert again.report["result"]["from_cache"] == 14


@pytest.mark.parametrize("stage", ["medimg.core.scan_cache:ScanCache.keep", LATE[5], LATE[-3]])
def test_a_second_interrupt_ends_it_at_once(verify, press, stage):
    press(stage, times=2)
    answer = verify("--html")
    assert answer.code == 130 and answer.err.strip().endswith("Interrupted.")
    assert not (RUN / "page.html").exists()


def test_ctrl_c_means_afterwards_what_it_meant_before(verify, press):
    before = signal.getsignal(signal.SIGINT)
    press(LATE[2])
    verify()
    assert signal.getsignal(signal.SIGINT) is before


def test_pictures_end_with_an_interrupt_of_the_page(verify, press):
    press("medimg.reports.html:verify_page")
    verify("--html")
    page = (RUN / "page.html").read_text()
    assert "picture left out: the command was interrupted" in page
    assert "This report is partial" not in page


# -- by itself -----------------------------------------------------------------------------------


def test_work_that_may_be_left_is_cut_and_other_work_is_not():
    done = []

    def work():
        done.append("begun")
        signal.raise_signal(signal.SIGINT)
        done.append("not cut")

    with Interrupts() as interrupts:
        interrupts.leave_off(work)
        assert (done, interrupts.pressed) == (["begun"], True)
    done.clear()
    with Interrupts() as interrupts:
        work()
        assert (done, interrupts.pressed) == (["begun", "not cut"], True)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_an_interrupt_that_came_before_is_minded_when_work_begins():
    with Interrupts() as interrupts:
        signal.raise_signal(signal.SIGINT)
        interrupts.leave_off(lambda: pytest.fail("it was done"))


def test_an_interrupt_that_is_raised_again_counts_once():
    """Python could not raise it at the moment when it came (`medimg.cli.interrupt`)."""
    with Interrupts() as interrupts:
        signal.raise_signal(signal.SIGINT)
        Interrupts.repeated = True
        signal.raise_signal(signal.SIGINT)
        assert interrupts.pressed


def test_who_ignores_interrupts_is_not_interrupted():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Interrupts() as interrupts:
            signal.raise_signal(signal.SIGINT)
            assert not interrupts.pressed
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
