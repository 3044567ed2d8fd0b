"""A catalog's profile: counts and shares small enough to keep, and to compare the next catalog with."""

import io
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
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
from components.preprocess.catalog.texts import text_hash

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


@dataclass(frozen=True)
class Texts:
    """What a profile needs of products' texts, so that these need not be in memory.

    Attributes:
        title_words, description_words: (N,) how many there are.
        languages: (N,) as `language_of` tells them.
        titles: (N,) uint64 by which equal titles, in whatever case, are known; 0 for none.
    """

    title_words: np.ndarray
    description_words: np.ndarray
    languages: Sequence[str]
    titles: np.ndarray

    def of(self, rows: np.ndarray) -> "Texts":
        """Those of some products."""
        numbers = (self.title_words[rows], self.description_words[rows])
        return Texts(*numbers, [self.languages[int(row)] for row in rows], self.titles[rows])


def measured(title: str, description: str) -> tuple[int, int, str, int]:
    """One product's row of `Texts`."""
    words = len(title.split()), len(description.split())
    return *words, language_of(title, description), text_hash(title.casefold())


def profile_catalog(products: Products, images: ImageStore) -> dict[str, Any]:
    """Counts of a catalog's classes, texts, languages, pictures and duplicates, as plain JSON."""
    pairs = zip(products.table["title"], products.table["description"], strict=True)
    columns = [*zip(*(measured(*pair) for pair in pairs), strict=True)] or [()] * 4
    titles, descriptions, languages, keys = (list[Any](column) for column in columns)
    return profile_of(
        products,
        Texts(np.array(titles, int), np.array(descriptions, int), languages, np.array(keys, np.uint64)),
        images,
    )


def profile_of(products: Products, texts: Texts, images: ImageStore) -> dict[str, Any]:
    """`profile_catalog` of products whose table holds no texts."""
    table, labels = products.table, products.labels
    support = np.bincount(labels[labels >= 0], minlength=len(products.classes))
    splits = Counter(table["split"])
    return {
        "format": FORMAT,
        "products": len(table),
        "splits": {split: splits[split] for split in SPLITS},
        "classes": dict(zip(products.classes, support.tolist(), strict=True)),
        "words": {"title": _words(texts.title_words), "description": _words(texts.description_words)},
        "missing": {
            "title": int(np.count_nonzero(texts.title_words == 0)),
            "description": int(np.count_nonzero(texts.description_words == 0)),
            "picture": int(np.count_nonzero(table["image"].isna())),
        },
        "languages": dict(Counter(texts.languages).most_common()),
        "pictures": _pictures(images),
        "duplicates": _duplicates(table, texts.titles),
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


def _words(lengths: np.ndarray) -> dict[str, Any]:
    return {
        "counts": np.histogram(lengths, bins=WORD_EDGES)[0].tolist(),  # between WORD_EDGES
        "median": float(np.median(lengths)),
        "high": float(np.quantile(lengths, 0.95)),
        "most": int(lengths.max()),
    }


def language_of(title: str, description: str) -> str:
    """A guess of a product's language by its function words; "undecided" where they do not tell."""
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


def _duplicates(table: pd.DataFrame, titles: np.ndarray) -> dict[str, int]:
    sizes = np.bincount(table["group"].to_numpy(np.int64))
    of_title = np.unique(titles[titles != 0], return_counts=True)[1]
    pictures = table["image"].dropna().value_counts()
    codes = table.dropna(subset="code").drop_duplicates(["group", "code"])["group"].value_counts()
    return {
        "title": int(of_title[of_title > 1].sum()),
        "picture": int(pictures[pictures > 1].sum()),
        "groups": int(np.count_nonzero(sizes > 1)),
        "largest_group": int(sizes.max()),
        "contradictory": int(np.count_nonzero(codes > 1)),
    }
