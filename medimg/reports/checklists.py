"""What CLAIM 2024 and TRIPOD+AI ask of a study, filled in where the run knows the answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from medimg.reports.document import Checklist, Item, Section, Text
from medimg.reports.language import Words

if TYPE_CHECKING:
    from medimg.reports.study import Study

# item of the checklist: (what is known of it, whether that is all the item asks for)
CLAIM = {
    "1": ("kind", False),
    "6": ("goal", False),
    "7": ("source", False),
    "9": ("preprocessing", True),
    "12": ("missing", False),
    "14": ("labels", False),
    "19": ("assigned", True),
    "20": ("disjoint", True),
    "22": ("model", True),
    "23": ("software", True),
    "24": ("initial", True),
    "25": ("training", True),
    "26": ("selection", True),
    "27": ("one_model", True),
    "28": ("metrics", True),
    "29": ("uncertainty", True),
    "32": ("internal", True),
    "33": ("external", False),
    "35": ("counts", False),
    "37": ("performance", False),
    "38": ("performance", True),
    "39": ("failures", False),
    "40": ("limits", False),
    "43": ("reproduce", False),
}
TRIPOD = {
    "4": ("goal", False),
    "5a": ("source", False),
    "7": ("preprocessing", False),
    "8a": ("labels", False),
    "9a": ("predictors", True),
    "9b": ("preprocessing", False),
    "11": ("missing", False),
    "12a": ("assigned", True),
    "12b": ("preprocessing", True),
    "12c": ("training", True),
    "12e": ("metrics", True),
    "12g": ("calculated", True),
    "13": ("balancing", True),
    "14": ("subgroups", False),
    "15": ("output", True),
    "16": ("external", False),
    "20a": ("counts", False),
    "21": ("counts", False),
    "22": ("reproduce", True),
    "23a": ("performance", False),
    "26": ("limits", False),
}


def checklist_sections(study: Study, words: Words) -> tuple[Section, Section]:
    """The two appendices."""
    return (
        checklist(study, words, "claim", CLAIM),
        checklist(study, words, "tripod", TRIPOD),
    )


def checklist(study: Study, words: Words, name: str, known: dict[str, tuple[str, bool]]) -> Section:
    rows = []
    for number, asks in words.items(name).items():
        key, whole = known.get(number, ("", False))
        answer = ANSWERS[key](study, words) if key else ""
        state = "open" if not answer else "filled" if whole else "begun"
        told = {
            "open": words("check.to_write"),
            "filled": answer,
            "begun": f"{answer} {words('check.to_complete')}.",
        }[state]
        rows.append(Item(number, asks, told, state))
    states = [row.state for row in rows]
    progress = {
        "full": states.count("filled"),
        "part": states.count("begun"),
        "empty": states.count("open"),
    }
    blocks = (
        Text(words(f"check.intro_{name}")),
        Text(words("check.progress", **progress), "soft"),
        Checklist(tuple(rows)),
    )
    return Section(name, words(f"section.{name}"), blocks)


# -- answers: each from the run, empty where it doesn't know ---------------------------------------


def classes(study: Study) -> str:
    return ", ".join(study.classes)


def parts(study: Study, words: Words) -> str:
    """`train 1,083, validation 191, test 142`, with patients where they are known."""
    found = study.parts
    if found is None:
        return ""
    told = []
    for part, count in found.images.items():
        images = words.images(count, found.patients.get(part)) if found.patients else None
        told.append(f"{words.part(part)}: {images or words.count(count)}")
    return "; ".join(told)


def kind(study: Study, words: Words) -> str:
    if not study.model:
        return ""
    told = {"model": study.model, "backend": study.backend.get("name") or "–"}
    return words.answer("kind", **told, classes=classes(study))


def goal(study: Study, words: Words) -> str:
    if study.made_elsewhere:
        return words.answer("goal_elsewhere")
    if not study.evaluation:
        return words.answer("goal_development")
    return words.answer("goal_external" if study.is_external else "goal")


def source(study: Study, words: Words) -> str:
    told = study.dataset
    if not told:
        return ""
    images = words.images(told["images"], told.get("groups"))
    name, fingerprint = told.get("name"), told.get("fingerprint") or "–"
    text = words.answer("source", name=name, images=images, fingerprint=fingerprint)
    return f"{text} {words.answer('known', card=told['card'])}" if told.get("card") else text


def preprocessing(study: Study, words: Words) -> str:
    size = study.recipe.get("image_size")
    if not size:
        return ""
    resize = words.either(f"value.{study.recipe.get('resize')}", "")
    text = words.answer("preprocessing", size=size, resize=resize)
    if study.verified:
        report = study.verified[1]
        found = [row["severity"] for row in report.get("findings") or ()]
        checks = report["result"].get("checks") or {}
        text += " " + words.answer(
            "checks",
            count=words.count(sum(c["status"] != "skipped" for c in checks.values())),
            errors=words.errors(found.count("error")),
            warnings=words.warnings(found.count("warning")),
        )
    return text


def missing(study: Study, words: Words) -> str:
    return words.answer("missing") if study.training else ""


def labels(study: Study, words: Words) -> str:
    if not study.classes:
        return ""
    return words.answer("labels", classes=classes(study), positive=study.positive or "–")


def assigned(study: Study, words: Words) -> str:
    told, counts = study.trained.get("split"), parts(study, words)
    if not told or not counts:
        return ""
    sentence = words.clauses(told)
    return words.answer("assigned", split=sentence[:1].upper() + sentence[1:], parts=counts)


def disjoint(study: Study, words: Words) -> str:
    found = study.parts
    if found is None:
        return ""
    if found.shared is None:
        return words.answer("by_image")
    if found.shared:
        return words.answer("leaking", count=words.count(found.shared))
    return words.answer("disjoint")


def model(study: Study, words: Words) -> str:
    counts, size = study.trained.get("parameters"), study.recipe.get("image_size")
    if not counts or not size:
        return ""
    return words.answer(
        "model",
        model=study.model,
        size=size,
        total=words.count(counts["total"]),
        trainable=words.count(counts["trainable"]),
        count=len(study.classes),
    )


def software(study: Study, words: Words) -> str:
    environment, backend = study.first.get("environment") or {}, study.backend
    if not environment.get("python"):
        return ""
    return words.answer(
        "software",
        version=(study.first.get("medimg") or {}).get("version"),
        backend=" ".join(filter(None, (backend.get("name"), backend.get("version")))) or "–",
        python=environment["python"],
        platform=environment.get("platform") or "–",
    )


def initial(study: Study, words: Words) -> str:
    from medimg.reports.run_document.training import weights_words

    if not study.recipe:
        return ""
    weights = weights_words(study.recipe, words) or study.trained.get("parent") or "–"
    return words.answer("initial", weights=weights, seed=study.recipe.get("seed", "–"))


def training(study: Study, words: Words) -> str:
    from medimg.reports.run_document.training import none_or

    recipe = study.recipe
    rate = study.trained.get("learning_rate") or recipe.get("learning_rate")
    if not study.training or not recipe or not isinstance(rate, (int, float)):
        return ""
    return words.answer(
        "training",
        optimizer=recipe.get("optimizer"),
        rate=words.brief(rate),
        schedule=recipe.get("schedule"),
        batch=recipe.get("batch_size"),
        epochs=words.count(study.trained.get("epochs")),
        augment=none_or(recipe.get("augment"), words),
        balance=none_or(recipe.get("balance"), words),
    )


def selection(study: Study, words: Words) -> str:
    best = study.trained.get("best_epoch")
    if best is None:
        return ""
    from medimg.reports.run_document.training import monitor_words

    return words.answer("selection", monitor=monitor_words(study.recipe, words), best=best)


def one_model(study: Study, words: Words) -> str:
    return words.answer("one_model") if study.training else ""


def metrics(study: Study, words: Words) -> str:
    names = list(study.evaluated.get("metrics") or ())
    return (
        words.answer("metrics", names=words.listed([words.inside(n) for n in names], 30))
        if names
        else ""
    )


def uncertainty(study: Study, words: Words) -> str:
    """Every method behind an interval, and what stands by it."""
    names: dict[str, list[str]] = {}
    for name, cell in (study.evaluated.get("metrics") or {}).items():
        if cell.get("method") and cell.get("ci95"):
            names.setdefault(cell["method"], []).append(words.inside(name))
    if not names:
        return ""
    told = [f"{words.phrase(m)} ({words.listed(n, 30)})" for m, n in names.items()]
    resamples = words.count((study.evaluated.get("ci") or {}).get("resamples"))
    return words.answer("uncertainty", methods="; ".join(told), resamples=resamples)


def internal(study: Study, words: Words) -> str:
    if study.evaluated.get("split") != "test" or study.is_external or not study.training:
        return ""
    images = words.images(study.evaluated["images"], study.evaluated.get("groups"))
    seen = study.seen_before
    if seen:
        return words.answer("internal_seen", images=images, seen=words.count(seen))
    return words.answer("internal", images=images)


def external(study: Study, words: Words) -> str:
    if study.is_external:
        return words.answer("external", name=study.tested.get("name"))
    if study.tested_elsewhere:
        return words.answer("external_beside", names=words.listed(study.tested_elsewhere))
    return words.answer("no_external") if study.training else ""


def counts(study: Study, words: Words) -> str:
    told = parts(study, words)
    return words.answer("counts", parts=told) if told else ""


def performance(study: Study, words: Words) -> str:
    cells = study.evaluated.get("metrics") or {}
    shown = [
        f"{words.metric(n)} {words.with_interval(cells[n])}"
        for n in ("auroc", "sensitivity", "specificity", "balanced_accuracy", "macro_f1")
        if (cells.get(n) or {}).get("value") is not None
    ]
    return "; ".join(shown) + "." if shown else ""


def failures(study: Study, words: Words) -> str:
    matrix = study.evaluated.get("confusion_matrix")
    if not matrix:
        return ""
    rows = matrix["counts"]
    right = sum(row[n] for n, row in enumerate(rows))
    total = sum(map(sum, rows))
    told = {"wrong": words.count(int(total - right)), "images": words.count(int(total))}
    return words.answer("failures", **told)


def limits(study: Study, words: Words) -> str:
    return words.answer("limits")


def reproduce(study: Study, words: Words) -> str:
    if not study.training:
        return ""
    chosen = words.answer("reproduce_operating") if study.temperature else ""
    return " ".join(filter(None, [words.answer("reproduce"), chosen]))


def predictors(study: Study, words: Words) -> str:
    return "" if study.made_elsewhere else words.answer("predictors")


def recalibrated(study: Study, words: Words) -> str:
    method = (study.trained.get("recalibration") or {}).get("method")
    told = [words.answer("recalibrated", method=method) if method else "", tempered(study, words)]
    return " ".join(filter(None, told))


def tempered(study: Study, words: Words) -> str:
    """The temperature behind the probabilities; empty where there is none."""
    if not study.temperature:
        return ""
    return words.answer("tempered", value=words.brief(study.temperature["value"]))


def calculated(study: Study, words: Words) -> str:
    if not study.evaluation or not study.training:
        return ""
    return " ".join(filter(None, [words.answer("calculated"), tempered(study, words)]))


def balancing(study: Study, words: Words) -> str:
    from medimg.reports.run_document.training import none_or

    counted = (study.dataset.get("splits") or {}).get("train") or {}
    total = sum(counted.values())
    balance = none_or(study.recipe.get("balance"), words)
    if not total or not balance:
        return ""
    shares = ", ".join(f"{name}: {words.share(n / total)}" for name, n in counted.items())
    told = words.answer("balancing", balance=balance, shares=shares)
    return " ".join(filter(None, [told, recalibrated(study, words)]))


def subgroups(study: Study, words: Words) -> str:
    columns = list(study.evaluated.get("subgroups") or ())
    return words.answer("subgroups", columns=words.listed(columns)) if columns else ""


def output(study: Study, words: Words) -> str:
    from medimg.reports.run_document.summary import threshold_words

    if not study.classes:
        return ""
    threshold = threshold_words(study, words)
    if threshold is None:
        return words.answer("output_argmax", classes=classes(study))
    return words.answer("output", classes=classes(study), threshold=threshold)


ANSWERS: dict[str, Callable[[Study, Words], str]] = {
    function.__name__: function
    for function in (
        kind, goal, source, preprocessing, missing, labels, assigned, disjoint, model, software,
        initial, training, selection, one_model, metrics, uncertainty, internal, external, counts,
        performance, failures, limits, reproduce, predictors, calculated, balancing, subgroups,
        output,
    )
}  # fmt: skip
