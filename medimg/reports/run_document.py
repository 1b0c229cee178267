"""The report of a run as a document: data, split, model, curves, metrics, mistakes, checklists."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from medimg.reports.checklists import checklist_sections
from medimg.reports.conclusions import FEW_PATIENTS
from medimg.reports.document import (
    Block,
    Code,
    Document,
    Facts,
    Figure,
    Findings,
    Found,
    Picture,
    Pictures,
    Section,
    Table,
    Text,
    Tone,
)
from medimg.reports.drawings import Bar, Drawing, forest, thinned
from medimg.reports.language import Words
from medimg.reports.methods import Said, methods_said, reasons_said
from medimg.reports.study import Study

# in the order that readers look for them
SHOWN = (
    "auroc",
    "average_precision",
    "accuracy",
    "balanced_accuracy",
    "sensitivity",
    "specificity",
    "precision",
    "npv",
    "f1",
    "macro_f1",
    "macro_precision",
    "macro_recall",
    "weighted_f1",
    "mcc",
    "cohen_kappa",
    "brier",
    "log_loss",
    "ece",
)
DRAWN = SHOWN[:10]
MOST_MISTAKES = 12
MOST_FINDINGS = 40
FEW_IMAGES = 50
FEWEST_PATIENTS = 10
SUBGROUP_METRICS = ("auroc", "accuracy", "balanced_accuracy", "sensitivity", "specificity")


def run_document(study: Study, language: str = "en", pictures: bool = True) -> Document:
    """Everything that is known of a run.

    Args:
        pictures: images that were answered wrongly are shown, where they can still be read.
    """
    words = Words(language)
    sections = [
        Section("summary", words("section.summary"), tuple(summary(study, words))),
        Section("data", words("section.data"), tuple(data(study, words))),
        Section("split", words("section.split"), tuple(split(study, words))),
        Section("model", words("section.model"), tuple(model(study, words))),
        Section("curves", words("section.curves"), tuple(curves(study, words))),
        Section("metrics", words("section.metrics"), tuple(metrics(study, words))),
        Section("calibration", words("section.calibration"), tuple(calibration(study, words))),
        Section("subgroups", words("section.subgroups"), tuple(subgroups(study, words))),
        Section("mistakes", words("section.mistakes"), tuple(mistakes(study, words, pictures))),
        Section("limits", words("section.limits"), tuple(limits(study, words))),
        Section("reproduce", words("section.reproduce"), tuple(reproduce(study, words))),
        *checklist_sections(study, words),
    ]
    if not study.training:
        sections = [s for s in sections if s.anchor not in ("split", "model", "curves")]
    verdict, tone = headline(study, words)
    return Document(
        language=language,
        kind=words("page.kind_predictions" if study.made_elsewhere else "page.kind_run"),
        title=study.name,
        verdict=verdict,
        tone=tone,
        notes=tuple(remarks(study, words)),
        sections=tuple(s for s in sections if s.blocks),
        version=str((study.first.get("medimg") or {}).get("version", "")),
    )


# -- the top -------------------------------------------------------------------------------------


def headline(study: Study, words: Words) -> tuple[str, Tone]:
    """The one sentence of the report."""
    cells = study.evaluated.get("metrics") or {}
    name = next((n for n in ("auroc", "accuracy") if (cells.get(n) or {}).get("value")), None)
    if name is None:
        return words("say.not_evaluated"), "warning"
    part = study.evaluated.get("split")
    told = words(
        headline_key(study),
        metric=words.metric(name),
        value=words.with_interval(cells[name]),
        images=words.images(study.evaluated["images"], study.evaluated.get("groups")),
        split=words.part(str(part)),
        seen=words.count(study.seen_before),
    )
    severities = {f["severity"] for w in ("training", "evaluation") for f in study.findings(w)}
    tone: Tone = (
        "error" if "error" in severities else "warning" if "warning" in severities else "ok"
    )
    return told, tone


def headline_key(study: Study) -> str:
    """Which sentence is true: what training has seen decides what the numbers are worth."""
    if study.evaluated.get("split") != "test":
        return "say.headline_part"
    if study.made_elsewhere:
        return "say.headline_elsewhere"
    if study.seen_before:
        return "say.headline_seen"
    if not study.is_external and study.parts and study.parts.shared:
        return "say.headline_patients_seen"
    return "say.headline"


def remarks(study: Study, words: Words) -> Iterator[Text]:
    """What stands under the headline."""
    if study.evaluated.get("phantom"):
        yield Text(words("page.phantom"), "note")
    found = [f["severity"] for w in ("training", "evaluation") for f in study.findings(w)]
    errors, warnings = found.count("error"), found.count("warning")
    if errors or warnings:
        told = [words.errors(errors)] if errors else []
        told += [words.warnings(warnings)] if warnings else []
        what = words.listed(told)
        yield Text(words("say.problems", what=what), "error" if errors else "warning")
    if not study.evaluation:
        yield Text(words("say.evaluate_next"), "note", f"medimg evaluate {study.folder}")
    if majority := majority_line(study, words):
        yield Text(majority, "soft")
    yield Text(words("page.not_for_diagnosis"), "soft")


def majority_line(study: Study, words: Words) -> str:
    """How often the commonest class of training would be right, and that of these images."""
    cell = (study.evaluated.get("baseline") or {}).get("accuracy") or {}
    here = {
        n: row.get("support") or 0 for n, row in (study.evaluated.get("per_class") or {}).items()
    }
    if cell.get("value") is None or not any(here.values()):
        return ""
    taught = (study.dataset.get("splits") or {}).get("train") if study.training else None
    name, common = commonest(taught or here), commonest(here)
    told = words("say.beats_majority", name=name, value=words.share(cell["value"]))
    if name == common:
        return told
    share = words.share(here[common] / sum(here.values()))
    return f"{told} {words('say.majority_differs', name=name, here=common, value=share)}"


def commonest(counts: Mapping[str, int]) -> str:
    return max(counts, key=lambda name: counts[name])


def facts(rows: Iterable[tuple[str, str | None]], words: Words) -> Facts:
    """Facts by their key in words.yaml; those without a value are left out."""
    return Facts(tuple((words(f"fact.{key}"), told) for key, told in rows if told))


def summary(study: Study, words: Words) -> Iterator[Block]:
    result, backend = study.evaluated, study.backend
    evaluated = None
    if result:
        images = words.images(result["images"], result.get("groups"))
        evaluated = words("value.evaluated", split=words.part(result["split"]), images=images)
        if study.is_external:
            evaluated += f" ({study.tested.get('name')})"
    looks = study.test_looks
    yield facts(
        [
            ("model", study.model),
            ("backend", " ".join(filter(None, (backend.get("name"), backend.get("version"))))),
            ("dataset", study.dataset.get("name")),
            ("classes", ", ".join(study.classes)),
            ("positive", study.positive),
            ("evaluated", evaluated),
            ("threshold", threshold_words(study, words)),
            ("looks", words.count(looks) if looks else None),
            ("made", str(study.first.get("created", "")).replace("T", " ").replace("Z", " UTC")),
            ("version", str((study.first.get("medimg") or {}).get("version", ""))),
        ],
        words,
    )


def threshold_words(study: Study, words: Words) -> str | None:
    cut = study.threshold
    if not cut:
        return None
    value = words.number(cut["value"], 4)
    if not cut.get("chosen_on"):
        return words("value.threshold_given", value=value)
    part = words.part(cut["chosen_on"])
    return words("value.threshold_rule", value=value, rule=words.phrase(cut["rule"]), part=part)


# -- data and split ------------------------------------------------------------------------------


def data(study: Study, words: Words) -> Iterator[Block]:
    told = study.dataset
    if told:
        images = words.images(told["images"], told.get("groups"))
        yield facts(
            [
                ("dataset", told.get("name")),
                ("card", told.get("card")),
                ("layout", told.get("layout")),
                ("images", images),
                ("positive", study.positive),
                ("fingerprint", told.get("fingerprint")),
            ],
            words,
        )
        yield class_table(told, words)
    if study.is_external:
        yield Text(words("say.external"))
        tested = study.tested
        yield facts(
            [
                ("dataset", tested.get("name")),
                ("images", words.images(tested["images"], tested.get("groups"))),
                ("fingerprint", tested.get("fingerprint")),
            ],
            words,
        )
        external = study.evaluated.get("external") or {}
        for difference in external.get("differences") or ():
            yield Text(words.phrase(difference), original=not words.knows(difference))
    yield from all_findings(study, words)


def class_table(told: Mapping[str, Any], words: Words) -> Table:
    """Images by class and part."""
    splits = told.get("splits") or {}
    total = max(1, told["images"])
    rows = [
        (
            name,
            *(words.count(counts.get(name, 0)) for counts in splits.values()),
            words.count(count),
            words.share(count / total),
        )
        for name, count in told["classes"].items()
    ]
    sums = (words.count(sum(counts.values())) for counts in splits.values())
    rows.append((words("column.all"), *sums, words.count(told["images"]), words.share(1.0)))
    columns = (
        words("column.class"),
        *(words.part(part) for part in splits),
        words("column.images"),
        words("column.share"),
    )
    return Table(columns, tuple(rows), words("say.class_table"), frozenset(range(1, len(columns))))


def all_findings(study: Study, words: Words) -> Iterator[Block]:
    """Of training, evaluation, and of verify where it looked at these data."""
    anything = False
    for which in ("training", "evaluation"):
        if rows := study.findings(which):
            anything = True
            yield findings_block(rows, words(f"say.from_{which}"), words)
    if not anything:
        yield Text(words("say.no_findings"))
    if study.verified is None:
        if study.training:
            data = str(study.recipe.get("dataset") or "DATASET")
            yield Text(words("say.not_verified"), "note", f"medimg verify {data}")
        return
    name, report = study.verified
    rows = report.get("findings") or []
    told = {
        "errors": words.errors(sum(r["severity"] == "error" for r in rows)),
        "warnings": words.warnings(sum(r["severity"] == "warning" for r in rows)),
    }
    yield Text(words("say.verified", run=name, **told))
    if rows:
        yield findings_block(rows, words("say.from_verify"), words)


def findings_block(rows: Sequence[Mapping[str, Any]], title: str, words: Words) -> Findings:
    return Findings(
        title,
        tuple(
            Found(
                row["check"],
                row["severity"],
                row["message"],
                row.get("count") or 0,
                row.get("hint") or "",
                words.finding(row["check"]),
                words(f"severity.{row['severity']}"),
                words.message(row["message"]),
                words.next_step(row["check"], row.get("hint") or ""),
            )
            for row in rows[:MOST_FINDINGS]
        ),
    )


def split(study: Study, words: Words) -> Iterator[Block]:
    told = study.trained.get("split")
    if told:
        sentence = words.clauses(told)
        yield Text(sentence[:1].upper() + sentence[1:] + ".", original=not words.knows(told))
    parts = study.parts
    if parts is None:
        yield Text(words("say.no_split"))
        return
    with_patients = bool(parts.patients)
    columns = [words("column.part"), words("column.images")]
    columns += [words("column.patients")] if with_patients else []
    rows = [
        (
            words.part(part),
            words.count(count),
            *([words.count(parts.patients[part])] if with_patients else []),
        )
        for part, count in parts.images.items()
    ]
    yield Table(tuple(columns), tuple(rows), words("say.split_table"), frozenset({1, 2}))
    if parts.shared is None:
        yield Text(words("say.by_image"), "warning")
    elif parts.shared:
        yield Text(words("say.leak", count=words.count(parts.shared)), "error")
    else:
        yield Text(words("say.disjoint"), "ok")
    if told := study.dataset.get("split_hash"):
        yield facts([("split_hash", told)], words)


# -- model and training --------------------------------------------------------------------------


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


# -- metrics -------------------------------------------------------------------------------------


def metrics(study: Study, words: Words) -> Iterator[Block]:
    if not study.evaluation:
        yield Text(words("say.not_evaluated"), "warning")
        yield validation_table(study, words)
        return
    result = study.evaluated
    names = [n for n in SHOWN if n in result["metrics"]]
    names += [n for n in result["metrics"] if n not in names]
    yield metric_table(result, names, words)
    yield from how_computed(result, words)
    yield forest_of(result, [n for n in DRAWN if n in names], words)
    yield from roc(study, words)
    yield confusion(result["confusion_matrix"], words)
    yield from per_class(result, words)
    yield from by_patient(result.get("by_group"), names, words)


def validation_table(study: Study, words: Words) -> Table:
    values = study.trained.get("metrics") or {}
    rows = [(words.metric(n), words.number(values[n])) for n in SHOWN if n in values]
    columns = (words("column.metric"), words("column.value"))
    return Table(columns, tuple(rows), words("say.validation_table"), frozenset({1}))


def metric_table(result: Mapping[str, Any], names: Sequence[str], words: Words) -> Table:
    """Value, interval, the majority class, and the same at 0.5."""
    half, base = result.get("metrics_at_half") or {}, result.get("baseline") or {}
    rows = []
    for name in names:
        cell = result["metrics"][name]
        row = [words.metric(name), words.number(cell.get("value")), interval_or_why(cell, words)]
        row += [words.number((half.get(name) or {}).get("value"))] if half else []
        row.append(words.number((base.get(name) or {}).get("value")))
        rows.append(tuple(row))
    columns = [words("column.metric"), words("column.value"), words("column.interval")]
    columns += [words("column.at_half")] if half else []
    columns.append(words("column.majority"))
    caption = words("say.metric_table", split=words.part(result["split"]))
    return Table(tuple(columns), tuple(rows), caption, frozenset(range(1, len(columns))))


def interval_or_why(cell: Mapping[str, Any], words: Words) -> str:
    """`0.609 to 0.811`, or why there is none."""
    told, why = words.interval(cell.get("ci95")), words.phrase(cell.get("reason"))
    return told or (words("say.no_interval", why=why) if why else "–")


def how_computed(result: Mapping[str, Any], words: Words) -> Iterator[Block]:
    """The methods behind the intervals; one for all, or each that was used."""
    methods: dict[str, list[str]] = {}
    for name, cell in (result.get("metrics") or {}).items():
        if cell.get("method") and cell.get("ci95"):
            methods.setdefault(cell["method"], []).append(name)
    resamples = (result.get("ci") or {}).get("resamples")
    if not methods:
        return
    most = max(methods, key=lambda method: len(methods[method]))
    told = words.phrase(most)
    if resamples and "bootstrap" in most:
        count = words.count(resamples)
        yield Text(words("say.intervals", method=told, resamples=count), "soft")
    else:
        yield Text(words("say.intervals_only", method=told), "soft")
    for method, names in methods.items():
        if method != most:
            metrics = words.listed([words.inside(n) for n in names], 20)
            yield method_of(metrics, method, words)
    if "stratified" in most:
        yield Text(words("say.strata"), "soft")


def method_of(metrics: str, method: str, words: Words) -> Text:
    """`AUROC: DeLong.`"""
    told = words("say.method_of", metrics=metrics, method=words.phrase(method))
    return Text(told[:1].upper() + told[1:], "soft")


def forest_of(result: Mapping[str, Any], names: Sequence[str], words: Words) -> Figure:
    rows = []
    for name in names:
        cell = result["metrics"][name]
        if cell.get("value") is not None:
            low, high = cell.get("ci95") or (None, None)
            told = words.with_interval(cell)
            rows.append(Bar(words.metric(name), cell["value"], low, high, told))
    caption = words("say.chart_metrics")
    return Figure(caption, forest(rows, caption, words.brief) if rows else "")


def roc(study: Study, words: Words) -> Iterator[Block]:
    """ROC of the positive class, or of each class against the rest."""
    predictions = study.predictions
    if predictions is None:
        return
    labels = predictions.label_numbers()
    positive = study.positive if len(predictions.classes) == 2 else None
    shown = [positive] if positive in predictions.classes else list(predictions.classes)
    drawing = Drawing(
        (0, 1), (0, 1), words("say.false_positives"), words("say.true_positives"),
        words.brief, height=320,
    )  # fmt: skip
    drawing.line([(0, 0), (1, 1)], 0, dotted=True)
    legend = []
    for series, name in enumerate(shown[:6], 1):
        place = predictions.classes.index(str(name))
        truth, scores = labels == place, predictions.probabilities[:, place]
        if truth.any() and not truth.all():
            drawing.line(list(thinned(roc_points(truth, scores))), series)
            legend.append((series, str(name)))
    if not legend:
        return
    cut = study.threshold
    if positive and cut and len(shown) == 1:
        place = predictions.classes.index(positive)
        called = predictions.probabilities[:, place] >= cut["value"]
        truth = labels == place
        drawing.dot((called[~truth].mean(), called[truth].mean()), 2, hollow=True, radius=6)
    caption = words("say.chart_roc", name=words.listed([name for _, name in legend]))
    file = "plots/roc.png"
    yield Figure(
        caption, drawing.svg(caption), legend=tuple(legend) if len(legend) > 1 else (),
        file=relative(study, file),
    )  # fmt: skip


def roc_points(truth: np.ndarray, scores: np.ndarray) -> list[tuple[float, float]]:
    from sklearn.metrics import roc_curve

    false, true, _ = roc_curve(truth, scores)
    return [(float(x), float(y)) for x, y in zip(false, true, strict=True)]


def relative(study: Study, name: str) -> str:
    """A plot of the evaluation as the run's folder names it; empty where there is none."""
    if study.place is None or not (study.place / name).is_file():
        return ""
    return (study.place / name).relative_to(study.folder).as_posix()


def confusion(matrix: Mapping[str, Any], words: Words) -> Table:
    labels, counts = matrix["labels"], matrix["counts"]
    rows: list[tuple[str, ...]] = []
    shades: dict[tuple[int, int], float] = {}
    for place, (label, row) in enumerate(zip(labels, counts, strict=True)):
        total = max(1, sum(row))
        cells = [f"{words.count(int(n))} ({words.share(n / total, 0)})" for n in row]
        rows.append((words("column.true", name=label), *cells))
        shades |= {(place, number + 1): n / total for number, n in enumerate(row)}
    columns = ("", *(words("column.said", name=label) for label in labels))
    numeric = frozenset(range(1, len(columns)))
    return Table(columns, tuple(rows), words("say.confusion"), numeric, shades)


def per_class(result: Mapping[str, Any], words: Words) -> Iterator[Block]:
    """Each class against the rest, with intervals where the report holds them."""
    table = result.get("per_class") or {}
    cells = result.get("per_class_intervals") or {}
    names = list(next(iter(table.values()), {}))
    rows = []
    for label, points in table.items():
        known = cells.get(label) or {}
        told = [
            words.count(points[n])  # type: ignore[arg-type]
            if n == "support"
            else words.with_interval(known.get(n) or {"value": points[n]})
            for n in names
        ]
        rows.append((label, *told))
    columns = (words("column.class"), *(words.metric(n) for n in names))
    caption = words("say.per_class" if cells else "say.per_class_points")
    yield Table(columns, tuple(rows), caption, frozenset(range(1, len(columns))))
    yield from how_each(cells, names, words)


def how_each(
    table: Mapping[str, Mapping[str, Any]], names: Sequence[str], words: Words
) -> Iterator[Block]:
    """Under a table: the methods of its intervals, and why some are missing."""
    told = [words("say.by_methods", told=listed_methods(table, names, words))]
    told = told if methods_said(table, names) else []
    for found in reasons_said(table, names):
        where = said_where(found, words)
        told.append(words("say.no_interval_where", where=where, why=words.phrase(found.what)))
    if told:
        yield Text(" ".join(told), "soft")


def listed_methods(
    table: Mapping[str, Mapping[str, Any]], names: Sequence[str], words: Words
) -> str:
    """`Wilson (recall, precision); DeLong (AUROC of A)`."""
    found = methods_said(table, names)
    return "; ".join(f"{words.phrase(f.what)} ({said_where(f, words)})" for f in found)


def said_where(found: Said, words: Words) -> str:
    """`recall, F1`, or `recall of A and B`."""
    metrics = ", ".join(words.inside(name) for name in found.metrics)
    if not found.rows:
        return metrics
    return words("say.metrics_of", metrics=metrics, rows=words.listed(list(found.rows)))


def by_patient(
    found: Mapping[str, Any] | None, names: Sequence[str], words: Words
) -> Iterator[Block]:
    if not found or not found.get("metrics"):
        return
    rule = words.phrase(found.get("rule"))
    groups = words.count(found.get("groups"))
    if (found.get("groups") or 0) < FEWEST_PATIENTS:
        yield Text(words("say.by_patient_few", groups=groups))
        return
    yield Text(words("say.by_patient", rule=rule, groups=groups))
    cells = found["metrics"]
    rows = [
        (words.metric(n), words.number(cells[n]["value"]), interval_or_why(cells[n], words))
        for n in names
        if n in cells
    ]
    columns = (words("column.metric"), words("column.value"), words("column.interval"))
    yield Table(columns, tuple(rows), words("column.by_patient"), frozenset({1, 2}))
    yield from how_computed(found, words)


# -- calibration, subgroups, mistakes ------------------------------------------------------------


def calibration(study: Study, words: Words) -> Iterator[Block]:
    found = study.evaluated.get("calibration")
    if not found:
        yield Text(words("say.no_calibration"))
        return
    names = ("ece", "slope", "intercept", "brier", "log_loss")
    known = study.evaluated.get("metrics") or {}
    cells = {name: dict(known.get(name) or of_calibration(found, name)) for name in names}
    cells = {name: cell for name, cell in cells.items() if cell["value"] is not None}
    rows = [
        (words.metric(name), words.number(cell["value"]), interval_or_why(cell, words))
        for name, cell in cells.items()
    ]
    columns = (words("column.metric"), words("column.value"), words("column.interval"))
    yield Table(columns, tuple(rows), "", frozenset({1, 2}))
    if methods_said({"": cells}, names):
        yield Text(words("say.by_methods", told=listed_methods({"": cells}, names, words)), "soft")
    yield from temperature(study, words)
    if study.positive:
        yield Text(words("say.calibration", name=study.positive), "soft")
    yield from reliability(found.get("bins") or (), study, words)


def of_calibration(found: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Slope and intercept have an interval beside them; older reports may hold whole cells."""
    value = found.get(name)
    if isinstance(value, Mapping):
        return dict(value)
    return {"value": value, "ci95": found.get(f"{name}_ci95"), "method": found.get("method")}


def temperature(study: Study, words: Words) -> Iterator[Block]:
    """What a temperature did to both errors of the probabilities, on validation."""
    found = study.evaluated.get("temperature")
    if not found:
        return
    told = {
        f"{name}_{when}": words.number(found[key][when], 4)
        for name, key in (("loss", "log_loss"), ("error", "ece"))
        for when in ("before", "after")
    }
    told |= {"value": words.number(found["value"]), "images": words.count(found["images"])}
    worse = found["ece"]["after"] > found["ece"]["before"]
    yield Text(words("say.temperature", part=words.part(found["fitted_on"]), **told))
    if worse:
        yield Text(words("say.temperature_worse"), "warning")


def reliability(bins: Sequence[Mapping[str, Any]], study: Study, words: Words) -> Iterator[Block]:
    """Observed share against predicted probability, with the counts as bars."""
    filled = [b for b in bins if b.get("count")]
    if not filled:
        return
    drawing = Drawing(
        (0, 1), (0, 1), words("say.predicted"), words("say.observed"), words.brief, height=320
    )
    most = max(b["count"] for b in filled)
    for b in filled:
        low, high = b.get("low"), b.get("high")
        if low is None or high is None:
            low, high = b["confidence"] - 0.02, b["confidence"] + 0.02
        drawing.bar(max(0, low), min(1, high), 0.25 * b["count"] / most)
    drawing.line([(0, 0), (1, 1)], 0, dotted=True)
    points = [(b["confidence"], b["observed"]) for b in filled]
    drawing.line(points, 1)
    for point in points:
        drawing.dot(point, 1)
    caption = words("say.chart_reliability")
    yield Figure(caption, drawing.svg(caption), file=relative(study, "plots/reliability.png"))
    rows = [
        (words.number(b["confidence"]), words.number(b["observed"]), words.count(b["count"]))
        for b in filled
    ]
    columns = (words("column.bin"), words("column.observed"), words("column.images"))
    yield Table(columns, tuple(rows), "", frozenset({0, 1, 2}))


def subgroups(study: Study, words: Words) -> Iterator[Block]:
    found = study.evaluated.get("subgroups") or {}
    if not found:
        folder = study.folder
        yield Text(words("say.no_subgroups"), "plain", f"medimg evaluate {folder} --by COLUMN")
        return
    for column, table in found.items():
        groups = table.get("groups") or table
        yield from subgroup(column, groups, table.get("gap") or {}, words)


def subgroup(
    column: str, groups: Mapping[str, Any], gaps: Mapping[str, Any], words: Words
) -> Iterator[Block]:
    """One column: a row a value, the gaps, and what is not shown."""
    shown = {v: g for v, g in groups.items() if not g.get("suppressed") and g.get("metrics")}
    names = [n for n in SUBGROUP_METRICS if any(n in g["metrics"] for g in shown.values())][:4]
    rows = [
        (
            str(value),
            words.count(group.get("images")),
            words.count(group.get("patients")),
            *(words.with_interval(group["metrics"].get(n), 2) for n in names),
        )
        for value, group in shown.items()
    ]
    columns = (
        words("column.group"),
        words("column.images"),
        words("column.patients"),
        *(words.metric(n) for n in names),
    )
    if rows:
        caption = words("say.subgroup_table", column=column)
        yield Table(columns, tuple(rows), caption, frozenset(range(1, len(columns))))
        yield from how_each({str(v): g["metrics"] for v, g in shown.items()}, names, words)
    for name in names:
        if gap := gaps.get(name):
            bounds = words.interval(gap.get("ci95"))
            by = f"; {words.phrase(gap['method'])}" if gap.get("method") else ""
            chance = bool(gap.get("ci95")) and gap["ci95"][0] <= 0
            told = words(
                "say.gap_chance" if chance else "say.gap",
                metric=words.metric(name),
                highest=gap["highest"],
                lowest=gap["lowest"],
                value=words.number(gap["value"]),
                interval=f" ({bounds}{by})" if bounds else "",
            )
            if (gap.get("differences") or 1) > 1:
                told += " " + words("say.gap_largest", count=words.count(gap["differences"]))
            yield Text(told, "soft")
    hidden = [
        f"{value} ({words.phrase(group['suppressed'])})"
        for value, group in groups.items()
        if group.get("suppressed")
    ]
    if hidden:
        yield Text(words("say.suppressed", names=words.listed(hidden, 12)), "soft")


def mistakes(study: Study, words: Words, pictures: bool) -> Iterator[Block]:
    predictions = study.predictions
    if predictions is None:
        yield Text(words("say.mistakes_unknown"))
        return
    from medimg.core.scored import Scored

    positive = study.positive if len(predictions.classes) == 2 else None
    place = predictions.classes.index(positive) if positive in predictions.classes else None  # type: ignore[arg-type]
    cut = study.threshold["value"] if study.threshold and place is not None else None
    labels = predictions.label_numbers()
    decided = Scored(labels, predictions.probabilities, place, cut).decided
    wrong = np.flatnonzero(decided != labels)
    total = words.count(len(labels))
    if not len(wrong):
        yield Text(words("say.no_mistakes", images=total))
        return
    told = {"wrong": words.count(len(wrong)), "images": total}
    yield Text(words("say.mistakes", **told, share=words.share(len(wrong) / len(labels))))
    surest = predictions.probabilities[wrong, decided[wrong]]
    order = wrong[np.argsort(-surest, kind="stable")][:MOST_MISTAKES]
    if pictures:
        root = Path(str(study.recipe.get("dataset") or ""))
        shown = []
        for row in order:
            answer = predictions.classes[decided[row]]
            caption = words(
                "say.mistake_caption",
                label=predictions.labels[row],
                answer=answer,
                probability=words.number(predictions.probabilities[row, decided[row]]),
            )
            uri, small = picture_of(root, predictions.paths[row])
            shown.append(Picture(caption, predictions.paths[row], uri, small))
        if any(picture.uri for picture in shown):
            yield Pictures(tuple(shown))
            return
    yield mistake_table(predictions, order, decided, words)


def mistake_table(predictions: Any, order: Any, decided: Any, words: Words) -> Table:
    with_patients = any(predictions.groups)
    rows = []
    for row in order:
        patient = [predictions.groups[row] or "–"] if with_patients else []
        rows.append(
            (
                predictions.paths[row],
                predictions.labels[row],
                predictions.classes[decided[row]],
                words.number(predictions.probabilities[row, decided[row]]),
                *patient,
            )
        )
    names = ["file", "label", "answer", "probability"] + (["patient"] if with_patients else [])
    return Table(tuple(words(f"column.{n}") for n in names), tuple(rows), "", frozenset({3}))


def picture_of(root: Path, name: str) -> tuple[str, bool]:
    """A data URI of an image that lies as a file in the dataset, and whether it is small."""
    from medimg.core.images import decode_to_input
    from medimg.reports.thumbnails import SMALL_PX, data_uri, longer_side

    base = root if root.is_dir() else root.parent
    try:
        data = (base / name).read_bytes()
        size = min(160, longer_side(data) or 160)
        return data_uri(decode_to_input(data, size, size, 3, "pad")), size <= SMALL_PX
    except Exception:  # an archive, a folder that moved, a broken file: the table says it all
        return "", False


# -- limits, and how to run it again -------------------------------------------------------------


def limits(study: Study, words: Words) -> Iterator[Block]:
    """What a reader must not conclude."""
    result = study.evaluated
    if not result:
        yield Text(words("limit.no_evaluation"))
        return
    if not result.get("groups"):
        yield Text(words("limit.patients"))
    elif result["groups"] < FEW_PATIENTS:
        yield Text(words("limit.few_patients", count=words.count(result["groups"])))
    if study.training and not study.is_external:
        yield Text(words("limit.one_source"))
    if study.test_looks > 1:
        yield Text(words("limit.looks", count=words.count(study.test_looks)))
    per_class = result.get("per_class") or {}
    support: dict[str, int] = {n: int(row.get("support") or 0) for n, row in per_class.items()}
    for name, count in support.items():
        if 0 < count < FEW_IMAGES:
            yield Text(words("limit.small", count=words.count(count), name=name))
    total = sum(support.values())
    if study.positive in support and total:
        share = support[str(study.positive)] / total
        yield Text(words("limit.prevalence", share=words.share(share), name=study.positive))
    wide = (result["metrics"].get("auroc") or {}).get("ci95")
    if wide and wide[1] - wide[0] > 0.2:
        width = words.number(wide[1] - wide[0])
        yield Text(words("say.wide", metric=words.metric("auroc"), width=width))
    if study.training:
        yield Text(words("limit.seed"))


def reproduce(study: Study, words: Words) -> Iterator[Block]:
    import shlex

    environment = study.first.get("environment") or {}
    for report in (study.training, study.evaluation):
        arguments = ((report or {}).get("invocation") or {}).get("arguments") or []
        if arguments:
            yield Text("", "plain", shlex.join(["medimg", *arguments]))
    told = [f"Python {environment['python']}"] if environment.get("python") else []
    told += [str(environment["platform"])] if environment.get("platform") else []
    yield facts([("environment", ", ".join(told))], words)
    yield Text(words("say.again"), "soft")
    if study.recipe:
        import yaml

        text = yaml.safe_dump(study.recipe, sort_keys=False, allow_unicode=True)
        yield Code(words("say.recipe"), text)
