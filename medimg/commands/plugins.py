"""What is installed: layouts, backends, checks; what is broken and why"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from medimg.commands._options import json_option

if TYPE_CHECKING:
    from medimg.manager import Offer, PluginManager


def list_plugins(manager: PluginManager) -> list[dict[str, Any]]:
    """A row for everything that is offered, then one for each broken plugin."""
    rows = []
    conflicts = conflicting(manager)
    for offer in manager.offers:
        status, reason = condition(offer, manager)
        if id(offer) in conflicts:
            status, reason = "conflict", conflicts[id(offer)]
        rows.append(
            {
                "name": offer.info.name,
                "kind": offer.kind,
                "distribution": offer.distribution,
                "version": offer.version,
                "status": status,
                "reason": reason,
            }
        )
    for broken in manager.broken():
        rows.append(
            {
                "name": broken.name,
                "kind": "plugin",
                "distribution": broken.distribution,
                "version": broken.version,
                "status": "broken",
                "reason": broken.reason,
            }
        )
    return rows


def conflicting(manager: PluginManager) -> dict[int, str]:
    """The offers that can't be used for want of a name of their own, with why; by identity."""
    found = {}
    for conflict in manager.conflicts():
        found[id(conflict.left_out)] = conflict.reason
        if not conflict.settled:
            found[id(conflict.other)] = conflict.reason
    return found


def condition(offer: Offer, manager: PluginManager) -> tuple[str, str]:
    """(ok, unavailable or broken; why) of one offer, found without running it."""
    if offer.kind == "backend" and (why := manager.why_not(offer.info)):
        return "unavailable", f"{why}; {offer.info.install_hint}"
    if offer.kind != "registry" and (module := manager.missing_module(offer.info)):
        return "broken", f"its module {module} can't be found"
    return "ok", ""


@click.command("plugins", epilog="Example: medimg plugins --kind backend")
@click.option("--kind", metavar="KIND", help="Only these: dataset, backend, check, metric, …")
@json_option
def command(kind: str | None, as_json: bool) -> None:
    """List what the installed plugins offer, and say what is broken and why."""
    import json

    from tabulate import tabulate

    from medimg.core.errors import UsageError, near_misses
    from medimg.manager import KINDS, plugins

    if kind is not None and kind not in KINDS:
        raise UsageError(f"no plugins are of kind {kind!r}", near_misses(kind, list(KINDS)))
    rows = [r for r in list_plugins(plugins()) if kind is None or r["kind"] in (kind, "plugin")]
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    keys = ("kind", "name", "distribution", "version", "status", "reason")
    click.echo(tabulate([[r[k] for k in keys] for r in rows], headers=keys))
