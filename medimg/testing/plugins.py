"""Holds a plugin's module to the hooks that it implements."""

from __future__ import annotations

import inspect
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

from medimg.hookspecs import PROJECT, Hooks


def check_plugin(plugin: ModuleType) -> None:
    """Holds a plugin's module to the hooks: names known, records right, targets importable.

    A backend's target is left alone where one of the modules that it `requires` is missing.

    Raises:
        AssertionError: a promise is broken.
    """
    known = {name for name in vars(Hooks) if name.startswith(f"{PROJECT}_")}
    hooks = {
        name: function
        for name, function in inspect.getmembers(plugin, inspect.isfunction)
        if hasattr(function, f"{PROJECT}_impl") or name.startswith(f"{PROJECT}_")
    }
    assert hooks, f"{plugin.__name__} implements no hook"
    for name, function in hooks.items():
        assert name in known, f"{name} is no hook; hooks are {', '.join(sorted(known))}"
        assert hasattr(function, f"{PROJECT}_impl"), f"{name} lacks @hookimpl"
        infos = list(function())
        assert infos, f"{name} offers nothing"
        for info in infos:
            check_record(name, info)


def check_record(hook: str, info: Any) -> None:
    """One record that a hook returned."""
    from typing import get_args, get_type_hints

    import medimg.hookspecs

    hints = get_type_hints(getattr(Hooks, hook), vars(medimg.hookspecs))
    (record,) = get_args(hints["return"])
    assert isinstance(info, record), f"{hook} returned {info!r}, which is no {record.__name__}"
    assert getattr(info, "summary", "-"), f"{info.name} has no summary; lists would be empty"
    module, colon, attribute = info.target.partition(":")
    assert colon and attribute, f"the target {info.target!r} is not of the form module:attribute"
    if any(find_spec(needed) is None for needed in getattr(info, "requires", ())):
        return
    imported = import_module(module)
    if hook == f"{PROJECT}_registry":
        from medimg.core.registry import core_registry_path

        inside = Path(imported.__file__ or "").parent / attribute
        # medimg's own lies at the top of the checkout, and in the package only once installed
        file = core_registry_path() if module == PROJECT else inside
        assert file.is_file(), f"the registry file {file} does not exist"
        return
    assert hasattr(imported, attribute), f"{module} has no {attribute}, the target of {info.name}"
