"""What a person is told of the new products: which are accepted unseen, and which to look at."""

from collections.abc import Mapping
from typing import Any

from components.reports.page import many, percent

SECONDS = 20  # that a person needs for one product


def accepted_sentence(counts: Mapping[str, int], threshold: Mapping[str, Any]) -> str:
    """How many of the new products need no look, at which accuracy, or why none is accepted.

    Args:
        counts: see `components.lifecycle.queue.Answered.counts`.
        threshold: see `components.lifecycle.model.Model.threshold`.
    """
    if threshold.get("probability") is None:
        return no_threshold(threshold)
    products, unseen = counts["products"], counts["accepted"] - counts["checked"]
    share, target = percent(unseen / products, 0), percent(threshold["target"], 0)
    return (
        f"At {target} % accuracy, {share} % of the new products ({unseen:,} of {products:,}) are accepted "
        "unseen."
    )


def review_sentence(counts: Mapping[str, int]) -> str:
    """How many products a person is asked about, and how long that takes."""
    remain = many(counts["to_review"], "product remains", "products remain")
    return f"{remain} to review, about {hours(counts['to_review'])} hours at {SECONDS} s each."


def no_threshold(threshold: Mapping[str, Any]) -> str:
    """Why nothing is accepted unseen."""
    if not threshold:
        return "The model package names no threshold: it is of an earlier release."
    highest, target = threshold["highest"], percent(threshold["target"], 0)
    return (
        f"The labels do not support {target} % accuracy: at most {percent(highest['corrected_low'], 1)} %, "
        f"for {percent(highest['coverage'], 0)} % of the products. Nothing is accepted unseen."
    )


def hours(products: int) -> str:
    """How long a look at each takes, in hours."""
    found = products * SECONDS / 3600
    return f"{found:.0f}" if found >= 10 else f"{found:.1f}"
