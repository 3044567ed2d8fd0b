"""The gallery of label issues: what denoising suspects, what it removed, how to bring it back."""

from collections import Counter, defaultdict
from typing import Any

import numpy as np
import pandas as pd

from components.data.image_store import ImageStore
from components.data.products import Products
from components.reports.page import Gallery, class_label, class_labels, figure, percent, render

SHOWN = 100
PAIRS = 12


def denoise_report(products: Products, images: ImageStore, issues: pd.DataFrame) -> str:
    """Draws the gallery of up to a hundred suspected label errors, worst first, by pair of classes.

    Args:
        products: the cleaned product table.
        issues: as `components.reports.page.read_issues` returns them.
    """
    gallery, names = Gallery(products, images), class_labels(products)
    train = int((products.labels[products.rows("train")] >= 0).sum())
    removed = int(np.count_nonzero(issues["removed"]))
    predicted = len(products.rows("train")) + len(products.rows("validation"))
    return render(
        "denoise",
        figures=[
            figure("labels suspected", f"{len(issues):,}"),
            figure("of all labeled products", percent(len(issues) / max(predicted, 1), 1), "%"),
            figure("removed from train", f"{removed:,}"),
            figure("of train", percent(removed / max(train, 1), 1), "%"),
        ],
        flagged=len(issues),
        removed=removed,
        shown=min(SHOWN, len(issues)),
        groups=_groups(products, gallery, issues),
        pairs=_pairs(products, issues),
        pair_count=len(issues[["given_code", "suggested_code"]].drop_duplicates()),
        correction=_correction(issues),
        rule=products.metadata.get("denoise", {}).get("filter_by", ""),
        exempt=[
            names.get(code, code) for code in products.metadata.get("denoise", {}).get("exempt_classes", [])
        ],
    )


def _groups(products: Products, gallery: Gallery, issues: pd.DataFrame) -> list[dict[str, Any]]:
    """The worst issues by (given, suggested), in the order of each pair's worst."""
    row_of = {product: row for row, product in enumerate(products.ids)}
    label_of = {code: label for label, code in enumerate(products.classes)}
    groups: dict[tuple[int, int], list[dict[str, Any]]] = defaultdict(list)
    for issue in issues.head(SHOWN).to_dict("records"):
        pair = label_of[issue["given_code"]], label_of[issue["suggested_code"]]
        state = "removed" if issue["removed"] else "kept"
        groups[pair].append(gallery.card(row_of[issue["product_id"]], score=f"{issue['score']:.3f}, {state}"))
    typical = _typical(products, set(issues["product_id"]), {label for pair in groups for label in pair})
    return [
        {
            "given": class_label(products, given),
            "suggested": class_label(products, suggested),
            "cards": cards,
            "examples": [
                {**gallery.card(typical[label]), "of": class_label(products, label, 40)}
                for label in dict.fromkeys((given, suggested))
                if label in typical
            ],
        }
        for (given, suggested), cards in groups.items()
    ]


def _typical(products: Products, flagged: set[str], labels: set[int]) -> dict[int, int]:
    """A typical product of each class: unsuspected, pictured, its title in the words of its class."""
    table = products.table
    usable = (
        (products.labels >= 0)
        & table["image"].notna().to_numpy()
        & ~table["product_id"].isin(list(flagged)).to_numpy()
    )
    typical = {}
    for label in sorted(labels):
        rows = np.flatnonzero(usable & (products.labels == label))
        titles = [set(table["title"].iloc[row].casefold().split()) for row in rows]
        common = Counter(word for title in titles for word in title)
        scores = [sum(common[word] for word in title) / (len(title) + 1) for title in titles]
        if scores:
            typical[label] = int(rows[int(np.argmax(scores))])
    return typical


def _pairs(products: Products, issues: pd.DataFrame) -> list[dict[str, Any]]:
    names = class_labels(products)
    flagged = Counter(zip(issues["given_code"], issues["suggested_code"], strict=True))
    gone = issues[issues["removed"]]
    removed = Counter(zip(gone["given_code"], gone["suggested_code"], strict=True))
    return [
        {"given": names[pair[0]], "suggested": names[pair[1]], "flagged": count, "removed": removed[pair]}
        for pair, count in flagged.most_common(PAIRS)
    ]


def _correction(issues: pd.DataFrame) -> dict[str, str] | None:
    """The worst issue, as an example of how to write the files."""
    if issues.empty:
        return None
    return {"id": issues["product_id"].iloc[0], "code": issues["suggested_code"].iloc[0]}
