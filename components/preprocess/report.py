"""The data reports: what a catalog holds, whether it is sound, what changed since an earlier run."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from components.data.products import Products
from components.data.tables.findings import Finding, grouped
from components.preprocess.checks import catalog_checks, new_products_checks
from components.preprocess.examination import quarantined
from components.preprocess.profile.drift import CHANCE, Drift
from components.preprocess.profile.profile import WORD_EDGES
from components.reports.charts import bar, histogram
from components.reports.page import class_label, figure, many, render, words

LABELED = ("train", "validation")
SHOWN = 0.99  # of the products, that a histogram shows
DUPLICATES = {
    "title": "products that share a title",
    "picture": "products that share a picture",
    "groups": "groups kept on one side of every split",
    "largest_group": "products in the largest group",
    "contradictory": "groups whose products have different labels",
}


def preprocess_report(
    products: Products,
    profile: dict[str, Any],
    findings: Sequence[Finding],
    drift: Sequence[Drift] | None = None,
) -> str:
    """Draws the data report.

    Args:
        profile: as `components.preprocess.profile.profile.profile_catalog` returns it.
        findings: every row that was not taken as it came.
        drift: what changed since an earlier run's catalog; None where none was given.
    """
    dropped = quarantined(findings)
    return render(
        "preprocess",
        title="What the catalog holds",
        changed="What changed since the earlier run",
        figures=[
            *(figure(f"{split} products", f"{profile['splits'][split]:,}") for split in LABELED),
            figure("classes", f"{len(products.classes):,}"),
            figure("rows left out", f"{dropped:,}"),
        ],
        lead=_lead(products),
        checks=catalog_checks(products, profile, dropped, drift),
        splits=list(LABELED),
        classes=_classes(products),
        **_contents(products, profile, findings, drift),
    )


def new_products_report(
    products: Products,
    profile: dict[str, Any] | None,
    findings: Sequence[Finding],
    drift: Sequence[Drift] | None,
) -> str:
    """Draws the report of the products to categorize.

    Args:
        profile: theirs; None where there are none.
        drift: how they differ from the labeled products.
    """
    if profile is None:
        return render("preprocess_none")
    return render(
        "preprocess",
        title="The products to categorize",
        changed="How they differ from the labeled products",
        figures=[
            figure("products", f"{profile['products']:,}"),
            figure("with a known code", f"{sum(profile['classes'].values()):,}"),
            figure("rows left out", f"{quarantined(findings):,}"),
        ],
        lead=f"{many(profile['products'], 'product')} to categorize.",
        checks=new_products_checks(products, profile, quarantined(findings), drift),
        splits=[],
        classes=[],
        **_contents(products, profile, findings, drift),
    )


def _contents(
    products: Products,
    profile: dict[str, Any],
    findings: Sequence[Finding],
    drift: Sequence[Drift] | None,
) -> dict[str, Any]:
    """What the reports of both parts of a catalog have in common."""
    return {
        "texts": [_text(column, lengths) for column, lengths in profile["words"].items()],
        "missing": _shares({f"no {what}": n for what, n in profile["missing"].items()}, profile["products"]),
        "languages": _shares(profile["languages"], profile["products"]),
        "duplicates": {what: profile["duplicates"][key] for key, what in DUPLICATES.items()},
        "images": profile["pictures"],
        "sizes": _shares(profile["pictures"]["sizes"], profile["pictures"]["count"]),
        "findings": _findings(findings),
        "drift": drift
        and [{**vars(each), "calm": each.size == CHANCE, "drawn": bar(each.distance, 0.3)} for each in drift],
        "source": _source(products),
    }


def _lead(products: Products) -> str:
    labeled = int((products.labels >= 0).sum())
    support = np.bincount(products.labels[products.labels >= 0], minlength=len(products.classes))
    largest, smallest = int(support.argmax()), int(support.argmin())
    classes = f"{labeled:,} labeled products in {len(products.classes)} classes"
    if support[largest] == support[smallest]:
        return f"{classes} of {support[largest]:,} each."
    return (
        f"{classes}, from “{class_label(products, largest)}” with {support[largest]:,} to "
        f"“{class_label(products, smallest)}” with {support[smallest]:,}."
    )


def _classes(products: Products) -> list[dict[str, Any]]:
    """Labeled products of each class by split, largest first."""
    labels, split = products.labels, products.table["split"].to_numpy()
    count = len(products.classes)
    by_split = {
        name: np.bincount(labels[(split == name) & (labels >= 0)], minlength=count) for name in LABELED
    }
    total = np.sum(list(by_split.values()), axis=0)
    return [
        {
            "name": class_label(products, label),
            "counts": [int(by_split[name][label]) for name in LABELED],
            "drawn": bar(float(total[label]), float(total.max())),
        }
        for label in np.argsort(-total, kind="stable").tolist()
    ]


def _text(column: str, lengths: dict[str, Any]) -> dict[str, Any]:
    counts = np.array(lengths["counts"])
    covered = counts.cumsum() >= SHOWN * counts.sum()
    last = int(covered.argmax()) + 1  # what few texts are longer would press all others together
    edges = [*WORD_EDGES[:last], min(WORD_EDGES[last], lengths["most"] + 1)]
    beyond = int(counts[last:].sum())
    x_name = f"words ({beyond:,} have more)" if beyond else "words"
    chart = histogram(counts[:last].tolist(), edges, title=f"Words of a {column}", x_name=x_name)
    return {"name": column, "chart": chart, **lengths}


def _shares(counts: dict[str, int], whole: int) -> list[dict[str, Any]]:
    return [{"name": name, "count": n, "share": n / max(whole, 1)} for name, n in counts.items()]


def _findings(findings: Sequence[Finding]) -> list[dict[str, Any]]:
    """Counts by reason and action, most frequent first, each with its first row."""
    return [
        {
            "reason": first.reason.replace("_", " "),
            "action": first.action,
            "count": count,
            "first": f"{first.file}, line {first.line}: {first.detail}",
        }
        for first, count in grouped(findings)
    ]


def _source(products: Products) -> dict[str, str]:
    metadata = products.metadata
    source = {"dialect": metadata.get("dialect"), "rows": metadata.get("rows")}
    source |= {f"{name} read as": form for name, form in metadata.get("read_as", {}).items()}
    digests = {f"SHA-256 of {name}": digest for name, digest in metadata.get("digests", {}).items()}
    return {name: words(value) for name, value in {**source, **digests}.items() if value}
