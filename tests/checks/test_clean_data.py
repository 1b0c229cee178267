"""Clean data stay silent: every built-in check, on data with nothing wrong."""

from __future__ import annotations

import pytest

from medimg.core.checking import READER_CHECKS, TABLE_CHECKS, NotApplicable, run_checks
from medimg.manager import plugins

NAMES = sorted(plugins().checks())
# what has nothing to look at in data that nobody published
ELSEWHERE = {"registry-mismatch"}


@pytest.mark.parametrize("name", NAMES)
def test_a_check_is_silent_on_clean_data(name, clean_context, run_check):
    try:
        assert run_check(name, clean_context) == []
    except NotApplicable:
        assert name in ELSEWHERE


def test_all_of_them_are_ok_and_none_is_skipped_for_lack_of_data(clean_context):
    manager = plugins()
    outcomes = run_checks(manager.functions(manager.checks()), clean_context)
    assert set(outcomes) >= {*NAMES, *READER_CHECKS}
    statuses = {name: (o.status, o.reason) for name, o in outcomes.items()}
    assert {s for name, (s, _) in statuses.items() if name in {*NAMES} - ELSEWHERE} == {"ok"}, (
        statuses
    )
    tables = {name for name, (status, _) in statuses.items() if status == "skipped"}
    assert tables == ELSEWHERE | TABLE_CHECKS
