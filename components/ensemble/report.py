"""The report of the vote: who agrees with whom, what each member adds, where they split."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from components.data.image_store import ImageStore
from components.data.probabilities import Classifier
from components.data.products import Products
from components.ensemble.confidence_report import acceptance_section, reliability_section
from components.ensemble.levels import levels_section
from components.modeling.acceptance import Acceptance
from components.modeling.metrics import macro_f1
from components.reports.charts import bar, gain_bar
from components.reports.matrix_chart import agreement_chart
from components.reports.page import Gallery, check, class_label, figure, many, percent, render, signed, words

SPLIT_MOST = 24
LEAST = 0.005  # points of macro-F1 that a page shows as more than nothing
CARRIES = 1.5  # times its equal share, from which on a member is said to carry the vote
NAMED = 5
TWINS = 0.99  # share of products on which two members agree that makes them one


def ensemble_report(
    products: Products,
    images: ImageStore,
    members: Sequence[Classifier],
    ensemble: Classifier,
    accepted: Acceptance | None = None,
) -> str:
    """Draws the report of the vote, on the validation split.

    Args:
        members: the classifiers; those that the ensemble's `members` do not name are left out.
        ensemble: the vote, whose metadata hold `members`, `weights`, `leave_one_out_gain` and `ties`.
        accepted: what may be accepted unseen, if that is known.
    """
    named = {member.name: member for member in members}
    members = [named[name] for name in ensemble.metadata["members"]]
    rows = products.rows("validation")
    ids, labels = products.ids[rows], products.labels[rows]
    votes = np.stack([member.chosen("validation", ids).argmax(axis=1) for member in members])
    voted = ensemble.chosen("validation", ids).argmax(axis=1)
    same = (votes[:, None] == votes[None]).mean(axis=2)
    united = (votes == votes[0]).all(axis=0)
    scores = [macro_f1(labels, vote, len(products.classes)) for vote in votes]
    score = macro_f1(labels, voted, len(products.classes))
    alone = ensemble.metadata.get("best_member_macro_f1", max(scores))
    gain, unanimous = 100 * (score - alone), percent(float(united.mean()), 1)
    best = members[int(np.argmax(scores))].name
    return render(
        "ensemble",
        lead=_lead(gain, best, len(members), unanimous),
        checks=[
            check(True, _who_counts(members, ensemble.metadata)),
            *_gain_check(members, ensemble.metadata.get("leave_one_out_gain") or [], gain, best),
            *_twins_check(same),
            *_unity_check(united, voted == labels),
        ],
        figures=[
            figure("macro-F1 of the vote", percent(score), "%"),
            figure("over the best member", signed(gain), "points"),
            figure("members", str(len(members))),
            figure("all agree on", unanimous, "%"),
            figure("products tied", f"{ensemble.metadata.get('ties', 0):,}"),
        ],
        members=_members(members, scores, ensemble.metadata),
        alone=None if max(scores) - alone < LEAST / 100 else percent(alone),
        agreement=agreement_chart(same, [member.name for member in members]),
        majorities=_majorities(votes, voted, labels),
        reliability=reliability_section(products, ensemble),
        acceptance=acceptance_section(products, ensemble, accepted) if accepted else None,
        levels=levels_section(ensemble),
        cards=_split_most(products, Gallery(products, images), rows, votes, voted),
        config={name: words(value) for name, value in ensemble.metadata.get("config", {}).items()},
    )


def _lead(gain: float, best: str, members: int, unanimous: str) -> str:
    worth = f"The vote does as well as its best member, {best}."
    if abs(gain) >= LEAST:
        side = "over" if gain > 0 else "under"
        worth = f"The vote is {abs(gain):.2f} points {side} its best member, {best}."
    return f"{worth} All {members} members agree on {unanimous} % of the validation products."


def _who_counts(members: Sequence[Classifier], metadata: dict[str, Any]) -> str:
    weights, config = metadata.get("weights"), metadata.get("config", {})
    if not weights:
        return f"{len(members)} members, one vote each ({config.get('vote', 'majority')} vote)."
    used = [weight for weight in weights if weight > 0]
    if max(used) < CARRIES / len(used):
        return f"A {config.get('vote', 'weighted')} vote of {len(used)} members; none carries it alone."
    order = np.argsort(-np.array(weights), kind="stable")
    chief = [f"{members[at].name} ({percent(weights[at] / sum(weights), 0)} %)" for at in order[:2]]
    return f"A {config.get('vote', 'weighted')} vote; most weight has {' and then '.join(chief)}."


def _gain_check(
    members: Sequence[Classifier], gains: Sequence[float], over_best: float, best: str
) -> list[dict[str, Any]]:
    """Is a member in the vote's way?"""
    if not gains:
        return []
    points = sorted((100 * gain, member.name) for gain, member in zip(gains, members, strict=True))
    harmful = [f"{name} ({signed(-gain)})" for gain, name in points if gain <= -LEAST]
    if harmful:
        named = ", ".join(harmful[:NAMED]) + (f" and {len(harmful) - NAMED} more" if harmful[NAMED:] else "")
        return [check(False, f"Members that harm the vote, and what it would gain without each: {named}.")]
    if over_best <= -LEAST:
        text = (
            f"{best} alone is {-over_best:.2f} points better, though leaving out any one member helps nothing"
        )
        return [check(False, f"{text}: the others outvote it.")]
    return [check(True, "Without any one member the vote is no better.")]


def _twins_check(same: np.ndarray) -> list[dict[str, Any]]:
    """Do members predict the same?"""
    twins = int(np.count_nonzero(np.triu(same >= TWINS, k=1)))
    agree = f"agree on {percent(TWINS, 0)} % of the products or more: they add little to each other."
    return [check(False, f"{many(twins, 'pair')} of members {agree}")] if twins else []


def _unity_check(united: np.ndarray, right: np.ndarray) -> list[dict[str, Any]]:
    """When to trust the vote."""
    if united.all() or not united.any():
        return []
    all_right, split_right = (percent(float(right[where].mean()), 1) for where in (united, ~united))
    trust = f"Where all members agree, {all_right} % are right; where they split, {split_right} %"
    return [check(True, f"{trust}: look at those by hand first.")]


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
            label = int(products.labels[rows[at]])
            lines: dict[str, Any] = {
                "votes": [
                    f"{count} × {class_label(products, voted_for, 30)}" for voted_for, count in counts[at]
                ],
                "label": class_label(products, label, 40),
                "vote_is": "right" if voted[at] == label else "wrong",
            }
            cards.append(gallery.card(int(rows[at]), **lines))
    return cards
