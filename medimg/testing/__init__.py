"""The kit for plugin authors: does a plugin keep the promises that medimg relies on?

Plain assertions with messages, for any test runner:

    from medimg.testing import check_backend, check_dataset, check_plugin

    def test_backend(tmp_path):
        check_backend(MyBackend(), tmp_path)

    def test_layout(tmp_path):
        index = check_dataset(MyLayout(), write_a_small_set(tmp_path))
        assert index.classes == ("NORMAL", "PNEUMONIA")

    def test_plugin():
        check_plugin(my_plugin)

Each function goes on to the first broken promise and raises AssertionError naming it.
"""

from __future__ import annotations

from medimg.testing.backends import BACKEND_CHECKS, SPECS, Trial, check_backend
from medimg.testing.checks import check_check, check_findings
from medimg.testing.datasets import check_dataset, check_index
from medimg.testing.metrics import check_metric
from medimg.testing.plugins import check_plugin
from medimg.testing.samplers import check_sampler

__all__ = [
    "BACKEND_CHECKS",
    "SPECS",
    "Trial",
    "check_backend",
    "check_check",
    "check_dataset",
    "check_findings",
    "check_index",
    "check_metric",
    "check_plugin",
    "check_sampler",
]
