"""Whether a batch fits in memory, asked before the operating system ends the process for it.

Where memory is promised more freely than it is there, a batch that is too large raises no error:
the kernel kills the process. So a step on a few pictures is watched, and what a whole batch would
take is told from it. Linux only; elsewhere nothing is asked.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from medimg.core.cache import in_units
from medimg.core.errors import BackendError
from medimg.core.types import Batch
from medimg.training.lr_finder import left_as_it_was

if TYPE_CHECKING:
    from medimg.core.loader import Loader
    from medimg.core.types import Network, Objective, Optimizer

PROC = Path("/proc")
# of a container, by version of control groups: its limit and what it uses
LIMITS = (
    (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")),
    (
        Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
        Path("/sys/fs/cgroup/memory/memory.usage_in_bytes"),
    ),
)
# deep networks keep a few hundred times the bytes of a picture for the way back
NEVER_MORE_THAN = 300
FEW, MORE = 2, 16
# what is suggested leaves room for others
COMFORTABLE = 0.7


def available_bytes() -> int | None:
    """Memory that can still be had, the page cache included; None where nobody tells."""
    try:
        told = dict(line.split(":") for line in (PROC / "meminfo").read_text().splitlines())
        free = int(told["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        return None
    for limit, used in LIMITS:
        try:
            # what files fill is given back before anything fails
            free = min(free, int(limit.read_text()) - int(used.read_text()) + cached(used.parent))
        except (OSError, ValueError):
            continue  # no such version, or no limit ("max")
    return max(free, 0)


def cached(group: Path) -> int:
    """Bytes of the page cache in a control group."""
    rows = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
    return int(rows.get("total_inactive_file", rows.get("inactive_file", 0)))


def peak_bytes(work: Callable[[], object]) -> int | None:
    """How large the process was at its largest while `work` ran; None where unknown."""
    try:
        # forgets the largest size so far (proc(5), clear_refs)
        (PROC / "self" / "clear_refs").write_text("5")
        work()
        return status_bytes("VmHWM")
    except (OSError, KeyError, ValueError):
        return None


def status_bytes(name: str) -> int:
    rows = (line.split(":") for line in (PROC / "self" / "status").read_text().splitlines())
    return int(dict(rows)[name].split()[0]) * 1024


def demand_memory(
    network: Network,
    loader: Loader,
    *,
    objective: Objective,
    optimizer: Optimizer,
    trainable_from: int = 0,
) -> None:
    """Asks whether a step's batch fits; weights and statistics are left as they were.

    Raises:
        BackendError: it does not; the hint says what to lower.
    """
    free = available_bytes()
    count = min(loader.batch_size, len(loader))
    shape = loader.pixels.shape[1:]
    # as they come, and as floats
    smallest = int(np.prod(shape)) * (loader.pixels.dtype.itemsize + 4)
    if free is None or count <= MORE or smallest * NEVER_MORE_THAN * count < free:
        return
    each = smallest
    if smallest * count <= free:
        with left_as_it_was(network):
            network.prepare(objective, optimizer, trainable_from)
            each = max(each, bytes_a_picture(network, loader))
    if each * count > free:
        fitting = int(COMFORTABLE * free / each)
        raise BackendError(
            f"a step on {count}×{'×'.join(map(str, shape))} would take about "
            f"{in_units(each * count)} of memory, and {in_units(free)} are free",
            f"Give a smaller --batch-size ({fitting} would fit), or a smaller --image-size."
            if fitting
            else "Give a smaller --image-size, or a smaller model.",
        )


def bytes_a_picture(network: Network, loader: Loader) -> int:
    """What each further picture of a batch takes in a step; 0 where it can't be told."""

    def step(pictures: int) -> int:
        picked = np.arange(pictures)
        batch = Batch(
            loader.gather(picked, None),
            loader.soft_targets()[loader.labels[picked]],
            np.ones(pictures, np.float32),
            pictures,
        )

        def train() -> None:
            rates = np.zeros((1, 1), np.float32)
            network.train_epoch([batch], rates, seed=0, on_step=lambda step, loss: True)

        return peak_bytes(train) or 0

    # the first step compiles, and makes the optimizer's state
    step(FEW)
    few, more = step(FEW), step(MORE)
    return max(more - few, 0) // (MORE - FEW)
