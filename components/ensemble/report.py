"""The report of the vote: who agrees with whom, what each member adds, where they split."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from components.data.image_store import ImageStore
from components.data.probabilities import Classifier
from components.data.products import Products
from components.modeling.metrics import macro_f1
from components.reports.charts import bar, gain_bar
from components.reports.matrix_chart import agreement_chart
from components.reports.page import Gallery, check, class_label, many, percent, render, signed, words

SPLIT_MOST = 24
TWINS = 0.99  # share of products on which two members agree that makes them one


def ensemble_report(
    products: Products, images: ImageStore, members: Sequence[Classifier], ensemble: Classifier
) -> str:
    """Draws the report of the vote, on the validation split.

    Args:
        members: the classifiers; those that the ensemble's `members` do not name are left out.
        ensemble: the vote, whose metadata hold `members`, `weights`, `leave_one_out_gain` and `ties`.
    """
    named = {member.name: member for member in members}
    members = [named[name] for name in ensemble.metadata["members"]]
    rows = products.rows("validation")
    ids, labels = products.ids[rows], products.labels[rows]
    votes = np.stack([member.chosen("validation", ids).argmax(axis=1) for member in members])
    voted = ensemble.chosen("validation", ids).argmax(axis=1)
    same = (votes[:, None] == votes[None]).mean(axis=2)
    scores = [macro_f1(labels, vote, len(products.classes)) for vote in votes]
    score = macro_f1(labels, voted, len(products.classes))
    ties = ensemble.metadata.get("ties", {})
    return render(
        "ensemble",
        lead=_lead(score, scores, votes),
        checks=_checks(members, ensemble.metadata, votes, voted == labels),
        figures=[
            {"name": "macro-F1 of the vote", "value": percent(score), "unit": "%"},
            {
                "name": "over the best member",
                "value": signed(100 * (score - max(scores))),
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
        members=_members(members, scores, ensemble.metadata),
        agreement=agreement_chart(same, [member.name for member in members]),
        majorities=_majorities(votes, voted, labels),
        cards=_split_most(products, Gallery(products, images), rows, votes, voted),
        config={name: words(value) for name, value in ensemble.metadata.get("config", {}).items()},
    )


def _lead(score: float, scores: list[float], votes: np.ndarray) -> str:
    difference = 100 * (score - max(scores))
    united = (votes == votes[0]).all(axis=0).mean()
    if difference >= 0.005:
        worth = f"The vote is worth {difference:.2f} points over its best member."
    else:
        worth = f"The vote adds nothing to its best member ({signed(difference)} points)."
    return (
        f"{worth} All {len(votes)} members agree on {percent(float(united), 1)} % of the validation products."
    )


def _checks(
    members: Sequence[Classifier], metadata: dict[str, Any], votes: np.ndarray, right: np.ndarray
) -> list[dict[str, Any]]:
    """Why the vote decided as it did: who counts, who is in the way, who says the same, when to trust it."""
    checks = [check(True, _who_counts(members, metadata))]
    gains = metadata.get("leave_one_out_gain") or []
    harmful = sorted((gain, member.name) for gain, member in zip(gains, members, strict=False) if gain < 0)
    if harmful:
        gain, name = harmful[0]
        without = f"Without {name} the vote would be {-100 * gain:.2f} points better"
        others = many(len(harmful) - 1, "other member is", "other members are")
        more = f", and {others} in its way too" if harmful[1:] else ""
        checks.append(check(False, f"{without}{more}: try the vote without."))
    elif gains:
        checks.append(check(True, "No member is in the vote's way: without any one it is no better."))
    same = (votes[:, None] == votes[None]).mean(axis=2)
    twins = int(np.count_nonzero(np.triu(same >= TWINS, k=1)))
    if twins:
        said = f"{many(twins, 'pair')} of members agree on {percent(TWINS, 0)} % of the products or more"
        checks.append(check(False, f"{said}: they add little to each other."))
    united = (votes == votes[0]).all(axis=0)
    if united.any() and not united.all():
        all_right, split_right = float(right[united].mean()), float(right[~united].mean())
        said = f"Where all members agree, {percent(all_right, 1)} % are right; where they split"
        checks.append(check(True, f"{said}, {percent(split_right, 1)} %: look at those by hand first."))
    return checks


def _who_counts(members: Sequence[Classifier], metadata: dict[str, Any]) -> str:
    weights, config = metadata.get("weights"), metadata.get("config", {})
    if not weights:
        return f"{len(members)} members, one vote each ({config.get('vote', 'majority')} vote)."
    order = np.argsort(-np.array(weights), kind="stable")
    chief = [f"{members[at].name} ({percent(weights[at] / sum(weights), 0)} %)" for at in order[:2]]
    return f"A {config.get('vote', 'weighted')} vote; most weight has {' and then '.join(chief)}."


def _members(
    members: Sequence[Classifier], scores: list[float], metadata: dict[str, Any]
) -> list[dict[str, Any]]:
    gains = metadata.get("leave_one_out_gain") or [None] * len(members)
    weights = metadata.get("weights") or [None] * len(members)
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
            "right": (share := float((voted == labels)[behind == size].mean())),
            "drawn": bar(share),
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
            said = [f"{count} × {class_label(products, label, 30)}" for label, count in counts[at]]
            right = voted[at] == products.labels[rows[at]]
            label = class_label(products, int(products.labels[rows[at]]), 40)
            cards.append(
                gallery.card(int(rows[at]), votes=said, label=label, vote_is="right" if right else "wrong")
            )
    return cards
