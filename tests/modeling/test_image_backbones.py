"""Feature maps of every family, and where weights come from."""

import hashlib
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torchvision import models

from components.core.errors import InputError
from components.image.config import BACKBONES, ImageConfig
from components.image.network import build_network
from components.modeling.image.augmentation import PIXEL, uniforms
from components.modeling.image.backbones import FAMILIES, SMALL, Backbone, load_state, load_weights

NAMES = ["small_resnet", "resnet18", "convnext_tiny", "efficientnet_b0", "swin_t", "vit_b_32"]


@pytest.mark.parametrize("name", NAMES)
def test_every_family_gives_a_feature_map_and_pooled_features(name):
    backbone = Backbone(name, (64, 64)).eval()
    with torch.inference_mode():
        features = backbone(torch.randn(2, 3, 64, 64))
        pooled = backbone.pool(features)
    assert features.shape == (2, backbone.width, *features.shape[2:])
    assert features.shape[2] == features.shape[3] == (4 if name == "small_resnet" else 2)
    assert pooled.shape == (2, backbone.width)


@pytest.mark.parametrize("name", ["resnet18", "convnext_tiny", "swin_t", "efficientnet_b0"])
def test_torchvisions_weights_give_torchvisions_logits(name, tmp_path):
    torch.manual_seed(0)
    whole = models.get_model(name, weights=None, num_classes=9).eval()
    save_file({k: v.contiguous() for k, v in whole.state_dict().items()}, tmp_path / "w.safetensors")
    backbone = Backbone(name, (64, 64)).eval()
    load_weights(backbone, name, str(tmp_path / "w.safetensors"))
    images = torch.randn(2, 3, 64, 64)
    classifier = [layer for layer in whole.modules() if isinstance(layer, torch.nn.Linear)][-1]
    with torch.inference_mode():
        assert torch.allclose(classifier(backbone.pool(backbone(images))), whole(images), atol=1e-4)


def test_a_vision_transformer_takes_weights_of_another_image_size():
    small, large = Backbone("vit_b_32", (64, 64)), Backbone("vit_b_32", (128, 128))
    load_state(large, {f"backbone.{k}": v for k, v in small.state_dict().items()}, where="here")
    assert large(torch.randn(1, 3, 128, 128)).shape == (1, 768, 4, 4)


def test_a_vision_transformer_refuses_an_oblong_crop():
    with pytest.raises(InputError, match="squares only"):
        Backbone("vit_b_32", (64, 32))


def test_every_backbone_that_a_configuration_may_name_is_of_a_family_of_torchvisions():
    for name in set(BACKBONES) - {SMALL}:
        with torch.device("meta"):
            assert isinstance(models.get_model(name, weights=None), tuple(FAMILIES.values())), name


@pytest.mark.parametrize("name", ["no_such_network", "alexnet"])
def test_an_unknown_backbone_or_one_without_a_map_is_refused(name):
    with pytest.raises(InputError, match=name):
        Backbone(name, (64, 64))


class Canary:
    def __reduce__(self):
        return (exec, ("raise SystemExit('the canary ran')",))


def test_a_pickle_is_refused_and_never_runs(tmp_path):
    for name in ("weights.pth", "weights.safetensors"):
        (tmp_path / name).write_bytes(pickle.dumps(Canary()))
        with pytest.raises(InputError, match="safetensors"):
            load_weights(Backbone("small_resnet", (32, 32)), "small_resnet", str(tmp_path / name))


def test_weights_of_another_network_are_refused(tmp_path):
    save_file(models.resnet18().state_dict(), tmp_path / "w.safetensors")
    with pytest.raises(InputError, match="not the weights of this backbone"):
        load_weights(Backbone("resnet34", (64, 64)), "resnet34", str(tmp_path / "w.safetensors"))


def test_a_missing_file_and_an_unknown_name_are_told(tmp_path):
    backbone = Backbone("resnet18", (64, 64))
    with pytest.raises(InputError, match="no such file"):
        load_weights(backbone, "resnet18", str(tmp_path / "missing.safetensors"))
    with pytest.raises(InputError, match="torchvision has none"):
        load_weights(backbone, "resnet18", "IMAGENET9")
    with pytest.raises(InputError, match="torchvision has none"):
        load_weights(Backbone("small_resnet", (64, 64)), "small_resnet", "imagenet")


def ship(monkeypatch: pytest.MonkeyPatch, folder: Path, content: object, *, digest: str = "") -> None:
    """Has torchvision's loader find `content` where it downloads resnet18, as a .pth like its own."""
    torch.save(content, folder / "whole.pth")
    digest = digest or hashlib.sha256((folder / "whole.pth").read_bytes()).hexdigest()[:8]
    shipped = (folder / "whole.pth").rename(folder / f"resnet18-{digest}.pth")
    monkeypatch.setenv("TORCH_HOME", str(folder / "hub"))
    monkeypatch.setattr(models.ResNet18_Weights.IMAGENET1K_V1.value, "url", shipped.as_uri())


def test_imagenet_weights_are_read_from_the_file_that_torchvision_ships(monkeypatch, tmp_path):
    shipped = models.resnet18().state_dict()
    ship(monkeypatch, tmp_path, shipped)
    backbone = Backbone("resnet18", (64, 64))
    load_weights(backbone, "resnet18", "imagenet")
    assert torch.equal(backbone.state_dict()["body.layer4.1.conv2.weight"], shipped["layer4.1.conv2.weight"])


def test_a_canary_in_a_downloaded_file_never_runs(monkeypatch, tmp_path):
    ship(monkeypatch, tmp_path, {"conv1.weight": Canary()})
    with pytest.raises(InputError, match="holds more than tensors"):
        load_weights(Backbone("resnet18", (64, 64)), "resnet18", "imagenet")


def test_a_downloaded_file_of_another_digest_is_refused(monkeypatch, tmp_path):
    ship(monkeypatch, tmp_path, models.resnet18().state_dict(), digest="00000000")
    with pytest.raises(InputError, match="invalid hash value"):
        load_weights(Backbone("resnet18", (64, 64)), "resnet18", "imagenet")


def test_without_a_connection_the_remedy_is_told(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(
        models.ResNet18_Weights.IMAGENET1K_V1.value, "url", "http://127.0.0.1:9/r-00000000.pth"
    )
    with pytest.raises(InputError, match=r"cannot be downloaded: .*give a \.safetensors file or URI"):
        load_weights(Backbone("resnet18", (64, 64)), "resnet18", "imagenet")


@pytest.mark.parametrize("name", NAMES)
def test_every_family_learns_by_dcl(name):
    config = ImageConfig(
        "v", backbone=name, weights="scratch", dcl_resize=(64, 64), dcl_crop=(64, 64), dcl_blocks=2
    )
    network = build_network(config, config.stages()[1], np.full(3, 1 / 3)).train()
    pixels = torch.randint(0, 255, (4, 64, 64, PIXEL), dtype=torch.uint8)
    network(pixels, uniforms(0, 0, np.arange(2), network.draws), torch.tensor([0, 2])).backward()
    silent = [key for key, value in network.named_parameters() if value.grad is None or not value.grad.any()]
    assert silent in ([], ["backbone.body.class_token"]), silent
