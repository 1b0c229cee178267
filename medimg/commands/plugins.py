"""What is installed: layouts, backends, checks; what is broken and why"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from medimg.commands._options import json_option

if TYPE_CHECKING:
    from medimg.manager import PluginManager


def list_plugins(manager: PluginManager) -> list[dict[str, Any]]:
    """A row for everything that is offered, then one for each broken plugin."""
    rows = []
    for offer in manager.offers:
        why = manager.why_not(offer.info) if offer.kind == "backend" else ""
        rows.append(
            {
                "name": offer.info.name,
                "kind": offer.kind,
                "distribution": offer.distribution,
                "version": offer.version,
                "status": "unavailable" if why else "ok",
                "reason": f"{why}; {offer.info.install_hint}" if why else "",
            }
        )
    for status in manager.broken():
        rows.append(
            {
                "name": status.name,
                "kind": "plugin",
                "distribution": status.distribution,
                "version": status.version,
                "status": "broken",
                "reason": status.reason,
            }
        )
    return rows


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
