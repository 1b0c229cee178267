"""Weights and an optimizer's state as safetensors: no pickle, readable without PyTorch.

`weights.safetensors` holds the neutral names and axis order, and the precision that the network
computes in; `optimizer.safetensors` what a resumed run needs.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from medimg.api import BackendError

WEIGHTS, STATE = "weights.safetensors", "optimizer.safetensors"


def write_tensors(file: Path, tensors: Mapping[str, Tensor], about: Mapping[str, str]) -> None:
    """Writes tensors and words about them.

    Raises:
        OSError: the file can't be written.
    """
    try:
        save_file(dict(tensors), file, metadata={"format": "pt", **about})
    except SafetensorError as error:
        # the operating system's own error is told in words only
        number = re.search(r"os error (\d+)", str(error))
        if number is None:
            raise OSError(str(error)) from error
        code = int(number[1])
        raise OSError(code, os.strerror(code), str(file)) from error


def read_tensors(file: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors of a file, on the CPU, and the words about them.

    Raises:
        BackendError: it is missing or damaged.
    """
    try:
        with safe_open(file, framework="pt") as opened:
            # a listing of names, though it looks like a dict
            names = list(opened.keys())
            return {name: opened.get_tensor(name) for name in names}, opened.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise BackendError(f"{file} can't be read: {error}") from error
