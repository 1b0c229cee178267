"""The models that can be trained by name, and their parameters as a backend builds them"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from medimg.commands._options import backend_option, json_option

if TYPE_CHECKING:
    from medimg.core.registry import ModelCard, Registry
    from medimg.manager import PluginManager

# what a backend does to pixels 0..255 before the first layer
SCALINGS = {
    "unit": "divided by 255, to 0..1",
    "signed": "divided by 127.5, minus 1, to -1..1",
    "imagenet": "to 0..1, minus ImageNet's mean, over its standard deviation",
    "caffe": "BGR, minus ImageNet's mean, still 0..255",
    "none": "left at 0..255",
    "inside": "left at 0..255: the network's first layers scale them",
    "own": "as the network's ImageNet weights want it",
}


def in_words(scaling: str) -> str:
    """What a scaling does to pixels."""
    return SCALINGS.get(scaling) or f"to 0..1, then standardised by {scaling}"


def list_models(registry: Registry) -> list[dict[str, Any]]:
    """A row for each model."""
    return [
        {
            "name": card.name,
            "title": card.title,
            "input_size": card.input_size,
            "channels": card.channels,
            "parameters": dict(card.parameters),
            "backends": list(card.backends),
        }
        for card in registry.models.values()
    ]


def backend_for(card: ModelCard, name: str, manager: PluginManager) -> tuple[str, Any]:
    """The backend asked for; under `auto` the first that works here and that the card names.

    Raises:
        UsageError: no such backend, or it doesn't build this model and another one here does.
        BackendError: it does not work here, or none that builds this model does.
    """
    from medimg.core.errors import BackendError, UsageError

    offered = manager.backends()
    usable = [b for b in offered if b in card.backends and not manager.why_not(offered[b])]
    asked = name != "auto"
    if not asked and card.backends:
        name = next(iter(usable), name)
    found, backend = manager.backend(name)
    if not card.built_by(backend.architectures()):
        if asked and usable:
            raise UsageError(
                f"the backend {found!r} does not build {card.name!r}",
                f"Give one that does: --backend {usable[0]}",
            )
        commands = " or ".join(f'pip install "medimg[{b}]"' for b in card.backends)
        raise BackendError(
            f"the backend {found!r} does not build {card.name!r}",
            f"Install one that does: {commands}" if commands else "medimg plugins lists others.",
        )
    return found, backend


def build_model(
    card: ModelCard, backend: Any, backend_name: str, classes: int, size: int | None
) -> dict[str, Any]:
    """The network's numbers, counted on the network itself.

    Raises:
        UsageError: it can't be built for so many classes or at that size.
    """
    from medimg.core.types import Objective, Optimizer

    spec = card.spec(classes, size, backend=backend_name)
    network, _ = backend.build(spec, seed=0)
    network.prepare(Objective(), Optimizer(), trainable_from=0)
    counts = network.parameters()
    network.prepare(Objective(), Optimizer(), trainable_from=len(network.stages) - 1)
    frozen = network.parameters()
    return {
        **described(card, classes, size),
        "backend": backend_name,
        "preprocessing": preprocessing(network.spec.scaling),
        "parameters": {"total": counts.total, "trainable": counts.trainable},
        "trainable_with_frozen_backbone": frozen.trainable,
        "stages": [{"name": s.name, "parameters": s.parameters} for s in network.stages],
    }


def described(card: ModelCard, classes: int, size: int | None) -> dict[str, Any]:
    """What the network is, apart from any backend; its parameters are not counted.

    Raises:
        UsageError: there is no such network for so many classes or at that size.
    """
    spec = card.spec(classes, size)
    return {
        "name": card.name,
        "title": card.title,
        "summary": card.summary,
        "backend": None,
        "input_size": spec.height,
        "channels": spec.channels,
        "outputs": spec.outputs,
        "output": "sigmoid" if spec.outputs == 1 else "softmax",
        "architecture": spec.architecture,
        "layers": list(spec.layers),
        "head": list(spec.head),
        "parameters": {"total": None, "trainable": None},
        "trainable_with_frozen_backbone": None,
        "stages": [],
        "published_parameters": dict(card.parameters),
        "preprocessing": preprocessing(spec.scaling),
        "recipe": dict(card.recipe),
        "study": card.study,
        "citation": card.citation,
    }


def preprocessing(scaling: str) -> dict[str, str]:
    return {"scaling": scaling, "meaning": in_words(scaling)}


def model_as_text(model: dict[str, Any]) -> str:
    """The numbers for reading."""
    from tabulate import tabulate

    layers = " ".join(model["layers"]) or model["architecture"]
    rows = [
        ["input", f"{model['input_size']} × {model['input_size']} px, "
                  f"{model['channels']} channel{'s' if model['channels'] > 1 else ''}"],
        ["pixels", model["preprocessing"]["meaning"]],
        ["backbone", layers],
        ["head", " ".join(model["head"])],
        ["output", f"{model['outputs']} {model['output']}"],
        *counts_as_rows(model),
        *([["study's settings", ", ".join(f"{k} {v}" for k, v in model["recipe"].items())]]
          if model["recipe"] else []),
        *([["source", model["citation"]]] if model["citation"] else []),
    ]  # fmt: skip
    title = f"{model['name']}: {model['title']}" if model["title"] else model["name"]
    summary = f"\n{model['summary']}" if model["summary"] else ""
    return f"{title}{summary}\n\n{tabulate(rows, tablefmt='plain')}"


def counts_as_rows(model: dict[str, Any]) -> list[list[str]]:
    """Parameters as counted on the network, or as the card has them where none was built."""
    if model["backend"] is None:
        published = model["published_parameters"]
        where = "by the card, at its own size and two classes"
        return [["parameters", f"{counted(published)} ({where})"]] if published else []
    counts = model["parameters"]
    return [
        ["backend", model["backend"]],
        ["parameters", f"{counts['total']:,}, of which {counts['trainable']:,} are trained"],
        ["backbone frozen", f"{model['trainable_with_frozen_backbone']:,} are trained"],
    ]


@click.group("models", invoke_without_command=True, epilog="Example: medimg models show cnn3")
@json_option
@click.pass_context
def command(context: click.Context, as_json: bool) -> None:
    """List the models that can be trained by name; `show NAME` builds one and counts it."""
    import json

    from tabulate import tabulate

    from medimg.manager import plugins

    if context.invoked_subcommand is not None:
        return
    rows = list_models(plugins().registry())
    if as_json:
        click.echo(json.dumps(rows, indent=2, ensure_ascii=False))
        return
    table = [
        [r["name"], r["title"], r["input_size"], r["channels"], counted(r["parameters"])]
        for r in rows
    ]
    headers = ["name", "title", "input px", "channels", "parameters at two classes"]
    click.echo(tabulate(table, headers=headers, intfmt=","))


def counted(parameters: dict[str, int]) -> str:
    """Parameters by backend, one number where they agree."""
    if len(set(parameters.values())) == 1:
        return f"{next(iter(parameters.values())):,}"
    return ", ".join(f"{backend} {count:,}" for backend, count in parameters.items())


@command.command("show", epilog="Example: medimg models show cnn3 --backend torch --classes 3")
@click.argument("name")
@backend_option
@click.option("--classes", type=int, default=2, show_default=True, help="Classes to tell apart.")
@click.option("--image-size", type=int, metavar="N", help="Pixels a side (default: the card's).")
@json_option
def show(name: str, backend: str, classes: int, image_size: int | None, as_json: bool) -> None:
    """Build a model and show its layers, preprocessing and parameters."""
    import json

    from medimg.core.errors import BackendError
    from medimg.manager import plugins

    manager = plugins()
    card = manager.registry().model(name)
    model = described(card, classes, image_size)
    try:
        backend_name, built_by = backend_for(card, backend, manager)
        model = build_model(card, built_by, backend_name, classes, image_size)
    except BackendError as error:
        # the card can be read without a backend; who named one wants that one
        if backend != "auto":
            raise
        click.echo(f"Not built: {error.message}\n  {error.hint}", err=True)
    if as_json:
        click.echo(json.dumps(model, indent=2, ensure_ascii=False))
    else:
        click.echo(model_as_text(model))
