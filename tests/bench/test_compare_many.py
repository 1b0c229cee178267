"""medimg compare over 1,000 runs of 3,000 predictions: seconds and memory of the table.

The runs are made up: predictions and reports as train and evaluate write them, without weights.
"""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

RUNS, IMAGES, PATIENTS = 1000, 3000, 500
MOST_SECONDS, MOST_BYTES = 30, 1_000_000_000


def write_json(file: Path, data: dict) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"schema": "medimg.report/1", **data}))


def make_runs(out: Path, by_patient: bool) -> None:
    """Runs of three learning rates, three batch sizes and many seeds, some better than others."""
    rng = np.random.default_rng(0)
    labels = np.arange(IMAGES) % 2
    shared = rng.normal(size=IMAGES)
    heads = [
        [
            f"test/{('no', 'yes')[label]}/image-{n:05d}.png",
            "test",
            ("no", "yes")[label],
            f"p{n % PATIENTS}" if by_patient else "",
            f"{n * 2654435761 % 2**64:064x}",
        ]
        for n, label in enumerate(labels)
    ]
    for number in range(RUNS):
        folder = out / f"run-{number:04d}"
        logits = shared + rng.normal(size=IMAGES) + rng.uniform(0.5, 2) * (labels - 0.5)
        scores = (1 / (1 + np.exp(-logits))).tolist()
        recipe = {
            "learning_rate": 10.0 ** -(number % 3 + 1),
            "batch_size": 8 * 2 ** (number // 3 % 3),
            "seed": number,
            "backend": "torch",
        }
        data = {"name": "made", "fingerprint": "sha256:ab"}
        common = {"created": "2026-01-01T00:00:00Z", "dataset": data, "findings": []}
        trained = {"model": "cnn2", "epochs": 5, "parameters": {"total": 10, "trainable": 10}}
        write_json(
            folder / "report.json",
            common | {"command": "train", "result": trained, "seconds": 5.0 + number % 7},
        )
        area = float(roc_auc_score(labels, scores))
        result = {
            "split": "test",
            "images": IMAGES,
            "positive": "yes",
            "threshold": {"value": 0.5, "rule": "youden", "chosen_on": "val"},
            "metrics": {"auroc": {"value": area, "ci95": [area - 0.02, area + 0.02]}},
            "test_looks": number + 1,
            "training": {"recipe": recipe, "model": "cnn2", "backend": "torch"},
        }
        place = folder / "evaluate" / "test"
        write_json(place / "report.json", common | {"command": "evaluate", "result": result})
        with (place / "predictions.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["path", "split", "label", "group", "sha256", "prob_no", "prob_yes"])
            writer.writerows(
                [*head, repr(1 - p), repr(p)] for head, p in zip(heads, scores, strict=True)
            )


@pytest.mark.parametrize("by_patient", [False, True], ids=["images", "patients"])
def test_a_thousand_runs(by_patient, tmp_path, run_command, table):
    make_runs(tmp_path / "runs", by_patient)
    folders = [str(folder) for folder in sorted((tmp_path / "runs").iterdir())]
    command = [sys.executable, "-m", "medimg.cli.main", "compare", *folders]
    found = run_command([*command, "--out", str(tmp_path / "out"), "--name", "c"])
    result = json.loads((tmp_path / "out/c/report.json").read_text())["result"]
    assert len(result["runs"]) == RUNS and len(result["pairs"]) == RUNS - 1
    table(
        f"medimg compare, {RUNS:,} runs of {IMAGES:,} predictions, "
        + ("paired bootstrap by patient" if by_patient else "DeLong"),
        ["seconds", "peak MB", "resamples"],
        [[found.seconds, found.peak_bytes / 1e6, result["resamples"]]],
    )
    assert found.seconds <= MOST_SECONDS
    assert found.peak_bytes <= MOST_BYTES
