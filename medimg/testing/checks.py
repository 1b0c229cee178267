"""Holds a dataset check and its findings to their promises."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

from medimg.api import Finding


def check_findings(findings: Iterable[Finding]) -> None:
    """Findings can stand in a report."""
    for finding in findings:
        assert isinstance(finding, Finding), f"{finding!r} is no Finding"
        assert finding.severity in ("info", "warning", "error"), (
            f"{finding.check}: the severity {finding.severity!r} is unknown"
        )
        assert finding.check and finding.message, "a finding lacks its check's name or its message"
        assert finding.count >= len(finding.items), (
            f"{finding.check}: {len(finding.items)} items, but count is {finding.count}"
        )
        try:
            json.dumps([dict(item) for item in finding.items], allow_nan=False)
        except (TypeError, ValueError) as error:
            raise AssertionError(f"{finding.check}: items must be JSON: {error}") from error


def check_check(check: Callable[[Any], list[Finding]], context: Any) -> list[Finding]:
    """Holds a dataset check to its promises on one CheckContext.

    Returns:
        its findings, for assertions about them.
    Raises:
        AssertionError: a promise is broken.
    """
    findings = check(context)
    assert isinstance(findings, list), f"a check returns a list of findings, not {findings!r}"
    check_findings(findings)
    assert check(context) == findings, "the same check finds something else the second time"
    return findings
