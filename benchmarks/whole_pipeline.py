"""The whole pipeline at small size on a CPU, against its stages chained as such code is usually published.

    python benchmarks/whole_pipeline.py                      400 products, 2 epochs or more: some minutes
    python benchmarks/whole_pipeline.py --products 1000 --share 0.1

Both sides train the same models of the same sizes on the same splits: 4 folds on images, 3 text
classifiers, 2 image classifiers, one of them with DCL, and 12 members of up to 8 nets each. The published
way: every rule of cleaning by pandas' apply; texts tokenized in `__getitem__` and padded to 128; every
image read, decoded and transformed in PIL in every epoch, and destroyed one by one; DataLoaders; scikit-
learn's F1; fusion nets one after the other; votes counted row by row. Ours does beside it what it always
does: checks, checkpoints, reports, feature-level fusion, evaluation. CPU time on one thread, start-up left
out on both sides.
"""

import argparse
import os
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

os.environ["CUDA_VISIBLE_DEVICES"] = ""
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import numpy as np
import pandas as pd
import torch
from sklearn.metrics import f1_score

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.clock import device_name
from benchmarks.end_to_end import Pipeline
from benchmarks.published_stages import Published
from benchmarks.timed_tasks import Timed
from components.core.artifacts import read_manifest
from components.data.probabilities import read_classifier
from components.data.products import read_products


class InOneProcess(Pipeline):
    """The stages' tasks in their order, in this process, by CPU time."""

    def _time(
        self, stage: str, name: str, inputs: dict, outputs: dict, *, module: str = "", work: str = ""
    ) -> None:
        module = module or stage
        run = getattr(__import__(f"components.{module}.run", fromlist=["run"]), work or f"run_{module}")
        start = time.process_time()
        run(**inputs, **outputs)
        self.timed.append(Timed(stage, name, time.process_time() - start))


def report(ours: InOneProcess, theirs: Published, scores: dict[str, float]) -> None:
    """Prints CPU seconds by stage, and what both reach on test."""
    print(f"{device_name()}, one thread, torch {torch.__version__}, {time.strftime('%Y-%m-%d')}")
    print(f"{ours.options.products} products, epochs x {ours.options.share}\n")
    print(f"{'CPU seconds':14}{'published':>11}{'ours':>9}{'ratio':>8}")
    totals = [0.0, 0.0]
    for stage in dict.fromkeys(task.stage for task in ours.timed):
        mine = sum(task.seconds for task in ours.timed if task.stage == stage)
        other = theirs.seconds.get(stage, 0.0)
        totals = [totals[0] + other, totals[1] + mine]
        print(f"{stage:14}{other:11.1f}{mine:9.1f}{other / mine:8.1f}")
    print(f"{'sum':14}{totals[0]:11.1f}{totals[1]:9.1f}{totals[0] / totals[1]:8.1f}")
    print(f"\nmacro-F1 on test: {', '.join(f'{name} {score:.3f}' for name, score in scores.items())}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--products", type=int, default=400)
    parser.add_argument("--share", type=float, default=0.05, help="of the preset's epochs; two at least")
    given = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        options = SimpleNamespace(**vars(given), folder=Path(folder), tiny=True, compile="off")
        ours = InOneProcess(options)  # type: ignore[arg-type]
        ours.run()
        labeled, new = read_products(ours.out / "products"), read_products(ours.out / "new_products")
        products = replace(labeled, table=pd.concat([labeled.table, new.table], ignore_index=True))
        theirs = Published(ours, products, read_manifest(ours.out / "members")["folds"])
        predicted = theirs.run()
        test = products.rows("test")
        labels = pd.read_csv(ours.catalog / "Y_test.tsv", sep="\t", dtype=str).set_index("Image_id")
        truth = np.array(labels["Prdtypecode"][products.table["image_id"].to_numpy()[test]])
        chosen = read_classifier(ours.out / "predictions" / "ensemble").chosen("test", new.ids).argmax(axis=1)
        codes = np.array(products.classes)
        scores = {
            name: float(f1_score(truth, codes[labels], average="macro"))
            for name, labels in {"published": predicted, "ours": chosen}.items()
        }
        report(ours, theirs, scores)


if __name__ == "__main__":
    main()
