"""Plugins are loaded one by one: broken ones isolated, conflicts and misspelt hooks named."""

from __future__ import annotations

import sys
import types
from importlib.metadata import EntryPoint

import pytest

from medimg.core.errors import BackendError, PluginError, UsageError
from medimg.hookspecs import (
    BackendInfo,
    CheckInfo,
    CommandInfo,
    DatasetInfo,
    MetricInfo,
    hookimpl,
)
from medimg.manager import PluginManager

BUILTIN = EntryPoint("builtin", "medimg.builtin", "medimg")


def plugin(monkeypatch, name: str, **hooks) -> EntryPoint:
    module = types.ModuleType(name)
    for hook, function in hooks.items():
        setattr(module, hook, hookimpl(function))
    monkeypatch.setitem(sys.modules, name, module)
    return EntryPoint(name, name, "medimg")


def test_builtins_come_through_the_same_door():
    manager = PluginManager([BUILTIN])

    assert {"folder", "patient", "csv"} <= set(manager.datasets())
    assert "verify" in manager.commands()
    assert "patient-leakage" in manager.checks()
    assert "auroc" in manager.metrics()
    assert {"class-weight", "oversample", "undersample", "smote"} <= set(manager.samplers())
    assert manager.broken() == []


def test_every_builtin_target_can_be_imported():
    manager = PluginManager([BUILTIN])
    for named in (
        manager.datasets(),
        manager.checks(),
        manager.metrics(),
        manager.samplers(),
        manager.commands(),
    ):
        for info in named.values():
            assert callable(manager.resolve(info)), info
            assert info.summary, info


def test_a_plugin_that_fails_to_import_is_a_line_not_a_traceback():
    missing = EntryPoint("absent", "no_such_module_anywhere", "medimg")

    manager = PluginManager([missing, BUILTIN])

    assert "folder" in manager.datasets()
    (status,) = manager.broken()
    assert status.name == "absent"
    assert status.reason == "ModuleNotFoundError: No module named 'no_such_module_anywhere'"


def test_a_plugin_whose_hook_raises_is_left_out(monkeypatch):
    def explode():
        raise RuntimeError("boom")

    manager = PluginManager([plugin(monkeypatch, "exploding", medimg_datasets=explode), BUILTIN])

    assert [(s.name, s.reason) for s in manager.broken()] == [("exploding", "RuntimeError: boom")]
    assert "folder" in manager.datasets()


def test_a_misspelt_hook_is_reported(monkeypatch):
    manager = PluginManager([plugin(monkeypatch, "misspelt", medimg_dataset=lambda: []), BUILTIN])

    (status,) = manager.broken()
    assert "medimg_dataset" in status.reason
    assert "misspelt" in status.reason or "unknown hook" in status.reason


def test_a_wrong_record_is_reported(monkeypatch):
    manager = PluginManager(
        [plugin(monkeypatch, "wrong", medimg_datasets=lambda: [("folder", "x")]), BUILTIN]
    )

    assert "returned tuple, not DatasetInfo" in manager.broken()[0].reason


def test_two_plugins_with_one_name_are_an_error_that_names_both_when_it_is_used(monkeypatch):
    points = [
        plugin(
            monkeypatch,
            name,
            medimg_datasets=lambda name=name: [
                DatasetInfo("isic", "x", "a:b"),
                DatasetInfo(name, "x", "a:b"),
            ],
        )
        for name in ("skin_one", "skin_two")
    ]
    manager = PluginManager([*points, BUILTIN])

    offered = manager.datasets()
    assert {"folder", "skin_one", "skin_two"} <= set(offered) and "isic" not in set(offered)
    for use in (
        lambda: offered["isic"],
        lambda: "isic" in offered,
        lambda: offered.get("isic"),
    ):
        with pytest.raises(UsageError) as caught:
            use()
        assert "isic" in caught.value.message
        assert "skin_one" in caught.value.message and "skin_two" in caught.value.message
    (conflict,) = manager.conflicts()
    assert not conflict.settled


@pytest.mark.parametrize("name", ["a_first", "z_last"])
def test_what_ships_with_medimg_keeps_its_name(monkeypatch, name):
    point = plugin(
        monkeypatch,
        name,
        medimg_commands=lambda: [CommandInfo("train", "steals", "a:b"), CommandInfo(name, "", "a")],
    )
    manager = PluginManager([point, BUILTIN])

    commands = manager.commands()
    assert commands["train"].target == "medimg.commands.train:command"
    assert name in commands
    (conflict,) = manager.conflicts()
    assert conflict.settled and conflict.left_out.plugin == name
    assert "train" in conflict.reason and name in conflict.reason


def test_the_lists_show_conflicts_and_targets_that_are_not_there(monkeypatch):
    from medimg.commands.doctor import diagnose
    from medimg.commands.plugins import list_plugins

    point = plugin(
        monkeypatch,
        "rival",
        medimg_commands=lambda: [CommandInfo("train", "steals", "os:b")],
        medimg_checks=lambda: [CheckInfo("ruler", "a ruler", "no_such_package.deep:check")],
    )
    manager = PluginManager([point, BUILTIN])

    rows = {(r["name"], r["distribution"]): r for r in list_plugins(manager)}
    assert rows["train", "medimg"]["status"] == "ok"
    assert rows["train", "rival"]["status"] == "conflict"
    assert "left out" in rows["train", "rival"]["reason"]
    ruler = rows["rival:ruler", "rival"]
    assert (ruler["status"], "no_such_package.deep" in ruler["reason"]) == ("broken", True)
    monkeypatch.setattr("medimg.commands.doctor.probe", lambda name: {"status": "ok"})
    assert [b["name"] for b in diagnose(manager)["broken"]] == ["rival"]


def test_a_plugin_that_ends_the_program_is_left_out(monkeypatch):
    def leave():
        raise SystemExit(9)

    manager = PluginManager([plugin(monkeypatch, "leaving", medimg_checks=leave), BUILTIN])

    assert [(s.name, s.reason) for s in manager.broken()] == [("leaving", "SystemExit: 9")]
    assert "folder" in manager.datasets()


def test_a_metric_that_cannot_be_imported_is_undefined(monkeypatch):
    from medimg.core.scored import UndefinedMetric

    point = plugin(
        monkeypatch, "far", medimg_metrics=lambda: [MetricInfo("far", "x", "nowhere:far")]
    )
    manager = PluginManager([point, BUILTIN])

    functions = manager.functions(manager.metrics())
    assert "auroc" in functions
    with pytest.raises(UndefinedMetric, match="nowhere"):
        functions["far"](None)


def test_a_strangers_check_carries_its_distribution(monkeypatch):
    point = plugin(
        monkeypatch, "skin_tools", medimg_checks=lambda: [CheckInfo("ruler", "a ruler", "a:b")]
    )

    assert "skin_tools:ruler" in PluginManager([point, BUILTIN]).checks()


def test_a_target_that_does_not_exist_is_a_plugin_error(monkeypatch):
    point = plugin(
        monkeypatch, "hollow", medimg_datasets=lambda: [DatasetInfo("hollow", "x", "nowhere:X")]
    )
    manager = PluginManager([point])

    with pytest.raises(PluginError, match="nowhere"):
        manager.resolve(manager.datasets()["hollow"])


def backend(name: str, requires: tuple[str, ...] = ()) -> BackendInfo:
    return BackendInfo(name, name, "types:SimpleNamespace", requires, f"pip install {name}")


def test_backends_are_tried_torch_then_keras_then_by_name_linear_last(monkeypatch):
    offered = [backend(n) for n in ("linear", "jax", "keras", "torch", "aaa")]
    manager = PluginManager([plugin(monkeypatch, "many", medimg_backends=lambda: offered)])

    assert list(manager.backends()) == ["torch", "keras", "aaa", "jax", "linear"]


def test_auto_takes_the_first_that_works(monkeypatch):
    offered = [backend("torch", ("no_such_framework",)), backend("linear")]
    manager = PluginManager([plugin(monkeypatch, "two", medimg_backends=lambda: offered)])

    assert manager.backend("auto")[0] == "linear"
    with pytest.raises(BackendError) as caught:
        manager.backend("torch")
    assert "no_such_framework is not installed" in caught.value.message
    assert caught.value.hint == "Install it: pip install torch"


def test_no_backend_at_all_says_how_to_install_one():
    with pytest.raises(BackendError) as caught:
        PluginManager([BUILTIN]).backend("auto")
    assert caught.value.exit_code == 3
    assert 'pip install "medimg[torch]"' in caught.value.hint


def test_an_unknown_backend_names_the_near_miss(monkeypatch):
    manager = PluginManager(
        [plugin(monkeypatch, "one", medimg_backends=lambda: [backend("torch")])]
    )

    with pytest.raises(UsageError) as caught:
        manager.backend("troch")
    assert "Did you mean 'torch'?" in caught.value.hint


def test_a_backend_of_medimgs_that_is_not_installed_is_no_wrong_usage(monkeypatch):
    point = plugin(monkeypatch, "one", medimg_backends=lambda: [backend("jax")])
    manager = PluginManager([point])

    with pytest.raises(BackendError) as caught:
        manager.backend("torch")
    assert caught.value.hint.startswith('Install it: pip install "medimg[torch]"')


def test_the_backend_of_a_run_that_is_not_here(monkeypatch, tmp_path):
    from medimg.core.runs import Run

    manager = PluginManager([plugin(monkeypatch, "one", medimg_backends=lambda: [backend("jax")])])
    run = Run(tmp_path / "r", {}, {}, {"backend": "mxnet"})

    with pytest.raises(BackendError, match="r was trained with the backend 'mxnet'") as caught:
        manager.backend_of(run)
    assert caught.value.exit_code == 3 and caught.value.hint
