"""The model, its settings, and the curves of its training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from medimg.reports.document import Block, Figure, Text
from medimg.reports.drawings import Drawing
from medimg.reports.language import Words
from medimg.reports.run_document.facts import facts
from medimg.reports.study import Study


def model(study: Study, words: Words) -> Iterator[Block]:
    recipe, result, backend = study.recipe, study.trained, study.backend
    rate = result.get("learning_rate") or recipe.get("learning_rate")
    recalibration = result.get("recalibration") or {}
    size = recipe.get("image_size")
    yield facts(
        [
            ("model", study.model),
            ("backend", " ".join(filter(None, (backend.get("name"), backend.get("version"))))),
            ("parameters", parameters_words(result, words)),
            ("weights", weights_words(recipe, words)),
            ("parent", result.get("parent")),
            ("opened", opened_words(result, words)),
            ("image_size", size_words(size, recipe, words) if size else None),
            ("augment", none_or(recipe.get("augment"), words)),
            ("balance", none_or(recipe.get("balance"), words)),
            ("recalibration", recalibration.get("method")),
            ("optimizer", recipe.get("optimizer")),
            ("learning_rate", words.brief(rate) if isinstance(rate, (int, float)) else None),
            ("schedule", recipe.get("schedule")),
            ("batch_size", str(recipe.get("batch_size") or "")),
            ("epochs", epochs_words(result, words)),
            ("stopping", stopping_words(result, words)),
            ("monitor", monitor_words(recipe, words)),
            ("seed", str(recipe.get("seed", ""))),
            ("device", backend.get("device")),
            ("precision", backend.get("precision")),
            ("seconds", words.duration((study.training or {}).get("seconds"))),
            ("throughput", throughput_words(result, words)),
        ],
        words,
    )


def stopping_words(result: Mapping[str, Any], words: Words) -> str:
    why = str(result.get("stopped_by") or "")
    return words.either(f"value.stop.{why}", why)


def monitor_words(recipe: Mapping[str, Any], words: Words) -> str:
    """`AUROC on validation`, from `val_auroc`."""
    monitor = str(recipe.get("monitor") or "")
    if not monitor:
        return ""
    name = monitor.removeprefix("val_")
    metric = words("say.loss") if name == "loss" else words.metric(name)
    key = "say.on_validation" if monitor.startswith("val_") else "say.on_training"
    return words(key, metric=metric)


def throughput_words(result: Mapping[str, Any], words: Words) -> str | None:
    rate = result.get("images_per_second")
    return words("value.throughput", rate=words.count(round(rate))) if rate else None


def none_or(value: Any, words: Words) -> str | None:
    return words("value.no_augment") if value == "none" else value


def parameters_words(result: Mapping[str, Any], words: Words) -> str | None:
    counts = result.get("parameters")
    if not counts:
        return None
    told = {name: words.count(counts[name]) for name in ("total", "trainable")}
    return words("value.parameters", **told)


def opened_words(result: Mapping[str, Any], words: Words) -> str | None:
    """Which stages were trained, where not all of them were from the start."""
    opened = result.get("opened") or []
    if len(opened) < 2 and not (opened and result.get("parent")):
        return None
    told = [(", ".join(row["stages"]), words.count(row["epoch"])) for row in opened]
    return "; ".join(words("value.opened", stages=names, epoch=epoch) for names, epoch in told)


def weights_words(recipe: Mapping[str, Any], words: Words) -> str | None:
    weights = recipe.get("weights")
    if weights in (None, "none"):
        return words("value.weights_none") if weights and not recipe.get("parent") else None
    return Path(str(weights)).name


def size_words(size: int, recipe: Mapping[str, Any], words: Words) -> str:
    resize = words.either(f"value.{recipe.get('resize')}", str(recipe.get("resize") or ""))
    return words("value.image_size", size=size, resize=resize)


def epochs_words(result: Mapping[str, Any], words: Words) -> str | None:
    if not result.get("epochs"):
        return None
    told = {"epochs": words.count(result["epochs"]), "best": words.count(result["best_epoch"])}
    return words("value.epochs", **told)


def curves(study: Study, words: Words) -> Iterator[Block]:
    history = study.trained.get("history") or {}
    epochs = history.get("epoch") or []
    if not epochs:
        yield Text(words("say.no_history"))
        return
    if len(epochs) < 2:
        yield Text(words("say.few_epochs"))
        return
    best = study.trained.get("best_epoch")
    groups = (
        ("say.chart_loss", "say.loss", ("loss", "val_loss")),
        ("say.chart_val", "say.validation", ("val_auroc", "val_accuracy")),
        ("say.chart_rate", "say.learning_rate", ("learning_rate",)),
    )
    for caption, label, names in groups:
        known = [n for n in names if any(v is not None for v in history.get(n) or ())]
        if known:
            yield curve(history, known, best, words(caption), words(label), words)


def curve(
    history: Mapping[str, Any],
    names: Sequence[str],
    best: int | None,
    caption: str,
    label: str,
    words: Words,
) -> Figure:
    """Columns of the history by epoch."""
    epochs = history["epoch"]
    values = [v for name in names for v in history[name] if v is not None]
    low, high = min(values), max(values)
    margin = 0.05 * ((high - low) or abs(high) or 1)
    y = (max(0.0, low - margin) if low >= 0 else low - margin, high + margin)
    x = (epochs[0], epochs[-1])
    drawing = Drawing(x, y, words("say.epoch"), label, words.brief, whole=True)
    if best is not None:
        drawing.line([(best, y[0]), (best, y[1])], 0, dotted=True)
    for series, name in enumerate(names, 1):
        points = zip(epochs, history[name], strict=False)
        drawing.line([None if v is None else (e, v) for e, v in points], series)
    legend = tuple((n, history_name(name, words)) for n, name in enumerate(names, 1))
    file = "plots/history.png" if names[0] == "loss" else ""
    return Figure(caption, drawing.svg(caption), legend=legend if len(names) > 1 else (), file=file)


def history_name(name: str, words: Words) -> str:
    if name in ("loss", "val_loss"):
        return words("say.training" if name == "loss" else "say.validation")
    return words.metric(name.removeprefix("val_"))
