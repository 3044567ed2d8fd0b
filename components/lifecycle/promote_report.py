"""The gate's report: champion and challenger side by side, and the products on which they part."""

from typing import Any

import numpy as np

from components.data.image_store import ImageStore
from components.data.products import Products
from components.lifecycle.comparison import Pairs
from components.lifecycle.config import GateConfig
from components.lifecycle.gate import Difference, GateDecision
from components.reports.charts import gain_bar
from components.reports.page import (
    Gallery,
    check,
    class_label_of,
    figure,
    percent,
    render,
    signed,
    words,
)

CARDS = 12  # each way
SHOWN_CLASSES = 15  # the others are folded away


def promote_report(
    products: Products,
    images: ImageStore,
    decision: GateDecision,
    pairs: Pairs | None,
    *,
    challenger: str,
    champion: str | None,
    config: GateConfig,
) -> str:
    """Draws the report of a decision.

    Args:
        products: the challenger's labeled products.
        pairs: what both were compared on; None where there is no champion.
        challenger, champion: ids of their versions.
    """
    names, gallery = products.metadata.get("class_names", {}), Gallery(products, images)
    found = decision.difference
    return render(
        "promote",
        promoted=decision.promote,
        why=decision.why,
        challenger=challenger,
        champion=champion,
        checks=[check(each.holds, each.text) for each in decision.checks],
        figures=_figures(decision, pairs),
        scored=pairs.scored if pairs else {},
        left_out=pairs.left_out if pairs else {},
        classes=_classes(found, names) if found else [],
        shown_classes=SHOWN_CLASSES,
        newly_right=_cards(products, gallery, pairs, names, right=True) if pairs else None,
        newly_wrong=_cards(products, gallery, pairs, names, right=False) if pairs else None,
        config={name: words(value) for name, value in config.model_dump().items()},
    )


def _figures(decision: GateDecision, pairs: Pairs | None) -> list[dict[str, str]]:
    found = decision.difference
    if found is None or pairs is None:
        return [figure("macro-F1 on validation", percent(decision.macro_f1), "%")]
    return [
        figure("challenger, macro-F1", percent(found.challenger), "%"),
        figure("champion, macro-F1", percent(found.champion), "%"),
        figure("difference", signed(100 * found.gain), "points"),
        figure("products compared", f"{len(pairs.ids):,}"),
    ]


def _classes(difference: Difference, names: dict[str, str]) -> list[dict[str, Any]]:
    most = max((abs(each.gain) for each in difference.classes), default=0.0)
    return [
        {
            "name": class_label_of(each.code, names),
            "support": each.support,
            "champion": each.champion,
            "challenger": each.challenger,
            "points": 100 * each.gain,
            "drawn": gain_bar(each.gain, most),
        }
        for each in difference.classes
    ]


def _cards(
    products: Products, gallery: Gallery, pairs: Pairs, names: dict[str, str], *, right: bool
) -> dict[str, Any]:
    """The products that the challenger alone has right, or wrong."""
    by_challenger, by_champion = pairs.challenger == pairs.labels, pairs.champion == pairs.labels
    chosen = np.flatnonzero(by_challenger & ~by_champion if right else by_champion & ~by_challenger)
    row_of = {product: row for row, product in enumerate(products.ids)}

    def name(at: int) -> str:
        return class_label_of(pairs.classes[at], names, 40)

    cards = [
        gallery.card(
            row_of[pairs.ids[at]],
            label=name(int(pairs.labels[at])),
            champion=name(int(pairs.champion[at])),
            challenger=name(int(pairs.challenger[at])),
        )
        for at in chosen[:CARDS].tolist()
    ]
    return {"count": len(chosen), "cards": cards}
