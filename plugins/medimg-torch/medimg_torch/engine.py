"""The PyTorch backend: what it runs on, and how networks are built and loaded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from medimg.api import LoadReport, ModelSpec, RuntimeInfo
from medimg_torch.backbones import built_by_timm, pretrained_config, resolved
from medimg_torch.device import PRECISIONS, default_device, describe, make_deterministic
from medimg_torch.files import WEIGHTS, read_tensors
from medimg_torch.network import TorchNetwork
from medimg_torch.networks import ARCHITECTURES, assemble
from medimg_torch.pretrained import read_weights
from medimg_torch.scaling import own_scaling
from medimg_torch.weights import draw


class TorchBackend:
    """PyTorch on the first GPU, else on the CPU."""

    def __init__(self) -> None:
        make_deterministic()
        self.device = default_device()

    def runtime(self) -> RuntimeInfo:
        return describe(self.device)

    def architectures(self) -> tuple[str, ...]:
        """`timm:*` stands for every network of timm."""
        return ARCHITECTURES

    def build(
        self, spec: ModelSpec, seed: int, weights: Mapping[str, np.ndarray] | None = None
    ) -> tuple[TorchNetwork, LoadReport]:
        """A network drawn from `seed`, then `weights` put over it.

        Raises:
            BackendError: a model that this backend can't build.
            UsageError: timm has no such network.
        """
        spec = resolved(spec)
        parts = assemble(spec, seed).on(self.device)
        draw([w for w in parts.weights if w.stage >= parts.drawn_from], seed)
        network = TorchNetwork(spec, parts, self.device)
        return network, network.set_weights(weights) if weights is not None else LoadReport()

    def read_weights(self, source: str, network: TorchNetwork) -> dict[str, np.ndarray]:
        """The arrays of `imagenet` or of a file, under the names of `network` where they have one.

        Raises:
            UsageError: there are no ImageNet weights for this network.
            InputError: the file is missing, broken, or not one of this backend's.
            BackendError: the download failed; the hint says how to bring the file.
        """
        return read_weights(source, network.spec, network.parts.weights)

    def pretrained_scaling(self, architecture: str) -> str | None:
        """timm's mean and standard deviation for a network; None for one that timm lacks."""
        return own_scaling(pretrained_config(architecture)) if built_by_timm(architecture) else None

    def load(self, path: Path, spec: ModelSpec) -> TorchNetwork:
        """The network saved in the folder `path`, computing in the precision it was trained in.

        Raises:
            BackendError: the file is missing, damaged or of another model.
        """
        _, about = read_tensors(path / WEIGHTS)
        precision = about.get("precision", "")
        # what a saved network saw is asked of its file: a later timm may scale otherwise
        spec = replace(spec, scaling=about["scaling"]) if "scaling" in about else resolved(spec)
        network = TorchNetwork(
            spec,
            assemble(spec).on(self.device),
            self.device,
            precision if precision in PRECISIONS else "float32",
        )
        network.restore(path)
        return network
