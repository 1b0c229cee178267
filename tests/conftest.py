"""What tests share: the real samples, which lie beside the checkout where there are any."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

SAMPLES = Path(__file__).resolve().parents[2] / "shared" / "data" / "dev"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real samples; skips where there is none.

    MEDIMG_REQUIRE_SAMPLES=1, which .ci/run sets where the folder exists, makes that a failure.
    """
    if SAMPLES.is_dir():
        return SAMPLES
    if os.environ.get("MEDIMG_REQUIRE_SAMPLES") == "1":
        pytest.fail(f"the real samples are required and {SAMPLES} is not there")
    pytest.skip(f"no real samples at {SAMPLES}")
