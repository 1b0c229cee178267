"""The PyTorch backend of medimg: what the plugin offers, without importing a framework."""

from __future__ import annotations

from medimg.api import BackendInfo, hookimpl

__version__ = "0.1.0"


@hookimpl
def medimg_backends() -> list[BackendInfo]:
    return [
        BackendInfo(
            name="torch",
            summary="PyTorch",
            target="medimg_torch.engine:TorchBackend",
            requires=("torch", "safetensors"),
            install_hint='pip install "medimg[torch]"',
        )
    ]
