"""The report of the new products: what may be accepted unseen, what to look at, and what is strange."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from components.data.image_store import ImageStore
from components.data.products import Products
from components.lifecycle.detail import GUESSES, UNLIKE
from components.lifecycle.last_run import LastRun
from components.lifecycle.model import Model
from components.lifecycle.queue import Answered
from components.modeling.acceptance import entropy
from components.reports.acceptance import (
    accepted_sentence,
    hours,
    labeled_and_right,
    review_sentence,
)
from components.reports.charts import bar
from components.reports.page import (
    Gallery,
    check,
    class_label_of,
    class_labels,
    figure,
    many,
    percent,
    render,
    target_percent,
)

SHOWN = {"queue": 24, "strange": 12, "disagree": 12, "accepted": 12}  # products
NO_PROOF = "The products were too few to test the threshold on others than those that chose it."
NO_PROMISE = "Nothing is accepted unseen, so nothing is promised of these codes."
NOTHING = "There are no products to categorize."
SHIFT = 0.05  # of a class's share, from which on it is named


def predict_report(
    model: Model, products: Products, images: ImageStore, found: Answered | None, last: LastRun
) -> str:
    """Draws the report.

    Args:
        found: what the model says of the products; None where there are none.
        last: what the last run predicted.
    """
    if found is None:
        return _nothing(NOTHING)
    cards, counts, codes = _Cards(products, images, found), found.counts, found.predictions.codes
    groups = products.table["group"].to_numpy()
    rows = _classes(model, Counter(codes), last, Counter(codes[found.accepted]))
    return render(
        "predict",
        lead=f"{accepted_sentence(counts, model.threshold)} {review_sentence(counts)}",
        figures=[
            figure("products", f"{counts['products']:,}"),
            figure("accepted unseen", f"{counts['accepted'] - counts['checked']:,}"),
            figure("to review", f"{counts['to_review']:,}"),
            figure("hours of review", hours(counts["to_review"])),
            figure("unlike any class", f"{counts['unlike_any_class']:,}"),
        ],
        checks=[
            _promise_check(model),
            *_shift_checks(rows, last),
            check(not counts["without_image"], _blind(counts["without_image"], counts["products"])),
        ],
        **_class_table(rows, last),
        cards={
            "queue": cards.of(_one_of_each(found, groups), SHOWN["queue"], settles=groups),
            "strange": cards.of(_strangest(found), SHOWN["strange"]),
            "disagree": cards.of(_disagreeing(found), SHOWN["disagree"]),
            "accepted": cards.of(_least_sure_accepted(found), SHOWN["accepted"]),
        },
        count=len(found.queue),
    )


def _nothing(why: str) -> str:
    return render("predict", lead=why, figures=[], checks=[], rows=[], cards=None, last=None)


def batch_report(model: Model, counts: np.ndarray, sure: float, blind: int, last: LastRun) -> str:
    """Draws the report of a catalog that was predicted shard by shard.

    Args:
        counts: (C,) how many products each class was predicted of.
        sure: mean probability of the predicted classes.
        blind: how many products have no picture.
        last: what the last run predicted.
    """
    count = int(counts.sum())
    if not count:
        return _nothing("Nothing is new.")
    rows = _classes(model, dict(zip(model.classes, counts.tolist(), strict=True)), last)
    return render(
        "predict",
        lead=f"The champion {model.version} names a class for each of {many(count, 'product')}.",
        figures=[
            figure("products", f"{count:,}"),
            figure("classes named", f"{np.count_nonzero(counts):,}"),
            figure("mean probability", percent(sure, 1), "%"),
            figure("without a picture", f"{blind:,}"),
        ],
        checks=[*_shift_checks(rows, last), check(not blind, _blind(blind, count))],
        **_class_table(rows, last),
        cards=None,
    )


def _promise_check(model: Model) -> dict[str, Any]:
    promised = model.threshold.get("out_of_fold")
    if not promised:
        return check(False, NO_PROOF if model.threshold.get("chosen") else NO_PROMISE)
    target = model.threshold["target"]
    low, high = (percent(promised[name], 1) for name in ("corrected_low", "corrected_high"))
    text = (
        "Where the threshold was chosen on other validation products, of the accepted "
        f"{labeled_and_right(promised, model.threshold['label_noise'])}; the target is "
        f"{target_percent(target)} %, the 95 % interval, label noise taken away, {low} to {high}."
    )
    return check(promised["corrected_low"] >= target, text)


def _blind(blind: int, count: int) -> str:
    if not blind:
        return "Every product has a picture."
    return f"{blind:,} of {many(count, 'product')} have no picture: their text alone speaks for them."


def _classes(
    model: Model, counts: Mapping[str, int], last: LastRun, accepted: Mapping[str, int] = {}
) -> list[dict[str, Any]]:
    """Share of every class among the predictions, the labeled products and the last run's predictions.

    Args:
        counts: code -> products that it was predicted of; `accepted`, how many of them are.
    """
    trained, names = model.profile["classes"], model.document["class_names"]
    labeled, products = max(sum(trained.values()), 1), max(sum(counts.values()), 1)
    codes = dict.fromkeys([*trained, *last.classes, *counts])
    return [
        {
            "name": class_label_of(code, names),
            "count": (count := counts.get(code, 0)),
            "accepted": accepted.get(code, 0) / max(count, 1),
            "share": count / products,
            "trained": trained.get(code, 0) / labeled,
            "last": last.classes.get(code, 0) / max(last.products, 1),
            "drawn": bar(float(count), float(max(counts.values()))),
        }
        for code in sorted(codes, key=lambda code: -counts.get(code, 0))
    ]


def _class_table(rows: list[dict[str, Any]], last: LastRun) -> dict[str, Any]:
    """The classes that this or the last run predicted, the largest first, and the last run in words."""
    predicted = [row for row in rows if row["count"] or row["last"]]
    run = f"{many(last.products, 'product')} on {last.day}, by version {last.version}" if last.day else None
    return {"rows": predicted, "last": run}


def _shift_checks(rows: list[dict[str, Any]], last: LastRun) -> list[dict[str, Any]]:
    """Which classes have another share than among the labeled products, and than in the last run."""
    sides = {"trained": "among the labeled products"}
    if last.day:
        sides["last"] = f"in the last run ({last.day})"
    return [_shift_check(rows, side, where) for side, where in sides.items()]


def _shift_check(rows: list[dict[str, Any]], side: str, where: str) -> dict[str, Any]:
    moved = sorted(rows, key=lambda row: -abs(row["share"] - row[side]))
    named = [
        f"“{row['name']}” {percent(row[side], 1)} % to {percent(row['share'], 1)} %"
        for row in moved[:3]
        if abs(row["share"] - row[side]) >= SHIFT
    ]
    if not named:
        return check(True, f"The classes' shares are about those {where}.")
    return check(False, f"Other shares than {where}: {', '.join(named)}.")


def _one_of_each(found: Answered, groups: np.ndarray) -> np.ndarray:
    """The first product of every group of duplicates that is not accepted, in the order of the queue."""
    queue = found.queue[~found.checked[found.queue]]
    return queue[np.sort(np.unique(groups[queue], return_index=True)[1])]


def _strangest(found: Answered) -> np.ndarray:
    strange = np.flatnonzero(found.flagged(UNLIKE))
    return strange[np.argsort(-entropy(found.predictions.pred_probs[strange]), kind="stable")]


def _disagreeing(found: Answered) -> np.ndarray:
    """Where text and image name different classes, what the vote is surest of first."""
    apart = np.flatnonzero((found.detail["agree"] == "no").to_numpy())
    return apart[np.argsort(-found.sure[apart], kind="stable")]


def _least_sure_accepted(found: Answered) -> np.ndarray:
    accepted = np.flatnonzero(found.accepted & ~found.checked)
    return accepted[np.argsort(found.sure[accepted], kind="stable")]


class _Cards:
    """Cards of products with what the model says of them."""

    def __init__(self, products: Products, images: ImageStore, found: Answered) -> None:
        self._gallery, self._names = Gallery(products, images), class_labels(products)
        self._rows, self._queue = found.detail.to_dict("records"), found.queue

    def of(self, rows: np.ndarray, count: int, settles: np.ndarray | None = None) -> list[dict[str, Any]]:
        """Cards of the first `count` rows.

        Args:
            settles: (N,) groups; a card says how many duplicates of its product are in the queue.
        """
        cards = []
        for row in rows[:count].tolist():
            lines = self._lines(row)
            if settles is not None and (alike := int((settles[self._queue] == settles[row]).sum())) > 1:
                lines["settles"] = f"{alike} duplicates"
            cards.append(self._gallery.card(row, **lines))
        return cards

    def _lines(self, row: int) -> dict[str, Any]:
        said: dict[str, Any] = self._rows[row]
        lines: dict[str, Any] = {
            "predicted": [
                f"{self._names[said[f'{guess}code']]} {percent(float(said[f'{guess}probability']), 0)} %"
                for guess in GUESSES[:2]
                if said[f"{guess}code"]
            ]
        }
        if said["agree"] == "no":
            lines |= {name: self._names[said[name]] for name in ("text", "image")}
        return {**lines, **({"flag": said["flag"]} if said["flag"] else {})}
