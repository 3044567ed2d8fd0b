"""Backbones of timm's: feature maps of every family, torchvision's weights, and what is refused."""

import inspect
from typing import Any

import numpy as np
import pytest
import timm
import torch
from timm.models import PretrainedCfg, resolve_model_input_args
from torchvision import models

from components.core.errors import InputError
from components.image.kinds.network import NetworkConfig
from components.image.network import build_network
from components.modeling.image.augmentation import IMAGENET_MEAN, IMAGENET_STD, PIXEL, uniforms
from components.modeling.image.backbones import OWN, Backbone, check_backbone, load_state
from components.modeling.image.networks import ALIASES, NOWHERE, timm_name

# The channels of the map, its side for images of 64x64, and the pooled features.
FAMILIES = {
    "small_resnet": (192, 4, 192),
    "resnet18": (512, 2, 512),
    "convnext_atto": (320, 2, 320),
    "efficientnet_b0": (1280, 2, 1280),
    "mobilenetv3_small_050": (288, 2, 1024),  # pooled features go through another layer
    "regnetx_002": (368, 2, 368),
    "swin_tiny_patch4_window7_224": (768, 2, 768),  # channels last
    "vit_tiny_patch16_224": (192, 4, 192),  # tokens, one of them the class's
    "vit_small_patch16_dinov3": (384, 4, 384),  # five tokens of no place
    "mixer_s32_224": (512, 2, 512),
}
# What torchvision has and timm has too: names that a configuration could always have.
TORCHVISIONS = (
    *("resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "wide_resnet50_2", "wide_resnet101_2"),
    *("resnext50_32x4d", "resnext101_32x8d", "resnext101_64x4d", "convnext_tiny", "convnext_large"),
    *("efficientnet_b0", "efficientnet_b7", "efficientnet_v2_s", "efficientnet_v2_m", "efficientnet_v2_l"),
    *("swin_t", "swin_s", "swin_b", "swin_v2_t", "swin_v2_s", "swin_v2_b"),
    *("vit_b_16", "vit_b_32", "vit_l_16", "vit_l_32", "vit_h_14"),
)


def without_zeros(network: torch.nn.Module) -> None:
    """Some families start with layers of zeros, through which nothing is learned in the first step."""
    with torch.no_grad():
        for weights in network.parameters():
            weights += 0.02 * torch.randn_like(weights)


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_gives_a_feature_map_and_pooled_features(name):
    channels, side, width = FAMILIES[name]
    check_backbone(name, [(64, 64)])
    backbone = Backbone(name, (64, 64)).eval()
    assert (backbone.map_width, backbone.width) == (channels, width)
    with torch.inference_mode():
        features, pooled = backbone(torch.randn(2, 3, 64, 64))
    assert features.shape == (2, channels, side, side)
    assert pooled.shape == (2, width)


@pytest.mark.parametrize("name", ["swin_tiny_patch4_window7_224", "vit_tiny_patch16_224", "resnet18"])
def test_a_place_of_the_map_is_that_of_the_image(name):
    torch.manual_seed(0)
    backbone = Backbone(name, (64, 96)).eval()
    without_zeros(backbone)
    images = torch.zeros(1, 3, 64, 96)
    changed = images.clone()
    changed[:, :, :16, 80:] = 3.0  # the upper right corner
    with torch.inference_mode():
        difference = (backbone(changed)[0] - backbone(images)[0]).abs().sum(1)[0]
    assert difference.argmax() == difference.shape[1] - 1


@pytest.mark.parametrize("name", ["resnet50", "resnet152"])
def test_torchvisions_weights_give_torchvisions_features_and_logits(name):
    torch.manual_seed(0)
    theirs: Any = models.get_model(name, weights=None, num_classes=9).eval()
    backbone = Backbone(name, (64, 64)).eval()
    load_state(backbone, theirs.state_dict(), where="torchvision")
    images = torch.randn(2, 3, 64, 64)
    body = torch.nn.Sequential(*list(theirs.children())[:-2])
    with torch.inference_mode():
        features, pooled = backbone(images)
        expected = body(images)
        assert (features - expected).abs().max() < 1e-5 * expected.abs().max()
        assert (theirs.fc(pooled) - theirs(images)).abs().max() < 1e-5 * theirs(images).abs().max()


@pytest.mark.parametrize("name", TORCHVISIONS)
def test_a_name_of_torchvisions_is_the_same_network(name):
    with torch.device("meta"):
        theirs = models.get_model(name, weights=None)
        ours = Backbone(name, (256, 256) if name.startswith("swin_v2") else (224, 224))
    classifier = [layer for layer in theirs.modules() if isinstance(layer, torch.nn.Linear)][-1]
    count = sum(each.numel() for each in theirs.parameters()) - sum(
        each.numel() for each in classifier.parameters()
    )
    # Swin v2's keys have a bias in torchvision, which stays zero; the paper and timm have none.
    assert sum(each.numel() for each in ours.parameters()) == pytest.approx(count, rel=2e-4)


def test_the_papers_names_stand_for_torchvisions_weights():
    assert [timm_name(name) for name in ("resnet50", "resnet152")] == [
        "resnet50.tv_in1k",
        "resnet152.tv_in1k",
    ]
    assert timm_name("resnet50.a1_in1k") == "resnet50.a1_in1k"
    assert all(timm.is_model_pretrained(timm_name(name)) for name in ALIASES)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("resnet51", "neither small_resnet nor one of timm .*near it: .*resnet50"),
        ("resnet50.tv9_in1k", "timm has it as resnet50, .*resnet50.tv2_in1k"),
        ("pit_ti_224", "no feature map: 1 tokens for 7x7 places"),
        ("coat_lite_tiny", "no feature map: 50 tokens for 7x7 places"),
        ("efficientvim_m1", "no feature map: it ends in several branches"),
        ("deepseek_vit_412m_enc", "does not support classification"),
    ],
)
def test_what_is_unknown_or_gives_no_map_is_refused_by_name(name, reason):
    with pytest.raises(InputError, match=f"'{name}'.*{reason}"):
        check_backbone(name, [(224, 224)])


def test_sizes_that_a_backbone_cannot_see_are_refused():
    with pytest.raises(InputError, match="'vit_tiny_patch16_224' gives no feature map: 36 tokens for 7x7"):
        check_backbone("vit_tiny_patch16_224", [(100, 100)])
    with pytest.raises(InputError, match="images of 224x224 do not serve images of 448x448; give all stages"):
        check_backbone("convit_tiny", [(224, 224), (448, 448)])


def test_a_check_takes_no_memory_for_weights():
    with torch.device("meta"):
        assert all(each.is_meta for each in Backbone("vit_h_14", (448, 448)).state_dict().values())
    check_backbone("vit_h_14", [(448, 448)])


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "swin_tiny_patch4_window7_224", "resnet18"])
def test_a_backbone_takes_its_weights_to_another_image_size(name):
    check_backbone(name, [(64, 64), (96, 64)])
    small, large = Backbone(name, (64, 64)), Backbone(name, (96, 64))
    without_zeros(small)
    load_state(large, {f"{OWN}{key}": value for key, value in small.body.state_dict().items()}, where="here")
    first, second = dict(small.named_parameters()), dict(large.named_parameters())
    same = [key for key in first if first[key].shape == second[key].shape]
    assert len(same) >= len(first) - 13  # position embeddings, or the biases of Swin's 12 blocks
    assert all(torch.equal(first[key], second[key]) for key in same)
    features, _ = large(torch.randn(1, 3, 96, 64))
    assert features.shape[2] * 2 == features.shape[3] * 3


def test_images_are_normalized_as_the_weights_want_them():
    assert Backbone("resnet18", (64, 64)).mean == IMAGENET_MEAN
    assert Backbone("small_resnet", (64, 64)).std == IMAGENET_STD
    vit = Backbone("vit_tiny_patch16_224", (64, 64))
    assert (vit.mean, vit.std) == ((0.5,) * 3, (0.5,) * 3)
    config = NetworkConfig(name="v", backbone="vit_tiny_patch16_224", crop=(64, 64), dcl_epochs=0)
    network = build_network(config, config.stages()[0], np.full(3, 1 / 3)).eval()
    pixels = torch.randint(0, 255, (2, 64, 64, PIXEL), dtype=torch.uint8)
    images = pixels[..., :3].permute(0, 3, 1, 2) / 127.5 - 1
    with torch.inference_mode():
        torch.testing.assert_close(network.features(pixels), network.backbone(images), atol=1e-4, rtol=1e-4)


def test_what_is_used_of_timm_beside_its_documented_functions_is_there():
    used = {"classifier", "fixed_input_size", "hf_hub_id", "mean", "std", "state_dict", "num_classes"}
    assert {*used, *NOWHERE, "label_offset"} <= set(inspect.signature(PretrainedCfg).parameters)
    assert list(inspect.signature(resolve_model_input_args).parameters)[:2] == ["model_name", "args"]
    for name in FAMILIES:
        body = Backbone(name, (64, 64)).body
        for attribute in ("forward_features", "forward_head", "reset_classifier", "num_features"):
            assert hasattr(body, attribute), (name, attribute)
    assert Backbone("swin_t", (64, 64)).body.output_fmt == "NHWC"
    assert Backbone("vit_tiny_patch16_224", (64, 64)).body.num_prefix_tokens == 1
    assert Backbone("vit_tiny_patch16_224", (64, 64)).body.feature_info[-1]["reduction"] == 16


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_learns_by_dcl(name):
    torch.manual_seed(0)
    config = NetworkConfig(
        name="v", backbone=name, weights="scratch", dcl_resize=(64, 64), dcl_crop=(64, 64), dcl_blocks=2
    )
    network = build_network(config, config.stages()[1], np.full(3, 1 / 3)).train()
    without_zeros(network)
    pixels = torch.randint(0, 255, (4, 64, 64, PIXEL), dtype=torch.uint8)
    network(pixels, uniforms(0, 0, np.arange(2), network.draws), torch.tensor([0, 2])).backward()
    silent = [key for key, value in network.named_parameters() if value.grad is None or not value.grad.any()]
    assert not silent
    assert network.get_parameter("dcl.location.weight").shape == (1, FAMILIES[name][0], 1, 1)
