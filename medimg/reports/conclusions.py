"""What may be said of the runs of a comparison, and what may not, in either language."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from medimg.reports.language import Words

LEVEL = 0.05
LOWER_IS_BETTER = frozenset({"brier", "log_loss", "ece"})
# patients below which a bootstrap of whole patients is too sure of itself (Cameron, Gelbach and
# Miller 2008, Bootstrap-based improvements for inference with clustered errors)
FEW_PATIENTS = 30
# images of a class below which a few answers more or less move its numbers a good deal
FEW_IMAGES = 30


def conclusions(result: Mapping[str, Any], words: Words) -> list[str]:
    """Sentences that follow from a compare report's `result`, in the order of their weight."""
    metric = result.get("ranked_by")
    if not metric or len(result["runs"]) < 2:
        return []
    said = [*ranking(result, metric, words), *against_baseline(result, metric, words)]
    said += ranked_otherwise(result, metric, words)
    for test in result["omnibus"]:
        key = "conclude.q_differs" if test["p"] < LEVEL else "conclude.q_same"
        name = words.inside(test["metric"])
        said.append(words(key, runs=test["runs"], metric=name, p=p_words(test["p"], words)))
    said += beside_majority(result, words)
    said.append(correction(result, words))
    said += sample(result, words)
    said += seeds(result, words)
    said.append(selection(result, words))
    return said


def ranking(result: Mapping[str, Any], metric: str, words: Words) -> Iterator[str]:
    """The best run, and those that can't be told from it."""
    best = next((run for run in result["runs"] if run["mark"] == "best"), None)
    if best is None:
        yield words("conclude.none", metric=words.inside(metric))
        return
    tied = [run["name"] for run in result["runs"] if run["mark"] == "tied"]
    why = untested(result["pairs"], metric, best["name"])
    cell = best["metrics"][metric]
    told = {
        "metric": words.inside(metric),
        "best": best["name"],
        "value": words.number(cell["value"]),
    }
    others = len(result["runs"]) - 1
    unsure = [run["name"] for run in result["runs"] if run["mark"] == "untested"]
    if not tied and not unsure:
        key = "conclude.alone_one" if others == 1 else "conclude.alone"
        yield words(key, **told, others=words.count(others))
        return
    sentence = words("conclude.best", **told)
    if known := [name for name in tied if name not in why]:
        sentence += " " + words("conclude.tied", tied=words.listed(known))
    alike = [name for name in tied if value_in(result, name, metric) == cell["value"]]
    if unknown := [n for n in (*tied, *unsure) if n in why and n not in alike]:
        reason = words.phrase(why[unknown[0]])
        sentence += " " + words("conclude.tied_untested", tied=words.listed(unknown), why=reason)
    if alike:
        key = "conclude.same_value" if len(alike) == 1 else "conclude.same_value_several"
        sentence += " " + words(key, names=words.listed(alike))
    bounds = list(bounds_of(result["pairs"], metric, best["name"], set(tied)))
    if bounds:
        sentence += " " + words("conclude.not_alike", most=words.number(max(bounds)))
    yield sentence
    if metric == "auroc" and cell.get("ci95") and cell["ci95"][0] <= 0.5:
        yield words("conclude.chance", best=best["name"])


def value_in(result: Mapping[str, Any], name: str, metric: str) -> float | None:
    """What a run has in a metric."""
    row = next(run for run in result["runs"] if run["name"] == name)
    return (row["metrics"].get(metric) or {}).get("value")


def untested(pairs: Sequence[Mapping[str, Any]], metric: str, best: str) -> dict[str, str]:
    """Runs whose difference to the best has no p, and why."""
    return {
        pair["b"] if pair["a"] == best else pair["a"]: pair["reason"] or "–"
        for pair in pairs
        if pair["metric"] == metric and best in (pair["a"], pair["b"]) and pair["p"] is None
    }


def bounds_of(
    pairs: Sequence[Mapping[str, Any]], metric: str, best: str, tied: set[str]
) -> Iterator[float]:
    """How far the intervals of differences to the best reach."""
    for pair in pairs:
        runs = {pair["a"], pair["b"]}
        if pair["metric"] == metric and best in runs and runs & tied and pair["ci95"]:
            yield from map(abs, pair["ci95"])


def against_baseline(result: Mapping[str, Any], metric: str, words: Words) -> Iterator[str]:
    """The runs that differ from a baseline that was named."""
    if result.get("baseline_chosen") != "given" or result.get("family") != "baseline":
        return
    told = {"metric": words.inside(metric), "baseline": result["baseline"]}
    tested = [
        pair
        for pair in result["pairs"]
        if (pair["metric"], pair["family"]) == (metric, "baseline") and pair["p_holm"] is not None
    ]
    names = [pair["a"] for pair in tested if pair["p_holm"] < LEVEL]
    if not tested:
        yield words("conclude.untested", **told)
    elif not names:
        yield words("conclude.no_difference", **told)
    else:
        key = "conclude.differs" if len(names) == 1 else "conclude.differ"
        yield words(key, **told, names=words.listed(names))


def ranked_otherwise(result: Mapping[str, Any], metric: str, words: Words) -> Iterator[str]:
    """Other metrics in which a run can be told from the best, and is better."""
    if result.get("baseline_chosen") != "best" or result.get("family") != "baseline":
        return
    gated = {test["metric"] for test in result["omnibus"] if test["p"] >= LEVEL}
    better: dict[str, list[str]] = {}
    for pair in result["pairs"]:
        name = pair["metric"]
        if name == metric or name in gated or pair["p_holm"] is None or pair["p_holm"] >= LEVEL:
            continue
        if (pair["difference"] > 0) != (name in LOWER_IS_BETTER):
            better.setdefault(name, []).append(pair["a"])
    if better:
        told = [
            words(
                "conclude.better",
                metric=words.inside(name),
                names=words.listed(names),
                baseline=result["baseline"],
            )
            for name, names in better.items()
        ]
        yield words("conclude.elsewhere", told="; ".join(told))


def beside_majority(result: Mapping[str, Any], words: Words) -> Iterator[str]:
    """Whether any run is shown to be right more often than the commonest class is common."""
    floor = ((result.get("majority") or {}).get("accuracy") or {}).get("value")
    bounds = [(run["metrics"].get("accuracy") or {}).get("ci95") for run in result["runs"]]
    if floor is not None and all(bounds) and not any(b[0] > floor for b in bounds if b):
        yield words("conclude.majority", value=words.number(floor))


def sample(result: Mapping[str, Any], words: Words) -> Iterator[str]:
    """What the images tested allow: patients unknown or few, few images of a class."""
    patients, images = result["patients"], result.get("samples") or 0
    if patients is None:
        yield words("conclude.patients")
    elif patients < FEW_PATIENTS and patients < images:
        yield words("conclude.few_patients", count=words.count(patients))
    counts = {name: n for name, n in (result.get("classes") or {}).items() if n}
    rare = min(counts, key=lambda name: counts[name], default=None)
    if rare is not None and (count := counts[rare]) < FEW_IMAGES:
        key = "conclude.few_images_one" if count == 1 else "conclude.few_images"
        yield words(key, count=words.count(count), name=rare)


def seeds(result: Mapping[str, Any], words: Words) -> Iterator[str]:
    """That a run is one draw of its training, where no configuration was trained twice."""
    trained = sum(1 for run in result["runs"] if run["cost"].get("epochs") is not None)
    if trained > 1 and not result["configurations"]:
        yield words("conclude.one_seed")


def p_words(p: float, words: Words) -> str:
    """
    >>> p_words(0.0312, Words("es")), p_words(1e-9, Words("en"))
    ('= 0,031', '< 0.001')
    """
    return words.marked("< 0.001" if p < 0.001 else f"= {p:.3f}")


def correction(result: Mapping[str, Any], words: Words) -> str:
    """What Holm's correction is over."""
    if result["family"] == "all pairs":
        return words("conclude.holm_pairs")
    runs = len(result["runs"])
    counts = {"pairs": words.count(runs * (runs - 1) // 2), "runs": words.count(runs)}
    chosen = result.get("baseline_chosen") == "best" and any(
        p.get("tests") for p in result["pairs"]
    )
    # of two runs there is one pair, however it was chosen; older reports counted no more than that
    key = "conclude.holm_chosen" if chosen and runs > 2 else "conclude.holm_baseline"
    told = words(key, baseline=result["baseline"], **counts)
    if any(pair["family"] == "best" for pair in result["pairs"]):
        told += " " + words("conclude.holm_best", **counts)
    return told


def selection(result: Mapping[str, Any], words: Words) -> str:
    told = words("conclude.selection", count=words.count(len(result["runs"])))
    looks = result.get("looks")
    if not looks:
        return told
    times = words("say.times_once") if looks == 1 else words("say.times", count=words.count(looks))
    return f"{told} {words('conclude.looks', split=words.part(result['split']), times=times)}"


def agreement_line(row: Mapping[str, Any], words: Words) -> str:
    """Two backends with one recipe, in a sentence."""
    apart = row["probability"]
    return words(
        "say.agreement",
        a=row["a"],
        b=row["b"],
        backends=words.listed([str(name) for name in row["backends"]]),
        same=words.share(row["same_answers"]),
        images=words.count(row["images"]),
        mean=words.marked(f"{apart['mean']:.3g}"),
        largest=words.marked(f"{apart['largest']:.3g}"),
    )
