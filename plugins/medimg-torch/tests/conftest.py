"""PyTorch on one thread: the networks here are too small for more."""

from __future__ import annotations

import pytest
import torch

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def backend():
    from medimg_torch.engine import TorchBackend

    return TorchBackend()
