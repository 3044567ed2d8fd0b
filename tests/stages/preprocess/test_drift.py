"""A catalog's profile, and the drift of a later catalog beside it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from synthetic import draw_images, make_products

from components.core.artifacts import write_json
from components.core.errors import InputError
from components.data.image_store import ImageStore, write_image_store
from components.preprocess.profile.drift import CHANCE, LARGE, SMALL, Drift, catalog_drift
from components.preprocess.profile.profile import fetch_profile, profile_catalog


@pytest.fixture
def profile(tmp_path: Path) -> dict[str, Any]:
    products = make_products()
    write_image_store(tmp_path, draw_images(products))
    return profile_catalog(products, ImageStore(tmp_path))


def by_aspect(now: dict[str, Any], earlier: dict[str, Any]) -> dict[str, Drift]:
    return {drift.aspect: drift for drift in catalog_drift(now, earlier, {"10": "Books"})}


def test_a_profile_counts_every_product_once(profile: dict[str, Any]):
    assert profile["products"] == 240
    assert profile["splits"] == {"train": 144, "validation": 48, "test": 48}
    assert sum(profile["classes"].values()) == 192
    assert profile["missing"] == {"title": 0, "description": 120, "picture": 12}
    assert sum(profile["words"]["title"]["counts"]) == 240
    assert sum(profile["pictures"]["longer_side"]) == profile["pictures"]["count"] == 228
    assert profile["pictures"]["sizes"] == {"120 × 90": 228}


def test_a_profile_is_read_back_as_it_was_written(tmp_path: Path, profile: dict[str, Any]):
    write_image_store(tmp_path, [])
    made = profile_catalog(make_products(), ImageStore(tmp_path))
    write_json(tmp_path / "profile.json", made)
    assert fetch_profile(str(tmp_path / "profile.json")) == made
    assert fetch_profile((tmp_path / "profile.json").as_uri()) == made


@pytest.mark.parametrize(
    ("text", "message"),
    [("{", "not the profile.json of"), ("[]", "expected"), ('{"format": "2"}', "anew")],
)
def test_another_file_is_refused_by_name(tmp_path: Path, text: str, message: str):
    (tmp_path / "metrics.json").write_text(text)
    with pytest.raises(InputError, match=rf"metrics.json.*{message}"):
        fetch_profile(str(tmp_path / "metrics.json"))


def test_a_catalog_does_not_drift_from_itself(profile: dict[str, Any]):
    drifts = catalog_drift(profile, profile, {})
    assert {drift.distance for drift in drifts} == {0.0}
    assert {drift.size for drift in drifts} == {CHANCE}


def test_of_a_hundred_pairs_of_samples_of_one_catalog_a_few_at_most_seem_to_drift(profile: dict[str, Any]):
    random = np.random.default_rng(0)
    drifting = 0
    for _ in range(100):
        drawn = random.multinomial(900, np.full(30, 1 / 30), size=2)
        samples = [dict(zip(map(str, range(30)), counts.tolist(), strict=True)) for counts in drawn]
        now, earlier = ({**profile, "classes": sample} for sample in samples)
        drifting += by_aspect(now, earlier)["class shares"].size != CHANCE
    assert drifting <= 3


def test_a_small_shift_in_a_large_catalog_is_more_than_chance(profile: dict[str, Any]):
    now = {**profile, "classes": {"10": 5_200, "20": 4_800}}
    earlier = {**profile, "classes": {"10": 5_000, "20": 5_000}}
    drift = by_aspect(now, earlier)["class shares"]
    assert drift.distance == pytest.approx(0.02)
    assert drift.size == SMALL
    assert "10 Books: 50.0 % to 52.0 %" in drift.change


def test_a_class_that_appears_is_named_and_never_chance(profile: dict[str, Any]):
    earlier = {**profile, "classes": {**profile["classes"], "90": 1}}
    drift = by_aspect(profile, earlier)["class shares"]
    assert drift.size != CHANCE
    assert "1 class is gone" in drift.change


def test_longer_titles_lost_descriptions_and_another_language_are_reported(profile: dict[str, Any]):
    now = json.loads(json.dumps(profile))
    now["words"]["title"] |= {"median": 9.0, "counts": [0] * 19 + [240]}
    now["missing"]["description"], now["languages"] = 240, {"German": 240}
    drifts = by_aspect(now, profile)
    assert drifts["title lengths"].size == LARGE
    assert "from 4 to 9 words" in drifts["title lengths"].change
    assert "without a description: 50.0 % to 100.0 %" in drifts["missing descriptions"].change
    assert "German: 0.0 % to 100.0 %" in drifts["languages"].change
    assert drifts["picture sizes"].size == CHANCE


def test_the_largest_change_comes_first(profile: dict[str, Any]):
    now = json.loads(json.dumps(profile))
    now["languages"], now["missing"]["picture"] = {"German": 240}, 60
    assert [drift.aspect for drift in catalog_drift(now, profile, {})][:2] == [
        "languages",
        "missing pictures",
    ]
