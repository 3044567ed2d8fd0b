"""Fine-tuning of a small pretrained encoder on the titles of a catalog, as the text stage does it.

    python benchmarks/fine_tuning.py CATALOG --text-weights weights/minilm
    python benchmarks/fine_tuning.py CATALOG --text-weights weights/minilm --titles 2000 --threads 1

CATALOG is a folder in the challenge's TSV dialect. 18,000 of its labeled products are trained on, 2,000
others score every epoch; descriptions are left out. All of it is from the encoder's loading to the last
prediction; on a GPU the first epoch holds the capture of the step. Weights: docs/weights.md.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from components.data.products import Products, training_task
from components.modeling.trained import TrainingSetup
from components.preprocess.catalog.texts import OddTexts, cleaned, text_hash
from components.preprocess.config import PreprocessConfig
from components.preprocess.duplicates import title_key
from components.preprocess.reading import read_labeled
from components.preprocess.table import Alike, SplitSettings, labeled_table
from components.text.kinds.transformer import TransformerConfig
from components.text.transformer import train_transformer

VALIDATION = 0.1


def read_titles(folder: Path, labels: str, titles: int) -> Products:
    """So many labeled products, drawn at random, to train on, and a ninth as many for validation."""
    paths = {"products": folder / "X_train.tsv", "labels": folder / labels}
    catalog, _ = read_labeled(paths, PreprocessConfig(), [])
    drawn = np.random.default_rng(0).permutation(len(catalog.records))[: round(titles / (1 - VALIDATION))]
    named = (catalog.records[row] for row in sorted(drawn))
    records = [*cleaned(catalog.complete(named), [], OddTexts())]
    for row, record in enumerate(records):
        record.row = row
    classes = sorted({record.code for record in records if record.code is not None})
    alike = Alike([text_hash(title_key(record.title) or "") for record in records], {})
    table, _ = labeled_table(records, alike, classes, SplitSettings(VALIDATION, folds=2, seed=0))
    texts = {"title": [record.title for record in records], "description": ""}
    return Products(table.assign(**texts), tuple(classes))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("catalog", type=Path)
    parser.add_argument("--labels", default="Y_train.tsv", help="the catalog's file of codes")
    parser.add_argument("--text-weights", required=True, help="a folder, or a name on the hub")
    parser.add_argument("--titles", type=int, default=18_000, help="trained on")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--learning-rate", type=float, default=2e-4)
    parser.add_argument("--threads", type=int, help="on a CPU")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    products = read_titles(options.catalog, options.labels, options.titles)
    config = TransformerConfig(
        name="fine-tuned",
        weights=options.text_weights,
        max_tokens=64,
        batch_size=options.batch_size,
        learning_rate=options.learning_rate,
        epochs=options.epochs,
    )
    measure(products, config)


def measure(products: Products, config: TransformerConfig) -> None:
    """Trains, and prints seconds, the accelerator and the macro-F1 of every epoch."""
    task = training_task(products, fold=None, cleaned=False)
    start, cpu = time.perf_counter(), time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        setup = TrainingSetup(0, Path(folder) / "model", gpus=torch.cuda.device_count())
        trained = train_transformer(products, task, config, setup)
    wall, cpu = time.perf_counter() - start, time.process_time() - cpu
    print(f"{trained.device}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    print(
        f"{len(task.fit):,} titles of {len(products.classes)} classes, epochs: {config.epochs}, "
        f"batch {config.batch_size}"
    )
    for curve in trained.curves:
        print(
            f"epoch {curve['epoch']}: {curve['seconds']:7.1f} s   loss {curve['loss']:.4f}   "
            f"macro-F1 on validation {100 * curve['macro_f1']:.2f}"
        )
    print(f"all of it: {wall:.1f} s of wall time, {cpu:.1f} s of CPU time")


if __name__ == "__main__":
    main()
