"""Tokenizing once for 40 epochs, against tokenizing again in every epoch.

    python benchmarks/tokenize.py                 5,000 products, one epoch of each way measured, times 40
    python benchmarks/tokenize.py --epochs 3      measure more of it

Three ways are common. A Dataset's `__getitem__` calls the tokenizer for one text pair, either padded to 128
and as tensors (what most published fine-tuning code of BERT's kind does) or as plain lists for a collator to
pad; or the collate function calls it for a batch of 64. CPU time; the tokens must be equal.
"""

import argparse
import os
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # one thread on all sides

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.catalog_texts import catalog_texts
from components.modeling.text.tokens import Tokens, tokenize, train_tokenizer

TRAINING_EPOCHS = 40  # paper, section 4.1
BATCH = 64  # paper, section 4.1
LIMIT = {"truncation": True, "max_length": 128}


def ways(tokenizer: Any, titles: list[str], descriptions: list[str]) -> dict[str, Callable[[], list]]:
    """The common ways to tokenize an epoch; each gives the ids of every text pair, perhaps padded."""
    pairs = list(zip(titles, descriptions, strict=True))
    tensors = {**LIMIT, "padding": "max_length", "return_tensors": "pt"}

    def in_collate() -> list:
        return [
            ids
            for start in range(0, len(titles), BATCH)
            for ids in tokenizer(
                titles[start : start + BATCH],
                descriptions[start : start + BATCH],
                **LIMIT,
                padding=True,
                return_tensors="pt",
            )["input_ids"]
        ]

    return {
        "in __getitem__, padded tensors": lambda: [
            tokenizer(*pair, **tensors)["input_ids"][0] for pair in pairs
        ],
        "in __getitem__, plain lists": lambda: [tokenizer(*pair, **LIMIT)["input_ids"] for pair in pairs],
        "in the collate function": in_collate,
    }


def check(tokens: Tokens, made: list) -> None:
    """Ends the process where some text has other tokens; padding after them is left out."""
    for row, expected in enumerate(made):
        ids = tokens.ids[tokens.offsets[row] : tokens.offsets[row + 1]].tolist()
        if list(map(int, expected[: len(ids)])) != ids:
            raise SystemExit(f"text {row} has other tokens: {ids} and {expected}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--products", type=int, default=5000)
    parser.add_argument("--epochs", type=int, default=1, help="epochs of each way to measure")
    options = parser.parse_args()
    titles, descriptions = catalog_texts(options.products)
    tokenizer = train_tokenizer([*titles, *descriptions], vocabulary=8000, max_tokens=128)

    started = time.process_time()
    tokens = tokenize(tokenizer, titles, descriptions, max_tokens=128)
    once = time.process_time() - started
    print(f"{platform.processor() or platform.machine()}, one thread, {options.products} products\n")
    print(f"{TRAINING_EPOCHS} epochs{'':30}{'CPU seconds':>12}{'ratio':>8}")
    print(f"{'ours: once, one call for all':39}{once:12.2f}{1:8.0f}")
    for name, run in ways(tokenizer, titles, descriptions).items():
        started = time.process_time()
        for _ in range(options.epochs):
            made = run()
        loop = (time.process_time() - started) / options.epochs * TRAINING_EPOCHS
        check(tokens, made)
        print(f"{name:39}{loop:12.2f}{loop / once:8.0f}")


if __name__ == "__main__":
    main()
