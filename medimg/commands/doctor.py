"""What works here: versions, devices, backends, and why the others don't"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from medimg.commands._options import json_option

if TYPE_CHECKING:
    from medimg.manager import PluginManager

PACKAGES = (
    "numpy",
    "opencv-python-headless",
    "scikit-learn",
    "imbalanced-learn",
    "pydantic",
    "torch",
    "tensorflow",
    "keras",
)
# what medimg's own projects offer, so that doctor can name what is not even installed
KNOWN_BACKENDS = {
    "torch": 'pip install "medimg[torch]"',
    "keras": 'pip install "medimg[keras]"',
    "linear": 'pip install "medimg[linear]"',
}


def package_versions() -> dict[str, str | None]:
    """Installed versions by distribution; None where it isn't installed."""
    from importlib.metadata import PackageNotFoundError, version

    found: dict[str, str | None] = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found


def probe(name: str) -> dict[str, Any]:
    """Starts one backend and asks what it runs on; a row for the table."""
    import json
    import subprocess
    import sys

    # a process each: torch and tensorflow don't go well together in one
    code = (
        "import json,dataclasses,sys\n"
        "from medimg.manager import plugins\n"
        "try:\n"
        f"    info = plugins().backend({name!r})[1].runtime()\n"
        "    row = {'status': 'ok', 'version': info.version, 'device': info.device,\n"
        "           'bfloat16': info.bfloat16, 'reason': ''}\n"
        "except Exception as error:\n"
        "    row = {'status': 'unavailable', 'version': None, 'device': None, 'bfloat16': None,\n"
        "           'reason': getattr(error, 'message', str(error))}\n"
        "sys.stdout.write('\\n' + json.dumps(row))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    try:
        return json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        tail = (done.stderr.strip().splitlines() or ["it ended without a word"])[-1]
        return {
            "status": "unavailable",
            "version": None,
            "device": None,
            "bfloat16": None,
            "reason": tail,
        }


def diagnose(manager: PluginManager) -> dict[str, Any]:
    """Backends that work and don't, package versions, broken plugins."""
    offered = manager.backends()
    rows = [
        {"name": name, **probe(name), "install": info.install_hint}
        for name, info in offered.items()
    ]
    rows += [
        {
            "name": name,
            "status": "not installed",
            "version": None,
            "device": None,
            "bfloat16": None,
            "reason": f"medimg-{name} is not installed",
            "install": install,
        }
        for name, install in KNOWN_BACKENDS.items()
        if name not in offered
    ]
    broken = [{"name": s.name, "reason": s.reason} for s in manager.broken()]
    broken += [{"name": c.left_out.plugin, "reason": c.reason} for c in manager.conflicts()]
    return {"backends": rows, "packages": package_versions(), "broken": broken}


@click.command("doctor", epilog="Example: medimg doctor --json")
@json_option
def command(as_json: bool) -> None:
    """Show versions, devices, which backends work here and why the others don't."""
    import json
    import platform

    from tabulate import tabulate

    from medimg import __version__
    from medimg.manager import plugins

    result = diagnose(plugins())
    if as_json:
        click.echo(json.dumps(result, indent=2))
        return
    click.echo(f"medimg {__version__}, Python {platform.python_version()}, {platform.platform()}\n")
    rows = [
        [
            b["name"],
            b["status"],
            b["version"] or "",
            b["device"] or "",
            "" if b["status"] == "ok" else f"{b['reason']}. {b['install']}",
        ]
        for b in result["backends"]
    ]
    click.echo(tabulate(rows, headers=["backend", "status", "version", "device", "what to do"]))
    click.echo()
    versions = [[name, version or "not installed"] for name, version in result["packages"].items()]
    click.echo(tabulate(versions, headers=["package", "version"]))
    for plugin in result["broken"]:
        click.secho(f"Broken plugin {plugin['name']}: {plugin['reason']}", fg="red")
    if not any(b["status"] == "ok" for b in result["backends"]):
        click.echo('\nNo backend works here. Install one: pip install "medimg[torch]"')
