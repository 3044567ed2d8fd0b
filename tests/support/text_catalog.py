"""A made-up catalog whose classes a text model can learn, and a small configuration to learn them with."""

import numpy as np
import pandas as pd

from components.data.products import Products
from components.text.kinds.transformer import TransformerConfig

WORDS = {
    "10": ["roman", "poche", "auteur", "livre", "tome"],
    "20": ["piscine", "filtre", "chlore", "pompe", "bain"],
    "30": ["jouet", "peluche", "enfant", "puzzle", "ours"],
}
COMMON = ["neuf", "lot", "de", "avec", "blanc", "grand", "petit", "qualité"]


def text_products(train: int = 72, validation: int = 18, test: int = 12, *, seed: int = 0) -> Products:
    """Products of three classes; a third has no description, some descriptions are far over any limit."""
    random = np.random.default_rng(seed)
    count = train + validation + test
    classes = tuple(sorted(WORDS))
    labels = np.arange(count) % len(classes)
    labeled = np.arange(count) < train + validation
    code = [classes[label] if known else None for label, known in zip(labels, labeled, strict=True)]
    table = pd.DataFrame(
        {
            "product_id": [f"p{row:04d}" for row in range(count)],
            "title": [_text(random, classes[label], int(random.integers(2, 8))) for label in labels],
            "description": [
                "" if row % 3 == 0 else _text(random, classes[label], int(random.lognormal(2.5, 1)))
                for row, label in enumerate(labels)
            ],
            "image": None,
            "code": code,
            "label": pd.array(
                [label if known else None for label, known in zip(labels, labeled, strict=True)],
                dtype="Int64",
            ),
            "split": ["train"] * train + ["validation"] * validation + ["test"] * test,
            "fold": pd.array([row // 3 % 3 if row < train else None for row in range(count)], dtype="Int64"),
            "group": np.arange(count),
            "removed": False,
            "row_id": [str(row) for row in range(count)],
            "image_id": [str(row) for row in range(count)],
        }
    )
    return Products(table, classes)


def _text(random: np.random.Generator, code: str, words: int) -> str:
    return " ".join([*random.choice(WORDS[code], 2), *random.choice(WORDS[code] + COMMON, words)])


def small_config(**changes) -> TransformerConfig:
    """A model of two layers of 32, or given weights, that train on `text_products` in about a second."""
    settings = {
        "name": "small",
        "weights": "scratch",
        "learning_rate": 3e-3,
        "batch_size": 12,
        "epochs": 4,
        "max_tokens": 32,
    }
    if changes.get("weights", "scratch") == "scratch":
        settings |= {"layers": 2, "hidden": 32, "heads": 2, "vocabulary": 400}
    return TransformerConfig(**{**settings, **changes})
