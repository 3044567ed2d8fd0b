"""A catalog's profile: counts and shares small enough to keep, and to compare the next catalog with."""

import io
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from components.core.errors import InputError
from components.core.reading import read_json
from components.data.image_store import ImageStore
from components.data.products import SPLITS, Products
from components.data.uris import fetch

FORMAT = "catalog profile 1"
SAMPLED_IMAGES = 400  # decoded to look at their borders
NEARLY_WHITE = 245  # of 255
WORD_EDGES = (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 15, 20, 30, 50, 80, 130, 200, 400, 100_000)
SIDE_EDGES = (0, 64, 100, 150, 200, 300, 400, 500, 600, 800, 1000, 1500, 2000, 100_000)  # pixels
# Function words that are frequent in one language and rare in the others.
FUNCTION_WORDS = {
    "French": "le la les des du et pour avec une sur est dans en au aux",
    "English": "the and of for with to is this your from by men women",
    "German": "der die das und mit für von ist ein eine auf den im zum",
}
_KNOWN = {language: frozenset(words.split()) for language, words in FUNCTION_WORDS.items()}


def profile_catalog(products: Products, images: ImageStore) -> dict[str, Any]:
    """Counts of a catalog's classes, texts, languages, pictures and duplicates, as plain JSON."""
    table, labels = products.table, products.labels
    support = np.bincount(labels[labels >= 0], minlength=len(products.classes))
    splits = Counter(table["split"])
    return {
        "format": FORMAT,
        "products": len(table),
        "splits": {split: splits[split] for split in SPLITS},
        "classes": dict(zip(products.classes, support.tolist(), strict=True)),
        "words": {column: _words(table[column].to_numpy()) for column in ("title", "description")},
        "missing": {
            "title": int(np.count_nonzero(table["title"] == "")),
            "description": int(np.count_nonzero(table["description"] == "")),
            "picture": int(np.count_nonzero(table["image"].isna())),
        },
        "languages": _languages(table),
        "pictures": _pictures(images),
        "duplicates": _duplicates(table),
        "validation": sorted(table.loc[table["split"] == "validation", "product_id"]),  # ids
    }


def fetch_profile(uri: str) -> dict[str, Any]:
    """Reads a profile that an earlier run left, from a mounted path or a URI.

    Raises:
        InputError: the file is no such profile.
    """
    with tempfile.TemporaryDirectory() as scratch:
        profile = read_json(fetch(uri, Path(scratch)), "the profile.json of an earlier run")
    if profile.get("format") != FORMAT:
        raise InputError(f"{uri}: format {profile.get('format')!r}, expected {FORMAT!r}: make it anew")
    return profile


def _words(texts: np.ndarray) -> dict[str, Any]:
    lengths = np.array([len(text.split()) for text in texts], dtype=np.int64)
    return {
        "counts": np.histogram(lengths, bins=WORD_EDGES)[0].tolist(),  # between WORD_EDGES
        "median": float(np.median(lengths)),
        "high": float(np.quantile(lengths, 0.95)),
        "most": int(lengths.max()),
    }


def _languages(table: pd.DataFrame) -> dict[str, int]:
    """A guess by function words; short titles often have none and stay undecided."""
    texts = zip(table["title"], table["description"], strict=True)
    return dict(Counter(language_of(*pair) for pair in texts).most_common())


def language_of(title: str, description: str) -> str:
    """A product's language by its function words, "undecided" where they do not tell."""
    found = f"{title} {description[:400]}".casefold().split()
    hits = {name: sum(word in known for word in found) for name, known in _KNOWN.items()}
    best = max(hits, key=lambda name: hits[name])
    return best if hits[best] > sorted(hits.values())[-2] else "undecided"


def _pictures(images: ImageStore) -> dict[str, Any]:
    sizes = Counter(images.size(key) for key in images.keys)
    sides = [max(size) for size, count in sizes.items() for _ in range(count)]
    sampled = images.keys[:: max(1, len(images) // SAMPLED_IMAGES)][:SAMPLED_IMAGES]
    return {
        "count": len(images),
        "sizes": {f"{width} × {height}": count for (width, height), count in sizes.most_common(8)},
        "different_sizes": len(sizes),
        "longer_side": np.histogram(sides, bins=SIDE_EDGES)[0].tolist(),  # between SIDE_EDGES
        "sampled": len(sampled),
        "white_border": sum(_has_white_border(images, key) for key in sampled),
    }


def _has_white_border(images: ImageStore, key: str) -> bool:
    with Image.open(io.BytesIO(images.encoded(key)), formats=["JPEG"]) as image:
        image.draft("L", (64, 64))
        pixels = np.asarray(image.convert("L"))
    edges = (pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1])
    return all(np.median(edge) >= NEARLY_WHITE for edge in edges)


def _duplicates(table: pd.DataFrame) -> dict[str, int]:
    sizes = table["group"].value_counts()
    titles = table.loc[table["title"] != "", "title"].str.casefold().value_counts()
    pictures = table["image"].dropna().value_counts()
    return {
        "title": int(titles[titles > 1].sum()),
        "picture": int(pictures[pictures > 1].sum()),
        "groups": int(np.count_nonzero(sizes > 1)),
        "largest_group": int(sizes.max()),
        "contradictory": int(np.count_nonzero(table.groupby("group")["code"].nunique() > 1)),
    }
