"""A package served over HTTP: the answers of `predict`, by both protocols."""

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from commands import command
from served import MAX_BYTES, Served

from components.data.image_store import ImageStore
from components.data.products import read_products
from components.lifecycle.detail import detail_of
from components.lifecycle.products import cleaned


@pytest.fixture(scope="module")
def table(served: Served) -> pd.DataFrame:
    """Products that were trained on, some without an image, some whose title says nothing."""
    table = read_products(served.run / "products").table.copy()
    table.loc[::7, "image"] = None
    table.loc[::3, "title"] = "x"
    return table.iloc[:40]


def instances(served: Served, table: pd.DataFrame) -> list[dict[str, Any]]:
    images = ImageStore(served.run / "images")
    encoded = [base64.b64encode(images.encoded(key)).decode() if key else "" for key in table["image"]]
    return [
        {"title": title, "description": description, "image": image}
        for title, description, image in zip(table["title"], table["description"], encoded, strict=True)
    ]


def test_by_v1_it_answers_what_predict_answers(served: Served, table: pd.DataFrame):
    expected = served.model.predict(table, ImageStore(served.run / "images"))
    assert len(set(expected.codes)) == 3
    status, found = served.predict(*instances(served, table))
    assert status == 200
    answers = found["predictions"]
    assert [each["code"] for each in answers] == expected.codes.tolist()
    assert [each["name"] for each in answers] == expected.names.tolist()
    assert [each["without_image"] for each in answers] == expected.without_image.tolist()
    detail = detail_of(served.model, cleaned(table), expected)
    for name in ("flag", "decision"):
        assert [each[name] for each in answers] == detail[name].tolist()
    assert "no image" in answers[0]["flag"]
    best = expected.pred_probs.max(axis=1)
    np.testing.assert_allclose([each["probability"] for each in answers], best, atol=1e-6)
    for answer, pred_probs in zip(answers, expected.pred_probs, strict=True):
        order = [each["code"] for each in answer["top"]]
        assert order == [served.model.classes[at] for at in np.argsort(-pred_probs, kind="stable")]


def test_an_image_alone_decides_where_the_title_says_nothing(served: Served, table: pd.DataFrame):
    row = table[(table["title"] == "x") & table["image"].notna()].iloc[:1]
    with_image = instances(served, row)[0]
    _, found = served.predict(with_image, {"title": "x"})
    assert found["predictions"][0]["code"] == row["code"].iloc[0]
    assert found["predictions"][0]["top"] != found["predictions"][1]["top"]


def v2(columns: dict[str, list[str]]) -> dict[str, Any]:
    tensors = [
        {"name": name, "shape": [len(values)], "datatype": "BYTES", "data": values}
        for name, values in columns.items()
    ]
    return {"id": "7", "inputs": tensors}


def outputs(found: dict[str, Any]) -> dict[str, list]:
    return {each["name"]: each["data"] for each in found["outputs"]}


def test_by_v2_it_answers_the_same(served: Served, table: pd.DataFrame):
    asked = instances(served, table)
    _, by_v1 = served.predict(*asked)
    columns = {name: [each[name] for each in asked] for name in asked[0]}
    status, found = served.post("/v2/models/shop/infer", v2(columns))
    assert status == 200
    assert (found["id"], found["model_name"], found["model_version"]) == ("7", "shop", served.model.version)
    answers = outputs(found)
    for name in ("code", "name", "without_image", "flag", "decision"):
        assert answers[name] == [each[name] for each in by_v1["predictions"]]
    top = [each["code"] for answer in by_v1["predictions"] for each in answer["top"]]
    assert answers["top_code"] == top
    shapes = {each["name"]: each["shape"] for each in found["outputs"]}
    assert (shapes["probability"], shapes["top_probability"]) == ([40], [40, 3])


def test_by_v2_in_binary_it_answers_the_same(served: Served, table: pd.DataFrame):
    row = table[(table["title"] == "x") & table["image"].notna()].iloc[:1]
    [asked] = instances(served, row)
    sent = [len(value).to_bytes(4, "little") + value.encode() for value in (asked["title"], asked["image"])]
    tensors = [
        {"name": name, "shape": [1], "datatype": "BYTES", "parameters": {"binary_data_size": len(value)}}
        for name, value in zip(("title", "image"), sent, strict=True)
    ]
    head = json.dumps({"inputs": tensors}).encode()
    headers = {
        "content-type": "application/octet-stream",
        "inference-header-content-length": str(len(head)),
    }
    status, found = served.post("/v2/models/shop/infer", head + b"".join(sent), headers)
    assert status == 200
    assert outputs(found)["code"] == [row["code"].iloc[0]]


@pytest.mark.parametrize("called", ["application/x-www-form-urlencoded", "text/plain", "image/png"])
def test_an_object_that_is_called_something_else_is_read_all_the_same(served: Served, called: str):
    headers, asked = {"content-type": called}, {"instances": [{"title": "roman"}]}
    status, found = served.post("/v1/models/shop:predict", asked, headers)
    assert (status, found["predictions"][0]["code"]) == (200, "10")
    status, found = served.post("/v1/models/shop:predict", b"title=roman", headers)
    assert (status, found) == (400, {"error": 'expected a JSON object with "instances"'})


def test_who_asks_whether_it_is_ready_is_answered(served: Served):
    assert served.get("/v2/health/ready") == (200, '{"ready":true}')
    assert served.get("/v1/models/shop") == (200, '{"name":"shop","ready":true}')
    status, found = served.get("/v2/models/shop")
    assert status == 200
    assert [each["name"] for each in json.loads(found)["inputs"]] == [
        *("title", "description", "image", "image_url")
    ]
    assert served.get("/v1/models/other")[0] == 404


def test_nobody_can_unload_the_model(served: Served):
    status, found = served.post("/v2/repository/models/shop/unload", {})
    assert (status, found["error"]) == (400, "shop: the model of this server stays loaded")
    assert served.predict({"title": "roman"})[0] == 200


def test_a_body_that_is_too_large_is_refused_before_it_is_read(served: Served):
    status, found = served.predict({"title": "a" * MAX_BYTES})
    assert (status, found) == (413, {"error": "the request is larger than 1,048,576 bytes"})


def test_a_port_that_is_taken_is_named(served: Served):
    options = ["--model", served.run / "model", "--port", served.port]
    said = command("serve", *options, status=2).output
    assert said.startswith(f"error: 127.0.0.1, port {served.port}: cannot listen there: ")


def test_without_kserve_one_line_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("components.serving.command.find_spec", lambda name: None)
    said = command("serve", "--model", tmp_path, status=2).output
    assert said.count("\n") == 1
    assert "pip install '.[run,serving]'" in said


def test_pandas_is_the_one_that_kserve_wants():
    assert pd.__version__.startswith("2.")
