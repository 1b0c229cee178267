"""The linear backend: builds and loads the logistic network."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from medimg.api import BackendError, LoadReport, ModelSpec, RuntimeInfo
from medimg_linear.network import SCALINGS, Logistic, Standardiser


class LinearBackend:
    """Standardised pixels into a linear classifier."""

    def runtime(self) -> RuntimeInfo:
        """NumPy on the CPU, always float32."""
        device = f"cpu ({platform.machine()})" if platform.machine() else "cpu"
        return RuntimeInfo(name="linear", version=f"numpy {np.__version__}", device=device)

    def architectures(self) -> tuple[str, ...]:
        return ("logistic",)

    def build(
        self, spec: ModelSpec, seed: int, weights: Mapping[str, np.ndarray] | None = None
    ) -> tuple[Logistic, LoadReport]:
        """A classifier drawn from `seed` on a standardiser without statistics yet.

        Raises:
            BackendError: a model that is not linear.
        """
        self._check(spec)
        size = spec.height * spec.width * spec.channels
        limit = np.sqrt(6 / (size + spec.outputs))
        draw = np.random.default_rng(seed).uniform(-limit, limit, (size, spec.outputs))
        network = Logistic(
            spec, draw.astype("float32"), np.zeros(spec.outputs, np.float32), Standardiser(spec)
        )
        return network, network.set_weights(weights) if weights is not None else LoadReport()

    def _check(self, spec: ModelSpec) -> None:
        if spec.architecture != "logistic":
            raise BackendError(
                f"the linear backend can't build {spec.name!r} ({spec.architecture})",
                "Its model is logistic; networks need a framework: "
                'pip install "medimg[torch]" or "medimg[keras]"',
            )
        if spec.layers or spec.head != ("flatten",):
            raise BackendError(
                f"{spec.name!r} is declared logistic with layers {[*spec.layers]} and head "
                f"{[*spec.head]}",
                "A logistic model has no layers and the head [flatten].",
            )
        if spec.scaling not in SCALINGS:
            raise BackendError(f"the linear backend does not know the scaling {spec.scaling!r}")
        if spec.channels != 3 and spec.scaling in ("imagenet", "caffe"):
            raise BackendError(f"the scaling {spec.scaling!r} of {spec.name!r} needs 3 channels")

    def load(self, path: Path, spec: ModelSpec) -> Logistic:
        """The network saved in the folder `path`."""
        network, _ = self.build(spec, seed=0)
        network.restore(path)
        return network
