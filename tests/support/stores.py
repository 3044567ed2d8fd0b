"""Stores of models: a folder, S3 as moto serves it, and a stand-in for Google Cloud Storage."""

from collections.abc import Iterator
from pathlib import Path

import fsspec
import fsspec.config
import pytest
from gs_server import GoogleStorage

from components.data.uris import CATALOG_VARIABLES


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """The address of a server of S3 from PyPI."""
    pytest.importorskip("s3fs")
    moto_server = pytest.importorskip("moto.server")
    server = moto_server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3_store(s3_server: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """An empty store in a bucket of its own."""
    for name, value in zip(CATALOG_VARIABLES.values(), ("key", "secret", s3_server), strict=True):
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    bucket = f"bucket-{abs(hash(request.node.nodeid)):x}"
    files = fsspec.filesystem("s3", key="key", secret="secret", endpoint_url=s3_server)
    files.mkdir(bucket)
    return f"s3://{bucket}/shop"


@pytest.fixture
def google_storage(monkeypatch: pytest.MonkeyPatch) -> Iterator[GoogleStorage]:
    """A stand-in that gcsfs talks to: over HTTP alone, as the variable below has it."""
    monkeypatch.setenv("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
    pytest.importorskip("gcsfs")
    server = GoogleStorage()
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.address)
    monkeypatch.setitem(fsspec.config.conf, "gcs", {"token": "anon", "endpoint_url": server.address})
    monkeypatch.setitem(fsspec.config.conf, "gs", {"token": "anon", "endpoint_url": server.address})
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture(params=["folder", "s3", "gs, a stand-in"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty store of every kind."""
    if request.param == "folder":
        return str(tmp_path / "store")
    if request.param == "s3":
        return request.getfixturevalue("s3_store")
    request.getfixturevalue("google_storage")
    return "gs://bucket/shop"
