"""The hooks a plugin may implement, and the small records they return.

A hook returns records and does no work: each record names its implementation by a `target`
string (`"package.module:attribute"`) that is imported when it is first used.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import pluggy

PROJECT = "medimg"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@dataclass(frozen=True, slots=True)
class DatasetInfo:
    """A dataset layout; the target is a `Layout` class without constructor arguments.

    `suffixes` names the archives that it opens (`(".npz",)`), so that an index can point into one.
    """

    name: str
    summary: str
    target: str
    suffixes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class BackendInfo:
    """A backend; the target is a `Backend` class without constructor arguments.

    Args:
        requires: modules that must be importable for it to work (`("torch",)`).
        install_hint: the command that installs it.
    """

    name: str
    summary: str
    target: str
    requires: tuple[str, ...] = ()
    install_hint: str = ""


@dataclass(frozen=True, slots=True)
class CheckInfo:
    """A check; the target is a function `(CheckContext, *, parameters) -> list[Finding]`."""

    name: str
    summary: str
    target: str


@dataclass(frozen=True, slots=True)
class MetricInfo:
    """A metric; the target is a function `(Scored, weights=None) -> float`."""

    name: str
    summary: str
    target: str


@dataclass(frozen=True, slots=True)
class SamplerInfo:
    """A way to balance the training part; the target is a `Sampler` class."""

    name: str
    summary: str
    target: str


@dataclass(frozen=True, slots=True)
class RegistryInfo:
    """Dataset and model cards; the target names a YAML file as `"package:file.yaml"`."""

    name: str
    target: str


@dataclass(frozen=True, slots=True)
class CommandInfo:
    """A command; the target is a click command."""

    name: str
    summary: str
    target: str


class Hooks:
    """The hook specifications."""

    @hookspec
    def medimg_datasets(self) -> Iterable[DatasetInfo]:
        """Dataset layouts."""

    @hookspec
    def medimg_backends(self) -> Iterable[BackendInfo]:
        """Backends."""

    @hookspec
    def medimg_checks(self) -> Iterable[CheckInfo]:
        """Checks of a dataset."""

    @hookspec
    def medimg_metrics(self) -> Iterable[MetricInfo]:
        """Metrics of predictions."""

    @hookspec
    def medimg_samplers(self) -> Iterable[SamplerInfo]:
        """Ways to balance the training part."""

    @hookspec
    def medimg_registry(self) -> Iterable[RegistryInfo]:
        """Cards of datasets and models."""

    @hookspec
    def medimg_commands(self) -> Iterable[CommandInfo]:
        """Commands of the command line."""
