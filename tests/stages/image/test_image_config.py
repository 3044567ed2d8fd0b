"""Image configurations: the paper's defaults, and what is refused."""

import pytest
from image_catalog import CONFIG

from components.core.errors import InputError
from components.image.config import IMAGE_KINDS
from components.image.kinds.network import NetworkConfig


def test_the_defaults_are_the_papers():
    plain, dcl = NetworkConfig(name="v").stages()
    assert NetworkConfig(name="v").backbone == "resnet152"
    assert (plain.resize, plain.crop, plain.epochs, plain.batch_size) == ((256, 256), (224, 224), 60, 128)
    assert (dcl.resize, dcl.crop, dcl.epochs) == ((512, 512), (448, 448), 20)
    assert (plain.learning_rate, dcl.learning_rate, dcl.batch_size) == (0.01, 0.01, 16)
    paper = NetworkConfig(name="v")
    assert (paper.weights, paper.rotation, paper.flip, paper.fit) == ("pretrained", 15.0, True, "stretch")
    assert (paper.momentum, paper.weight_decay) == (0.9, 0.0)
    assert (paper.schedule, paper.decay_epochs, paper.decay) == ("steps", 12, 0.1)
    assert (paper.dcl_blocks, paper.dcl_range, paper.dcl_gamma) == (7, 2, 1.0)
    assert (paper.dcl_shuffle, paper.dcl_swap) == ("sort", "cls_2")


def test_what_goes_beyond_the_paper_is_off():
    paper = NetworkConfig(name="v")
    assert (paper.padding, paper.min_steps) == (0, 0)
    assert (paper.label_smoothing, paper.logit_adjustment_tau, paper.late_checkpoints) == (0.0, 0.0, 0)
    assert not any((paper.cleaned, paper.keep_stage1))


def test_without_dcl_epochs_there_is_one_stage():
    assert [stage.kind for stage in NetworkConfig(name="v", dcl_epochs=0).stages()] == ["plain"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"crop": [40, 40]}, "crop must lie within resize"),
        ({"crop": [32, 32, 32]}, r"crop = \[32, 32, 32\] should have at most 2 items"),
        ({"crop": [20.5, 32]}, r"crop\[0\] = 20.5 should be a valid integer"),
        ({"dcl_epochs": 1, "dcl_resize": [32, 32], "dcl_crop": [32, 32]}, "divide into 7 blocks"),
        ({"keep_stage1": True}, "keep_stage1 needs dcl_epochs"),
        ({"late_checkpoints": 3}, "late_checkpoints"),
        ({"learning_rate": 0}, "learning_rate = 0 should be greater than 0"),
        ({"balance": 0.5}, r"unknown key 'balance' \(use 'logit_adjustment_tau'\)"),
        ({"dropout": 0.1}, "unknown key 'dropout'"),
        ({"cache": "cloud"}, "'stream'"),
        ({"backbone": "ResNet-51"}, "'ResNet-51' is no name of timm's"),
        ({"backbone": "timm/resnet50"}, "'timm/resnet50' is no name of timm's .*hf-hub:org/model"),
        ({"backbone": "local-dir:/data"}, "no name of timm's"),
        ({"backbone": "hf-hub:../model"}, "no name of timm's"),
        ({"backbone": "resnet50", "weights": "IMAGENET1K_V2"}, "'IMAGENET1K_V2' are neither .*tv2_in1k"),
        ({"backbone": "resnet50", "weights": "imagenet"}, "'pretrained' \\(once 'imagenet'"),
        ({"weights": "pretrained"}, "small_resnet has no weights"),
        ({"schedule": "one_cycle", "momentum": 0}, "needs a momentum"),
    ],
)
def test_a_wrong_configuration_is_refused_with_its_reason(change, message):
    with pytest.raises(InputError, match=message):
        IMAGE_KINDS.parse({**CONFIG, **change})
