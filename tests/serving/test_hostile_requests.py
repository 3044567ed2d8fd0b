"""Requests that mean harm, or are none: a clear 4xx each, and the server answers the next one."""

import base64
import io
import json
from collections.abc import Iterator
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import fsspec.config
import numpy as np
import pytest
from object_store import ObjectStore
from PIL import Image
from served import MAX_BYTES as MOST
from served import Served
from tiny_catalog import jpeg

from components.core.errors import InputError
from components.data.uris import CATALOG_VARIABLES
from components.preprocess.images.sources import MAX_BYTES
from components.serving.images import AllowedStores

GOOD = jpeg()


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def saved(picture: Image.Image, kind: str) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind)
    return file.getvalue()


def bomb() -> bytes:
    """A PNG of some hundred kilobytes and 900 million pixels."""
    return saved(Image.new("1", (30_000, 30_000)), "PNG")


@pytest.fixture(autouse=True)
def still_serving(served: Served) -> Iterator[None]:
    yield
    status, found = served.predict({"title": "roman", "image": encoded(GOOD)})
    assert (status, found["predictions"][0]["without_image"]) == (200, False)


def refused(answer: tuple[int, Any]) -> str:
    status, found = answer
    assert status == 400, found
    assert len(found["error"]) < 600
    return found["error"]


PICTURES = {
    "bomb": (bomb(), "image_too_large: 30000x30000"),
    "page": (b"<html>not here</html>", "not_an_image"),
    "drawing": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not_an_image"),
    "postscript": (b"%!PS-Adobe-3.0 EPSF-3.0\n", "not_an_image"),
    "tiff": (saved(Image.new("RGB", (8, 8)), "TIFF"), "not_an_image"),
    "half": (GOOD[: len(GOOD) // 2], "image_truncated"),
}


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_that_cannot_be_used_is_refused_by_its_place(served: Served, name: str):
    data, reason = PICTURES[name]
    good = {"title": "a", "image": encoded(GOOD)}
    said = refused(served.predict(good, {"title": "a", "image": encoded(data)}))
    assert said.startswith(f"product 1, image: {reason}")


@pytest.mark.parametrize(
    ("instance", "reason"),
    [
        ({"title": "a", "image": "no base64!"}, "product 0, image: not base64"),
        ({"title": "a", "image": "é"}, "product 0, image: not base64"),
        ({"title": "a", "image": 7}, "product 0, image: expected the base64 of a file"),
        ({"title": "a", "image": {"b64": "AA=="}}, "product 0, image: expected the base64 of a file"),
        (
            {"title": "a", "image": "AA==", "image_url": "s3://shop/pictures/a"},
            "product 0: image and image_url",
        ),
        ({"title": 7}, "product 0, title: expected a text"),
        ({"title": "a" * 100_001}, "product 0, title: 100,001 characters: 100,000 is the limit"),
        ({"description": "a"}, "product 0: no title"),
        ({"title": "a", "picture": "AA=="}, "product 0: unknown picture; expected title, description"),
        ("a title", "product 0: expected an object"),
    ],
    ids=lambda value: "" if isinstance(value, str) else next(iter(value), "none"),
)
def test_an_instance_that_is_none_is_refused_by_its_place(served: Served, instance: Any, reason: str):
    assert refused(served.predict(instance)).startswith(reason)


@pytest.mark.parametrize(
    "body",
    [
        *(b"{", b"", b"[]", b"null", b'"text"', b"\xff\xfe", b"[" * 100_000, b'{"instances": 7}'),
        *(
            b'{"instances": []}',
            b'{"instances": [null]}',
            b'{"instances": {"title": "a"}}',
            b'{"inputs": []}',
        ),
    ],
    ids=lambda body: body[:24].decode("ascii", "replace"),
)
def test_a_body_that_is_no_request_is_refused(served: Served, body: bytes):
    refused(served.post("/v1/models/shop:predict", body))


def test_more_products_than_one_request_may_ask_about_are_refused(served: Served):
    said = refused(served.predict(*[{"title": "a"}] * 257))
    assert said == "257 products in one request: 256 is the limit"


def tensor(**changes: Any) -> dict[str, Any]:
    return {"name": "title", "shape": [1], "datatype": "BYTES", "data": ["a"], **changes}


@pytest.mark.parametrize(
    "tensors",
    [
        [tensor(shape=[7])],
        [tensor(shape=[2**62, 2**62])],
        [tensor(datatype="FP32", data=[1.0])],
        [tensor(datatype="nothing")],
        [tensor(data=[["a"], "b"], shape=[2])],
        [tensor(), tensor(name="description", data=["a", "b"], shape=[2])],
        [tensor(name="picture")],
        [],
    ],
    ids=["shape", "huge", "numbers", "datatype", "nested", "lengths", "name", "none"],
)
def test_tensors_that_are_none_are_refused(served: Served, tensors: list[dict[str, Any]]):
    refused(served.post("/v2/models/shop/infer", {"inputs": tensors}))


@pytest.mark.parametrize(
    ("head", "rest", "length"),
    [
        (b"{}", b"", "2"),
        (b'{"inputs": 7}', b"", "13"),
        (b'{"inputs": [7]}', b"", "15"),
        (b'{"inputs": []}', b"", "many"),
        (b"", b"\xff\xff\xff\x7fa", ""),
        (b"", b"\x01\x00\x00\x00\xff", ""),
    ],
    ids=["empty", "number", "numbers", "length", "longer", "no-text"],
)
def test_a_binary_request_that_is_none_is_refused(served: Served, head: bytes, rest: bytes, length: str):
    if not head:
        sized = {"name": "title", "shape": [1], "datatype": "BYTES"}
        head = json.dumps({"inputs": [{**sized, "parameters": {"binary_data_size": len(rest)}}]}).encode()
    headers = {
        "content-type": "application/octet-stream",
        "inference-header-content-length": length or str(len(head)),
    }
    refused(served.post("/v2/models/shop/infer", head + rest, headers))


class Listener(ThreadingHTTPServer):
    """Notes who comes, and may send them on to another address."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Counts)
        self.came: list[str] = []
        self.sends_to = ""
        Thread(target=self.serve_forever, daemon=True).start()


class _Counts(BaseHTTPRequestHandler):
    server: Listener  # type: ignore[assignment]

    def do_GET(self) -> None:
        self.server.came.append(self.path)
        self.send_response(307 if self.server.sends_to else 200)
        self.send_header("Location", self.server.sends_to)
        self.send_header("Content-Length", str(len(GOOD)))
        self.end_headers()
        self.wfile.write(GOOD)

    do_HEAD = do_GET

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def listener() -> Iterator[Listener]:
    server = Listener()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def shop(listener: Listener) -> Iterator[ObjectStore]:
    """Holds pictures, an object that is too large, and one that sends whoever asks for it elsewhere."""
    objects = {"shop/pictures/good.jpg": GOOD, "shop/other.jpg": GOOD, "other/pictures/good.jpg": GOOD}
    server = ObjectStore({**objects, "shop/pictures/large.jpg": bytes(MAX_BYTES + 1)}, access_key="key")
    server.redirects["shop/pictures/sent-on.jpg"] = f"http://127.0.0.1:{listener.server_port}/secret"
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def store(shop: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> ObjectStore:
    """`shop`, which nobody has asked for anything yet."""
    for name, value in zip(CATALOG_VARIABLES.values(), ("key", "secret", shop.address), strict=True):
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    shop.access_keys.clear()
    return shop


def test_an_image_of_an_allowed_store_is_fetched(served: Served, store: ObjectStore):
    status, found = served.predict(
        {"title": "x", "image_url": "s3://shop/pictures/good.jpg"}, {"title": "x", "image": encoded(GOOD)}
    )
    assert status == 200
    assert found["predictions"][0] == found["predictions"][1]
    assert not found["predictions"][0]["without_image"]


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/latest/meta-data/",
        "https://shop/pictures/good.jpg",
        "file:///etc/passwd",
        "/etc/passwd",
        "pictures/good.jpg",
        "data:image/png;base64,AA==",
        "s3://other/pictures/good.jpg",
        "s3://shop/other.jpg",
        "s3://shop/pictures",
        "s3://shop/pictures/../other.jpg",
        "s3://shop/pictures/%2e%2e/other.jpg",
        "s3://shop/pictures\\..\\other.jpg",
        "s3://shop/picturesque/good.jpg",
        "s3://key:secret@shop/pictures/good.jpg",
        "s3://shop@127.0.0.1/pictures/good.jpg",
        "gs://shop/pictures/good.jpg",
        "simplecache::s3://shop/pictures/good.jpg",
        "s3://shop/pictures/good.jpg?versionId=1",
        "s3://[::1]/pictures/good.jpg",
        "s3://[/pictures/good.jpg",
        "s3://shop/pictures/\0good.jpg",
    ],
)
def test_an_address_outside_the_allowed_stores_is_asked_for_nothing(
    served: Served, store: ObjectStore, url: str
):
    said = refused(served.predict({"title": "a", "image_url": url}))
    assert said.endswith("is in no store that images may come from")
    assert "secret" not in said
    assert store.access_keys == set()


def test_a_store_that_sends_on_to_another_address_is_not_followed(
    served: Served, store: ObjectStore, listener: Listener
):
    said = refused(served.predict({"title": "a", "image_url": "s3://shop/pictures/sent-on.jpg"}))
    assert "cannot be fetched" in said
    assert store.access_keys == {"key"}
    assert listener.came == []


def test_nor_is_google_cloud_storage(listener: Listener, monkeypatch: pytest.MonkeyPatch):
    listener.sends_to = f"http://127.0.0.1:{listener.server_port}/secret"
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{listener.server_port}")
    monkeypatch.setenv("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
    monkeypatch.setitem(fsspec.config.conf, "gs", {"token": "anon"})
    with pytest.raises(InputError, match="another address, which is not followed"):
        AllowedStores(["gs://shop"]).fetch("gs://shop/good.jpg")
    assert listener.came
    assert "/secret" not in listener.came


def test_what_is_too_large_or_missing_in_a_store_is_refused(served: Served, store: ObjectStore):
    for name, reason in (
        ("large", "20,971,521 bytes: 20,971,520 is the limit"),
        ("none", "cannot be fetched"),
    ):
        said = refused(served.predict({"title": "a", "image_url": f"s3://shop/pictures/{name}.jpg"}))
        assert reason in said


def test_images_that_are_too_large_together_are_refused_by_the_product_that_is_too_much(
    served: Served, store: ObjectStore, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("components.serving.images.MAX_FETCHED", 2 * len(GOOD))
    product = {"title": "a", "image_url": "s3://shop/pictures/good.jpg"}
    assert served.predict(product, product)[0] == 200
    said = refused(served.predict(product, product, product))
    assert "product 2, image: over" in said


def test_a_place_that_is_no_store_cannot_be_allowed():
    for place in ("https://shop.example", "file:///data", "/data", "s3://", "s3://shop/../x"):
        with pytest.raises(InputError):
            AllowedStores([place])


def test_a_body_of_unknown_length_is_cut_off_at_the_limit(served: Served):
    connection = HTTPConnection("127.0.0.1", served.port, timeout=60)
    pieces = (bytes(2**16) for _ in range(2 * MOST // 2**16))
    connection.request("POST", "/v1/models/shop:predict", pieces, encode_chunked=True)
    answer = connection.getresponse()
    assert answer.status == 413
    connection.close()


def test_random_bytes_never_break_the_server(served: Served):
    random = np.random.default_rng(0)
    whole = json.dumps({"instances": [{"title": "roman", "image": encoded(GOOD)}]}).encode()
    statuses = set()
    for _ in range(60):
        damaged = bytearray(whole)
        for at in random.integers(len(damaged), size=3):
            damaged[at] = random.integers(256)
        statuses.add(served.post("/v1/models/shop:predict", bytes(damaged))[0])
    assert statuses <= {200, 400}
