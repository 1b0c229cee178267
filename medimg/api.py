"""The one door for plugins: what a plugin may import from medimg.

Records and protocols are imported at once; what needs NumPy or OpenCV is imported when it is
first named, so that a plugin's start-up stays cheap.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from medimg.core.errors import (
    BackendError,
    InputError,
    MedimgError,
    PluginError,
    Refused,
    UnreadablePicture,
    UsageError,
    near_misses,
)
from medimg.core.types import (
    SPLITS,
    Backend,
    Batch,
    DatasetIndex,
    EpochResult,
    Finding,
    Guess,
    Layout,
    LoadReport,
    ModelSpec,
    Network,
    Objective,
    Optimizer,
    ParameterCounts,
    RuntimeInfo,
    Sample,
    Sampler,
    SamplingPlan,
    Source,
    Stage,
)
from medimg.hookspecs import (
    BackendInfo,
    CheckInfo,
    CommandInfo,
    DatasetInfo,
    MetricInfo,
    RegistryInfo,
    SamplerInfo,
    hookimpl,
)

if TYPE_CHECKING:
    from medimg.core.checking import CheckContext
    from medimg.core.images import IMAGE_SUFFIXES, decode, is_image_name
    from medimg.core.index import (
        FileSource,
        canonical_split,
        check_options,
        counted,
        dataset_name,
        guess_positive,
        keep_classes,
        listed,
        with_groups,
        with_patient_options,
    )
    from medimg.core.runs import is_run_folder
    from medimg.core.scored import Scored, UndefinedMetric, metric

LAZY = {
    "CheckContext": "medimg.core.checking",
    "IMAGE_SUFFIXES": "medimg.core.images",
    "decode": "medimg.core.images",
    "is_image_name": "medimg.core.images",
    "FileSource": "medimg.core.index",
    "canonical_split": "medimg.core.index",
    "check_options": "medimg.core.index",
    "counted": "medimg.core.index",
    "dataset_name": "medimg.core.index",
    "guess_positive": "medimg.core.index",
    "keep_classes": "medimg.core.index",
    "listed": "medimg.core.index",
    "with_groups": "medimg.core.index",
    "with_patient_options": "medimg.core.index",
    "is_run_folder": "medimg.core.runs",
    "Scored": "medimg.core.scored",
    "UndefinedMetric": "medimg.core.scored",
    "metric": "medimg.core.scored",
}

__all__ = [
    "SPLITS",
    "Backend",
    "BackendError",
    "BackendInfo",
    "Batch",
    "CheckContext",
    "CheckInfo",
    "CommandInfo",
    "DatasetIndex",
    "DatasetInfo",
    "EpochResult",
    "FileSource",
    "Finding",
    "Guess",
    "IMAGE_SUFFIXES",
    "InputError",
    "Layout",
    "LoadReport",
    "MedimgError",
    "MetricInfo",
    "ModelSpec",
    "Network",
    "Objective",
    "Optimizer",
    "ParameterCounts",
    "PluginError",
    "Refused",
    "RegistryInfo",
    "RuntimeInfo",
    "Sample",
    "Sampler",
    "SamplerInfo",
    "SamplingPlan",
    "Scored",
    "Source",
    "Stage",
    "UndefinedMetric",
    "UnreadablePicture",
    "UsageError",
    "canonical_split",
    "check_options",
    "counted",
    "dataset_name",
    "decode",
    "guess_positive",
    "hookimpl",
    "is_image_name",
    "is_run_folder",
    "keep_classes",
    "listed",
    "metric",
    "near_misses",
    "with_groups",
    "with_patient_options",
]


def __getattr__(name: str) -> Any:
    if name not in LAZY:
        raise AttributeError(f"module 'medimg.api' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(LAZY[name]), name)
