"""Decoded pixels and scans that are kept: where, how large; clears them"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from medimg.commands._options import json_option

if TYPE_CHECKING:
    from medimg.core.cache import Kept


def row(kept: Kept) -> dict[str, Any]:
    """What is said of one kind."""
    return {
        "kind": kept.kind,
        "what": kept.what,
        "files": len(kept.files),
        "bytes": kept.size_bytes,
        "last_used": kept.last_used,
    }


@click.command("cache", epilog="Example: medimg cache --clear pixels")
@click.option(
    "--clear",
    type=click.Choice(["pixels", "features", "scans", "all"]),
    help="Remove what is kept; it is made again when it is needed.",
)
@json_option
def command(clear: str | None, as_json: bool) -> None:
    """Show what medimg keeps between runs, where, and how large it is.

    The folder is $MEDIMG_CACHE, else medimg in the user's cache folder. $MEDIMG_CACHE_LIMIT says
    how large the decoded pixels, and the features, may each grow in all (default 20GB): those used
    longest ago go first.
    """
    import json

    from tabulate import tabulate

    from medimg.core.cache import cache_folder, cache_limit, in_units, kept_files, remove

    kinds = kept_files()
    removed = sum(remove(k.files) for k in kinds if clear in (k.kind, "all"))
    rows = [row(k) for k in (kept_files() if clear else kinds)]
    if as_json:
        said = {
            "folder": str(cache_folder()),
            "limit_bytes": cache_limit(),
            "removed_bytes": removed,
            "kept": rows,
        }
        click.echo(json.dumps(said, indent=2))
        return
    click.echo(f"{cache_folder()}  (pixels and features up to {in_units(cache_limit())} each)")
    click.echo(
        tabulate(
            [
                (r["kind"], r["what"], r["files"], in_units(r["bytes"]), r["last_used"] or "")
                for r in rows
            ],
            headers=["kind", "what", "files", "size", "last used"],
        )
    )
    if clear:
        click.echo(f"Removed: {in_units(removed)}")
    elif any(r["files"] for r in rows):
        click.echo("Next: medimg cache --clear all, to make room; nothing of yours is in there.")
