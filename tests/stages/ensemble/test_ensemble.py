"""The ensemble: votes, ties, choices made out of fold, and what is known of the members."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fusion_classifiers import make_classifiers, run_vote, write_stage

from components.core.errors import InputError
from components.data.probabilities import (
    Classifier,
    Probabilities,
    read_classifier,
    read_classifiers,
    write_classifier,
)
from components.data.products import read_products
from components.data.stacks import Stack
from components.ensemble.confidence_report import UNCALIBRATED, acceptance_section, acceptance_sentence
from components.ensemble.config import EnsembleConfig
from components.ensemble.voting import greedy_selection, member_weights, out_of_fold_vote
from components.modeling.acceptance import Acceptance, Accepted
from components.modeling.metrics import macro_f1
from components.modeling.voting import majority_vote

GROUPS = np.arange(400)
EQUAL = np.full(4, 1 / 4)
PLAIN = {"name": "ensemble"}
NONE = Path("no feature-level classifier votes")


def write_members(root: Path, *, members: int = 5, **kwargs: Any) -> tuple[Path, Path, np.ndarray]:
    """A catalog and its members; returns paths and every product's true label."""
    stage, labels = write_stage(root, texts=members, images=0, **kwargs)
    folder = root / "members"
    folder.mkdir()
    for path in stage.text:
        path.rename(folder / path.name)
    return stage.products, folder, labels


@pytest.mark.parametrize("vote", ["majority", "soft", "weighted"])
@pytest.mark.parametrize("select", ["all", "greedy"])
def test_every_vote_is_better_than_the_best_member(vote: str, select: str, tmp_path: Path) -> None:
    products, members, _ = write_members(tmp_path, rows=(20, 400, 0), strength=1.8)
    config = {"name": "ensemble", "vote": vote, "select": select}
    metrics = run_vote(products, members, NONE, config, probabilities=tmp_path / "ensemble")
    assert metrics["macro_f1"] > metrics["best_member_macro_f1"]
    classifier = read_classifier(tmp_path / "ensemble")
    assert classifier.modality == "ensemble"
    assert sum(classifier.metadata["weights"]) == pytest.approx(1)


def test_the_majority_vote_is_what_is_written(tmp_path: Path) -> None:
    products, members, _ = write_members(tmp_path, members=4, strength=1)
    run_vote(products, members, NONE, PLAIN, probabilities=tmp_path / "ensemble")
    table = read_products(products)
    classifiers = read_classifiers(members)
    ids = table.ids[table.rows("validation")]
    winners, tied = majority_vote(np.stack([one.chosen("validation", ids) for one in classifiers]))
    ensemble = read_classifier(tmp_path / "ensemble")
    np.testing.assert_array_equal(ensemble.chosen("validation", ids).argmax(axis=1), winners)
    assert ensemble.metadata["ties"] == tied.sum() > 0


def test_metadata_say_what_each_member_adds_and_how_far_they_agree(tmp_path: Path) -> None:
    products, members, labels = write_members(tmp_path, members=3, strength=1.5)
    run_vote(products, members, NONE, PLAIN, probabilities=tmp_path / "ensemble")
    table = read_products(products)
    rows = table.rows("validation")
    matrices = [classifier.chosen("validation", table.ids[rows]) for classifier in read_classifiers(members)]
    metadata = read_classifier(tmp_path / "ensemble").metadata
    without_first, _ = majority_vote(np.stack(matrices[1:]))
    gain = metadata["macro_f1"] - macro_f1(labels[rows], without_first, 4)
    assert metadata["leave_one_out_gain"][0] == pytest.approx(gain)
    agree = (matrices[0].argmax(axis=1) == matrices[2].argmax(axis=1)).mean()
    assert metadata["agreement"][0][2] == metadata["agreement"][2][0] == pytest.approx(agree)
    assert metadata["agreement"][1][1] == 1
    assert metadata["members"] == ["text-0", "text-1", "text-2"]


def test_a_weighted_vote_gives_a_useless_member_little() -> None:
    pred_probs, labels = make_classifiers(3, 400, 4)
    pred_probs[2] = make_classifiers(1, 400, 4, strength=0, seed=8)[0][0]
    weights = member_weights(EnsembleConfig(vote="weighted"), Stack(pred_probs, labels, 4), np.full(3, 1 / 3))
    assert weights[2] < 0.1
    assert weights.sum() == pytest.approx(1)


def test_greedy_choice_starts_with_the_best_and_leaves_out_what_hurts() -> None:
    pred_probs, labels = make_classifiers(4, 400, 4, strength=2)
    pred_probs[1] = make_classifiers(1, 400, 4, strength=0, seed=8)[0][0]
    config = EnsembleConfig(vote="soft", select="greedy")
    chosen = greedy_selection(config, Stack(pred_probs, labels, 4), EQUAL)
    scores = [macro_f1(labels, one.argmax(axis=1), 4) for one in pred_probs]
    assert 1 not in chosen
    assert int(np.argmax(scores)) in chosen
    assert len(chosen) >= 2


def test_what_is_chosen_for_a_row_does_not_depend_on_its_label() -> None:
    pred_probs, labels = make_classifiers(4, 400, 4, strength=1)
    config = EnsembleConfig(vote="weighted", folds=4)
    before, _ = out_of_fold_vote(config, Stack(pred_probs, labels, 4), GROUPS, EQUAL)
    random_labels = np.random.default_rng(0).permutation(labels)
    # On labels without sense the best choice of weights is worth nothing out of fold.
    voted, _ = out_of_fold_vote(
        EnsembleConfig(vote="soft", select="greedy", folds=4),
        Stack(pred_probs, random_labels, 4),
        GROUPS,
        EQUAL,
    )
    assert macro_f1(labels, before.argmax(axis=1), 4) > 0.7
    assert macro_f1(random_labels, voted.argmax(axis=1), 4) < 0.32  # by chance 0.25


def test_feature_level_classifiers_have_the_part_of_the_vote_that_they_are_given(tmp_path: Path) -> None:
    products, members, _ = write_members(tmp_path, members=4)
    beside = tmp_path / "feature-level"
    beside.mkdir()
    for path in sorted(members.iterdir())[2:]:
        path.rename(beside / path.name)
    config = {"name": "ensemble", "vote": "soft", "feature_level": {"text-3": 0.4}}
    run_vote(products, members, beside, config, probabilities=tmp_path / "ensemble")
    table = read_products(products)
    ensemble = read_classifier(tmp_path / "ensemble")
    assert ensemble.metadata["members"] == ["text-0", "text-1", "text-3"]
    assert ensemble.metadata["weights"] == pytest.approx([0.3, 0.3, 0.4])
    ids = table.ids[table.rows("validation")]
    classifiers = [*read_classifiers(members), read_classifiers(beside)[1]]
    first, second, third = (classifier.chosen("validation", ids) for classifier in classifiers)
    expected = 0.3 * (first + second) + 0.4 * third
    voted = ensemble.matrices[UNCALIBRATED]["validation"].aligned(ids, where="the vote")
    np.testing.assert_allclose(voted, expected, atol=1e-6)


def test_a_named_classifier_that_fusion_did_not_make_is_missed_aloud(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    products, members, _ = write_members(tmp_path, members=2)
    (tmp_path / "none").mkdir()
    config = {"name": "ensemble", "vote": "soft", "feature_level": {"light": 0.4}}
    run_vote(products, members, tmp_path / "none", config, probabilities=tmp_path / "ensemble")
    assert read_classifier(tmp_path / "ensemble").metadata["weights"] == pytest.approx([0.5, 0.5])
    assert "feature_level names 'light', but fusion made none" in caplog.text


def test_a_single_member_is_its_own_ensemble(tmp_path: Path) -> None:
    products, members, _ = write_members(tmp_path, members=1)
    metrics = run_vote(products, members, NONE, PLAIN, probabilities=tmp_path / "ensemble")
    assert metrics["macro_f1"] == metrics["best_member_macro_f1"]
    assert metrics["members_used"] == 1


def test_no_member_is_refused(tmp_path: Path) -> None:
    products, members, _ = write_members(tmp_path)
    (tmp_path / "none").mkdir()
    with pytest.raises(InputError, match="no member to vote"):
        run_vote(products, tmp_path / "none", NONE, PLAIN, probabilities=tmp_path / "ensemble")
    assert members.is_dir()


def test_a_member_of_other_products_is_refused_by_name(tmp_path: Path) -> None:
    products, members, _ = write_members(tmp_path)
    classes = read_products(products).classes
    stranger = Probabilities(np.array(["q1"], dtype=object), classes, np.full((1, 4), 0.25, np.float32))
    splits = {"validation": stranger, "test": stranger}
    write_classifier(members / "stranger", Classifier("stranger", "fusion", {"chosen": splits}))
    with pytest.raises(InputError, match=r"classifier stranger, validation.*120 of 120 products"):
        run_vote(products, members, NONE, PLAIN, probabilities=tmp_path / "ensemble")


WRONG = [
    {"vote": "loud"},
    {"select": "some"},
    {"weights": [1]},
    {"vote": "soft", "feature_level": {"light": 1}},
    {"vote": "soft", "feature_level": {"light": "much"}},
    {"vote": "soft", "feature_level": ["light"]},
    {"vote": "majority", "feature_level": {"light": 0.3}},
]


@pytest.mark.parametrize("config", WRONG)
def test_wrong_configurations_are_refused(config: dict[str, Any], tmp_path: Path) -> None:
    products, members, _ = write_members(tmp_path)
    with pytest.raises(InputError, match="ensemble configuration"):
        run_vote(products, members, NONE, {"name": "e", **config}, probabilities=tmp_path / "ensemble")


def test_what_the_labels_support_is_rounded_down_so_that_it_can_be_asked_for() -> None:
    highest = Accepted(0.5, 0.78, 0.96, 0.94, 0.98, 0.97, 0.9516, 0.99)
    accepted = Acceptance(0.97, 0.0, 0.0, None, None, highest, {}, [highest])
    assert "the labels support at most 95.1 %, for 78 % of the products" in acceptance_sentence(accepted)


@pytest.mark.parametrize("noise", [0.0, 0.02])
def test_the_curve_as_labeled_is_drawn_where_label_noise_is_taken_away(tmp_path: Path, noise: float) -> None:
    stage, _ = write_stage(tmp_path)
    curve = [Accepted(0.5, coverage, 0.9, 0.8, 0.95, 0.92, 0.82, 0.97) for coverage in (0.5, 1.0)]
    accepted = Acceptance(0.97, noise, noise, None, None, curve[0], {}, curve)
    vote = Classifier("vote", "ensemble", {}, {})
    chart = acceptance_section(read_products(stage.products), vote, accepted)["chart"]
    assert (">as labeled<" in chart, ">right as labeled<" in chart) == (noise > 0, noise == 0)
