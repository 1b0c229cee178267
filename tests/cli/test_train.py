"""medimg train: the run folder, the gate, the same seed, and bad input."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from medimg.core.report import check_shape

VAL = "predictions/val.csv"
EVEN = {s: {"NORMAL": 12, "SICK": 12} for s in ("train", "val", "test")}


def bytes_of(run: str) -> bytes:
    return (Path("runs") / run / VAL).read_bytes()


# -- what stands in a run folder -------------------------------------------------------------


def test_a_run_folder_holds_what_the_contract_says(train):
    answer = train("a", "--json")
    assert answer.code == 0
    folder = Path("runs/a")
    for name in (
        "report.json",
        "recipe.yaml",
        "history.csv",
        "splits.csv",
        "model/model.json",
        "model/weights.npz",
        "checkpoints/state.json",
        VAL,
        "plots/history.png",
    ):
        assert (folder / name).is_file(), name
    report = answer.report
    assert report == json.loads((folder / "report.json").read_text())
    assert check_shape(report) == []
    history = (folder / "history.csv").read_text().splitlines()
    assert history[0].startswith("epoch,loss,val_loss,") and len(history) == 4
    assert report["result"]["epochs"] == 3 == len(report["result"]["history"]["loss"])
    assert report["environment"]["backend"]["name"] == "linear"
    assert all((folder / name).is_file() for name in report["result"]["artifacts"])
    assert not list(folder.rglob(".*"))


def test_the_best_epoch_is_in_the_model_and_two_checkpoints_stay(train):
    assert train("a").code == 0
    state = json.loads(Path("runs/a/checkpoints/state.json").read_text())
    kept = {p.name for p in Path("runs/a/checkpoints").glob("epoch-*")}
    assert kept == {state["last"], state["kept"]}
    assert state["kept"] == f"epoch-{state['best_epoch']:04d}"


def test_the_same_seed_gives_the_same_bytes_and_another_gives_others(train):
    for name, seed in (("a", 7), ("b", 7), ("c", 8)):
        assert train(name, "--seed", seed).code == 0
    assert bytes_of("a") == bytes_of("b") != bytes_of("c")
    history = [json.loads(Path(f"runs/{n}/report.json").read_text()) for n in "ab"]
    losses = [h["result"]["history"]["loss"] for h in history]
    assert losses[0] == losses[1]


def test_data_of_several_classes_have_no_threshold(train, draw_folder):
    data = draw_folder("three", {s: {"a": 9, "b": 9, "c": 9} for s in ("train", "val", "test")})
    answer = train("a", "--json", data=data)
    assert answer.code == 0
    assert answer.report["result"]["threshold"] is None
    assert "sensitivity" not in answer.report["result"]["metrics"]


@pytest.mark.slow
def test_a_file_name_that_is_no_utf8_passes_through_every_step(medimg, train, draw_folder):
    data = draw_folder("d", EVEN)
    name = data / "train" / "SICK" / os.fsdecode(b"r\xe9sum\xe9.png")
    try:
        (data / "train/SICK/trainSICK0.png").rename(name)
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    assert train("a", "--seed", "1", data=data).code == 0
    seen = medimg("evaluate", "runs/a", "--split", "train", "--resamples", "100", "--json")
    assert seen.code == 0, seen.err
    assert r"r\udce9sum\udce9.png" in [
        Path(i["file"]).name for i in seen.report["findings"][0]["items"]
    ]
    for line in (
        ["evaluate", "runs/a", "--resamples", "100"],
        ["finetune", "runs/a", "--epochs", "1"],
        ["split", data],
        ["balance", data, "--name", "b"],
        ["predict", "runs/a", data / "train", "--json"],
    ):
        answer = medimg(*line)
        assert answer.code == 0, (line, answer.err)
    used = json.loads(Path("runs/b/balance.json").read_text())["images"]
    assert os.path.relpath(name, data) in used


# -- settings: flag over file over card over default -------------------------------------------


def test_flags_win_over_the_recipe_and_the_recipe_over_the_default(train):
    Path("r.yaml").write_text("batch-size: 8\nepochs: 9\nlabel_smoothing: 0.1\n")
    assert train("a", "--recipe", "r.yaml").code == 0
    recipe = yaml.safe_load(Path("runs/a/recipe.yaml").read_text())
    assert (recipe["batch_size"], recipe["epochs"], recipe["label_smoothing"]) == (8, 3, 0.1)
    assert recipe["optimizer"] == "adam"


def test_a_datasets_card_decides_what_nobody_said(train, phantoms):
    assert train("a").code == train("b", "--augment", "none").code == 0
    recipes = [yaml.safe_load(Path(f"runs/{n}/recipe.yaml").read_text()) for n in "ab"]
    from medimg.manager import plugins

    card = plugins().registry().datasets["chest-xray-pneumonia"]
    assert [r["augment"] for r in recipes] == [card.augmentation, "none"]


def test_the_recipe_runs_again_to_the_same_numbers(medimg, train):
    assert train("a", "--batch-size", "16", "--balance", "oversample").code == 0
    again = medimg("train", "--recipe", "runs/a/recipe.yaml", "--name", "b")
    assert again.code == 0, again.err
    assert bytes_of("a") == bytes_of("b")


@pytest.mark.parametrize("method", ["class-weight", "oversample", "undersample"])
def test_balancing_changes_training(train, draw_folder, method):
    data = draw_folder("uneven", {s: {"NORMAL": 24, "SICK": 8} for s in ("train", "val", "test")})
    assert train("plain", data=data).code == 0
    assert train("balanced", "--balance", method, data=data).code == 0
    assert bytes_of("plain") != bytes_of("balanced")


# -- the gate ------------------------------------------------------------------------------------


def refused(answer, check: str) -> None:
    assert answer.code == 1, answer.err
    assert "Error: the data would make the result meaningless\n" in answer.err
    assert f"\n  {check}: " in answer.err
    assert f"--allow {check}" in answer.err
    assert not Path("runs").exists()


def test_one_class_is_refused(train, draw_folder):
    data = draw_folder("d", {s: {"NORMAL": 8} for s in ("train", "val", "test")})
    refused(train("a", "--json", data=data), "one-class")


def test_a_patient_on_two_sides_is_refused_unless_allowed(train, draw_folder):
    data = draw_folder("d", EVEN, lambda s, c, n: f"p{n if s == 'train' else n + 11}{c}_{s}.png")
    options = ("-o", "group_regex=(p[0-9]+[A-Z]+)_")
    refused(train("a", *options, data=data), "patient-leakage")
    allowed = train("a", *options, "--allow", "patient-leakage", "--json", data=data)
    assert allowed.code == 0, allowed.err
    assert "patient-leakage" in [f["check"] for f in allowed.report["findings"]]


def test_a_picture_on_two_sides_is_refused_unless_allowed(train, draw_folder):
    data = draw_folder("d", EVEN)
    shutil.copy(data / "train/SICK/trainSICK3.png", data / "test/SICK/other.png")
    refused(train("a", data=data), "duplicates-across-splits")
    assert train("a", "--allow", "duplicates-across-splits", data=data).code == 0


def test_a_picture_in_two_classes_is_refused(train, draw_folder):
    data = draw_folder("d", EVEN)
    shutil.copy(data / "train/SICK/trainSICK3.png", data / "train/NORMAL/other.png")
    refused(train("a", data=data), "duplicates-across-classes")


def test_a_class_that_the_validation_part_made_here_lacks_is_refused(train, draw_folder):
    """Two patients have the class: one is tested, one is learnt from, none validates."""
    data = draw_folder(
        "d",
        {"": {"NORMAL": 20, "SICK": 8}},
        lambda s, c, n: f"p{n % (2 if c == 'SICK' else 9)}{c}_{n}.png",
    )
    options = ("-o", "group_regex=(p[0-9]+[A-Z]+)_")
    answer = train("a", *options, data=data)
    refused(answer, "class-missing-in-split")
    assert "the validation part that training made" in answer.err
    assert "holds no image of SICK" in answer.err
    allowed = train("a", *options, "--allow", "class-missing-in-split", "--json", data=data)
    assert allowed.code == 0, allowed.err
    assert "class-missing-in-split" in [f["check"] for f in allowed.report["findings"]]


def test_a_class_that_the_datas_own_validation_part_lacks_is_not(train, draw_folder):
    parts = {"train": {"a": 9, "b": 9, "c": 9}, "val": {"a": 9, "b": 9}, "test": {"a": 9, "c": 9}}
    parts["test"]["b"] = 9
    assert train("a", data=draw_folder("d", parts)).code == 0


def test_unreadable_files_are_refused_and_left_out_when_allowed(train, draw_folder):
    data = draw_folder("d", EVEN)
    assert train("whole", "--augment", "none", data=data).code == 0
    (data / "train/SICK/broken.png").write_bytes(b"no picture")
    (data / "val/SICK/broken.png").write_bytes(b"no picture either")
    shutil.move("runs", "kept")
    refused(train("a", data=data), "unreadable")
    answer = train("a", "--augment", "none", "--allow", "unreadable", "--json", data=data)
    assert answer.code == 0, answer.err
    # without the two files it is the training that it was before they came
    assert bytes_of("a") == (Path("kept/whole") / VAL).read_bytes()
    assert "unreadable" in [f["check"] for f in answer.report["findings"]]


def test_allowing_a_check_that_does_not_exist_is_wrong_usage(train):
    answer = train("a", "--allow", "patient-leak")
    assert answer.code == 2
    assert "Did you mean 'patient-leakage'?" in answer.err


# -- the positive class -----------------------------------------------------------------------


def test_two_classes_always_have_a_positive_one(medimg, train, draw_folder):
    data = draw_folder("d", {s: {"opacité": 12, "taches": 12} for s in ("train", "val", "test")})
    answer = train("a", "--json", data=data)
    assert answer.code == 0, answer.err
    (found,) = [f for f in answer.report["findings"] if f["check"] == "positive-guessed"]
    assert (
        "taches is taken, the last by name" in found["message"] and found["message"] in answer.err
    )
    assert found["hint"] == "If it is the other: --positive 'opacité'"
    assert "Positive class: taches" in answer.err
    assert answer.report["dataset"]["positive"] == "taches"
    assert answer.report["result"]["threshold"] is not None
    assert answer.report["result"]["metrics"]["sensitivity"] is not None
    result = medimg("evaluate", "runs/a", "--resamples", "100", "--json").report["result"]
    assert result["positive"] == "taches" and result["metrics_at_half"]["f1"]
    told = train("b", "--positive", "opacité", "--json", data=data)
    assert told.report["dataset"]["positive"] == "opacité"
    assert "positive-guessed" not in [f["check"] for f in told.report["findings"]]
    assert "positive-guessed" in medimg("inspect", data).err


def test_classes_whose_names_tell_are_not_guessed(train):
    assert "positive-guessed" not in train("a").err


# -- pre-flight, minutes, events ---------------------------------------------------------------


def test_the_pre_flight_changes_no_number(train):
    assert train("with", "--seed", "4").code == 0
    assert train("without", "--seed", "4", "--no-preflight").code == 0
    assert bytes_of("with") == bytes_of("without")


def test_a_loss_that_does_not_fit_the_labels_is_refused(train, monkeypatch):
    from dataclasses import replace

    from medimg_linear import network as module

    right = module.loss_and_gradient

    def swapped(scores, batch, objective):
        return right(scores, replace(batch, targets=batch.targets[:, ::-1]), objective)

    monkeypatch.setattr(module, "loss_and_gradient", swapped)
    answer = train("a")
    assert answer.code == 1, answer.err
    assert "Error: loss-mismatch: the backend's loss on 8 pictures is " in answer.err
    assert "--no-preflight" in answer.err and not Path("runs/a/recipe.yaml").exists()
    assert train("b", "--no-preflight").code == 0


def test_a_warning_of_the_pre_flight_stands_in_the_report(train, draw_folder):
    data = draw_folder("d", EVEN)
    for number, file in enumerate(sorted(data.rglob("*.png"))):
        # pictures that differ in one corner pixel teach nothing
        pixels = np.full((32, 32), 100, np.uint8)
        pixels[0, 0], pixels[0, 1] = number * 2 % 256, number
        cv2.imwrite(str(file), pixels)
    allow = ("--allow", "duplicates-across-splits", "--allow", "duplicates-across-classes")
    answer = train("a", *allow, "--freeze", "none", "--json", "--image-size", "8", data=data)
    assert answer.code == 0, answer.err
    (found,) = [f for f in answer.report["findings"] if f["check"] == "cannot-overfit"]
    assert f"Warning: cannot-overfit: {found['message']}" in answer.err


def test_minutes_do_not_go_with_one_cycle(train):
    answer = train("a", "--minutes", "5")
    assert answer.code == 2 and "--schedule plateau" in answer.err
    answer = train("b", "--minutes", "0.00001", "--schedule", "constant", "--json")
    assert answer.code == 0, answer.err
    assert answer.report["result"]["stopped_by"] == "minutes"
    assert answer.report["result"]["epochs"] == 1


@pytest.mark.parametrize(
    "settings",
    [
        ("--mixup", "0.4"),
        ("--focal-gamma", "2"),
        ("--label-smoothing", "0.1"),
        ("--clip-norm", "0.01", "--optimizer", "sgd"),
        ("--optimizer", "adamw", "--weight-decay", "0.5"),
    ],
    ids=lambda settings: settings[0],
)
def test_each_setting_changes_the_training(train, settings):
    same = tuple(s for s in settings if s in ("--optimizer", "sgd", "adamw"))
    assert train("plain", *same).code == 0
    answer = train("changed", *settings)
    assert answer.code == 0, answer.err
    assert bytes_of("plain") != bytes_of("changed")


def test_events_for_tensorboard(medimg, train):
    pytest.importorskip("tensorboard.compat.proto")
    assert train("a", "--tensorboard").code == 0
    (file,) = Path("runs/a/tensorboard").glob("events.out.tfevents.*")
    # the version, and a record an epoch
    data, records = file.read_bytes(), 0
    while data:
        data, records = data[int.from_bytes(data[:8], "little") + 16 :], records + 1
    assert records == 4


# -- trouble while training ------------------------------------------------------------------------


@pytest.mark.parametrize("batch", [8, 100], ids=["in the epoch", "in validation"])
def test_a_loss_that_is_no_number_stops_with_the_rate_to_try(medimg, train, batch):
    blown = ("--optimizer", "adamw", "--lr", "100", "--weight-decay", "1e30")
    answer = train("a", *blown, "--batch-size", batch)
    assert answer.code == 1
    assert "Error: the loss is no number any more (epoch " in answer.err
    assert "The learning rate 100 is probably too high: try --lr 10" in answer.err
    assert not Path("runs/a/report.json").exists()
    # it would break down again, so nothing says to go on with it
    for line in (["evaluate", "runs/a"], ["train", "--resume", "runs/a"], ["compare", "runs/a"]):
        again = medimg(*line)
        assert again.code in (1, 3) and "--resume runs/a" not in again.err, again.err
        assert "the loss was no number" in again.err and "--lr auto" in again.err


def test_an_interrupt_says_how_to_go_on(medimg, train, monkeypatch):
    from medimg.training import run as module

    write = module.write_history

    def interrupted(path, rows):
        write(path, rows)
        if len(rows) == 2:
            raise KeyboardInterrupt

    assert train("whole").code == 0
    monkeypatch.setattr(module, "write_history", interrupted)
    answer = train("a b", "-q")
    assert answer.code == 130
    assert [line for line in answer.err.splitlines() if line][-2:] == [
        "To go on: medimg train --resume 'runs/a b'",
        "Interrupted.",
    ]
    monkeypatch.setattr(module, "write_history", write)
    resumed = medimg("train", "--resume", "runs/a b")
    assert resumed.code == 0, resumed.err
    assert bytes_of("a b") == bytes_of("whole")
    assert "Next: medimg evaluate 'runs/a b'" in resumed.out


def test_a_full_disk_leaves_no_half_written_report(train, monkeypatch):
    replace = os.replace

    def full(source, target, *arguments):
        if str(target).endswith("report.json"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return replace(source, target, *arguments)

    monkeypatch.setattr(os, "replace", full)
    answer = train("a")
    assert answer.code == 3
    assert answer.err.splitlines()[-2:] == [
        "Error: the disk is full: runs/a/report.json can't be written",
        "  Free some space, or write elsewhere: --out DIR",
    ]
    assert not list(Path("runs/a").glob("*report.json*")) + list(Path("runs/a").glob(".*"))


# -- resume --------------------------------------------------------------------------------------

KILLED = """
import os, sys
from medimg.cli.main import run
from medimg.training import run as module
write = module.write_history
def write_then_die(path, rows):
    write(path, rows)
    if len(rows) == 2:
        os._exit(9)
module.write_history = write_then_die
run(sys.argv[1:])
"""


@pytest.mark.parametrize(
    "settings",
    [
        ("--optimizer", "adam", "--schedule", "one-cycle"),
        ("--optimizer", "sgd", "--schedule", "plateau", "--patience", "3", "--lr", "auto"),
    ],
    ids=["one-cycle", "plateau"],
)
def test_a_killed_run_goes_on_to_the_same_end(medimg, train, phantoms, settings):
    settings = (*settings, "--epochs", "5", "--batch-size", "16")
    whole = train("whole", *settings, "--json")
    assert whole.code == 0
    line = ["train", str(phantoms), "--backend", "linear", "--image-size", "32", *settings]
    killed = subprocess.run([sys.executable, "-c", KILLED, *line, "--name", "cut"], timeout=60)
    assert killed.returncode == 9
    assert not Path("runs/cut/report.json").exists()
    unfinished = medimg("evaluate", "runs/cut")
    assert unfinished.code == 3
    assert "the run did not finish\n  Go on with it: medimg train --resume runs/cut" in (
        unfinished.err
    )

    resumed = medimg("train", "--resume", "runs/cut", "--json")
    assert resumed.code == 0, resumed.err
    assert bytes_of("cut") == bytes_of("whole")
    ours, theirs = resumed.report["result"], whole.report["result"]
    for name in ("metrics", "epochs", "best_epoch", "stopped_by", "threshold"):
        assert ours[name] == theirs[name], name
    columns = [c for c in ours["history"] if c != "seconds"]
    assert all(ours["history"][c] == theirs["history"][c] for c in columns)


def test_a_finished_run_and_a_stray_folder_are_not_resumed(medimg, train):
    assert train("a").code == 0
    answer = medimg("train", "--resume", "runs/a")
    assert (answer.code, answer.err.splitlines()[0]) == (3, "Error: runs/a is finished")
    Path("stray").mkdir()
    answer = medimg("train", "--resume", "stray")
    assert answer.code == 3 and "holds no recipe.yaml" in answer.err


def test_resume_takes_no_other_settings(medimg, train):
    assert train("a").code == 0
    Path("runs/a/report.json").unlink()
    answer = medimg("train", "--resume", "runs/a", "--epochs", "30", "--lr", "0.1")
    assert answer.code == 2
    assert "so --epochs, --lr can't be given" in answer.err


# -- weights of another run --------------------------------------------------------------------


def test_weights_of_a_run_say_what_was_taken(train, tmp_path, monkeypatch, medimg):
    assert train("a").code == 0
    answer = train("b", "--weights", "runs/a", "--json")
    assert answer.code == 0, answer.err
    assert (
        "Took 4 weight arrays from runs/a; drawn anew: nothing; left in the source: nothing"
        in answer.err
    )
    # what was taught elsewhere is frozen unless somebody says otherwise
    assert "Trained: head; frozen: standardise" in answer.err
    assert answer.report["result"]["weights"] == {"loaded": 4, "missing": [], "unexpected": []}
    # the recipe names them so that they are found from anywhere
    recipe = yaml.safe_load(Path("runs/b/recipe.yaml").read_text())
    assert recipe["weights"] == str(tmp_path / "runs" / "a")


def test_weights_that_do_not_fit_are_refused(train):
    assert train("a").code == 0
    answer = train("b", "--weights", "runs/a", "--image-size", "16")
    assert answer.code == 3
    assert (
        "Error: almost nothing of runs/a fits logistic: 1 of its 4 arrays, for 4 of the "
        "network's (drawn anew: bn1/mean, bn1/variance, output/kernel; left in the source: "
        "bn1/mean, bn1/variance, output/kernel)"
    ) in answer.err
    assert train("c", "--weights", "nowhere").code == 2
    answer = train("d", "--weights", "imagenet")
    assert answer.code == 2 and "the backend 'linear' takes weights of runs alone" in answer.err


def test_weights_that_are_no_numbers_are_refused_before_anything_is_written(train):
    assert train("a").code == 0
    file = Path("runs/a/model/weights.npz")
    with np.load(file) as archive:
        arrays = {name: archive[name] for name in archive.files}
    (name,) = [name for name in arrays if name.endswith("output/kernel")]
    arrays[name][0] = np.nan
    np.savez(file, **arrays)
    answer = train("b", "--weights", "runs/a")
    assert answer.code == 3
    assert (
        "runs/a holds values that are no numbers (NaN or infinite) in output/kernel" in answer.err
    )
    assert not Path("runs/b").exists()


def test_augmentation_that_is_anatomically_wrong_is_said(train):
    answer = train("a", "--augment", "histology", "--json")
    assert answer.code == 0
    (finding,) = [f for f in answer.report["findings"] if f["check"] == "augmentation-anatomy"]
    assert finding["severity"] == "warning" and finding["items"] == [
        {"setting": "horizontal_flip", "why": "a mirrored chest has its heart on the right"},
        {"setting": "vertical_flip", "why": "no chest film is upside down"},
    ]
    assert "Warning: augmentation-anatomy: the augmentation 'histology'" in answer.err
    assert "augmentation-anatomy" not in train("b", "--augment", "light").err


def test_a_frozen_backbone_that_was_never_taught_is_said(train, monkeypatch):
    from medimg_linear.network import Logistic

    answer = train("a", "--freeze", "backbone")
    assert answer.code == 0
    # the same for every seed: its statistics start at 0 and 1
    assert "drawn at random" not in answer.err

    plain, drawn = Logistic.weights, {"conv1/kernel": np.arange(9.0)}

    def weights(self):
        """With a layer that was drawn, under the head."""
        own = plain(self)
        return own | drawn if "bn1/mean" in own else own

    monkeypatch.setattr(Logistic, "weights", weights)
    answer = train("b", "--freeze", "backbone")
    assert "Warning: the frozen backbone keeps weights drawn at random: conv1/kernel" in answer.err


# -- wrong usage and bad input --------------------------------------------------------------------


@pytest.mark.parametrize(
    "option, value, miss",
    [
        ("--model", "logistik", "Did you mean 'logistic'?"),
        ("--backend", "linaer", "Did you mean 'linear'?"),
        ("--optimizer", "adamm", "'adam', 'adamw' or 'sgd'"),
        ("--schedule", "onecycle", "'one-cycle'"),
        ("--model", "cnn2", "Give --backend torch, or a model that linear builds: logistic"),
        ("--augment", "ligth", "Did you mean 'light'?"),
        ("--balance", "oversampl", "Did you mean 'oversample'?"),
        ("--layout", "foldr", "Did you mean 'folder'?"),
        ("--epochs", "0", "epochs can't be 0"),
        ("--seed", "-1", "-1 is not in the range"),
        ("--lr", "-1", "the learning rate -1.0 is out of range"),
        ("--lr", "1e30", "the learning rate 1e+30 is out of range"),
        ("--lr", "fast", "'fast' is neither a number nor auto"),
    ],
)
def test_an_unknown_setting_is_wrong_usage_with_the_near_miss(train, option, value, miss):
    answer = train("a", option, value)
    assert answer.code == 2, answer.err
    assert miss in answer.err
    assert not Path("runs").exists()


def test_a_recipe_with_an_unknown_setting(medimg, train, phantoms):
    Path("r.yaml").write_text("epoch: 3\n")
    answer = train("a", "--recipe", "r.yaml")
    assert answer.code == 2
    assert "no setting is called 'epoch'" in answer.err and "'epochs'" in answer.err
    for text, miss in (("lr: 0.1\n", "Did you mean 'learning_rate'?"), ("seed: -1\n", "seed")):
        Path("r.yaml").write_text(text)
        answer = medimg("train", phantoms, "--recipe", "r.yaml")
        assert answer.code == 2 and miss in answer.err and "Traceback" not in answer.err


def test_a_missing_folder_and_one_without_images(train, tmp_path):
    answer = train("a", data=tmp_path / "nowhere")
    assert answer.code == 3 and answer.err.startswith("Error: ")
    (tmp_path / "empty" / "train").mkdir(parents=True)
    answer = train("a", data=tmp_path / "empty")
    assert answer.code == 3, answer.err
    assert not Path("runs").exists()


def test_no_dataset_is_wrong_usage(medimg):
    answer = medimg("train")
    assert answer.code == 2 and "no DATASET was given" in answer.err


def test_no_backend_says_how_to_install_one(medimg, phantoms, monkeypatch):
    from medimg.manager import PluginManager

    monkeypatch.setattr(PluginManager, "backends", lambda self: {})
    answer = medimg("train", phantoms, "--epochs", "1")
    assert answer.code == 3
    assert "Error: no backend works here" in answer.err
    assert 'pip install "medimg[torch]"' in answer.err
    assert not Path("runs").exists()


def test_a_name_that_is_taken(train):
    assert train("a").code == 0
    answer = train("a")
    assert answer.code == 3 and "runs/a exists and is not empty" in answer.err


def test_weights_of_a_run_that_scaled_pixels_otherwise_are_told(train, tmp_path):
    assert train("first").code == 0
    same = train("same", "--weights", "runs/first", "--json")
    assert same.code == 0 and "pixel-scaling" not in same.err
    card = tmp_path / "runs" / "first" / "model" / "model.json"
    about = json.loads(card.read_text())
    about["spec"]["scaling"] = "signed"
    card.write_text(json.dumps(about))
    other = train("other", "--weights", "runs/first", "--json")
    assert other.code == 0, other.err
    (found,) = [f for f in other.report["findings"] if f["check"] == "pixel-scaling"]
    assert "'signed'" in found["message"] and "runs/first" in found["message"]
