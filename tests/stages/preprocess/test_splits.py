"""Validation and folds: the share that was asked for, and no duplicate on both sides."""

import json
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from tiny_catalog import TinyCatalog, jpeg, prepare

from components.core.errors import InputError
from components.preprocess.duplicates import group_duplicates, title_key
from components.preprocess.split import assign_folds, split_validation


def train_and_validation(catalog: TinyCatalog, **config) -> dict[str, list]:
    """Columns of the labeled products."""
    table = prepare(catalog, **config).products.table
    labeled = table[: len(catalog.rows)]
    return {name: labeled[name].tolist() for name in labeled}


def straddling(table: dict[str, list], alike: list[str], side: str) -> list[str]:
    """What several products have alike that don't lie on one side."""
    sides = defaultdict(set)
    for key, where in zip(alike, table[side], strict=True):
        sides[key].add(where)
    return [key for key, found in sides.items() if len(found) > 1]


@pytest.mark.parametrize("side", ["split", "fold"])
def test_products_with_one_text_lie_on_one_side(tmp_path: Path, side: str):
    catalog = TinyCatalog(tmp_path, products=90)
    for i, row in enumerate(catalog.rows):
        row[1] = f"TITRE {i // 6}" if i % 2 else f"titre {i // 6}"  # three of each class
    table = train_and_validation(catalog, validation_share=0.3)
    assert set(table["split"]) == {"train", "validation"}
    assert straddling(table, [title.lower() for title in table["title"]], side) == []


@pytest.mark.parametrize("side", ["split", "fold"])
def test_products_with_one_image_lie_on_one_side(tmp_path: Path, side: str):
    catalog = TinyCatalog(tmp_path, products=90)
    for i, row in enumerate(catalog.rows):
        catalog.images[catalog.image_name(row)] = jpeg((i // 6 * 16, 0, 0))
    table = train_and_validation(catalog, validation_share=0.3)
    assert len(set(table["image"])) == 15
    assert straddling(table, table["image"], side) == []


@pytest.mark.parametrize("side", ["split", "fold"])
def test_a_chain_of_duplicates_lies_on_one_side(tmp_path: Path, side: str):
    catalog = TinyCatalog(tmp_path, products=90)
    for i, row in enumerate(catalog.rows):
        row[1] = f"Titre {i // 2}"  # by title 0-1, 2-3, 4-5 and by image 1-2, 3-4: chains of six
        if i % 6 in (2, 4):
            catalog.images[catalog.image_name(row)] = catalog.images[catalog.image_name(catalog.rows[i - 1])]
    table = train_and_validation(catalog, validation_share=0.3)
    assert straddling(table, [f"chain {i // 6}" for i in range(90)], side) == []


LABELS = np.random.default_rng(0).permutation(np.repeat(np.arange(6), [900, 500, 300, 200, 60, 40]))
GROUPS = np.random.default_rng(1).integers(0, 1900, 2000)


def names(count: int) -> list[str]:
    return [f"id {number}" for number in range(count)]


def test_duplicates_share_a_group_through_title_or_image():
    titles, images = ["Livre", "livre", "autre", "seul", ""], ["a", "b", "b", "c", None]
    groups, _ = group_duplicates([*map(title_key, titles)], images, np.zeros(5, np.int64))
    assert groups[0] == groups[1] == groups[2]
    assert len({groups[0], groups[3], groups[4]}) == 3


def test_titles_that_differ_in_case_punctuation_and_spaces_are_one():
    titles = ["Piscine ronde", "piscine  ronde .", "PISCINE-RONDE!", "piscine ronde 2", "!!", "??", ""]
    groups, _ = group_duplicates([*map(title_key, titles)], [None] * 7, np.zeros(7, np.int64))
    assert len(set(groups[:3])) == 1
    assert len(set(groups[2:])) == 5


@pytest.mark.parametrize("count, shared", [(140, 42), (140, 14), (5000, 60)])
def test_a_placeholder_picture_ties_nothing_together_and_is_named(count: int, shared: int):
    images = [*["none"] * shared, *map(str, range(count - shared))]
    groups, [placeholder] = group_duplicates(names(count), images, np.arange(count) % 7)
    assert len(set(groups)) == count
    assert (placeholder.what, placeholder.products, placeholder.classes) == ("picture", shared, 7)


def test_a_title_that_many_products_of_one_class_have_ties_them_together():
    titles = [*["Gift card"] * 60, *names(240)]
    groups, placeholders = group_duplicates(titles, [None] * 300, np.repeat(np.arange(5), 60))
    assert len(set(groups[:60])) == 1
    assert placeholders == []


def test_half_of_a_small_catalog_on_a_placeholder_is_validated_as_the_rest(tmp_path: Path):
    catalog = TinyCatalog(tmp_path, products=140, classes=7)
    for row in catalog.rows[:42]:
        catalog.images[catalog.image_name(row)] = jpeg((240, 240, 240))
    prepared = prepare(catalog)
    held_out = np.array(prepared.products.table["split"][:140] == "validation")
    assert 0.05 < held_out.mean() < 0.18
    assert held_out[:42].sum() < held_out.sum() / 2
    assert "One picture lies under 42 products of 7 classes" in prepared.report


@pytest.mark.parametrize("share", [0.5, 0.45, 0.4, 0.35, 0.3, 0.25, 0.15, 0.1, 0.05, 0.02])
def test_validation_gets_the_share_that_was_asked_for(share: float):
    validation = split_validation(names(2000), LABELS, GROUPS, share, seed=0).validation
    assert not set(GROUPS[validation]) & set(GROUPS[~validation])
    assert abs(validation.sum() - 2000 * share) <= 3 * np.sqrt(2000 * share * (1 - share))


@pytest.mark.parametrize("seed", range(8))
def test_the_share_is_met_within_a_point_whatever_the_groups(seed: int):
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(4000), np.minimum(rng.zipf(1.7, 4000), 400))[:6000]
    validation = split_validation(names(6000), rng.integers(0, 9, 6000), groups, 0.1, seed).validation
    assert not set(groups[validation]) & set(groups[~validation])
    assert validation.mean() == pytest.approx(0.1, abs=0.01)


def test_a_product_keeps_its_side_when_others_come_and_go_in_any_order():
    order = np.random.default_rng(2).permutation(2000)[:1700]
    whole = split_validation(names(2000), LABELS, np.arange(2000), 0.1, seed=0)
    part = split_validation([names(2000)[i] for i in order], LABELS[order], order, 0.1, seed=0)
    assert whole.moved == part.moved == {}
    assert (whole.validation[order] == part.validation).all()
    assert (
        split_validation(names(2000), LABELS, np.arange(2000), 0.1, seed=1).validation != whole.validation
    ).any()


def test_a_group_follows_its_leader_when_others_leave():
    validation = split_validation(names(2000), LABELS, GROUPS, 0.1, seed=0).validation
    side, kept = {}, 0
    for drop in range(0, 2000, 100):
        rest = np.delete(np.arange(2000), drop)
        found = split_validation([names(2000)[i] for i in rest], LABELS[rest], GROUPS[rest], 0.1, seed=0)
        side[drop] = (found.validation != validation[rest]).sum()
        kept += side[drop] == 0
    assert kept >= 15  # a leader among the dropped may change the side of its own group
    assert max(side.values()) < 8


def test_large_groups_are_no_likelier_to_validate():
    groups = np.concatenate([np.repeat(np.arange(300), 10), np.arange(300, 3300)])
    shares = [
        split_validation(names(6000), np.zeros(6000, np.int64), groups, 0.1, seed).validation[:3000].mean()
        for seed in range(10)
    ]
    assert np.mean(shares) == pytest.approx(0.1, abs=0.02)


def test_a_group_larger_than_validation_stays_in_train():
    groups = np.concatenate([np.zeros(300, np.int64), np.arange(1, 1701)])
    for seed in range(12):
        assert not split_validation(names(2000), LABELS, groups, 0.1, seed).validation[:300].any()


def test_every_class_has_both_sides_where_it_has_two_groups():
    labels = np.repeat(np.arange(20), 3)
    for seed in range(5):
        split = split_validation(names(60), labels, np.arange(60), 0.1, seed)
        held_out = np.bincount(labels[split.validation], minlength=20)
        assert ((held_out > 0) & (held_out < 3)).all()
        assert split.not_validated == []
        assert split.moved["the nearest groups of classes without validation products"] >= 10


def test_a_class_in_one_group_stays_in_train():
    labels = np.array([0] * 50 + [1] * 6)
    groups = np.array([*range(50), *[99] * 6])
    for seed in range(10):
        split = split_validation(names(56), labels, groups, 0.5, seed)
        assert not split.validation[labels == 1].any()
        assert split.not_validated == [1]


def test_what_was_validation_stays_it_with_its_group_and_the_moved_are_counted(tmp_path: Path):
    before = split_validation(names(2000), LABELS, GROUPS, 0.1, seed=0).validation
    earlier = frozenset(np.array(names(2000))[before].tolist())
    again = split_validation(names(2000), LABELS, GROUPS, 0.1, seed=7, earlier=earlier)
    assert again.validation[before].all()
    assert again.moved["groups with validation products of the earlier run"] > 100
    assert again.validation.mean() == pytest.approx(0.1, abs=0.025)


def test_an_earlier_runs_profile_says_what_was_validation(tmp_path: Path):
    prepared = prepare(TinyCatalog(tmp_path))
    table = prepared.products.table
    before = set(table.loc[table["split"] == "validation", "product_id"])
    profile = json.loads((tmp_path / "out" / "profile").read_text())
    assert set(profile["validation"]) == before


def test_train_alone_has_folds(tmp_path: Path):
    table = prepare(TinyCatalog(tmp_path)).products.table
    assert list(table["fold"].notna()) == list(table["split"] == "train")
    assert set(table["fold"].dropna()) == {0, 1, 2, 3}


def test_products_that_cannot_be_split_are_refused_with_the_numbers():
    with pytest.raises(InputError, match=r"40 labeled products .* are 1 groups .* the largest of 40"):
        split_validation(names(40), np.arange(40) % 2, np.zeros(40, np.int64), 0.1, seed=0)
    with pytest.raises(InputError, match=r"40 train products .* into 4 folds: they are 3 groups"):
        assign_folds(names(40), np.arange(40) % 2, np.arange(40) % 3, 4, seed=0)


def test_folds_hold_alike_shares_of_every_class_whatever_the_order():
    folds = assign_folds(names(2000), LABELS, GROUPS, 4, seed=0)
    for label in range(6):
        counts = np.bincount(folds[label == LABELS], minlength=4)
        assert counts.max() - counts.min() <= max(2, 0.05 * counts.sum())
    assert len(set(zip(GROUPS, folds, strict=True))) == len(set(GROUPS))
    order = np.random.default_rng(3).permutation(2000)
    ids = [names(2000)[i] for i in order]
    assert (assign_folds(ids, LABELS[order], GROUPS[order], 4, seed=0) == folds[order]).all()


def test_a_large_group_leaves_no_fold_empty():
    groups = np.concatenate([np.zeros(1500, np.int64), np.arange(1, 4), np.full(497, 4)])
    assert set(assign_folds(names(2000), LABELS, groups, 4, seed=0)) == {0, 1, 2, 3}


@pytest.mark.parametrize("share", [0.1, 0.4, 0.02])
def test_small_classes_all_validate(tmp_path: Path, share: float):
    catalog = TinyCatalog(tmp_path, products=45, classes=5)
    table = train_and_validation(catalog, validation_share=share)
    held_out = [code for code, split in zip(table["code"], table["split"], strict=True) if split != "train"]
    assert len(held_out) / 45 == pytest.approx(max(share, 5 / 45), abs=0.2)
    assert len(set(held_out)) == 5
