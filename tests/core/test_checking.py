"""Checks are kept apart: whatever one does, the others run, and what is not known is said."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from medimg.core.checking import CheckContext, run_checks
from medimg.core.errors import PluginError
from medimg.core.types import DatasetIndex, Finding


@pytest.fixture
def context() -> CheckContext:
    index = DatasetIndex("d", Path("d"), "folder", None, (), ("a", "b"))  # type: ignore[arg-type]
    return CheckContext(index, {})


def fine(_context: CheckContext) -> list[Finding]:
    return [Finding("fine", "info", "looked")]


@pytest.mark.parametrize(
    "act, reason",
    [
        (lambda: sys.exit(9), "SystemExit: 9"),
        (lambda: (_ for _ in ()).throw(GeneratorExit()), "GeneratorExit: "),
        (lambda: 1 / 0, "ZeroDivisionError: division by zero"),
    ],
)
def test_a_check_that_ends_the_program_is_skipped_and_the_others_run(context, act, reason):
    outcomes = run_checks({"rude": lambda _: act(), "fine": fine}, context)
    assert (outcomes["rude"].status, outcomes["rude"].failed) == ("skipped", True)
    assert outcomes["rude"].reason == reason
    # a warning: a verify that could not look must not count as one that found nothing
    (finding,) = outcomes["rude"].findings
    assert (finding.check, finding.severity) == ("rude", "warning")
    assert "not known" in finding.message and reason in finding.message and finding.hint
    assert outcomes["fine"].status == "ok"


def test_a_check_that_cannot_be_imported_is_skipped(context):
    from medimg.hookspecs import CheckInfo
    from medimg.manager import PluginManager

    manager = PluginManager([])
    offered = {"far:off": CheckInfo("far:off", "x", "no_such_module:check")}
    checks = {**manager.functions(offered), "fine": fine}
    outcomes = run_checks(checks, context)
    assert outcomes["far:off"].failed and "no_such_module" in str(outcomes["far:off"].reason)
    assert outcomes["fine"].status == "ok"
    with pytest.raises(PluginError):
        checks["far:off"](context)


def test_an_interrupt_still_interrupts(context):
    def interrupted(_context: CheckContext) -> list[Finding]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_checks({"slow": interrupted}, context)
