"""The envelope: real reports fit the schema, NaN is null, writing is all or nothing."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import jsonschema
import numpy as np
import pytest

from medimg.cli.main import run
from medimg.core.errors import InputError
from medimg.core.report import (
    build,
    check_shape,
    finite,
    json_schema,
    read_report,
    to_json,
    write_atomically,
)
from medimg.core.types import Finding

LINEAR = ("--backend", "linear", "--image-size", "32")
TRAIN = (*LINEAR, "--epochs", "2")


@pytest.fixture(scope="module")
def reports(phantoms, tmp_path_factory) -> dict[str, dict]:
    """The report of each command on phantoms, as it stands on disk."""
    out = tmp_path_factory.mktemp("reports")
    data, one = str(phantoms), str(out / "train")
    picture = str(next(phantoms.rglob("*.png")))
    lines = {
        "inspect": [data],
        "verify": [data],
        "split": [data],
        "balance": [data],
        "lr-find": [data, *LINEAR],
        "train": [data, *TRAIN],
        "finetune": [one, "--epochs", "1"],
        "predict": [one, picture],
    }
    for command, line in lines.items():
        assert run([command, *line, "--out", str(out), "--name", command, "-q"]) in (0, 1)
    for folder in ("train", "finetune"):
        assert run(["evaluate", str(out / folder), "--resamples", "100", "-q"]) == 0
    pair = [one, str(out / "finetune")]
    named = ["--out", str(out), "--name", "compare", "-q", "--resamples", "100"]
    assert run(["compare", *pair, *named]) == 0
    files = {command: out / command / "report.json" for command in (*lines, "compare")}
    files["evaluate"] = out / "train" / "evaluate" / "test" / "report.json"
    return {command: json.loads(file.read_text()) for command, file in files.items()}


@pytest.mark.parametrize(
    "command",
    [
        "inspect", "verify", "split", "balance", "lr-find", "train", "finetune", "predict",
        "evaluate", "compare",
    ],
)  # fmt: skip
def test_a_real_report_fits_the_schema(reports, command):
    report = reports[command]
    assert report["command"] == command
    jsonschema.Draft202012Validator(json_schema()).validate(report)
    assert check_shape(report) == []


def test_the_schema_refuses_what_is_no_report(reports):
    validator = jsonschema.Draft202012Validator(json_schema())
    report = reports["train"]
    for broken in (
        report | {"command": "trian"},
        report | {"result": report["result"] | {"surprise": 1}},
        report | {"seconds": "long"},
        {k: v for k, v in report.items() if k != "medimg"},
        report | {"findings": [{"check": "c", "severity": "bad", "message": "m"}]},
    ):
        assert not validator.is_valid(broken)
        assert check_shape(broken) != [] or broken["command"] == "trian"


def test_schema_prints_the_json_schema(capsys):
    assert run(["schema"]) == 0
    assert json.loads(capsys.readouterr().out) == json_schema()


def test_nothing_in_a_report_is_nan():
    data = finite(
        {
            "a": float("nan"),
            "b": [np.float32("inf"), np.float64(1.5)],
            "c": np.array([[1.0, np.nan]]),
            "d": (1, {"e": -np.inf}),
            3: Path("x/y"),
            "f": np.int64(4),
            "g": np.bool_(True),
        }
    )
    assert data == {
        "a": None, "b": [None, 1.5], "c": [[1.0, None]], "d": [1, {"e": None}], "3": "x/y",
        "f": 4, "g": True,
    }  # fmt: skip
    json.dumps(data, allow_nan=False)


def test_a_report_of_another_command_has_the_envelope():
    report = build(
        "strangers", {"x": float("nan")}, arguments=["a"], settings={"lr": np.float64("nan")},
        seed=1, seconds=0.12345, plugins={"p": "1"},
        findings=(Finding("c", "error", "m", 1, ({"file": "f"},)),),
    )  # fmt: skip
    data = json.loads(to_json(report))
    assert (data["schema"], data["result"], data["seconds"]) == (
        "medimg.report/1",
        {"x": None},
        0.123,
    )
    assert data["invocation"]["settings"] == {"lr": None}
    assert data["findings"][0]["items"] == [{"file": "f"}]


def test_bytes_that_are_no_text_are_escaped_in_a_report_and_kept_in_a_table(tmp_path):
    name = os.fsdecode(b"r\xe9sum\xe9.png")
    report = build(
        "strangers", {name: [name]}, arguments=[name], settings={"path": name}, seed=1,
        seconds=0.0, plugins={}, findings=(Finding("c", "info", name, 1, ({"file": name},)),),
    )  # fmt: skip
    write_atomically(tmp_path / "r.json", to_json(report))
    data = read_report(tmp_path / "r.json")
    assert data["result"] == {"r\\udce9sum\\udce9.png": ["r\\udce9sum\\udce9.png"]}
    assert data["findings"][0]["items"] == [{"file": "r\\udce9sum\\udce9.png"}]
    write_atomically(tmp_path / "t.csv", name)
    assert (tmp_path / "t.csv").read_bytes() == b"r\xe9sum\xe9.png"


# -- writing ----------------------------------------------------------------------------------


@pytest.mark.parametrize("call", ["replace", "fdopen", "chmod"])
def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, call):
    file = tmp_path / "report.json"
    write_atomically(file, "old")

    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, call, full)
    with pytest.raises(InputError, match="the disk is full: .*report.json") as caught:
        write_atomically(file, "new")
    assert "--out DIR" in caught.value.hint
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_a_folder_that_is_a_file(tmp_path):
    (tmp_path / "runs").write_text("x")
    with pytest.raises(InputError, match="can't be written"):
        write_atomically(tmp_path / "runs" / "a.json", "x")


def test_what_is_written_is_whole_and_readable_by_others(tmp_path):
    write_atomically(tmp_path / "deep" / "er" / "x", "äö")
    assert (tmp_path / "deep/er/x").read_bytes() == "äö".encode()
    assert (tmp_path / "deep/er/x").stat().st_mode & 0o777 == 0o644


@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="there is no /dev/full here")
def test_a_device_is_written_into_and_stays_a_device(tmp_path):
    device = tmp_path / "full"
    device.symlink_to("/dev/full")
    for path in (Path("/dev/full"), device):
        with pytest.raises(InputError, match="the disk is full"):
            write_atomically(path, "x")
    write_atomically(Path("/dev/null"), "x")
    assert Path("/dev/full").is_char_device() and Path("/dev/null").is_char_device()
    assert device.is_symlink()


def test_a_pipe_is_written_into(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    write_atomically(pipe, "told")
    assert os.read(reader, 100) == b"told"
    os.close(reader)
    assert pipe.is_fifo() and list(tmp_path.iterdir()) == [pipe]


def test_a_folder_is_not_replaced(tmp_path):
    (tmp_path / "d").mkdir()
    with pytest.raises(InputError, match="d is a folder"):
        write_atomically(tmp_path / "d", "x")


def test_a_link_keeps_pointing_where_it_did(tmp_path):
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to("real")
    write_atomically(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "real").read_text() == "new"


@pytest.mark.parametrize("text", ["{", "[]", '{"schema": "other/1"}', "\x00\xff"])
def test_what_is_no_report(tmp_path, text):
    (tmp_path / "r.json").write_text(text)
    with pytest.raises(InputError) as caught:
        read_report(tmp_path / "r.json")
    assert caught.value.hint
    with pytest.raises(InputError, match="does not exist"):
        read_report(tmp_path / "none.json")
