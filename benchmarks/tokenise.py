"""Tokenising once for 40 epochs, against every text in every epoch, as a Dataset's __getitem__ does.

    python benchmarks/tokenise.py                 5,000 products, one epoch of the loop measured, times 40
    python benchmarks/tokenise.py --epochs 3      measure more of it

CPU time. The tokens must be equal.
"""

import argparse
import os
import platform
import sys
import time
from pathlib import Path

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # one thread on both sides

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.catalog_texts import catalog_texts
from components.text.tokens import tokenise, train_tokenizer

TRAINING_EPOCHS = 40  # paper, section 4.1


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--products", type=int, default=5000)
    parser.add_argument("--epochs", type=int, default=1, help="epochs of the loop to measure")
    options = parser.parse_args()
    titles, descriptions = catalog_texts(options.products)
    tokenizer = train_tokenizer([*titles, *descriptions], vocabulary=8000, max_tokens=128)

    started = time.process_time()
    tokens = tokenise(tokenizer, titles, descriptions, max_tokens=128)
    once = time.process_time() - started

    started = time.process_time()
    for _ in range(options.epochs):
        each = [
            tokenizer(
                title,
                description,
                truncation=True,
                max_length=128,
                padding="max_length",
                return_tensors="pt",
            )["input_ids"][0]
            for title, description in zip(titles, descriptions, strict=True)
        ]
    loop = (time.process_time() - started) / options.epochs * TRAINING_EPOCHS
    for row, expected in enumerate(each):
        ids = tokens.ids[tokens.offsets[row] : tokens.offsets[row + 1]].tolist()
        if expected[: len(ids)].tolist() != ids:
            raise SystemExit(f"text {row} has other tokens: {ids} and {expected.tolist()}")
    print(f"{platform.processor() or platform.machine()}, one thread, {options.products} products\n")
    print(f"{'':44}{'CPU seconds':>12}{'ratio':>8}")
    print(f"{'once, one call for all':44}{once:12.2f}{1:8.0f}")
    print(f"{'every text in each of 40 epochs':44}{loop:12.2f}{loop / once:8.0f}")


if __name__ == "__main__":
    main()
