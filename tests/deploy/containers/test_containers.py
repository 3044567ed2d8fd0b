"""The images as an engine builds and runs them, and the pipeline in them."""

import csv
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from commands import PRODUCTS
from engine import REGISTRY, ROOT, TAG, docker
from kfp import local
from kfp.components import load_component_from_file
from object_store import ObjectStore
from pipelines_server import PipelinesServer
from tiny_catalog import TINY_RUN

from components.client.sample.catalog import write_sample
from components.core.project import SERVING, TASK_NAMES, TASKS
from components.core.stage import SHARED

pytestmark = [pytest.mark.containers, pytest.mark.slow, pytest.mark.timeout(3600)]

MEGABYTE = 1_000_000
PACKAGES = {stage.name: stage.packages for stage in TASKS}
# Any user, nothing writable but a temporary directory, no privilege.
CONFINED = (
    *("--rm", "--user", "4242:4242", "--read-only", "--tmpfs", "/tmp"),
    *("--cap-drop", "ALL", "--security-opt", "no-new-privileges"),
)
# What Python finds in the environment, by the names that requirement files use.
NAMES = (
    "import re, sysconfig; from importlib.metadata import distributions; "
    "found = distributions(path=[sysconfig.get_path('purelib')]); "
    "print(*{re.sub('[._]', '-', each.metadata['Name'].lower()) for each in found})"
)


def inspect(image: str) -> dict[str, Any]:
    return json.loads(docker("image", "inspect", image).stdout)[0]


def inside(image: str, *command: str) -> subprocess.CompletedProcess[str]:
    """A command in a confined container, in place of what the image starts by itself."""
    return docker("run", *CONFINED, "--network", "none", "--entrypoint", command[0], image, *command[1:])


def test_one_command_builds_all(images: dict[str, str]):
    assert set(images) == {*TASK_NAMES, SERVING.name, "client"}


@pytest.mark.parametrize("stage", [name for name, packages in PACKAGES.items() if packages == "tables"])
def test_a_stage_without_torch_is_small(images: dict[str, str], stage: str):
    assert inspect(images[stage])["Size"] < 750 * MEGABYTE


def test_stages_share_their_packages(images: dict[str, str]):
    shared: dict[str, list[list[str]]] = {packages: [] for packages in PACKAGES.values()}
    for stage, packages in PACKAGES.items():
        layers = inspect(images[stage])["RootFS"]["Layers"]
        # The last ones are its code: the package, what all share, and its own.
        shared[packages].append(layers[: -3 - len(SHARED)])
    tables, torch = shared["tables"][0], shared["torch"][0]
    assert all(each == tables for each in shared["tables"])
    assert all(each == torch for each in shared["torch"])
    assert torch[: len(tables)] == tables
    assert len(torch) > len(tables)
    assert all(each[: len(torch)] == torch for each in shared["registries"])


@pytest.mark.parametrize("stage", TASK_NAMES)
def test_a_stage_starts_as_any_user_without_rights(images: dict[str, str], stage: str):
    done = docker("run", *CONFINED, "--network", "none", images[stage])
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("python 3.11.")
    assert f"stage {stage}: complete\n" in done.stdout
    assert ("\ntorch 2." in done.stdout) == (PACKAGES[stage] != "tables")


def test_the_server_answers_as_any_user_without_rights(images: dict[str, str]):
    mounted = f"--volume={ROOT / 'tests' / 'lifecycle' / 'packages' / 'format-1'}:/mnt/models:ro"
    script = (
        "import json, subprocess, sys, time, urllib.request as web\n"
        "command = [sys.executable, '-m', 'components.serving', '--model', '/mnt/models', '--name', 'shop']\n"
        "server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)\n"
        "print(server.stdout.readline())\n"
        "body = json.dumps({'instances': [{'title': 'roman poche'}]}).encode()\n"
        "address = 'http://127.0.0.1:8080/v1/models/shop:predict'\n"
        "print(web.urlopen(address, body, timeout=60).read().decode())\n"
        "server.terminate()\n"
        "print('ended with', server.wait(30))\n"
    )
    command = ["--entrypoint", "python", images["serving"], "-c", script]
    done = docker("run", *CONFINED, "--network", "none", mounted, *command)
    assert '{"predictions":[{"code":"10","name":"Livres",' in done.stdout, done.stdout + done.stderr
    assert "ended with" in done.stdout


def test_the_client_registers_a_schedule_as_any_user_without_rights(images: dict[str, str]):
    server = PipelinesServer()
    confined = [*CONFINED, "--network", "host"]
    options = ["--cron", "0 0 3 * * 1", "--registry", "r.example/team", "--param", PRODUCTS]
    done = docker("run", *confined, images["client"], "schedule", "--host", server.host, *options)
    server.shutdown()
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(server.kept["recurringruns"]) == 1
    (version,) = server.kept["versions"]
    assert "r.example/team/text:" in json.dumps(version["pipeline_spec"])


def test_the_catalogs_store_is_not_the_artifacts_store(images: dict[str, str]):
    store = ObjectStore({"shop/products.tsv": b"read"}, access_key="catalog-key")
    variables = {
        "CATALOG_AWS_ACCESS_KEY_ID": "catalog-key",
        "CATALOG_AWS_SECRET_ACCESS_KEY": "canary-5c1e",
        "CATALOG_AWS_ENDPOINT_URL": store.address,
        "AWS_ACCESS_KEY_ID": "artifacts-key",
        "AWS_SECRET_ACCESS_KEY": "canary-9d20",
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
    }
    environment = [f"--env={name}={value}" for name, value in variables.items()]
    script = (
        "from pathlib import Path; from components.data.uris import fetch; "
        "print(fetch('s3://shop/products.tsv', Path('/tmp/copy')).read_text())"
    )
    command = ["--entrypoint", "python", images["preprocess"], "-c", script]
    done = docker("run", *CONFINED, "--network", "host", *environment, *command)
    store.shutdown()
    assert done.stdout == "read\n", done.stderr
    assert "canary" not in done.stderr
    assert store.access_keys == {"catalog-key"}


@pytest.mark.parametrize("name", [*TASK_NAMES, "client"])
def test_nothing_that_builds_is_left_and_what_is_inside_is_listed(images: dict[str, str], name: str):
    script = (
        "for tool in gcc g++ cc ld make; do command -v $tool; done; ls /opt/venv/bin/pip; cat /requirements/*"
    )
    done = inside(images[name], "sh", "-c", script)
    listed = set(re.findall(r"^([a-z0-9-]+)==", done.stdout, flags=re.MULTILINE))
    found = inside(images[name], "python", "-c", NAMES).stdout.split()
    assert not done.stdout.startswith("/")
    assert set(found) == listed


def test_triton_finds_what_it_needs_for_a_gpu_without_a_compiler(images: dict[str, str]):
    script = (
        "import os; from triton.backends.nvidia import driver; from triton.runtime import build; "
        "source = os.path.join(driver.dirname, 'driver.c'); "
        "given = {'include_dirs': driver.include_dirs, 'libraries': driver.libraries}; "
        "path = build.compile_so_from_file(source, 'cuda_utils', library_dirs=['/lib'], **given); "
        "code = open(path, 'rb').read(); "
        "print(b'PyInit_cuda_utils\\0' in code, b'\\0libcuda.so.1\\0' in code); "
        "build.compile_so_from_src('int a;', 'other')"
    )
    done = inside(images["image"], "python", "-c", script)
    assert done.stdout == "True True\n", done.stderr
    assert "no compiler: of /tmp/" in done.stderr


@pytest.mark.parametrize("stage", TASK_NAMES)
def test_a_stage_holds_its_own_code_alone_and_cannot_change_it(images: dict[str, str], stage: str):
    # Of the other stages it has what can be set of them.
    runs = inside(images[stage], "sh", "-c", "cd /app/components; ls */run.py").stdout.split()
    assert runs == sorted(f"{room}/run.py" for task in TASKS if task.name == stage for room in task.rooms)
    # On a writable disk too, as the image's own user.
    writing = docker(
        "run", "--rm", "--entrypoint", "sh", images[stage], "-c", "echo >> /app/components/core/stage.py"
    )
    assert writing.returncode != 0
    assert "Permission denied" in writing.stderr


@pytest.mark.parametrize("name", [*TASK_NAMES, "client"])
def test_an_image_says_where_it_comes_from(images: dict[str, str], name: str):
    config = inspect(images[name])["Config"]
    labels = {key.rsplit(".", 1)[1]: value for key, value in config["Labels"].items()}
    assert labels["title"] == name
    assert labels["source"] == "https://example.org/code"
    assert re.fullmatch("[0-9a-f]{40}", labels["revision"])
    assert config["User"] == "10001:0"


def test_the_pipeline_predicts_in_containers_what_it_predicts_in_processes(
    images: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    catalog = write_sample(tmp_path / "containers" / "catalog", seed=1, products=700, test_products=40)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    in_processes, in_containers = run_in_processes(tmp_path, catalog), run_in_containers(tmp_path, catalog)
    assert len(in_containers) == 40
    assert in_containers == in_processes


def run_in_processes(folder: Path, catalog: dict[str, str]) -> dict[str, str]:
    options = [f"--{name.replace('_', '-')}={path}" for name, path in catalog.items()]
    options += [f"--param={name}={json.dumps(value)}" for name, value in TINY_RUN.items()]
    command = [
        sys.executable,
        str(ROOT / "pipeline.py"),
        "run",
        *options,
        "--output",
        str(folder / "processes"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    return predictions(folder / "processes" / "predictions.tsv")


def run_in_containers(folder: Path, catalog: dict[str, str]) -> dict[str, str]:
    """As a user who isn't root, without network or rights; nothing is writable but the artifacts."""
    compiled, root = folder / "pipeline.yaml", folder / "containers"
    command = [sys.executable, str(ROOT / "pipeline.py"), "compile", "--output", str(compiled)]
    subprocess.run([*command, "--registry", REGISTRY, "--tag", TAG], check=True, timeout=120)
    user = os.getuid() or 10001
    for path in [root, *root.rglob("*")]:
        os.chown(path, user, os.getgid())
    runner = local.DockerRunner(
        user=f"{user}:{os.getgid()}",
        read_only=True,
        tmpfs={"/tmp": ""},
        network_mode="none",
        cap_drop=["ALL"],
        security_opt=["no-new-privileges"],
        environment={"OMP_NUM_THREADS": "1"},
    )
    local.init(runner, pipeline_root=str(root))
    files = {f"catalog_{name}": path for name, path in catalog.items()}
    load_component_from_file(str(compiled))(**files, **TINY_RUN)
    # A container that vanished reads as success: what it left is what counts.
    (found,) = root.glob("*/evaluate/results/predictions.tsv")
    return predictions(found)


def predictions(path: Path) -> dict[str, str]:
    with path.open(encoding="utf-8", newline="") as file:
        return {row["Product_id"]: row["Prdtypecode"] for row in csv.DictReader(file, delimiter="\t")}
