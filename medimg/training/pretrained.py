"""What training starts from: nothing, ImageNet's weights, a file's, or another run's."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medimg.core.errors import InputError, UsageError
from medimg.core.types import LoadReport, Network

NONE, IMAGENET = "none", "imagenet"
# names that a message lists before it says how many more there are
NAMED = 5


def take_weights(network: Network, source: str, backend: Any, manager: Any) -> LoadReport:
    """Puts weights from elsewhere over a network's.

    Args:
        source: `imagenet`, the path of a weights file, or a run folder.
        backend: the network's.
        manager: finds the backend that a run was trained with.

    Raises:
        UsageError: the source is none of these, or there are no ImageNet weights for the network.
        InputError: a file that is missing or broken, or almost nothing of it fits.
        BackendError: the download failed.
    """
    given = arrays_of(source, network, backend, manager)
    check_finite(source, given)
    report = network.set_weights(given)
    # half of either side: a file for a larger network has all the names that a smaller one asks for
    wanted = len(report.loaded) + len(report.missing)
    if 2 * len(report.loaded) < max(wanted, len(given)):
        raise InputError(
            f"almost nothing of {source} fits {network.spec.name}: {len(report.loaded)} of its "
            f"{len(given)} arrays, for {wanted} of the network's ({in_short(report)})",
            "Give the weights of the same network: medimg models show "
            f"{network.spec.name}; or --weights none.",
        )
    return report


def check_finite(source: str, arrays: Mapping[str, Any]) -> None:
    """Raises InputError where weights are no numbers: nothing can be learnt from there."""
    import numpy as np

    broken = tuple(name for name, values in arrays.items() if not np.isfinite(values).all())
    if broken:
        raise InputError(
            f"{source} holds values that are no numbers (NaN or infinite) in {listed(broken)}",
            "The training that wrote it broke down: give the weights of another, or --weights none",
        )


def check_source(source: str) -> None:
    """Raises UsageError where the source is no name, file or folder: before anything is read."""
    if source not in (NONE, IMAGENET) and not Path(source).exists():
        raise UsageError(
            f"--weights {source} is neither a file nor a run folder",
            "Give imagenet, none, a weights file, or the folder of a run of medimg train.",
        )


def arrays_of(source: str, network: Network, backend: Any, manager: Any) -> Mapping[str, Any]:
    """The arrays of a source, under the network's names where they have one."""
    if source != IMAGENET and Path(source).is_dir():
        return arrays_of_run(Path(source), manager)
    check_source(source)
    if not hasattr(backend, "read_weights"):
        raise UsageError(
            f"the backend {backend.runtime().name!r} takes weights of runs alone",
            "Give the folder of a run of medimg train, or --weights none.",
        )
    return backend.read_weights(source, network)


def arrays_of_run(folder: Path, manager: Any) -> Mapping[str, Any]:
    """The arrays of a run's network, whatever backend it was trained with."""
    from medimg.core.runs import MODEL, read_run
    from medimg.training.experiment import spec_of

    run = read_run(folder)
    return manager.backend_of(run).load(folder / MODEL, spec_of(run.card)).weights()


def said(report: LoadReport, source: str) -> str:
    """What was and wasn't taken, in a sentence."""
    return f"Took {len(report.loaded)} weight arrays from {source}; {in_short(report)}"


def in_short(report: LoadReport) -> str:
    return f"drawn anew: {listed(report.missing)}; left in the source: {listed(report.unexpected)}"


def listed(names: tuple[str, ...]) -> str:
    """`fc1/kernel, fc1/bias and 3 more`"""
    if not names:
        return "nothing"
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
