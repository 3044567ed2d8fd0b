"""Feature maps of every family, and where weights come from."""

import pickle

import pytest
import torch
from safetensors.torch import save_file
from torchvision import models

from components.errors import InputError
from components.image.backbones import Backbone, load_state, load_weights

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


def test_downloaded_weights_are_never_unpickled_freely(monkeypatch):
    asked = {}

    def fake(url, **options):
        asked.update(options)
        return models.resnet18().state_dict()

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", fake)
    load_weights(Backbone("resnet18", (64, 64)), "resnet18", "imagenet")
    assert asked["weights_only"] is True
    assert asked["check_hash"] is True
