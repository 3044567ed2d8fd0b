"""A container engine, the base image and the project's images, built once for all tests here.

A running engine is used. Where none runs, root starts one of its own if Debian's docker.io is installed.
Where neither can be had the tests are skipped with a word, and fail in continuous integration (CI is set).
"""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest

ROOT = Path(__file__).parents[3]
BASE_IMAGE = "python:3.11-slim-bookworm"
REGISTRY, TAG = "ghcr.io/product-categorization", "containers-test"


def docker(*arguments: str, timeout: float = 600) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["docker", *arguments], capture_output=True, text=True, timeout=timeout)


def _cannot(reason: str) -> NoReturn:
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def _answers() -> bool:
    return docker("info").returncode == 0


@pytest.fixture(scope="session")
def engine() -> Iterator[None]:
    """Leaves DOCKER_HOST as it is for a running engine, or points it at one that is stopped afterwards."""
    if shutil.which("docker") is None:
        _cannot("no container engine: install one (Debian's is docker.io)")
    if _answers():
        yield
        return
    if os.geteuid() != 0 or shutil.which("dockerd") is None:
        _cannot("`docker info` fails and none can be started: that takes root and dockerd (docker.io)")
    folder = tempfile.mkdtemp(prefix="engine-")
    paths = ["--data-root", f"{folder}/data", "--exec-root", f"{folder}/exec", "--pidfile", f"{folder}/pid"]
    with (Path(folder) / "log").open("w") as log, pytest.MonkeyPatch.context() as patch:
        patch.setenv("DOCKER_HOST", f"unix://{folder}/socket")
        daemon = subprocess.Popen(
            ["dockerd", *paths, "-H", f"unix://{folder}/socket"], stdout=log, stderr=subprocess.STDOUT
        )
        try:
            _wait(daemon, Path(folder) / "log")
            yield
        finally:
            daemon.terminate()
            daemon.wait(timeout=60)
    shutil.rmtree(folder, ignore_errors=True)


def _wait(daemon: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(120):
        if daemon.poll() is not None:
            _cannot("dockerd ended: " + log.read_text()[-2000:])
        if _answers():
            return
        time.sleep(0.5)
    _cannot("dockerd does not answer: " + log.read_text()[-2000:])


@pytest.fixture(scope="session")
def images(engine: None) -> dict[str, str]:
    """The image of each stage, and `client`, from the repository's own Dockerfile by its one command."""
    if docker("image", "inspect", BASE_IMAGE).returncode and docker("pull", BASE_IMAGE).returncode:
        if shutil.which("mmdebstrap") is None:
            _cannot(
                f"{BASE_IMAGE} cannot be pulled, and mmdebstrap, which makes a stand-in, is not installed"
            )
        subprocess.run([Path(__file__).parent / "make_base.sh", BASE_IMAGE], check=True, timeout=900)
    command = ["make", "images", f"REGISTRY={REGISTRY}", f"TAG={TAG}", "SOURCE=https://example.org/code"]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=3600)
    assert built.returncode == 0, (built.stdout + built.stderr)[-5000:]
    listed = docker("images", "--format", "{{.Repository}}:{{.Tag}}", f"{REGISTRY}/*").stdout.split()
    return {name.rsplit("/", 1)[1].split(":")[0]: name for name in listed if name.endswith(f":{TAG}")}
