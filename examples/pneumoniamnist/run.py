"""Trains a recipe on several seeds; with --test, looks at the test part once with each.

    python run.py pneumoniamnist.npz recipes/cnn3bn-light-decay.yaml
    python run.py pneumoniamnist.npz recipes/cnn3bn-light-decay.yaml --test

Without --test nothing but validation is looked at: choose between recipes by that. What was trained
before is not trained again, and what was evaluated is not evaluated again.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

# pictures stand on two sides of MedMNIST's own split, which `medimg verify` reports
ALLOWED = ("--allow", "duplicates-across-splits")
VALIDATION = ("auroc", "log_loss", "accuracy")


def medimg(*arguments: object) -> None:
    subprocess.run([sys.executable, "-m", "medimg", *map(str, arguments)], check=True)


def result_of(folder: Path) -> dict[str, Any]:
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    return {**report["result"], "seconds": report["seconds"]}


def trained(data: str, recipe: Path, seed: int, out: Path) -> Path:
    """The run folder of a seed, made if there is none."""
    run = out / f"{recipe.stem}-seed{seed}"
    if not (run / "report.json").is_file():
        line = ("train", data, "--recipe", recipe, "--seed", seed, *ALLOWED)
        medimg(*line, "--out", out, "--name", run.name)
    return run


def evaluated(run: Path) -> dict[str, Any]:
    """What the one look at the test part gave."""
    if not (run / "evaluate" / "test" / "report.json").is_file():
        medimg("evaluate", run, "--name", "test")
    return result_of(run / "evaluate" / "test")


def row_of(run: Path, test: bool) -> dict[str, Any]:
    """The numbers of one seed."""
    result = result_of(run)
    row = {"minutes": result["seconds"] / 60}
    row |= {f"val {name}": result["metrics"][name] for name in VALIDATION}
    if test:
        found = evaluated(run)
        row |= {
            "test auroc": found["metrics"]["auroc"]["value"],
            "test accuracy at 0.5": found["metrics_at_half"]["accuracy"]["value"],
            "test accuracy at the threshold": found["metrics"]["accuracy"]["value"],
            "threshold": found["threshold"]["value"],
        }
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", help="pneumoniamnist.npz, 28 px, of MedMNIST v2")
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--test", action="store_true", help="look at the test part")
    parser.add_argument("--out", type=Path, default=Path("runs"))
    chosen = parser.parse_args()
    rows = [
        row_of(trained(chosen.data, chosen.recipe, seed, chosen.out), chosen.test)
        for seed in chosen.seeds
    ]
    for seed, row in zip(chosen.seeds, rows, strict=True):
        print(f"seed {seed}: " + ", ".join(f"{name} {value:.4f}" for name, value in row.items()))
    means = {name: statistics.fmean(row[name] for row in rows) for name in rows[0]}
    print("mean: " + ", ".join(f"{name} {value:.4f}" for name, value in means.items()))


if __name__ == "__main__":
    main()
