"""The error boundary: what, where, the next step, and the exit code; no traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import EntryPoint

import pytest

from medimg.cli.main import run
from medimg.core.errors import InputError, PluginError, Refused, UsageError


def test_unknown_command_names_the_near_miss(capsys):
    assert run(["verfy"]) == 2
    assert capsys.readouterr().err == (
        "Error: there is no command 'verfy'\n  Did you mean 'verify'?\n"
    )


def test_unknown_option_is_wrong_usage(capsys):
    assert run(["doctor", "--jsn"]) == 2
    assert "--json" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code"), [(Refused, 1), (UsageError, 2), (InputError, 3), (PluginError, 4)]
)
def test_expected_failures_print_no_traceback(monkeypatch, capsys, error, code):
    def fail(*_args, **_kwargs):
        raise error("labels.csv has no column 'dx'", "Say which: -o label=…")

    monkeypatch.setattr("medimg.core.report.json_schema", fail)

    assert run(["schema"]) == code
    assert capsys.readouterr().err == (
        "Error: labels.csv has no column 'dx'\n  Say which: -o label=…\n"
    )


def test_a_full_disk_is_named(monkeypatch, capsys):
    def fail():
        raise OSError(28, "No space left on device", "runs/x")

    monkeypatch.setattr("medimg.core.report.json_schema", fail)

    assert run(["schema"]) == 3
    assert capsys.readouterr().err.startswith("Error: the disk is full (runs/x)\n")


def test_interrupted(monkeypatch, capsys):
    def fail():
        raise KeyboardInterrupt

    monkeypatch.setattr("medimg.core.report.json_schema", fail)

    assert run(["schema"]) == 130
    assert capsys.readouterr().err.strip() == "Interrupted."


def test_the_unexpected_keeps_its_traceback(monkeypatch, capsys):
    def fail():
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr("medimg.core.report.json_schema", fail)

    assert run(["schema"]) == 4
    err = capsys.readouterr().err
    assert "Traceback" in err and "Please report it" in err


CODE = "from medimg.cli.main import main; main()"


def job_without_reader(lines_read: int, *line: str) -> tuple[int, bytes]:
    """Exit code and standard error where standard output is closed after so many lines."""
    job = subprocess.Popen(
        [sys.executable, "-u", "-c", CODE, *line], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert job.stdout is not None and job.stderr is not None
    for _ in range(lines_read):
        job.stdout.readline()
    job.stdout.close()
    told = job.stderr.read()
    return job.wait(60), told


@pytest.mark.parametrize("line", [["models"], ["--help"], ["verify", "--list"]])
@pytest.mark.parametrize("lines_read", [0, 1])
def test_a_reader_that_goes_away_ends_nothing(line, lines_read):
    assert job_without_reader(lines_read, *line) == (0, b"")


def test_the_report_is_written_whoever_listens(phantoms, tmp_path):
    """As in `medimg inspect DATASET | head -1`."""
    out = ("--out", str(tmp_path), "--name", "i")
    code, told = job_without_reader(1, "inspect", str(phantoms), *out)
    assert (code, told) == (0, b"")
    assert (tmp_path / "i" / "report.json").is_file()


@pytest.mark.parametrize("encoding", ["latin-1", "ascii", "utf-8"])
def test_any_encoding_of_the_terminal_will_do(encoding, draw_folder, tmp_path):
    data = draw_folder("Übung ü 日本", {s: {"a": 4, "b": 4} for s in ("train", "test")})
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    command = [sys.executable, "-c", CODE, "verify", str(data), "--out", str(tmp_path / "r")]
    job = subprocess.run(command, env=environment, capture_output=True, check=False)
    assert b"Traceback" not in job.stderr, job.stderr
    assert job.returncode in (0, 1)
    assert list((tmp_path / "r").glob("*/report.json"))


@pytest.mark.parametrize("seed", ["-1", "4294967296", "x"])
def test_a_seed_that_is_none(medimg, phantoms, seed):
    answer = medimg("split", phantoms, "--seed", seed)
    assert answer.code == 2 and "--seed" in answer.err


@pytest.mark.parametrize("name", ["../esc", "a/b", "..", ".", "", "/tmp/x", "a\\b"])
def test_a_name_leads_nowhere_else(medimg, phantoms, tmp_path, name):
    answer = medimg("inspect", phantoms, "--name", name, "--out", "o")
    assert answer.code == 2, answer.err
    assert "is not the name of a folder" in answer.err and "--out DIR" in answer.err
    assert list(tmp_path.iterdir()) == []


def test_a_plugin_that_takes_a_commands_name_breaks_nothing(monkeypatch, capsys):
    import types

    from medimg import manager
    from medimg.hookspecs import CommandInfo, hookimpl

    for name in ("rival", "twin"):
        module = types.ModuleType(name)
        offered = [CommandInfo("doctor", "steals", "os:x"), CommandInfo("tidy", "tidies", "os:x")]
        module.medimg_commands = hookimpl(lambda offered=offered: offered)  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, name, module)
    points = [EntryPoint(n, n, "medimg") for n in ("rival", "twin")]
    made = manager.PluginManager([*points, EntryPoint("builtin", "medimg.builtin", "medimg")])
    monkeypatch.setattr(manager, "plugins", lambda: made)

    assert run(["plugins"]) == 0
    assert "left out" in capsys.readouterr().out
    assert run(["doctor", "--help"]) == 0
    assert run(["--help"]) == 0
    assert "tidy" not in capsys.readouterr().out
    assert run(["tidy"]) == 2
    err = capsys.readouterr().err
    assert "two plugins offer the command 'tidy': rival and twin" in err
    assert "pip uninstall" in err
