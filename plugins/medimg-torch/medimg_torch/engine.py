"""The PyTorch backend: what it runs on, and how networks are built and loaded."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from medimg.api import LoadReport, ModelSpec, RuntimeInfo
from medimg_torch.device import PRECISIONS, default_device, describe, make_deterministic
from medimg_torch.files import WEIGHTS, read_tensors
from medimg_torch.network import TorchNetwork
from medimg_torch.networks import BACKBONES, assemble
from medimg_torch.weights import draw


class TorchBackend:
    """PyTorch on the first GPU, else on the CPU."""

    def __init__(self) -> None:
        make_deterministic()
        self.device = default_device()

    def runtime(self) -> RuntimeInfo:
        return describe(self.device)

    def architectures(self) -> tuple[str, ...]:
        return tuple(BACKBONES)

    def build(
        self, spec: ModelSpec, seed: int, weights: Mapping[str, np.ndarray] | None = None
    ) -> tuple[TorchNetwork, LoadReport]:
        """A network drawn from `seed`, then `weights` put over it.

        Raises:
            BackendError: a model that this backend can't build.
        """
        parts = assemble(spec).on(self.device)
        draw(parts.weights, seed)
        network = TorchNetwork(spec, parts, self.device)
        return network, network.set_weights(weights) if weights is not None else LoadReport()

    def load(self, path: Path, spec: ModelSpec) -> TorchNetwork:
        """The network saved in the folder `path`, computing in the precision it was trained in.

        Raises:
            BackendError: the file is missing, damaged or of another model.
        """
        _, about = read_tensors(path / WEIGHTS)
        precision = about.get("precision", "")
        network = TorchNetwork(
            spec,
            assemble(spec).on(self.device),
            self.device,
            precision if precision in PRECISIONS else "float32",
        )
        network.restore(path)
        return network
