"""A check's parameters: its keyword-only arguments, with their types, defaults and meaning.

`def check(context, *, distance: int = 4)` has one, set by `--set NAME.distance=6`; nothing else
has to be declared.
"""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from medimg.core.errors import UsageError, near_misses

TRUTHS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
# no check has a use for negative ones
KINDS = {bool: "yes or no", int: "a whole number from 0 up", float: "a number from 0 up"}
# a line of "Args:" and those that go on with it
MEANING = re.compile(r"^ {4}(\w+): (.+(?:\n {8,}.+)*)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a check: its default, whose type it keeps, and its line of the docstring."""

    name: str
    default: Any
    meaning: str = ""


def parameters_of(check: Callable[..., Any]) -> dict[str, Parameter]:
    """Name to parameter, in the order of the signature.

    >>> def check(context, *, distance: int = 4): ...
    >>> parameters_of(check)["distance"].default
    4
    """
    told = {
        name: " ".join(text.split()) for name, text in MEANING.findall(inspect.getdoc(check) or "")
    }
    return {
        name: Parameter(name, given.default, told.get(name, ""))
        for name, given in inspect.signature(check).parameters.items()
        if given.kind is inspect.Parameter.KEYWORD_ONLY
    }


def settings_of(
    given: Mapping[str, str], checks: Mapping[str, Callable[..., Any]], names: Iterable[str] = ()
) -> dict[str, dict[str, Any]]:
    """Check to parameter to value, of `{"near-duplicates.distance": "6"}`.

    Args:
        checks: name to function, of the checks that may be set.
        names: all names of checks.
    Raises:
        UsageError: no such check or parameter, or a value of another type than the default's.
    """
    settings: dict[str, dict[str, Any]] = {}
    for key, text in given.items():
        # a plugin's check has colons and may have dots, a parameter has neither
        check, _, name = key.rpartition(".")
        known = sorted({*checks, *names})
        if check not in known:
            raise UsageError(
                f"--set {key}={text}: no check is called {check or key!r}",
                near_misses(check or key, known),
            )
        parameters = parameters_of(checks[check]) if check in checks else {}
        if name not in parameters:
            raise UsageError(
                f"--set {key}={text}: {check} has "
                + (f"the parameters {', '.join(parameters)}" if parameters else "no parameters"),
                near_misses(name, sorted(parameters)) if parameters else "",
            )
        settings.setdefault(check, {})[name] = valued(key, text, parameters[name].default)
    return settings


def valued(key: str, text: str, default: Any) -> Any:
    """A text as a value of the default's type; a whole number may stand for a fraction."""
    try:
        if isinstance(default, bool):
            return TRUTHS[text.strip().lower()]
        if isinstance(default, (int, float)):
            number = type(default)(text)
            if math.isfinite(number) and number >= 0:
                return number
            raise ValueError(text)
    except (ValueError, KeyError):
        kind = KINDS[type(default)]
        raise UsageError(f"--set {key}={text}: {text!r} is not {kind}") from None
    return text
