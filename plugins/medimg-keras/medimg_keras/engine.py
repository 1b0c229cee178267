"""The Keras backend: what it runs on, and how networks are built and loaded."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from medimg.api import LoadReport, ModelSpec, RuntimeInfo
from medimg_keras.architectures import BACKBONES, assemble, draw_weights
from medimg_keras.network import MODEL, KerasNetwork, saved_precision
from medimg_keras.startup import GPUS, keras, tf

CPU_INFO = Path("/proc/cpuinfo")


class KerasBackend:
    """Keras 3 on TensorFlow."""

    def runtime(self) -> RuntimeInfo:
        """The first GPU where TensorFlow sees one, else the CPU."""
        device, bfloat16 = gpu() if GPUS else cpu()
        return RuntimeInfo(
            name="keras",
            version=f"keras {keras.__version__} / tensorflow {tf.__version__}",
            device=device,
            bfloat16=bfloat16,
            accelerator=bool(GPUS),
        )

    def architectures(self) -> tuple[str, ...]:
        return tuple(BACKBONES)

    def build(
        self, spec: ModelSpec, seed: int, weights: Mapping[str, np.ndarray] | None = None
    ) -> tuple[KerasNetwork, LoadReport]:
        """A network drawn from `seed`, then `weights` put over it.

        Raises:
            BackendError: a model that this backend can't build.
        """
        parts = assemble(spec)
        draw_weights(parts, seed)
        network = KerasNetwork(spec, parts)
        return network, network.set_weights(weights) if weights is not None else LoadReport()

    def load(self, path: Path, spec: ModelSpec) -> KerasNetwork:
        """The network saved in the folder `path`, computing in the precision it was trained in.

        Raises:
            BackendError: the file is missing, damaged or of another model.
        """
        network = KerasNetwork(spec, assemble(spec))
        network.compute_in(saved_precision(path / MODEL))
        network.restore(path)
        return network


def gpu() -> tuple[str, bool]:
    """The GPU's name, and whether it computes in bfloat16 (compute capability 8 and above)."""
    details = tf.config.experimental.get_device_details(GPUS[0])
    name = details.get("device_name", "GPU")
    return f"gpu ({name})", details.get("compute_capability", (0, 0)) >= (8, 0)


def cpu() -> tuple[str, bool]:
    """The CPU, and whether it multiplies matrices in bfloat16 (AMX)."""
    amx = CPU_INFO.exists() and "amx_bf16" in CPU_INFO.read_text(errors="replace")
    return f"cpu ({platform.machine()})" if platform.machine() else "cpu", amx
