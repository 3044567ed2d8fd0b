"""Predictions in detail: what is accepted, what a person is asked about, and in which order."""

import csv
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from components.lifecycle.detail import (
    ACCEPT,
    LEAST_CHECKED,
    NO_IMAGE,
    REVIEW,
    UNLIKE,
    checked_products,
    detail_of,
    detail_rows,
    is_checked,
    send_some_to_review,
)
from components.lifecycle.predictions import Predictions
from components.lifecycle.queue import answered, review_queue

THRESHOLD = {"probability": 0.9, "target": 0.97, "unlike_above": 0.9, "checked_share": 0.01}


def model(*, blind: int = 1, threshold: dict[str, Any] | None = None) -> Any:
    """What is read of a model of three classes, with a text and an image classifier."""
    classifiers = [{"name": name, "modality": name} for name in ("text", "image")]
    return SimpleNamespace(
        classes=("10", "20", "30"),
        document={"class_names": {"10": "Books", "20": "Pools"}},
        classifiers=classifiers,
        profile={"languages": {"English": 5, "undecided": 3}, "missing": {"picture": blind}},
        threshold=THRESHOLD if threshold is None else threshold,
        version="00000000000000ab",
    )


def predictions(sure: list[float], *, without_image: list[int] = []) -> Predictions:  # noqa: B006
    """Class 10 with some probabilities; the image alone says 20."""
    first = np.array(sure, np.float32)
    pred_probs = np.stack([first, (1 - first) * 0.75, (1 - first) * 0.25], axis=1)
    apart = np.tile(np.array([0.1, 0.8, 0.1], np.float32), (len(sure), 1))
    ids = np.array([f"p{number}" for number in range(len(sure))], dtype=object)
    return Predictions(
        ids=ids,
        codes=np.full(len(sure), "10", dtype=object),
        names=np.full(len(sure), "Books", dtype=object),
        pred_probs=pred_probs,
        classifiers={"text": pred_probs, "image": apart},
        members={},
        without_image=np.isin(np.arange(len(sure)), without_image),
    )


def table(titles: list[str]) -> pd.DataFrame:
    return pd.DataFrame({"title": titles, "description": "", "group": np.arange(len(titles))}, dtype=object)


def detail(sure: list[float], *, title: str = "red", blind: int = 1, **given: Any) -> pd.DataFrame:
    return detail_of(model(blind=blind), table([title] * len(sure)), predictions(sure, **given))


def test_it_names_three_guesses_and_what_text_and_image_say_alone() -> None:
    row = detail([0.8]).iloc[0].to_dict()
    assert [row["code"], row["class_name"], row["probability"]] == ["10", "Books", "0.8000"]
    assert [row["second_code"], row["second_class_name"], row["second_probability"]] == [
        "20",
        "Pools",
        "0.1500",
    ]
    assert [row["third_code"], row["third_class_name"]] == ["30", ""]
    assert [row["text"], row["image"], row["agree"]] == ["10", "20", "no"]


def test_without_an_image_only_the_text_answers() -> None:
    row = detail([0.95], without_image=[0]).iloc[0]
    assert [row["image"], row["agree"], row["flag"], row["decision"]] == ["", "", NO_IMAGE, ACCEPT]


def test_what_the_model_never_trained_on_is_not_accepted() -> None:
    assert detail([0.95], without_image=[0], blind=0)["decision"].tolist() == [REVIEW]
    assert detail([0.95], title="der die das und mit")["decision"].tolist() == [REVIEW]


def test_the_threshold_decides_on_what_the_file_says() -> None:
    found = detail([0.90004, 0.89994, 0.5])
    assert found["decision"].tolist() == [ACCEPT, REVIEW, REVIEW]
    assert found["flag"].tolist() == ["", "", UNLIKE]


@pytest.mark.parametrize("threshold", [{}, {"probability": None}])
def test_a_model_without_a_threshold_accepts_nothing(threshold: dict[str, Any]) -> None:
    found = detail_of(model(threshold=threshold), table(["red"]), predictions([0.99]))
    assert found["decision"].tolist() == [REVIEW]


def test_some_of_the_accepted_go_to_review_marked_to_the_program_alone(tmp_path: Path) -> None:
    many = [0.95] * 300 + [0.5] * 100
    whole, one = table(["red"] * 400), model()
    found = answered(one, whole, predictions(many), detail_of(one, whole, predictions(many)))
    assert found.checked.sum() == LEAST_CHECKED
    assert found.counts["accepted"] == 300
    assert found.counts["to_review"] == 100 + LEAST_CHECKED == len(set(found.queue.tolist()))
    with detail_rows(tmp_path / "detail.tsv", one) as file:
        file.write(whole, predictions(many))
    send_some_to_review(tmp_path / "detail.tsv", one)
    with (tmp_path / "detail.tsv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert "checked" not in rows[0]
    assert [is_checked(row, 0.9) for row in rows] == found.checked.tolist()
    # Neither at the end nor in a row: anywhere.
    places = np.flatnonzero(found.checked[found.queue])
    assert places.min() < 30
    assert places.max() > 80


def test_the_same_products_are_checked_whatever_their_order() -> None:
    ids = [f"p{number}" for number in range(5000)]
    checked = checked_products(model(), ids)
    assert len(checked) == 50
    assert checked_products(model(), ids[::-1]) == checked
    assert len(checked & set(ids[:2500])) > 10


def test_a_look_that_settles_duplicates_comes_first() -> None:
    sure = [0.8, 0.6, 0.7, 0.7, 0.7, 0.95]
    order = review_queue(detail(sure), np.array([0, 1, 2, 2, 2, 5]), np.zeros(6, bool))
    assert order.tolist() == [2, 3, 4, 1, 0]
