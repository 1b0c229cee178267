"""The main job end to end, on phantoms drawn by code or on your data"""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from medimg.commands._job import Job
from medimg.commands._options import backend_option, report_options

if TYPE_CHECKING:
    from medimg.core.types import DatasetIndex
    from medimg.phantom import PhantomTruth

EPOCHS, PHANTOM_EPOCHS = 20, 24
PHANTOMS, PHANTOM_SIZE_PX = 900, 128
# phantoms are few: half the usual batch gives twice the steps
PHANTOM_SETTINGS = ["--image-size", "64", "--batch-size", "16", "--augment", "light"]
RATIOS = "60/15/25"
LEAKY, HONEST = "leaky-split", "honest-split"
# the networks of the walk, by backend: something to compare
MODELS = {"linear": ("logistic", "logistic")}
DEFAULT_MODELS = ("cnn2", "cnn3")


class Walk:
    """Runs commands one after the other, prints each as a line to copy, keeps what they said.

    Args:
        job: the demo's own.
        runs: a fresh folder that the run folders go to.
        made: the demo's own folder, for what is no run.
        runner: calls a command with its arguments.
    """

    def __init__(
        self,
        job: Job,
        runs: Path,
        made: Path,
        runner: Callable[[str, list[str]], int | None] | None = None,
    ) -> None:
        self.job, self.runs, self.made = job, runs, made
        self.runner = runner or self.call
        self.steps: list[dict[str, Any]] = []

    def title(self, text: str) -> None:
        self.job.say("")
        self.job.say(click.style(f"── {text}", bold=True))

    def run(self, command: str, *arguments: str, name: str) -> dict[str, Any]:
        """One command into the run folder `name`; its report, empty where it wrote none.

        Raises:
            MedimgError: it failed otherwise than by finding errors.
        """
        from medimg.core.errors import Refused

        line = [*arguments, "--out", str(self.runs), "--name", name]
        shown = shlex.join(["medimg", command, *line])
        self.job.say("")
        self.job.say(click.style(f"$ {shown}", fg="green"))
        started, code = time.perf_counter(), 0
        try:
            code = self.runner(command, line) or 0
        except Refused as error:
            code = error.exit_code
            self.job.say(f"Error: {error.message}")
        seconds = round(time.perf_counter() - started, 2)
        self.steps.append({"command": shown, "exit": code, "seconds": seconds})
        self.job.say(click.style(f"({seconds:.1f} s, exit code {code})", dim=True))
        return self.report_of(command, arguments, name)

    def report_of(self, command: str, arguments: tuple[str, ...], name: str) -> dict[str, Any]:
        from medimg.core.report import read_report

        folder = Path(arguments[0]) / "evaluate" if command == "evaluate" else self.runs
        file = folder / name / "report.json"
        return read_report(file) if file.is_file() else {}

    def call(self, command: str, line: list[str]) -> int | None:
        """Runs it in this process: a backend is then started once, not ten times."""
        target = self.job.manager.resolve(self.job.manager.commands()[command])
        flags = ["--no-progress"] if self.job.no_progress else []
        flags += ["-q"] if self.job.quiet or self.job.as_json else []
        # without standalone mode click returns the code of ctx.exit instead of raising
        return target.main(
            args=[*line, *flags], prog_name=f"medimg {command}", standalone_mode=False
        )


# -- the data --------------------------------------------------------------------------------


def draw_phantoms(job: Job, folder: Path, faults: bool) -> PhantomTruth:
    """The demo's phantoms, with every fault planted or with none; an earlier set is replaced.

    Raises:
        InputError: the folder holds something that the demo did not make.
    """
    from medimg.core.errors import InputError
    from medimg.phantom import make_dataset

    if folder.exists() and not (folder / "truth.json").is_file():
        raise InputError(
            f"{folder} exists and was not made by medimg demo", "Give another --dir DIR."
        )
    with job.progress("Drawing phantoms", PHANTOMS) as bar:
        return make_dataset(
            folder,
            images=PHANTOMS,
            size_px=PHANTOM_SIZE_PX,
            seed=job.seed,
            faults="all" if faults else (),
            overwrite=True,
            on_patient=lambda done, total: bar.update(done - bar.n),
        )


def found_faults(truth: PhantomTruth, report: dict[str, Any]) -> list[dict[str, Any]]:
    """For each planted fault, whether verify found it by name and named its files."""
    findings: dict[str, list[dict[str, Any]]] = {}
    for finding in report.get("findings", []):
        findings.setdefault(finding["check"], []).append(finding)
    rows = []
    for fault in truth.faults:
        named = {
            str(value)
            for finding in findings.get(fault.check, [])
            for item in finding["items"]
            for value in flatten(item)
        }
        missed = [f for f in fault.files if f not in named]
        features = [
            str(item["feature"])
            for finding in findings.get(fault.check, [])
            for item in finding["items"]
            if "feature" in item
        ]
        rows.append(
            {
                "fault": fault.name,
                "check": fault.check,
                "found": fault.check in findings,
                "files": len(fault.files),
                "files_named": len(fault.files) - len(missed),
                "features": features,
            }
        )
    return rows


def flatten(value: Any) -> list[Any]:
    """Every scalar in nested lists and dicts."""
    if isinstance(value, dict):
        return [x for v in value.values() for x in flatten(v)]
    if isinstance(value, (list, tuple)):
        return [x for v in value for x in flatten(v)]
    return [value]


# -- the walk --------------------------------------------------------------------------------


def look(walk: Walk, dataset: str, truth: PhantomTruth | None) -> str:
    """inspect, verify, and the clean index that the rest works with."""
    walk.title("1. Look at the data")
    walk.run("inspect", dataset, name="inspect")
    walk.title("2. Ask what is wrong with them")
    report = walk.run("verify", dataset, name="verify")
    if truth is not None:
        say_found(walk.job, found_faults(truth, report))
    errors = [f for f in report.get("findings", []) if f["severity"] == "error"]
    if not errors:
        return dataset
    walk.title("3. Leave out the files in error (your files are not touched)")
    clean = str(walk.made / "clean.csv")
    walk.run("verify", dataset, "--write-clean", clean, name="verify-write-clean")
    walk.run("verify", clean, name="verify-clean")
    return clean


def say_found(job: Job, rows: list[dict[str, Any]]) -> None:
    from tabulate import tabulate

    body = [
        [
            row["fault"],
            row["check"] if row["found"] else f"not found ({row['check']})",
            named(row),
        ]
        for row in rows
    ]
    found = sum(row["found"] for row in rows)
    job.say("")
    job.say(f"Planted faults found: {found} of {len(rows)}")
    job.say(tabulate(body, headers=["planted", "found by", "named"]))


def named(row: dict[str, Any]) -> str:
    """What the finding names: files, or what tells the label where that is no matter of files."""
    if row["features"] and not row["files_named"]:
        more = f" and {len(row['features']) - 1} more" if len(row["features"]) > 1 else ""
        return f"{row['features'][0]}{more}"
    return f"{row['files_named']} of {row['files']} files"


def make_split(walk: Walk, dataset: str, official: bool) -> list[str]:
    """Makes a split; the options that name the one to train with.

    Args:
        official: the dataset comes with a test part, which stays as published.
    """
    walk.title("4. Split by patient, look at balance, find a learning rate")
    walk.run("split", dataset, "--split-ratios", RATIOS, name="split")
    if official:
        walk.job.say("")
        walk.job.say("These data come with a test part of their own: training goes on with that.")
        return []
    return ["--splits", str(walk.runs / "split" / "splits.csv")]


def prepare_training(walk: Walk, dataset: str, common: list[str], model: str) -> str:
    """balance and lr-find; the learning rate to train with."""
    splits = common[common.index("--splits") :][:2] if "--splits" in common else []
    walk.run("balance", dataset, *splits, "--method", "class-weight", name="balance")
    report = walk.run("lr-find", dataset, "--model", model, *common, name="lr-find")
    suggestion = report.get("result", {}).get("suggestion")
    # the range test reads off where loss falls fastest from scratch; a one-cycle peak above the
    # usual 1e-3 gains nothing on networks this small and can collapse them
    return f"{min(suggestion, 1e-3):.2g}" if suggestion else "0.001"


def train_and_compare(
    walk: Walk, dataset: str, common: list[str], rate: str, models: tuple[str, str]
) -> None:
    walk.title("5. Train two networks, fine-tune one, evaluate, compare")
    first, second = models
    names = [first, second if second != first else f"{second}-weighted"]
    extra = [] if second != first else ["--balance", "class-weight"]
    walk.run("train", dataset, "--model", first, "--lr", rate, *common, name=names[0])
    walk.run("train", dataset, "--model", second, "--lr", rate, *extra, *common, name=names[1])
    parent = str(walk.runs / names[0])
    walk.run("finetune", parent, "--epochs", "2", "--unfreeze", "1", name=f"{names[0]}-finetuned")
    for name in (*names, f"{names[0]}-finetuned"):
        walk.run("evaluate", str(walk.runs / name), name="test")
    runs = [str(walk.runs / n) for n in (*names, f"{names[0]}-finetuned")]
    walk.run("compare", *runs, name="compare")


def lesson(
    walk: Walk, dataset: str, common: list[str], model: str, rate: str
) -> dict[str, Any] | None:
    """The same network under a split that ignores patients and under one that doesn't."""
    walk.title("6. The lesson: the same network, a leaky split and an honest one")
    if not several_images_a_patient(walk.job.open(dataset)):
        walk.job.say(
            "Patients are unknown here, or have one image each: a split by image can't be told "
            "from a split by patient, so there is nothing to measure."
        )
        return None
    setting = [dataset, "--model", model, "--lr", rate, "--split-ratios", RATIOS, *common]
    walk.run("train", *setting, "-o", "group=none", name=LEAKY)
    walk.run("train", *setting, name=HONEST)
    measured = {}
    for name in (LEAKY, HONEST):
        report = walk.run("evaluate", str(walk.runs / name), name="test")
        measured[name] = report["result"]["metrics"]["auroc"] | {
            "images": report["result"]["images"],
            "groups": report["result"]["groups"],
        }
    say_lesson(walk.job, measured)
    return measured


def faultless(walk: Walk, folder: Path) -> str:
    """The same phantoms without a planted fault: the lesson is about patients alone, and a corner
    marker that tells the label would hide it."""
    draw_phantoms(walk.job, folder, faults=False)
    return str(folder)


def several_images_a_patient(index: DatasetIndex) -> bool:
    known = [s.group for s in index.samples if s.group is not None]
    return len(set(known)) < len(known)


def say_lesson(job: Job, measured: dict[str, Any]) -> None:
    """What came out, whatever it is."""
    words = {
        LEAKY: "split by image (patients on both sides)",
        HONEST: "split by patient",
    }
    job.say("")
    for name, cell in measured.items():
        job.say(f"AUROC, {words[name]}: {in_words(cell)}")
    leaky, honest = (measured[n]["value"] for n in (LEAKY, HONEST))
    if leaky is None or honest is None:
        return
    job.say(
        f"The leaky split reads {leaky - honest:+.3f} against the honest one. The two were tested "
        "on different images, so the intervals say how far that is chance."
    )


def in_words(cell: dict[str, Any]) -> str:
    if cell["value"] is None:
        return f"not defined ({cell['reason']})"
    if cell["ci95"] is None:
        return f"{cell['value']:.3f} (no interval: {cell['reason']})"
    return f"{cell['value']:.3f} (95 % interval {cell['ci95'][0]:.3f} to {cell['ci95'][1]:.3f})"


def what_to_open(runs: Path) -> list[str]:
    """The pictures and reports worth opening, those that exist."""
    patterns = (
        "inspect/plots/*.png",
        "verify/report.json",
        "lr-find/plots/*.png",
        "*/plots/history.png",
        "*/evaluate/test/plots/roc.png",
        "compare/plots/*.png",
        "compare/report.json",
    )
    return [str(file) for pattern in patterns for file in sorted(runs.glob(pattern))[:2]]


def fresh(parent: Path) -> Path:
    """`runs`, or `runs-2`, … in a folder; none that exists."""
    number = 1
    while (folder := parent / ("runs" if number == 1 else f"runs-{number}")).exists():
        number += 1
    return folder


def asked_for(out: str) -> Path | None:
    """The folder that `--out` names, where it was given.

    Raises:
        InputError: it holds something already.
    """
    from medimg.core.errors import InputError

    source = click.get_current_context().get_parameter_source("out")
    if source is None or source.name == "DEFAULT":
        return None
    folder = Path(out)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(
            f"{out} is not an empty folder: the demo's runs have names of their own",
            "Give another --out DIR, or leave it out.",
        )
    return folder


@click.command("demo", epilog="Example: medimg demo --data ./chest_xray")
@click.option("--data", metavar="DATASET", help="Real data instead of phantoms.")
@click.option("--dir", "folder", default="medimg-demo", show_default=True, metavar="DIR")
@backend_option
@report_options
def command(data: str | None, folder: str, backend: str, seed: int, **common: Any) -> None:
    """Walk through the main job: inspect, verify, split, balance, train, evaluate, compare.

    Without --data it draws chest X-ray phantoms with planted faults, and verify has to find them.
    It ends with a measured lesson: the same network under a leaky split and under an honest one.
    """
    runs = asked_for(common["out"]) or fresh(Path(folder))
    common["out"], common["name"] = str(runs), common["name"] or "demo"
    job = Job("demo", seed=seed, **common)
    chosen, engine = job.manager.backend(backend)
    truth, dataset = None, data
    if dataset is None:
        dataset = str(Path(folder) / "chest_xray")
        truth = draw_phantoms(job, Path(dataset), faults=True)
        job.say(f"Drew {len(truth.images):,} chest X-ray phantoms in {dataset}: drawings, no real")
        job.say("patients; faults are planted in them, listed in truth.json.")
    index = job.open(dataset)
    job.say(f"Backend: {chosen} on {engine.runtime().device}")
    walk = Walk(job, runs, Path(folder))
    clean = look(walk, dataset, truth)
    models = MODELS.get(chosen, DEFAULT_MODELS)
    setting = ["--backend", chosen, "--seed", str(seed)]
    setting += PHANTOM_SETTINGS if truth is not None else ["--batch-size", "32"]
    official = truth is None and "test" in index.splits()
    splits = make_split(walk, clean, official)
    rate = prepare_training(walk, clean, [*setting, *splits], models[0])
    setting += ["--epochs", str(EPOCHS if truth is None else PHANTOM_EPOCHS)]
    train_and_compare(walk, clean, [*setting, *splits], rate, models)
    taught = clean if truth is None else faultless(walk, Path(folder) / "chest_xray_faultless")
    measured = lesson(walk, taught, setting, models[0], rate)
    opened = what_to_open(runs)
    walk.title("What to open")
    for file in opened:
        job.say(f"  {file}")
    job.finish(
        {"steps": walk.steps, "lesson": measured, "data": dataset, "open": opened},
        index=index,
    )
