"""A majority vote of 12 x 85,000 x 27 and macro-F1, against numpy's apply_along_axis and scikit-learn.

    python benchmarks/votes.py

Equal to a plain count written out (ties by the summed probability) and to scikit-learn, row by row.
"""

import argparse
import platform
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import f1_score

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from components.modeling.metrics import macro_f1
from components.modeling.voting import decide, majority_vote


def best_time(work: Callable[[], Any], repeats: int) -> tuple[float, Any]:
    """Least CPU seconds of some runs, and what the work returned."""
    result, seconds = work(), []
    for _ in range(repeats):
        started = time.process_time()
        result = work()
        seconds.append(time.process_time() - started)
    return min(seconds), result


def vote_by_numpy(predicted: np.ndarray, classes: int) -> np.ndarray:
    """The usual short form: votes counted row by row; ties go to the lower class number."""
    return np.apply_along_axis(lambda row: np.bincount(row, minlength=classes).argmax(), 0, predicted)


def vote_by_hand(pred_probs: np.ndarray) -> np.ndarray:
    """The rule written out: most votes, then the larger summed probability."""
    sums = pred_probs.sum(axis=0, dtype=np.float64)
    winners = []
    for row, votes in enumerate(pred_probs.argmax(axis=2).T.tolist()):
        counts = Counter(votes)
        most = max(counts.values())
        leaders = [name for name, count in counts.items() if count == most]
        winners.append(max(leaders, key=lambda name: (sums[row, name], -name)))
    return np.array(winners)


def synthetic_members(members: int, rows: int, classes: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities (M, N, C) of members that find the same rows hard, as real ones do, and labels (N,)."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, classes, rows)
    shared = random.normal(size=(rows, classes)).astype(np.float32) * 2
    shared[np.arange(rows), labels] += 6
    logits = shared + random.normal(size=(members, rows, classes)).astype(np.float32)
    pred_probs = np.exp(logits)
    return pred_probs / pred_probs.sum(axis=2, keepdims=True), labels


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--members", type=int, default=12)
    parser.add_argument("--rows", type=int, default=85_000)
    parser.add_argument("--classes", type=int, default=27)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    pred_probs, labels = synthetic_members(options.members, options.rows, options.classes, options.seed)
    argmax, predicted = best_time(lambda: pred_probs.argmax(axis=2), options.repeats)
    vote, (winners, tied) = best_time(lambda: decide(predicted, pred_probs), options.repeats)
    whole, _ = best_time(lambda: majority_vote(pred_probs), options.repeats)
    numpy_vote, _ = best_time(lambda: vote_by_numpy(predicted, options.classes), 1)
    f1, ours = best_time(lambda: macro_f1(labels, winners, options.classes), 10 * options.repeats)
    sklearn_f1, theirs = best_time(lambda: f1_score(labels, winners, average="macro"), options.repeats)
    by_hand = vote_by_hand(pred_probs)

    print(f"{platform.machine()}, one process: {options.members} x {options.rows:,} x {options.classes}")
    print(f"{'CPU ms':>16}{'ours':>12}{'theirs':>12}{'ratio':>8}")
    for name, mine, other, who in (
        ("vote", vote, numpy_vote, "numpy.apply_along_axis"),
        ("argmax and vote", whole, argmax + numpy_vote, "the same, with the argmax both share"),
        ("macro-F1", f1, sklearn_f1, "scikit-learn"),
    ):
        print(f"{name:>16}{mine * 1e3:12.2f}{other * 1e3:12.2f}{other / mine:8.1f}  {who}")
    print(f"rows where the vote differs from the count written out: {int((winners != by_hand).sum())}")
    print(
        f"rows decided by the summed probability: {int(tied.sum())}; macro-F1 apart: {abs(ours - theirs):.1e}"
    )


if __name__ == "__main__":
    main()
