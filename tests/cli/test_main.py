"""The error boundary: what, where, the next step, and the exit code; no traceback."""

from __future__ import annotations

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
