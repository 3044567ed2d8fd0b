"""The data reports: what a catalog holds, whether it is sound, what changed since an earlier run."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from components.data.products import Products
from components.data.tables.findings import Finding
from components.preprocess.examination import quarantined
from components.preprocess.images.coverage import MOST
from components.preprocess.profile.drift import CHANCE, LARGE, Drift
from components.preprocess.profile.profile import WORD_EDGES
from components.preprocess.table import split_sentences
from components.reports.charts import bar, histogram
from components.reports.page import check, class_label, figure, many, percent, render, words

LABELED = ("train", "validation")
SHOWN = 0.99  # of the products, that a histogram shows
FEW_PRODUCTS = 20  # products to train on of a class below which its figures mean little
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
        checks=[
            *_images_check(products, "labeled"),
            _rows_check(products, profile, dropped),
            _sizes_check(products),
            _labels_check(profile["duplicates"]["contradictory"]),
            *(check(*each) for each in split_sentences(products.metadata.get("split", {}))),
            _missing_check(profile),
            *_drift_check(drift, "the earlier run's catalog"),
        ],
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
        checks=[
            *_images_check(products, "test"),
            _rows_check(products, profile, quarantined(findings)),
            _missing_check(profile),
            *_drift_check(drift, "the labeled products"),
        ],
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


def _rows_check(products: Products, profile: dict[str, Any], dropped: int) -> dict[str, Any]:
    rows = sum(products.metadata.get("rows", {}).values()) or profile["products"] + dropped
    lost = f"{many(dropped, 'row')} of {rows:,} could not be used; the next table has the reasons."
    return check(not dropped, lost if dropped else "Every row of the catalog was taken.")


def _images_check(products: Products, what: str) -> list[dict[str, Any]]:
    without, count = int(products.table["image"].isna().to_numpy().sum()), len(products.table)
    if without <= MOST * count:
        return []
    found = f"{without:,} of {many(count, f'{what} product')} have no picture that can be used"
    return [check(False, f"{found}: is it the right folder or archive?")]


def _sizes_check(products: Products) -> dict[str, Any]:
    train = products.labels[products.rows("train")]
    counts = np.bincount(train, minlength=len(products.classes))
    small = [code for code, count in zip(products.classes, counts, strict=True) if count < FEW_PRODUCTS]
    if not small:
        return check(True, f"Every class has at least {FEW_PRODUCTS} labeled products to train on.")
    named = f"{', '.join(small[:8])}{', …' if len(small) > 8 else ''}"
    classes = many(len(small), "class", "classes")
    few = f"{classes} with fewer than {FEW_PRODUCTS} labeled products to train on: {named}"
    return check(False, f"{few}. Their scores will be uncertain: add products, or merge these classes.")


def _labels_check(contradictory: int) -> dict[str, Any]:
    same = "with the same title or picture"
    if not contradictory:
        return check(True, f"Products {same} carry the same label.")
    groups = (
        f"{many(contradictory, 'group')} of products {same} {'carry' if contradictory > 1 else 'carries'}"
    )
    advice = "some of these labels are wrong, and denoising looks for them"
    return check(False, f"{groups} different labels: {advice}.")


def _missing_check(profile: dict[str, Any]) -> dict[str, Any]:
    missing, count = profile["missing"], profile["products"]
    shares = ", ".join(f"{percent(n / count, 1)} % have no {what}" for what, n in missing.items() if n)
    if not shares:
        return check(True, "Every product has a title, a description and a picture.")
    if missing["title"] or missing["picture"]:
        return check(False, f"{shares}: one of the two models predicts them blindly.")
    return check(True, f"Every product has a title and a picture; {shares}.")


def _drift_check(drift: Sequence[Drift] | None, since: str) -> list[dict[str, Any]]:
    if drift is None:
        return []
    moved = [entry for entry in drift if entry.size != CHANCE]
    if not moved:
        return [check(True, f"Nothing differs from {since} beyond chance.")]
    aspects = ", ".join(f"{entry.aspect} ({entry.size})" for entry in moved[:4])
    advice = " Train anew before you trust an older model." if moved[0].size == LARGE else ""
    return [check(False, f"What differs from {since}: {aspects}.{advice}")]


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
    counts = Counter((finding.reason, finding.action) for finding in findings)
    first = {(finding.reason, finding.action): finding for finding in reversed(findings)}
    return [
        {
            "reason": group[0].replace("_", " "),
            "action": group[1],
            "count": count,
            "first": f"{first[group].file}, line {first[group].line}: {first[group].detail}",
        }
        for group, count in counts.most_common()
    ]


def _source(products: Products) -> dict[str, str]:
    metadata = products.metadata
    source = {"dialect": metadata.get("dialect"), "rows": metadata.get("rows")}
    source |= {f"{name} read as": form for name, form in metadata.get("read_as", {}).items()}
    digests = {f"SHA-256 of {name}": digest for name, digest in metadata.get("digests", {}).items()}
    return {name: words(value) for name, value in {**source, **digests}.items() if value}
