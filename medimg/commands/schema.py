"""The JSON Schema of every report"""

from __future__ import annotations

import click


@click.command("schema", epilog="Example: medimg schema > medimg-report.schema.json")
def command() -> None:
    """Print the JSON Schema that every report follows."""
    import json

    from medimg.core.report import json_schema

    click.echo(json.dumps(json_schema(), indent=2))
