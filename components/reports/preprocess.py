"""The data report: what the catalog holds, and what of it could not be used."""

import io
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from components.catalog import SPLITS, Products
from components.charts import bar, histogram
from components.image_store import ImageStore
from components.report import class_label, render, words

SAMPLED_IMAGES = 400  # decoded to look at their borders
NEARLY_WHITE = 245  # of 255
SIZES = 8
WORD_EDGES = (0, 1, 3, 6, 10, 15, 20, 30, 50, 80, 130, 200, 400, 100_000)
# Function words that are frequent in one language and rare in the others.
FUNCTION_WORDS = {
    "French": {
        "le",
        "la",
        "les",
        "des",
        "du",
        "et",
        "pour",
        "avec",
        "une",
        "sur",
        "est",
        "dans",
        "en",
        "au",
        "aux",
    },
    "English": {"the", "and", "of", "for", "with", "to", "is", "this", "your", "from", "by", "men", "women"},
    "German": {
        "der",
        "die",
        "das",
        "und",
        "mit",
        "für",
        "von",
        "ist",
        "ein",
        "eine",
        "auf",
        "den",
        "im",
        "zum",
    },
}


def preprocess_report(products: Products, images: ImageStore, quarantine: Path) -> str:
    """Draws the data report.

    Args:
        quarantine: TSV of every row that was not taken as it came: file, line, product_id, reason,
            action, detail.
    """
    table = products.table
    findings = pd.read_csv(quarantine, sep="\t", dtype=str, keep_default_na=False)
    counts = Counter(table["split"])
    dropped = int(np.count_nonzero(findings["action"] == "quarantined"))
    return render(
        "preprocess",
        figures=[
            *({"name": f"{split} products", "value": f"{counts[split]:,}", "unit": ""} for split in SPLITS),
            {"name": "classes", "value": f"{len(products.classes):,}", "unit": ""},
            {"name": "rows left out", "value": f"{dropped:,}", "unit": ""},
        ],
        lead=_lead(products, dropped),
        splits=SPLITS,
        classes=_classes(products),
        texts=_texts(table),
        missing=_missing(table),
        languages=_languages(table),
        duplicates=_duplicates(table),
        images=_images(images),
        findings=_findings(findings),
        source={
            name: words(products.facts[name])
            for name in ("dialect", "rows", "digests")
            if name in products.facts
        },
    )


def _lead(products: Products, dropped: int) -> str:
    support = np.bincount(products.labels[products.labels >= 0], minlength=len(products.classes))
    largest, smallest = int(support.argmax()), int(support.argmin())
    left_out = f"Left out: {dropped:,} rows." if dropped else "No row was left out."
    return (
        f"The catalog has {len(products.table):,} usable products in {len(products.classes)} classes, from "
        f"“{class_label(products, largest)}” with {support[largest]:,} labelled products to "
        f"“{class_label(products, smallest)}” with {support[smallest]:,}. {left_out}"
    )


def _classes(products: Products) -> list[dict[str, Any]]:
    """Labelled products of each class by split, largest first."""
    labels, split = products.labels, products.table["split"].to_numpy()
    count = len(products.classes)
    by_split = {
        name: np.bincount(labels[(split == name) & (labels >= 0)], minlength=count) for name in SPLITS
    }
    total = np.sum(list(by_split.values()), axis=0)
    return [
        {
            "name": class_label(products, label),
            "counts": [int(by_split[name][label]) for name in SPLITS],
            "drawn": bar(float(total[label]), float(total.max())),
        }
        for label in np.argsort(-total, kind="stable").tolist()
    ]


def _texts(table: pd.DataFrame) -> list[dict[str, Any]]:
    texts = []
    for column in ("title", "description"):
        lengths = table[column].str.split().str.len().to_numpy(dtype=np.int64)
        counts = np.histogram(lengths, bins=WORD_EDGES)[0]
        last = int(np.flatnonzero(counts).max(initial=0)) + 1
        texts.append(
            {
                "name": column,
                "chart": histogram(
                    counts[:last].tolist(),
                    WORD_EDGES[: last + 1],
                    title=f"Words of a {column}",
                    x_name="words",
                ),
                "median": float(np.median(lengths)),
                "high": float(np.quantile(lengths, 0.95)),
                "most": int(lengths.max()),
            }
        )
    return texts


def _missing(table: pd.DataFrame) -> list[dict[str, Any]]:
    missing = {
        "no title": table["title"] == "",
        "no description": table["description"] == "",
        "no picture": table["image"].isna(),
    }
    return [
        {"name": name, "count": int(np.count_nonzero(absent)), "share": float(np.mean(absent))}
        for name, absent in missing.items()
    ]


def _languages(table: pd.DataFrame) -> list[dict[str, Any]]:
    """A guess by function words; short titles often have none and stay undecided."""
    guesses = Counter(
        _language(f"{title} {description[:400]}")
        for title, description in zip(table["title"], table["description"], strict=True)
    )
    return [
        {"name": name, "count": count, "share": count / len(table)} for name, count in guesses.most_common()
    ]


def _language(text: str) -> str:
    found = text.casefold().split()
    hits = {name: sum(word in known for word in found) for name, known in FUNCTION_WORDS.items()}
    best = max(hits, key=lambda name: hits[name])
    return best if hits[best] > sorted(hits.values())[-2] else "undecided"


def _duplicates(table: pd.DataFrame) -> dict[str, int]:
    sizes = table["group"].value_counts()
    titles = table.loc[table["title"] != "", "title"].str.casefold().value_counts()
    pictures = table["image"].dropna().value_counts()
    return {
        "products that share a title": int(titles[titles > 1].sum()),
        "products that share a picture": int(pictures[pictures > 1].sum()),
        "groups kept on one side of every split": int(np.count_nonzero(sizes > 1)),
        "products in the largest group": int(sizes.max()),
    }


def _images(images: ImageStore) -> dict[str, Any]:
    sizes = Counter(images.size(key) for key in images.keys)
    sampled = images.keys[:: max(1, len(images) // SAMPLED_IMAGES)][:SAMPLED_IMAGES]
    white = [_has_white_border(images, key) for key in sampled]
    return {
        "count": len(images),
        "sizes": [
            {"name": f"{width} × {height}", "count": count, "share": count / len(images)}
            for (width, height), count in sizes.most_common(SIZES)
        ],
        "different": len(sizes),
        "sampled": len(sampled),
        "white": float(np.mean(white)) if white else 0.0,
    }


def _has_white_border(images: ImageStore, key: str) -> bool:
    with Image.open(io.BytesIO(images.encoded(key)), formats=["JPEG"]) as image:
        image.draft("L", (64, 64))
        pixels = np.asarray(image.convert("L"))
    edges = (pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1])
    return all(np.median(edge) >= NEARLY_WHITE for edge in edges)


def _findings(findings: pd.DataFrame) -> list[dict[str, Any]]:
    """Counts by reason and action, most frequent first, each with its first row."""
    groups = []
    for (reason, action), count in Counter(
        zip(findings["reason"], findings["action"], strict=True)
    ).most_common():
        first = findings[(findings["reason"] == reason) & (findings["action"] == action)].iloc[0]
        where = f"{first['file']}, line {first['line']}"
        groups.append(
            {
                "reason": reason.replace("_", " "),
                "action": action,
                "count": count,
                "first": f"{where}: {first['detail']}",
            }
        )
    return groups
