"""What a person reads of the new products: which are accepted unseen, and which to look at."""

import math
from collections.abc import Mapping
from typing import Any

from components.reports.page import many, percent, target_percent

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
    share, target = percent(unseen / products, 0), target_percent(threshold["target"])
    known = threshold.get("out_of_fold") or threshold["chosen"]
    return (
        f"At {target} % accuracy, {share} % of the new products ({unseen:,} of {products:,}) are accepted "
        f"unseen. On validation, of such products, {labeled_and_right(known, threshold['label_noise'])}."
    )


def labeled_and_right(accepted: Mapping[str, Any], noise: float) -> str:
    """How many of the accepted have the label that they were given, and on which assumption more are right.

    Args:
        accepted: see `components.modeling.acceptance.Accepted`.
        noise: the share of labels taken to be wrong.
    """
    as_labeled = f"{percent(accepted['accuracy'], 1)} % are right as labeled"
    if not noise:
        return as_labeled
    return (
        f"{as_labeled} ({percent(accepted['corrected'], 1)} % if, as the run assumes, {percent(noise, 1)} % "
        "of these labels are wrong)"
    )


def review_sentence(counts: Mapping[str, int]) -> str:
    """How many products a person is asked about, and how long that takes."""
    remain = many(counts["to_review"], "product remains", "products remain")
    return f"{remain} to review, about {hours(counts['to_review'])} hours at {SECONDS} s each."


def no_threshold(threshold: Mapping[str, Any]) -> str:
    """Why nothing is accepted unseen."""
    if not threshold:
        return "The model package names no threshold: it is of an earlier release."
    highest, target = threshold["highest"], target_percent(threshold["target"])
    supported = math.floor(1000 * highest["corrected_low"]) / 10
    return (
        f"No product is accepted unseen: the target is {target} % accuracy, and the labels support at most "
        f"{supported:g} %, for {percent(highest['coverage'], 0)} % of the products. More labeled products "
        "would change that, or a lower target_accuracy."
    )


def hours(products: int) -> str:
    """How long a look at each takes, in hours."""
    found = products * SECONDS / 3600
    return f"{found:.0f}" if found >= 10 else f"{found:.1f}"
