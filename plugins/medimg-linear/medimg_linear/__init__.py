"""The linear baseline of medimg: what the plugin offers, without importing NumPy."""

from __future__ import annotations

from medimg.api import BackendInfo, RegistryInfo, hookimpl

__version__ = "0.1.0"


@hookimpl
def medimg_backends() -> list[BackendInfo]:
    return [
        BackendInfo(
            name="linear",
            summary="logistic regression on standardised pixels (NumPy): the baseline to beat",
            target="medimg_linear.engine:LinearBackend",
            requires=("numpy", "threadpoolctl"),
            install_hint='pip install "medimg[linear]"',
        )
    ]


@hookimpl
def medimg_registry() -> list[RegistryInfo]:
    return [RegistryInfo(name="linear", target="medimg_linear:registry.yaml")]
