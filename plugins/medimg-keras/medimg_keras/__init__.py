"""The Keras backend of medimg: what the plugin offers, without importing a framework."""

from __future__ import annotations

from medimg.api import BackendInfo, hookimpl

__version__ = "0.1.0"


@hookimpl
def medimg_backends() -> list[BackendInfo]:
    return [
        BackendInfo(
            name="keras",
            summary="Keras 3 on TensorFlow",
            target="medimg_keras.engine:KerasBackend",
            requires=("tensorflow", "keras"),
            install_hint='pip install "medimg[keras]"',
        )
    ]
