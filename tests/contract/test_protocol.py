"""Every backend keeps the protocol, and the kit that says so finds what is broken."""

from __future__ import annotations

import importlib
from dataclasses import replace
from types import ModuleType

import numpy as np
import pytest

from medimg.api import (
    BackendError,
    BackendInfo,
    BackendInfo as Info,
    LoadReport,
    hookimpl,
)
from medimg.manager import plugins
from medimg.testing import check_backend, check_metric, check_plugin, check_sampler

linear = pytest.importorskip("medimg_linear.engine", reason="medimg-linear is not installed")
