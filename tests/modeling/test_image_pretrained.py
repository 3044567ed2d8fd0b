"""Where a backbone's weights come from: safetensors files and the hub; never a pickle."""

import json
import pickle
import shutil
from pathlib import Path

import huggingface_hub.constants
import numpy as np
import pytest
import timm
import torch
from image_catalog import CONFIG, run_image_stage
from safetensors.torch import save_file

from components.core.errors import InputError
from components.data.image_store import ImageStore
from components.image.config import IMAGE_KINDS
from components.modeling.image.backbones import OWN, Backbone, check_backbone
from components.modeling.image.pretrained import load_weights

NAME = "convnext_atto"  # with a classifier in several layers


class Canary:
    def __reduce__(self):
        return (exec, ("raise SystemExit('the canary ran')",))


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Writes repositories as the hub's cache holds them; there is no connection."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)

    def write(repository: str, files: dict[str, bytes]) -> None:
        folder = tmp_path / "hub" / f"models--{repository.replace('/', '--')}"
        snapshot = folder / "snapshots" / ("0" * 40)
        snapshot.mkdir(parents=True)
        (folder / "refs").mkdir()
        (folder / "refs" / "main").write_text("0" * 40)
        for name, content in files.items():
            (snapshot / name).write_bytes(content)

    return write


def shipped(name: str, file: Path, classes: int = 7) -> torch.nn.Module:
    """A whole network of timm's, its weights in a file."""
    torch.manual_seed(1)
    whole = timm.create_model(name, num_classes=classes).eval()
    save_file(whole.state_dict(), file)
    return whole


def pooled_alike(backbone: Backbone, whole: torch.nn.Module) -> bool:
    images = torch.randn(2, 3, *backbone.crop)
    with torch.inference_mode():
        features = whole.forward_features(images)  # type: ignore[operator]
        expected = whole.forward_head(features, pre_logits=True)  # type: ignore[operator]
        return torch.equal(backbone.eval()(images)[1], expected)


@pytest.mark.parametrize(
    "name", [NAME, "resnet18", "efficientnet_b0", "vit_tiny_patch16_224", "small_resnet"]
)
def test_a_file_of_timms_names_is_loaded_whatever_its_classes(name, tmp_path):
    whole = shipped(name, tmp_path / "weights.safetensors")
    size = (224, 224) if name.startswith("vit") else (64, 64)
    for place in (tmp_path / "weights.safetensors", (tmp_path / "weights.safetensors").as_uri()):
        backbone = Backbone(name, size)
        assert not pooled_alike(backbone, whole)
        load_weights(backbone, str(place))
        assert pooled_alike(backbone, whole)


def test_a_folder_and_a_model_of_the_image_stage_are_read(tmp_path):
    trained = Backbone(NAME, (64, 64))
    state = {f"{OWN}{key}": value for key, value in trained.body.state_dict().items()}
    save_file({**state, "head.weight": torch.zeros(3, trained.width)}, tmp_path / "model.safetensors")
    backbone = Backbone(NAME, (96, 96))
    load_weights(backbone, str(tmp_path))
    for key, value in trained.state_dict().items():
        assert torch.equal(backbone.state_dict()[key], value), key


def test_scratch_leaves_a_backbone_as_it_is():
    backbone = Backbone("small_resnet", (32, 32))
    before = {key: value.clone() for key, value in backbone.state_dict().items()}
    load_weights(backbone, "scratch")
    assert all(torch.equal(before[key], value) for key, value in backbone.state_dict().items())


def test_a_pickle_is_refused_and_never_runs(tmp_path):
    for name in ("weights.pth", "weights.safetensors"):
        (tmp_path / name).write_bytes(pickle.dumps(Canary()))
        with pytest.raises(InputError, match="safetensors"):
            load_weights(Backbone("small_resnet", (32, 32)), str(tmp_path / name))


@pytest.mark.parametrize("change", ["another network", "one missing", "one too many", "none"])
def test_weights_that_do_not_fit_whole_are_refused(change, tmp_path):
    state = timm.create_model("resnet34" if change == "another network" else "resnet18").state_dict()
    if change == "one missing":
        del state["layer4.1.bn2.bias"]
    if change == "one too many":
        state["layer4.1.bn3.bias"] = torch.zeros(4)
    save_file({} if change == "none" else state, tmp_path / "w.safetensors")
    backbone = Backbone("resnet18", (64, 64))
    with pytest.raises(
        InputError, match=r"w\.safetensors'.*not the weights that this backbone takes.*resnet18"
    ):
        load_weights(backbone, str(tmp_path / "w.safetensors"))


def test_what_is_not_there_is_named(tmp_path):
    backbone = Backbone("resnet18", (64, 64))
    with pytest.raises(InputError, match=r"missing\.safetensors: no such file"):
        load_weights(backbone, str(tmp_path / "missing.safetensors"))
    with pytest.raises(InputError, match=r"neither a \.safetensors file nor a folder that holds model"):
        load_weights(backbone, str(tmp_path))


def test_timms_weights_come_from_the_hub(hub, tmp_path):
    whole = shipped("resnet18", tmp_path / "w.safetensors", classes=1000)
    hub("timm/resnet18.tv_in1k", {"model.safetensors": (tmp_path / "w.safetensors").read_bytes()})
    backbone = Backbone("resnet18", (64, 64))
    load_weights(backbone, "pretrained")
    assert pooled_alike(backbone, whole)


def test_a_model_of_the_hub_is_built_and_loaded_by_its_own_settings(hub, tmp_path):
    whole = shipped("resnet18", tmp_path / "w.safetensors", classes=5)
    settings = {
        "architecture": "resnet18",
        "num_classes": 5,
        "pretrained_cfg": {"mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25], "classifier": "fc"},
    }
    files = {"config.json": json.dumps(settings).encode()}
    hub("shop/shoes", {**files, "model.safetensors": (tmp_path / "w.safetensors").read_bytes()})
    check_backbone("hf-hub:shop/shoes", [(64, 64), (96, 96)])
    backbone = Backbone("hf-hub:shop/shoes", (64, 64))
    load_weights(backbone, "pretrained")
    assert pooled_alike(backbone, whole)
    assert tuple(backbone.std) == (0.25, 0.25, 0.25)


@pytest.mark.parametrize("kind", ["network", "frozen"])
def test_what_is_trained_on_a_model_of_the_hub_is_loaded_without_the_hub(hub, tmp_path, kind, monkeypatch):
    monkeypatch.setattr("components.image.embedding.HF_HOME", str(tmp_path / "home"))
    shipped("small_resnet", tmp_path / "w.safetensors")
    cfg = {"mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25], "num_classes": 7}
    settings = {"architecture": "small_resnet", "num_classes": 7, "pretrained_cfg": cfg}
    weights = (tmp_path / "w.safetensors").read_bytes()
    hub("shop/shoes", {"config.json": json.dumps(settings).encode(), "model.safetensors": weights})
    config = {**CONFIG, "epochs": 1} if kind == "network" else {"name": "tiny", "size": [32, 32]}
    config |= {"kind": kind, "backbone": "hf-hub:shop/shoes", "weights": "pretrained"}
    _, found, catalog = run_image_stage(tmp_path / "run", config, defaults={})
    shutil.rmtree(tmp_path / "hub")
    model = IMAGE_KINDS.load(tmp_path / "run" / "model", device=torch.device("cpu"))
    rows = catalog.rows("test")
    store = ImageStore(tmp_path / "run" / "images")
    pred_probs = model.predict(store, catalog.table["image"].iloc[rows].tolist()).pred_probs
    np.testing.assert_allclose(pred_probs, found.chosen("test", catalog.ids[rows]), atol=1e-6)


@pytest.mark.parametrize("name", ["resnet18", "hf-hub:shop/shoes"])
def test_where_the_hub_has_a_pickle_alone_it_is_refused_and_never_runs(hub, name):
    canary = pickle.dumps(Canary())
    files = {"pytorch_model.bin": canary, "config.json": b'{"architecture": "resnet18", "classifier": "fc"}'}
    hub("timm/resnet18.tv_in1k" if name == "resnet18" else "shop/shoes", files)
    with pytest.raises(
        InputError, match=r"model\.safetensors of .* cannot be had .*give a \.safetensors file"
    ):
        load_weights(Backbone(name, (64, 64)), "pretrained")


def test_without_a_connection_the_remedy_is_named(hub):
    with pytest.raises(InputError, match=r"model\.safetensors of timm/resnet18\.tv_in1k cannot be had"):
        load_weights(Backbone("resnet18", (64, 64)), "pretrained")
    with pytest.raises(InputError, match=r"'hf-hub:shop/shoes'.*check your connection"):
        check_backbone("hf-hub:shop/shoes", [(64, 64)])


def test_a_network_without_weights_names_others_that_have_some():
    with pytest.raises(InputError, match=r"no safetensors weights of it; near it: tf_efficientnet_b7"):
        load_weights(Backbone("efficientnet_b7", (64, 64)), "pretrained")
