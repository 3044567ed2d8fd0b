"""The report of the vote: who agrees with whom, what each member adds, where they split."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from components.catalog import Products
from components.charts import gain_bar
from components.image_store import ImageStore
from components.matrix_chart import agreement_chart
from components.metrics import macro_f1
from components.probabilities import Voter
from components.report import Gallery, class_label, percent, render, words

SPLIT_MOST = 24


def ensemble_report(products: Products, images: ImageStore, members: Sequence[Voter], ensemble: Voter) -> str:
    """Draws the report of the vote, on the validation split.

    Args:
        members: the voters, in the order of the ensemble's `members`.
        ensemble: the vote, whose facts hold `weights`, `leave_one_out_gain` and `ties`.
    """
    rows = products.rows("validation")
    ids, labels = products.ids[rows], products.labels[rows]
    votes = np.stack([member.chosen("validation", ids).argmax(axis=1) for member in members])
    voted = ensemble.chosen("validation", ids).argmax(axis=1)
    same = (votes[:, None] == votes[None]).mean(axis=2)
    scores = [macro_f1(labels, vote, len(products.classes)) for vote in votes]
    score = macro_f1(labels, voted, len(products.classes))
    ties = ensemble.facts.get("ties", {})
    return render(
        "ensemble",
        lead=_lead(score, scores, votes),
        figures=[
            {"name": "macro-F1 of the vote", "value": percent(score), "unit": "%"},
            {
                "name": "over the best member",
                "value": f"{100 * (score - max(scores)):+.2f}",
                "unit": "points",
            },
            {"name": "members", "value": str(len(members)), "unit": ""},
            {
                "name": "all agree on",
                "value": percent(float((votes == votes[0]).all(axis=0).mean()), 1),
                "unit": "%",
            },
            {"name": "ties", "value": f"{ties.get('validation', 0):,}", "unit": ""},
        ],
        members=_members(members, scores, ensemble.facts),
        agreement=agreement_chart(same, [member.name for member in members]),
        majorities=_majorities(votes, voted, labels),
        cards=_split_most(products, Gallery(products, images), rows, votes, voted),
        config={name: words(value) for name, value in ensemble.facts.get("config", {}).items()},
    )


def _lead(score: float, scores: list[float], votes: np.ndarray) -> str:
    difference = 100 * (score - max(scores))
    united = (votes == votes[0]).all(axis=0).mean()
    if difference >= 0.005:
        worth = f"The vote is worth {difference:.2f} points over its best member."
    else:
        worth = f"The vote adds nothing to its best member ({difference:+.2f} points)."
    return (
        f"{worth} All {len(votes)} members agree on {percent(float(united), 1)} % of the validation products."
    )


def _members(members: Sequence[Voter], scores: list[float], facts: dict[str, Any]) -> list[dict[str, Any]]:
    gains = facts.get("leave_one_out_gain") or [None] * len(members)
    weights = facts.get("weights") or [None] * len(members)
    most = max((abs(gain) for gain in gains if gain is not None), default=0.0)
    entries = [
        {
            "number": number,
            "name": member.name,
            "macro_f1": score,
            "weight": weight,
            "gain": None if gain is None else 100 * gain,
            "drawn": "" if gain is None else gain_bar(gain, most),
        }
        for number, (member, score, gain, weight) in enumerate(
            zip(members, scores, gains, weights, strict=True), start=1
        )
    ]
    return sorted(entries, key=lambda entry: -entry["macro_f1"])


def _majorities(votes: np.ndarray, voted: np.ndarray, labels: np.ndarray) -> list[dict[str, Any]]:
    """How often the vote is right, by how many members stand behind it."""
    behind = (votes == voted).sum(axis=0)
    return [
        {
            "behind": size,
            "count": int((behind == size).sum()),
            "right": float((voted == labels)[behind == size].mean()),
        }
        for size in sorted(set(behind.tolist()), reverse=True)
    ]


def _split_most(
    products: Products, gallery: Gallery, rows: np.ndarray, votes: np.ndarray, voted: np.ndarray
) -> list[dict[str, Any]]:
    """The products whose votes scatter most, by entropy."""
    counts = [Counter(column.tolist()).most_common() for column in votes.T]
    shares = [np.array([count for _, count in column]) / len(votes) for column in counts]
    entropy = np.array([-(share * np.log(share)).sum() for share in shares])
    cards = []
    for at in np.argsort(-entropy, kind="stable")[:SPLIT_MOST].tolist():
        if entropy[at] > 0:
            said = ", ".join(f"{class_label(products, label, 30)}: {count}" for label, count in counts[at])
            right = voted[at] == products.labels[rows[at]]
            label = class_label(products, int(products.labels[rows[at]]), 40)
            cards.append(
                gallery.card(int(rows[at]), votes=said, label=label, vote_is="right" if right else "wrong")
            )
    return cards
