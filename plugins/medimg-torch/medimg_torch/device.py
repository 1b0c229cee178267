"""The device that PyTorch computes on, set up to give the same numbers twice."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# cuBLAS reads it when CUDA starts; without it matrix products may differ from run to run
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
# OpenMP's threads spin while they wait; where other work shares the cores, each of the many
# short loops of a small network then waits for a thread that was put aside
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch

from medimg.api import BackendError, RuntimeInfo

CPU_INFO = Path("/proc/cpuinfo")
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}
OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")


def make_deterministic() -> None:
    """Asks PyTorch for the same bytes from the same seed, and for float32 that is float32.

    A few operations have no deterministic form on a GPU (max pooling's gradient); they run all
    the same, and the README says so instead of a warning in every run.
    """
    torch.use_deterministic_algorithms(True, warn_only=True)
    # filling memory that is written anyway costs time and guards against others' faults only
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = False
    # TF32 keeps 10 bits of the mantissa: another precision than was asked for
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    warnings.filterwarnings("ignore", message=".*does not have a deterministic implementation.*")


def default_device() -> torch.device:
    """The first GPU, else Apple's, else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda", torch.cuda.current_device())
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def describe(device: torch.device) -> RuntimeInfo:
    """What a report says about a device."""
    words = {
        "cuda": lambda: f"cuda: {torch.cuda.get_device_name(device)}",
        "mps": lambda: "mps: Apple GPU",
        "cpu": lambda: f"cpu ({threads()})",
    }
    return RuntimeInfo(
        name="torch",
        version=f"torch {torch.__version__}",
        device=words[device.type](),
        bfloat16=has_bfloat16(device),
        accelerator=device.type != "cpu",
    )


def threads() -> str:
    count = torch.get_num_threads()
    return f"{count} thread" if count == 1 else f"{count} threads"


def has_bfloat16(device: torch.device) -> bool:
    """Whether it multiplies matrices in bfloat16: compute capability 8 and above, or AMX."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type == "cpu":
        return CPU_INFO.exists() and "amx_bf16" in CPU_INFO.read_text(errors="replace")
    return False


@contextmanager
def own_draws(device: torch.device, seed: int) -> Iterator[None]:
    """Random numbers from `seed` while it lasts; the caller's own go on afterwards.

    On Apple's GPU the generator stays seeded: PyTorch forks none there.
    """
    cards = [device.index] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=cards):
        torch.manual_seed(seed)
        yield


@contextmanager
def memory_said(shape: tuple[int, ...], doing: str) -> Iterator[None]:
    """PyTorch's exhausted memory as an error that says what to lower."""
    try:
        yield
    except RuntimeError as error:  # OutOfMemoryError is one; the CPU's allocator has none
        if not any(words in str(error) for words in OUT_OF_MEMORY):
            raise
        raise BackendError(
            f"the device ran out of memory {doing} a batch of {'×'.join(map(str, shape))}",
            "Give a smaller --batch-size, or a smaller --image-size.",
        ) from error
