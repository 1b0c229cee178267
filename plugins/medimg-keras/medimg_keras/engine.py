"""The Keras backend: what it runs on, and how networks are built and loaded."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from medimg.api import LoadReport, ModelSpec, RuntimeInfo
from medimg_keras.applications import is_application, own_scaling, resolved
from medimg_keras.architectures import ARCHITECTURES, assemble
from medimg_keras.network import MODEL, KerasNetwork, saved_precision
from medimg_keras.parameters import draw_weights
from medimg_keras.pretrained import read_weights
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
        """`keras:*` stands for every network of keras.applications."""
        return ARCHITECTURES

    def build(
        self, spec: ModelSpec, seed: int, weights: Mapping[str, np.ndarray] | None = None
    ) -> tuple[KerasNetwork, LoadReport]:
        """A network drawn from `seed`, then `weights` put over it.

        Raises:
            BackendError: a model that this backend can't build.
            UsageError: keras.applications has no such network.
        """
        spec = resolved(spec)
        parts = assemble(spec, seed)
        draw_weights([p for p in parts.parameters if p.stage >= parts.drawn_from], seed)
        network = KerasNetwork(spec, parts)
        return network, network.set_weights(weights) if weights is not None else LoadReport()

    def read_weights(self, source: str, network: KerasNetwork) -> dict[str, np.ndarray]:
        """The arrays of `imagenet` or of a file, under the names of `network` where they have one.

        Raises:
            UsageError: there are no ImageNet weights for this network.
            InputError: the file is missing, broken, or not one of this backend's.
            BackendError: the download failed; the hint says how to bring the file.
        """
        return read_weights(source, network.spec, network.parts)

    def pretrained_scaling(self, architecture: str) -> str | None:
        """What a network's preprocess_input does; None for one that keras.applications lacks."""
        return own_scaling(architecture) if is_application(architecture) else None

    def load(self, path: Path, spec: ModelSpec) -> KerasNetwork:
        """The network saved in the folder `path`, computing in the precision it was trained in.

        Raises:
            BackendError: the file is missing, damaged or of another model.
        """
        spec = resolved(spec)
        network = KerasNetwork(spec, assemble(spec))
        if (path / MODEL).is_file():
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
