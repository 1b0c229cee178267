"""timm, imported on first use: a network of medimg's own starts without it.

timm needs torchvision for its data pipelines. PyPI's torchvision is built against the CUDA build of
PyTorch; beside the CPU build its compiled operators don't load, and its Python part then fails at
import because two operators that it describes don't exist. Networks use neither of them, so their
schemas alone are declared, and only where the import fails for that reason.
"""

from __future__ import annotations

import sys
from functools import cache
from types import ModuleType

import torch

from medimg.api import BackendError

ABSENT_OPERATOR = "torchvision::nms does not exist"
SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
# a declaration lasts as long as the object that made it
DECLARED: list[torch.library.Library] = []


@cache
def import_timm() -> ModuleType:
    """timm, ready to build networks.

    Raises:
        BackendError: it is not installed, or can't be imported.
    """
    try:
        import_torchvision()
        import timm
    except ImportError as error:
        raise BackendError(
            f"timm, which builds this network, can't be imported: {error}",
            'Install it: pip install "medimg[torch]"',
        ) from error
    return timm


def import_torchvision() -> None:
    """torchvision; where its compiled operators don't load, with their schemas declared."""
    try:
        import torchvision  # noqa: F401
    except RuntimeError as error:
        if ABSENT_OPERATOR not in str(error):
            raise
        for name in [n for n in sys.modules if n.partition(".")[0] == "torchvision"]:
            del sys.modules[name]
        library = torch.library.Library("torchvision", "DEF")
        for operator in ("nms", "qnms"):
            library.define(f"{operator}{SCHEMA}")
        DECLARED.append(library)
        import torchvision  # noqa: F401
