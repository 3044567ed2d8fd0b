"""The paper's preset from catalog to report at a share of its epochs, and what all of them would take.

    python benchmarks/end_to_end.py                                 a tenth of the epochs, 84,916 products
    python benchmarks/end_to_end.py --products 16000 --share 0.03   under ten minutes on an H100, 16 cores
    python benchmarks/end_to_end.py --tiny                          two cores: does it work?

Texts and 500x500 JPEGs are made up, with the challenge's numbers, lengths and class frequencies; models have
full size and random weights: times do not depend on what they say. All is made once into --folder. Stages
run one after the other, each in a process of its own, as their pods would on one GPU, timed from its start.
A training's epochs after its first are what the others are taken to last; its first may hold captures and
compiling. The last column scales all but imports to the challenge's products: an upper bound.
"""

import argparse
import importlib
import logging
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.clock import DEVICE
from benchmarks.made_up_catalog import write_catalog, write_image_weights, write_text_weights
from benchmarks.timed_tasks import PRODUCTS, Timed, report
from components.client.presets import PAPER
from components.core.artifacts import write_json
from components.data.probabilities import read_classifier
from components.denoise.config import DenoiseConfig
from components.ensemble.config import PARAMETERS as ENSEMBLE
from components.fusion.config import PARAMETERS as FUSION
from components.image.config import IMAGE_KINDS
from components.preprocess.config import PreprocessConfig
from components.text.config import TEXT_KINDS

FOLDS = 4
SIZES = {
    "almanach/camembert-base": {"layers": 12, "hidden": 768, "heads": 12, "vocabulary": 32_005},
    "almanach/camembert-large": {"layers": 24, "hidden": 1024, "heads": 16, "vocabulary": 32_005},
}
TINY_TEXT = {"layers": 1, "hidden": 32, "heads": 2, "vocabulary": 500}
TINY_IMAGE = {
    "backbone": "resnet18",
    "resize": [40, 40],
    "crop": [32, 32],
    "batch_size": 16,
    "dcl_resize": [40, 40],
    "dcl_crop": [28, 28],
    "dcl_batch_size": 8,
}
REGISTRIES: dict[str, Any] = {"text": TEXT_KINDS, "image": IMAGE_KINDS}
GPU = {"gpu_type": "nvidia.com/gpu", "gpu_count": "1"} if DEVICE.type == "cuda" else {}


class Pipeline:
    """The stages' tasks in their order, timed.

    Args:
        folder: for what is made once, and for what each task leaves.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        self.options, self.timed = options, list[Timed]()
        self.out, self.catalog = options.folder / "run", options.folder / f"catalog-{options.products}"
        shutil.rmtree(self.out, ignore_errors=True)
        self.paths = {name: self.out / name for name in ("products", "images", "cleaned", "label_issues")}

    def run(self) -> None:
        """Runs all tasks."""
        catalog = write_catalog(self.catalog, self.options.products)
        paths, seed = self.paths, {"seed": 0}
        stored = {name: paths[name] for name in ("products", "images")}
        left = {name: self.out / name for name in ("quarantine", "profile")}
        self._time(
            "preprocess",
            "preprocess",
            {"sources": catalog, "config": PreprocessConfig(), "folds": FOLDS, **seed},
            {"earlier_profile": "", **stored, **left},
        )
        known = {name: self.out / name for name in ("products", "profile")}
        new = {name: self.out / name for name in ("new_products", "new_images", "new_quarantine")}
        given = {"sources": catalog, "config": PreprocessConfig(), **known}
        self._time("preprocess", "new products", given, new, work="run_preprocess_new")
        found = [self._train("image", PAPER["image_fold_config"], fold) for fold in range(FOLDS)]
        names = {name: paths[name] for name in ("images", "cleaned", "label_issues")}
        settings = {"out_of_fold": found, "config": DenoiseConfig(), "keep_ids": ""}
        self._time("denoise", "denoise", settings, {"products": paths["products"], **names})
        trained = {
            stage: [self._train(stage, config, None) for config in PAPER[f"{stage}_configs"]]
            for stage in ("text", "image")
        }
        self._fuse(trained)

    def _train(self, stage: str, config: dict[str, Any], fold: int | None) -> Path:
        task = f"{config['name']}{'' if fold is None else f' fold {fold}'}"
        parsed, usual = self.parse(stage, config), REGISTRIES[stage].parse(config)
        epochs = {1.0: usual.epochs, 2.0: getattr(usual, "dcl_epochs", 0)}
        full = {number: count for number, count in epochs.items() if count}
        folder = self.out / task
        products = self.paths["products" if fold is not None else "cleaned"]
        inputs = {"products": products, "config": parsed, "fold": fold, "seed": 0, **GPU}
        inputs |= {"images": self.paths["images"]} if stage == "image" else {}
        outputs = {name: folder / name for name in ("probabilities", "features", "model", "checkpoints")}
        self._time(stage if fold is None else "denoise", task, inputs, outputs, module=stage)
        probabilities = folder / "probabilities"
        self.timed[-1].full, self.timed[-1].curves = full, read_classifier(probabilities).metadata["curves"]
        return probabilities

    def parse(self, stage: str, config: dict[str, Any]) -> Any:
        """A configuration of the preset with fewer epochs and weights that are here."""
        tiny, weights = self.options.tiny, self.options.folder / "weights"
        usual: Any = REGISTRIES[stage].parse(config)
        epochs = {key: getattr(usual, key, 0) for key in ("epochs", "dcl_epochs")}
        fewer = {key: max(2, round(self.options.share * count)) for key, count in epochs.items() if count}
        if stage == "text":
            sizes = TINY_TEXT if tiny else SIZES[config["weights"]]
            name = f"camembert-{sizes['layers']}x{sizes['hidden']}"
            given = {"weights": write_text_weights(weights / name, **sizes)}
            return TEXT_KINDS.parse({**config, **fewer, **given})
        small = TINY_IMAGE if tiny else {}
        backbone = small.get("backbone", usual.backbone)
        kept = {**small, "weights": write_image_weights(weights, backbone), "compile": self.options.compile}
        return IMAGE_KINDS.parse({**config, **fewer, **kept})

    def _fuse(self, trained: dict[str, list[Path]]) -> None:
        stored = {"products": self.paths["cleaned"], "images": self.paths["images"]}
        made = {name: self.out / name for name in ("members", "feature_level")}
        parts = {"": "probabilities", "_features": "features", "_models": "model"}
        inputs = {
            f"{stage}{suffix}": [path.parent / part for path in trained[stage]]
            for stage in trained
            for suffix, part in parts.items()
        }
        configs = FUSION["fusion_configs"](PAPER["fusion_configs"])
        given = {**stored, **inputs, "configs": configs}
        models = {"fusion_model": self.out / "fusion_model"}
        self._time("fusion", "fusion", given, {"folds": 8, "seed": 0, **made, **models})
        vote = {"config": ENSEMBLE["ensemble_config"](PAPER["ensemble_config"])}
        trainings = {name: paths for name, paths in inputs.items() if name.endswith("_models")}
        read = {**stored, **made, **models, **trainings, "profile": self.out / "profile"}
        ensemble, package = self.out / "ensemble", {"ensemble_model": self.out / "ensemble_model"}
        self._time("ensemble", "ensemble", {**read, **vote}, {"probabilities": ensemble, **package})
        new = {name: self.out / name for name in ("new_products", "new_images")}
        write_json(self.out / "last_run", {})
        read = {**package, **new, "last_run": self.out / "last_run"}
        predictions = {"predictions": self.out / "predictions"}
        self._time("predict", "predict", read, predictions, module="lifecycle", work="run_predict")
        scored = {
            **stored,
            **trained,
            **made,
            "ensemble": ensemble,
            "label_issues": self.paths["label_issues"],
            "new_products": new["new_products"],
            **predictions,
        }
        self._time(
            "evaluate", "evaluate", scored, {"seed": 0, "metadata": {}, "results": self.out / "results"}
        )

    def _time(
        self, stage: str, name: str, inputs: dict, outputs: dict, *, module: str = "", work: str = ""
    ) -> None:
        module = module or stage
        function, given = work or f"run_{module}", {**inputs, **outputs}
        start = time.time()  # a clock that processes share
        with ProcessPoolExecutor(1, get_context("spawn")) as process:
            call = process.submit(_call, f"components.{module}.run", function, given)
            start_up = call.result() - start
        self.timed.append(Timed(stage, name, time.time() - start, start_up))
        print(f"{name}: {self.timed[-1].seconds:.0f} s", flush=True)


def _call(module: str, function: str, arguments: dict[str, Any]) -> float:
    # When the work began.
    logging.basicConfig(level=logging.WARNING, format="    %(message)s", stream=sys.stdout)
    logging.getLogger("components").setLevel(logging.INFO)
    work: Callable[..., Any] = getattr(importlib.import_module(module), function)
    began = time.time()
    work(**arguments)
    return began


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "end-to-end")
    parser.add_argument(
        "--products", type=int, default=PRODUCTS, help="labeled ones; a tenth as many are test"
    )
    parser.add_argument("--share", type=float, default=0.1, help="of the preset's epochs; two at least")
    parser.add_argument("--compile", choices=["auto", "on", "off"], default="auto")
    parser.add_argument("--tiny", action="store_true", help="400 products, two epochs of the smallest models")
    options = parser.parse_args()
    if options.tiny:
        options.products, options.share = 400, 0.0
    pipeline = Pipeline(options)
    pipeline.run()
    report(pipeline.timed, options)


if __name__ == "__main__":
    main()
