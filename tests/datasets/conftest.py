"""What the tests of layouts share."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _messages_are_told_in_spanish(told_in_spanish: None) -> None:
    """Every message that a test plants has its Spanish."""
