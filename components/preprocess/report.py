"""The data report: what the catalog holds, whether it is sound, what changed since an earlier run."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from components.data.products import SPLITS, Products
from components.preprocess.profile.drift import CHANCE, LARGE, Drift
from components.preprocess.profile.profile import WORD_EDGES
from components.reports.charts import bar, histogram
from components.reports.page import check, class_label, many, percent, render, words

FEW_PRODUCTS = 20  # labeled products of a class below which its figures say little
DUPLICATES = {
    "title": "products that share a title",
    "picture": "products that share a picture",
    "groups": "groups kept on one side of every split",
    "largest_group": "products in the largest group",
    "contradictory": "groups whose products have different labels",
}


def preprocess_report(
    products: Products, profile: dict[str, Any], quarantine: Path, drift: Sequence[Drift] | None = None
) -> str:
    """Draws the data report.

    Args:
        profile: as `components.preprocess.profile.profile.profile_catalog` returns it.
        quarantine: TSV of every row that was not taken as it came: file, line, product_id, reason,
            action, detail.
        drift: what changed since an earlier run's catalog; None where none was given.
    """
    findings = pd.read_csv(quarantine, sep="\t", dtype=str, keep_default_na=False)
    dropped = int(np.count_nonzero(findings["action"] == "quarantined"))
    return render(
        "preprocess",
        figures=[
            *({"name": f"{name} products", "value": f"{n:,}"} for name, n in profile["splits"].items()),
            {"name": "classes", "value": f"{len(products.classes):,}"},
            {"name": "rows left out", "value": f"{dropped:,}"},
        ],
        lead=_lead(products),
        checks=_checks(products, profile, dropped, drift),
        splits=SPLITS,
        classes=_classes(products),
        texts=[_text(column, lengths) for column, lengths in profile["words"].items()],
        missing=_shares({f"no {what}": n for what, n in profile["missing"].items()}, profile["products"]),
        languages=_shares(profile["languages"], profile["products"]),
        duplicates={said: profile["duplicates"][key] for key, said in DUPLICATES.items()},
        images=profile["pictures"],
        sizes=_shares(profile["pictures"]["sizes"], profile["pictures"]["count"]),
        findings=_findings(findings),
        drift=None if drift is None else [_drifted(entry) for entry in drift],
        source=_source(products),
    )


def _lead(products: Products) -> str:
    labeled = int((products.labels >= 0).sum())
    support = np.bincount(products.labels[products.labels >= 0], minlength=len(products.classes))
    largest, smallest = int(support.argmax()), int(support.argmin())
    if support[largest] == support[smallest]:
        return (
            f"{labeled:,} labeled products in {len(products.classes)} classes of {support[largest]:,} each."
        )
    return (
        f"{labeled:,} labeled products in {len(products.classes)} classes, from "
        f"“{class_label(products, largest)}” with {support[largest]:,} to "
        f"“{class_label(products, smallest)}” with {support[smallest]:,}."
    )


def _checks(
    products: Products, profile: dict[str, Any], dropped: int, drift: Sequence[Drift] | None
) -> list[dict[str, Any]]:
    """Is the data sound? One sentence for each thing that could spoil a training."""
    rows = sum(products.metadata.get("rows", {}).values()) or profile["products"] + dropped
    taken = "Every row of the catalog was taken."
    if dropped:
        taken = f"{many(dropped, 'row')} of {rows:,} could not be used; the next table says why."
    small = [code for code, count in profile["classes"].items() if count < FEW_PRODUCTS]
    sizes = f"Every class has at least {FEW_PRODUCTS} labeled products."
    if small:
        sizes = (
            f"{many(len(small), 'class', 'classes')} with fewer than {FEW_PRODUCTS} labeled products: "
            f"{', '.join(small[:8])}{', …' if len(small) > 8 else ''}. Their scores will be uncertain: "
            "add products, or merge these classes."
        )
    groups = profile["duplicates"]["contradictory"]
    agree = "Products with the same title or picture carry the same label."
    if groups:
        agree = (
            f"{many(groups, 'group')} of products with the same title or picture "
            f"{'carry' if groups > 1 else 'carries'} different labels: some of these labels are wrong, "
            "and denoising looks for them."
        )
    checks = [check(not dropped, taken), check(not small, sizes), check(not groups, agree)]
    return [*checks, _missing_check(profile), *_drift_check(drift)]


def _missing_check(profile: dict[str, Any]) -> dict[str, Any]:
    missing, count = profile["missing"], profile["products"]
    said = [f"{percent(n / count, 1)} % have no {what}" for what, n in missing.items() if n]
    if not said:
        return check(True, "Every product has a title, a description and a picture.")
    told = ", ".join(said)
    if missing["title"] or missing["picture"]:
        return check(False, f"{told}: one of the two models predicts them blindly.")
    return check(True, f"Every product has a title and a picture; {told}.")


def _drift_check(drift: Sequence[Drift] | None) -> list[dict[str, Any]]:
    if drift is None:
        return []
    moved = [entry for entry in drift if entry.size != CHANCE]
    if not moved:
        return [check(True, "Nothing moved since the earlier run's catalog beyond chance.")]
    said = ", ".join(f"{entry.aspect} ({entry.size})" for entry in moved[:4])
    advice = " Train anew before you trust an older model." if moved[0].size == LARGE else ""
    return [check(False, f"Since the earlier run's catalog moved: {said}.{advice}")]


def _classes(products: Products) -> list[dict[str, Any]]:
    """Labeled products of each class by split, largest first."""
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


def _text(column: str, lengths: dict[str, Any]) -> dict[str, Any]:
    used = np.flatnonzero(lengths["counts"])
    last = int(used.max(initial=0)) + 1
    chart = histogram(
        lengths["counts"][:last], WORD_EDGES[: last + 1], title=f"Words of a {column}", x_name="words"
    )
    return {"name": column, "chart": chart, **lengths}


def _shares(counts: dict[str, int], whole: int) -> list[dict[str, Any]]:
    return [{"name": name, "count": n, "share": n / max(whole, 1)} for name, n in counts.items()]


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


def _drifted(entry: Drift) -> dict[str, Any]:
    calm = entry.size == CHANCE
    return {**vars(entry), "calm": calm, "drawn": bar(entry.distance, 0.3)}


def _source(products: Products) -> dict[str, str]:
    metadata = products.metadata
    source = {"dialect": metadata.get("dialect"), "rows": metadata.get("rows")}
    digests = {f"SHA-256 of {name}": digest for name, digest in metadata.get("digests", {}).items()}
    return {name: words(value) for name, value in {**source, **digests}.items() if value}
