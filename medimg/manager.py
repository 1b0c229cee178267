"""Finds plugins by entry point, one at a time, and keeps the broken ones from breaking medimg."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pluggy

from medimg.core.errors import BackendError, PluginError, UsageError, near_misses
from medimg.hookspecs import (
    PROJECT,
    BackendInfo,
    CheckInfo,
    CommandInfo,
    DatasetInfo,
    Hooks,
    MetricInfo,
    RegistryInfo,
    SamplerInfo,
)

if TYPE_CHECKING:
    from medimg.core.runs import Run

GROUP = "medimg"
KINDS = {
    "dataset": ("medimg_datasets", DatasetInfo),
    "backend": ("medimg_backends", BackendInfo),
    "check": ("medimg_checks", CheckInfo),
    "metric": ("medimg_metrics", MetricInfo),
    "sampler": ("medimg_samplers", SamplerInfo),
    "registry": ("medimg_registry", RegistryInfo),
    "command": ("medimg_commands", CommandInfo),
}
# torch first, then keras: what most people have; the linear baseline only when nothing else works
BACKEND_ORDER = ("torch", "keras")
BACKEND_LAST = "linear"


@dataclass(frozen=True, slots=True)
class Offer:
    """One record with the distribution that offers it."""

    kind: str
    info: Any
    plugin: str
    distribution: str
    version: str


@dataclass(frozen=True, slots=True)
class PluginStatus:
    """How loading one entry point went."""

    name: str
    distribution: str
    version: str
    status: str  # "ok" or "broken"
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Conflict:
    """Two plugins that offer one name.

    Args:
        left_out: not offered under this name.
        other: what has the name instead: medimg's own, which wins, or another plugin's, and then
            neither is offered.
    """

    left_out: Offer
    other: Offer

    @property
    def settled(self) -> bool:
        """Whether the name can be used: it is medimg's own."""
        return self.other.distribution == PROJECT

    @property
    def reason(self) -> str:
        """The conflict in words."""
        kind, name = self.left_out.kind, self.left_out.info.name
        other, left_out = titled(self.other), titled(self.left_out)
        if self.settled:
            return f"medimg's own {kind} {name!r} has that name: that of {left_out} is left out"
        return f"two plugins offer the {kind} {name!r}: {other} and {left_out}"


def titled(offer: Offer) -> str:
    return f"{offer.distribution} {offer.version}".strip()


class Named(dict[str, Any]):
    """Records by name. A name that two plugins offer is not listed; using it is an error.

    Raises:
        UsageError: on asking for an ambiguous name, in any way.
    """

    def __init__(self, records: Mapping[str, Any], ambiguous: Mapping[str, Conflict]) -> None:
        super().__init__(records)
        self.ambiguous = ambiguous

    def _refuse(self, name: object) -> None:
        conflict = self.ambiguous.get(str(name))
        if conflict is not None:
            raise UsageError(
                conflict.reason,
                f"Uninstall one of them: pip uninstall {conflict.left_out.distribution}",
            )

    def __contains__(self, name: object) -> bool:
        self._refuse(name)
        return super().__contains__(name)

    def __getitem__(self, name: str) -> Any:
        self._refuse(name)
        return super().__getitem__(name)

    def get(self, name: str, default: Any = None) -> Any:
        self._refuse(name)
        return super().get(name, default)


def reason_of(error: BaseException) -> str:
    """One line of an exception."""
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0]}" if text else type(error).__name__


class PluginManager:
    """The plugins that are installed and what they offer.

    Args:
        points: entry points to load; default those of the group `medimg`.
    """

    def __init__(self, points: list[EntryPoint] | None = None) -> None:
        self.statuses: list[PluginStatus] = []
        self.offers: list[Offer] = []
        self._pluggy = pluggy.PluginManager(PROJECT)
        self._pluggy.add_hookspecs(Hooks)
        for point in self._in_order(entry_points(group=GROUP) if points is None else points):
            self._load(point)

    @staticmethod
    def _in_order(points: Any) -> list[EntryPoint]:
        # an editable install beside a wheel can list one entry point twice
        unique = {(p.name, p.value): p for p in points}
        return sorted(unique.values(), key=lambda p: (p.name != "builtin", p.name))

    def _load(self, point: EntryPoint) -> None:
        distribution = point.dist.name if point.dist else point.value.split(".")[0]
        version = point.dist.version if point.dist else ""
        try:
            self._register(point.load(), point.name)
            offers = list(self._collect(point.name, distribution, version))
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a stranger's plugin may raise anything, SystemExit too
            self._forget(point.name)
            self.statuses.append(
                PluginStatus(point.name, distribution, version, "broken", reason_of(error))
            )
            return
        self.offers += offers
        self.statuses.append(PluginStatus(point.name, distribution, version, "ok"))

    def _forget(self, name: str) -> None:
        plugin = self._pluggy.get_plugin(name)
        if plugin is not None:
            self._pluggy.unregister(plugin)

    def _register(self, plugin: Any, name: str) -> None:
        self._pluggy.register(plugin, name=name)
        # a hook that no specification knows is a misspelling, not a feature
        self._pluggy.check_pending()

    def _collect(self, name: str, distribution: str, version: str) -> Any:
        plugin = self._pluggy.get_plugin(name)
        for kind, (hook, record) in KINDS.items():
            if not hasattr(plugin, hook):
                continue
            for info in getattr(plugin, hook)():
                if not isinstance(info, record):
                    raise PluginError(
                        f"{hook} of {distribution} returned {type(info).__name__}, "
                        f"not {record.__name__}",
                        f"Tell the authors of {distribution}.",
                    )
                yield Offer(
                    kind, self._qualified(info, kind, distribution), name, distribution, version
                )

    @staticmethod
    def _qualified(info: Any, kind: str, distribution: str) -> Any:
        """A plugin's check is called `<distribution>:<name>`."""
        if kind != "check" or distribution == PROJECT or ":" in info.name:
            return info
        return CheckInfo(f"{distribution}:{info.name}", info.summary, info.target)

    # -- what is offered ---------------------------------------------------------------------

    def _first(self, kind: str) -> tuple[dict[str, Offer], list[Conflict]]:
        """The first offer of each name, medimg's own before all, and those that came too late."""
        found: dict[str, Offer] = {}
        conflicts = []
        own_first = sorted(self.offers, key=lambda o: o.distribution != PROJECT)
        for offer in (o for o in own_first if o.kind == kind):
            other = found.setdefault(offer.info.name, offer)
            if other is not offer:
                conflicts.append(Conflict(offer, other))
        return found, conflicts

    def _named(self, kind: str) -> Named:
        found, conflicts = self._first(kind)
        ambiguous = {c.left_out.info.name: c for c in conflicts if not c.settled}
        return Named({n: o.info for n, o in found.items() if n not in ambiguous}, ambiguous)

    def conflicts(self) -> list[Conflict]:
        """Names that several plugins offer."""
        return [conflict for kind in KINDS for conflict in self._first(kind)[1]]

    def datasets(self) -> dict[str, DatasetInfo]:
        return self._named("dataset")

    def backends(self) -> dict[str, BackendInfo]:
        """Every backend offered, in the order `--backend auto` tries them."""
        named = self._named("backend")

        def rank(name: str) -> tuple[int, str]:
            if name in BACKEND_ORDER:
                return BACKEND_ORDER.index(name), name
            return (99 if name == BACKEND_LAST else 50), name

        return Named({name: named[name] for name in sorted(named, key=rank)}, named.ambiguous)

    def checks(self) -> dict[str, CheckInfo]:
        return self._named("check")

    def metrics(self) -> dict[str, MetricInfo]:
        return self._named("metric")

    def samplers(self) -> dict[str, SamplerInfo]:
        return self._named("sampler")

    def commands(self) -> dict[str, CommandInfo]:
        return self._named("command")

    def registries(self) -> dict[str, RegistryInfo]:
        return self._named("registry")

    def broken(self) -> list[PluginStatus]:
        return [s for s in self.statuses if s.status == "broken"]

    def versions(self) -> dict[str, str]:
        """Distribution to version, of the plugins that loaded, medimg itself left out."""
        return {
            s.distribution: s.version
            for s in self.statuses
            if s.status == "ok" and s.distribution != PROJECT
        }

    def offer_of(self, kind: str, name: str) -> Offer:
        return next(o for o in self.offers if o.kind == kind and o.info.name == name)

    # -- using it ----------------------------------------------------------------------------

    def resolve(self, info: Any) -> Any:
        """The object a record's target names, imported now.

        Raises:
            PluginError: the target can't be imported.
        """
        module, _, attribute = info.target.partition(":")
        try:
            target = getattr(import_module(module), attribute)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # SystemExit too
            raise PluginError(
                f"{info.name} can't be loaded from {info.target}: {reason_of(error)}",
                "medimg plugins lists what is installed and what is broken.",
            ) from error
        return target

    def functions(self, infos: Mapping[str, Any]) -> dict[str, Callable[..., Any]]:
        """Name to imported function, for checks and metrics.

        One that can't be imported does not keep the others from running: in its place stands a
        function that raises why (PluginError; UndefinedMetric for a metric).
        """
        return {name: self._function(info) for name, info in infos.items()}

    def _function(self, info: Any) -> Callable[..., Any]:
        try:
            return self.resolve(info)
        except PluginError as error:
            return stand_in(info, error)

    def missing_module(self, info: Any) -> str:
        """The module of a record's target where it can't be found, without running it."""
        module = info.target.partition(":")[0]
        try:
            return "" if find_spec(module) else module
        except Exception:  # a package around it may raise anything while it is imported
            return module

    def why_not(self, info: BackendInfo) -> str:
        """Why a backend can't work here, without importing it; empty where it should."""
        missing = [name for name in info.requires if find_spec(name) is None]
        return f"{', '.join(missing)} is not installed" if missing else ""

    def backend(self, name: str = "auto") -> tuple[str, Any]:
        """(name, backend object) of the backend asked for, or of the first that works.

        Raises:
            UsageError: no such backend.
            BackendError: it is not installed, it does not work here, or none does.
        """
        offered = self.backends()
        if name != "auto":
            if name in (*BACKEND_ORDER, BACKEND_LAST) and name not in offered:
                raise BackendError(
                    f"the backend {name!r} is not installed",
                    f'Install it: pip install "medimg[{name}]"; then: medimg doctor',
                )
            if name not in offered:
                raise UsageError(
                    f"no backend is called {name!r}", near_misses(name, [*offered, "auto"])
                )
            return name, self._started(offered[name])
        reasons = []
        for candidate, info in offered.items():
            try:
                return candidate, self._started(info)
            except BackendError as error:
                reasons.append(error.message)
        raise BackendError(
            "no backend works here" + (f" ({'; '.join(reasons)})" if reasons else ""),
            'Install one: pip install "medimg[torch]", "medimg[keras]" or "medimg[linear]"; '
            "then: medimg doctor",
        )

    def _started(self, info: BackendInfo) -> Any:
        why = self.why_not(info)
        if not why:
            try:
                return self.resolve(info)()
            except PluginError as error:
                why = error.message
            except Exception as error:  # a framework's own start-up may raise anything
                why = reason_of(error)
        raise BackendError(
            f"the backend {info.name!r} does not work here: {why}",
            f"Install it: {info.install_hint}" if info.install_hint else "",
        )

    def backend_of(self, run: Run) -> Any:
        """The backend that a run was trained with.

        Raises:
            BackendError: it is not here, or does not work here.
        """
        name = run.card["backend"]
        try:
            return self.backend(name)[1]
        except UsageError as error:
            raise BackendError(
                f"{run.name} was trained with the backend {name!r}, which is not installed",
                "Install the plugin that offers it; see: medimg plugins --kind backend",
            ) from error

    def registry(self) -> Any:
        """The merged registry of cards."""
        from medimg.core.registry import core_registry_path, load_registry

        files = []
        for info in self.registries().values():
            package, _, file = info.target.partition(":")
            if package == PROJECT:
                files.append((PROJECT, core_registry_path()))
            else:
                found = import_module(package).__file__
                files.append((info.name, Path(found or "").parent / file))
        return load_registry(files)


def stand_in(info: Any, why: PluginError) -> Callable[..., Any]:
    """A function for a record whose own can't be imported: it raises why when it is called."""

    def raising(*_args: Any, **_settings: Any) -> Any:
        if isinstance(info, MetricInfo):
            from medimg.core.scored import UndefinedMetric

            raise UndefinedMetric(why.message)
        raise why

    return raising


@cache
def plugins() -> PluginManager:
    """The installed plugins, found once a process."""
    return PluginManager()
