"""The first task of a run: a run from the pipelines UI's form passes no client of ours."""

import os
from pathlib import Path
from typing import Any

import pytest

from components.client.presets import PRESETS
from components.core.environment import RUN_ID_VARIABLE
from components.core.parameters import fold_numbers
from components.preprocess.component import check_parameters

GPU = "nvidia.com/gpu"


def check(preset: str = "laptop", **changed: Any) -> tuple[str, ...]:
    """What the task answers, given a preset's parameters and others in their place."""
    chosen = PRESETS[preset]
    given = {
        **{name: chosen[name] for name in check_parameters.component_spec.inputs if name in chosen},
        "preprocess_config": {},
        "preprocess_shard_size": 100_000,
        "denoise_folds": [0.0, 1.0, 2.0, 3.0],
        "denoise_config": chosen["denoise_configs"][chosen["denoise_on"]],
        "fusion_folds": 8,
        "models_store": "",
        "models_name": "product-categorization",
        "models_gate": {},
        "models_registries": {},
        "models_retrain": False,
        "drift_config": {},
        "alert_address": "",
        "denoise_keep_ids": "",
        "graph": {"preset": preset, "denoise_on": chosen["denoise_on"], "images": "registry/<stage>:1"},
        "cluster_accelerator_type": GPU,
        "cluster_accelerator_count": "1",
        "cluster_checkpoints": "",
        "seed": 0,
    }
    return check_parameters.python_func(**given | changed)


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_passes(preset: str):
    check(preset)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"text_configs": [{"name": "a", "epoch": 3.0}]},
            "text_configs: text configuration a: unknown key 'epoch'",
        ),
        ({"text_configs": []}, "text_configs: text configurations: expected a list of one or more objects"),
        (
            {"image_configs": []},
            "image_configs: image configurations: expected a list of one or more objects",
        ),
        ({"fusion_configs": []}, "fusion_configs: fusion configurations: expected a list of one or more"),
        (
            {"image_configs": ["resnet50"]},
            "image_configs: image configuration 'resnet50': expected an object",
        ),
        (
            {"text_configs": [{"name": "a"}, {"name": "a"}]},
            "text_configs: text configurations: a is named twice",
        ),
        ({"denoise_folds": []}, "denoise_folds: folds = []: expected the numbers from 0 on"),
        ({"denoise_folds": ["0", "1"]}, "denoise_folds: folds = ['0', '1']: expected the numbers from 0 on"),
        ({"denoise_config": {"share": 2.0}}, "denoise_config: denoise configuration: share = 2"),
        (
            {"preprocess_config": {"seed": 1.0}},
            "preprocess_config: preprocess configuration: unknown key 'seed'",
        ),
        ({"preprocess_shard_size": 0}, "preprocess_shard_size: 0: expected one product or more to a shard"),
        ({"ensemble_config": {"vote": "loud"}}, "ensemble_config: ensemble configuration: vote"),
        ({"fusion_folds": 1}, "fusion_folds: 1 folds: what is learned on validation needs from 2 to 1000"),
        (
            {"models_store": "az://box/shop"},
            "models_store: az://box/shop: a store of models lies in a folder, in",
        ),
        ({"models_name": "../x"}, "models_name: model '../x': expected letters, digits"),
        ({"seed": -1}, "seed: -1: expected a whole number from 0 to 4294967295"),
        ({"cluster_accelerator_count": "one"}, "cluster_accelerator_count: 'one': expected a whole number"),
    ],
)
def test_what_is_wrong_ends_the_run_with_status_2(
    changed: dict[str, Any], message: str, capsys: pytest.CaptureFixture[str]
):
    with pytest.raises(SystemExit) as ended:
        check(**changed)
    assert ended.value.code == 2
    assert f"[preprocess] error: {message}" in capsys.readouterr().out


@pytest.mark.skipif(os.getuid() == 0, reason="root may write anywhere")
def test_a_volume_that_cannot_be_written_is_reported_with_the_remedy_as_any_user(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    tmp_path.chmod(0o555)
    refused(tmp_path / "checkpoints", capsys)


def test_a_volume_that_cannot_be_written_is_reported_with_the_remedy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "volume").write_text("no folder")
    refused(tmp_path / "volume" / "checkpoints", capsys)


def refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        check(cluster_checkpoints=str(folder))
    assert ended.value.code == 2
    output = capsys.readouterr().out
    assert f"[preprocess] error: cluster_checkpoints: {folder} cannot be written by user" in output
    assert "group 0" in output
    assert "fsGroup" in output


def test_a_volume_that_can_be_written_is_left_as_it_was(tmp_path: Path):
    check(cluster_checkpoints=str(tmp_path / "checkpoints"))
    assert list(tmp_path.rglob("*")) == [tmp_path / "checkpoints"]


@pytest.mark.parametrize(
    ("preset", "changed", "asked"),
    [
        ("paper", {}, (GPU, GPU, GPU, GPU, GPU)),
        ("laptop", {}, ("", "", GPU, GPU, GPU)),
        ("paper", {"text_fold_config": {"name": "tfidf", "kind": "linear"}}, ("", GPU, GPU, GPU, GPU)),
        ("paper", {"image_configs": [{"name": "c", "kind": "color_histogram"}]}, (GPU, GPU, GPU, "", GPU)),
        ("laptop", {"image_configs": [{"name": "c", "kind": "color_histogram"}]}, ("", "", GPU, "", "")),
        (
            "laptop",
            {"text_configs": [{"name": "t", "kind": "linear"}, {"name": "b"}]},
            ("", GPU, GPU, GPU, GPU),
        ),
        ("paper", {"cluster_accelerator_type": ""}, ("",) * 5),
    ],
)
def test_a_loop_asks_for_an_accelerator_where_a_kind_of_it_uses_one(
    preset: str, changed: dict[str, Any], asked: tuple[str, ...]
):
    *found, monitor, _, _, _, digest = check(preset, **changed)
    assert (tuple(found), monitor, digest) == (asked, "", "")  # no store: nothing predicts before a training
    *found, monitor, _, _, _, digest = check(preset, **changed, models_store="/mnt/training/models")
    assert (tuple(found), monitor) == (asked, asked[-1])
    assert len(digest) == 64


@pytest.mark.parametrize(
    ("config", "groups"),
    [({"name": "a", "kind": "linear"}, ["0,1,2,3"]), ({"name": "a"}, ["0", "1", "2", "3"])],
    ids=["linear", "transformer"],
)
def test_text_folds_of_a_kind_that_fits_them_together_are_one_task(config: dict[str, Any], groups: list[str]):
    *_, found, _, _, _ = check("paper", text_fold_config=config)
    assert found == groups
    assert [fold for group in groups for fold in fold_numbers(group)] == [0, 1, 2, 3]
    assert fold_numbers("") == []


@pytest.mark.parametrize(
    ("changed", "same"),
    [
        ({"seed": 1}, False),
        ({"graph": {"preset": "laptop", "denoise_on": "text", "images": "registry/<stage>:2"}}, False),
        ({"fusion_folds": 5}, False),
        ({"text_configs": [{"name": "a", "weights": "org/another"}]}, False),
        ({"models_gate": {"margin": 0.1}}, True),
        ({"drift_config": {"classes": 0.5}, "cluster_accelerator_count": "2"}, True),
        ({"denoise_folds": [0, 1, 2, 3]}, True),
    ],
    ids=["seed", "tag", "setting", "weights", "gate", "drift and cluster", "whole numbers"],
)
def test_the_digest_changes_with_what_a_model_follows_from(changed: dict[str, Any], same: bool):
    stored = {"models_store": "/mnt/training/models"}
    assert (check(**stored, **changed)[-1] == check(**stored)[-1]) is same


def test_a_servers_cache_knows_weights_and_the_products_kept_by_their_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    weights, keep = tmp_path / "weights", tmp_path / "keep.txt"
    given = {"text_configs": [{"name": "a", "weights": str(weights)}], "denoise_keep_ids": str(keep)}
    contents = [("1", "p1"), ("2", "p1"), ("2", "p2")]
    found = []
    for of_weights, of_keep in contents:
        weights.write_text(of_weights)
        keep.write_text(of_keep)
        found.append(check(**given)[-3:-1])
    (first, kept), (second, same), (unchanged, other) = found
    assert (first != second, second == unchanged, kept == same, same != other) == (True,) * 4
    monkeypatch.setenv(RUN_ID_VARIABLE, "run-1")
    assert check(**given)[-3] == second
    assert check(**given, models_retrain=True)[-3] == f"{second}run-1"
