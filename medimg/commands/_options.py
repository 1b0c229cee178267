"""Options that read the same in every command."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click
from click.core import ParameterSource

from medimg.core.as_typed import typed as typed
from medimg.core.errors import UsageError

# what every framework takes as a seed
MOST_SEED = 2**32 - 1
Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def stack(*decorators: Decorator) -> Decorator:
    """One decorator from several, applied so that help lists them in this order."""

    def apply(function: Callable[..., Any]) -> Callable[..., Any]:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return apply


def key_values(option: str, example: str) -> Callable[..., dict[str, str]]:
    """The callback of an option that takes `KEY=VALUE`s and gives a dict."""

    def pairs(
        _context: click.Context, _parameter: click.Parameter, values: tuple[str, ...]
    ) -> dict[str, str]:
        found = {}
        for value in values:
            key, separator, text = value.partition("=")
            if not separator or not key.strip():
                raise UsageError(
                    f"{option} {value!r} is not KEY=VALUE", f"For example: {option} {example}"
                )
            found[key.strip()] = text
        return found

    return pairs


def comma_lists(
    _context: click.Context, _parameter: click.Parameter, values: tuple[str, ...]
) -> tuple[str, ...]:
    """The callback of a repeatable option that takes several names at once: `a,b`."""
    return tuple(name.strip() for value in values for name in value.split(",") if name.strip())


def plain_name(
    _context: click.Context, _parameter: click.Parameter, value: str | None
) -> str | None:
    """A folder's name, not a way elsewhere."""
    from medimg.core.runs import check_name

    if value is not None:
        check_name(value)
    return value


def retyped(*but: str) -> str:
    """DATASET and the options of the command at work as they were typed, for the next command.

    Args:
        but: options that the next command does not take, by the names of their values; those that
            say where reports go are left out as well.
    """
    from shlex import quote

    context = click.get_current_context()
    words: list[str] = []
    for parameter in context.command.params:
        name = str(parameter.name)
        source = context.get_parameter_source(name)
        if name in (*COMMON, "seed", *but) or source != ParameterSource.COMMANDLINE:
            continue
        value = context.params[name]
        if isinstance(parameter, click.Argument):
            words.insert(0, str(value))
        elif isinstance(value, bool):
            words.append((parameter.opts if value else parameter.secondary_opts)[0])
        else:
            for one in each_of(value):
                words += [parameter.opts[0], one]
    return " ".join(quote(word) for word in words)


def each_of(value: Any) -> list[str]:
    """The words that gave an option its value: one, or as many as it was repeated."""
    if isinstance(value, dict):
        return [f"{key}={text}" for key, text in value.items()]
    return [str(one) for one in value] if isinstance(value, list | tuple) else [str(value)]


dataset_argument = click.argument("dataset", metavar="DATASET")

dataset_options = stack(
    click.option(
        "--layout", metavar="NAME", help="Which dataset plugin reads DATASET (default: the surest)."
    ),
    click.option(
        "-o",
        "--option",
        "options",
        multiple=True,
        metavar="KEY=VALUE",
        callback=key_values("-o", "label=dx"),
        help="An option of the layout: -o label=dx -o group=patient, -o group_regex=…",
    ),
    click.option(
        "--positive", metavar="CLASS", help="The class that sensitivity and AUROC are about."
    ),
)

split_options = stack(
    click.option("--splits", metavar="FILE", help="Use this splits.csv (medimg split makes one)."),
    click.option(
        "--split-ratios", metavar="A/B/C", help="Make a split by patient: 70/15/15 or 80/20."
    ),
)

backend_option = click.option(
    "--backend", default="auto", show_default=True, metavar="NAME", help="torch, keras, linear, …"
)

report_options = stack(
    click.option(
        "--seed",
        type=click.IntRange(0, MOST_SEED),
        default=0,
        show_default=True,
        help="Seed of every draw.",
    ),
    click.option(
        "--out", default="runs", show_default=True, metavar="DIR", help="Where run folders go."
    ),
    click.option("--name", metavar="NAME", callback=plain_name, help="Name of the run folder."),
    click.option("--json", "as_json", is_flag=True, help="The report as JSON on standard output."),
    click.option("-q", "--quiet", is_flag=True, help="Print only what was asked for."),
    click.option("-v", "--verbose", is_flag=True, help="Print more."),
    click.option("--no-progress", is_flag=True, help="No progress bars."),
)

# what Job takes of them
COMMON = ("out", "name", "as_json", "quiet", "verbose", "no_progress")

json_option = click.option("--json", "as_json", is_flag=True, help="JSON on standard output.")
