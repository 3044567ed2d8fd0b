"""Image configurations: the paper's defaults, and what is refused."""

import pytest

from components.config import parse_config
from components.errors import InputError
from components.image.config import ImageConfig
from tests.image_catalog import CONFIG


def test_the_defaults_are_the_papers():
    plain, dcl = ImageConfig("v").stages()
    assert ImageConfig("v").backbone == "resnet152"
    assert (plain.resize, plain.crop, plain.epochs, plain.batch_size) == ((256, 256), (224, 224), 60, 128)
    assert (dcl.resize, dcl.crop, dcl.epochs) == ((512, 512), (448, 448), 20)
    assert plain.learning_rate == 0.01


def test_without_dcl_epochs_there_is_one_stage():
    assert [stage.kind for stage in ImageConfig("v", dcl_epochs=0).stages()] == ["plain"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"crop": [40, 40]}, "the crop within the resize"),
        ({"crop": [32, 32, 32]}, "must be \\[height, width\\]"),
        ({"crop": [20.5, 32]}, "crop"),
        ({"dcl_epochs": 1, "dcl_resize": [32, 32], "dcl_crop": [32, 32]}, "divide into 7 blocks"),
        ({"keep_stage1": True}, "keep_stage1 needs dcl_epochs"),
        ({"late_checkpoints": 3}, "late_checkpoints"),
        ({"learning_rate": 0}, "learning_rate"),
        ({"dropout": 0.1}, "unknown key 'dropout'"),
        ({"cache": "cloud"}, "'stream'"),
    ],
)
def test_a_wrong_configuration_is_refused_with_its_reason(change, message):
    with pytest.raises(InputError, match=message):
        parse_config(ImageConfig, {**CONFIG, **change}, where="image configuration")
