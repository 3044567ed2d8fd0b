"""The Dockerfile and what it installs: one target for all stages, packages by hash."""

import re
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from components.core.project import IMAGES, SERVING, STAGE_NAMES, TASK_NAMES, Stage
from components.core.stage import SHARED

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "docker" / "Dockerfile").read_text(encoding="utf-8")
CONSTRAINTS = ROOT / "tests" / "constraints.txt"
LISTS = sorted([*(ROOT / "docker").glob("requirements-*.txt"), *(ROOT / "tests").glob("constraints*.txt")])
PIN = re.compile(r"[a-z0-9-]+==\S+ \\\n    --hash=sha256:[0-9a-f]{64}\n")
LISTS_OF = {"tables": ("kfp", "tables"), "torch": ("kfp", "tables", "torch")}
LISTS_OF |= {name: (*LISTS_OF["torch"], name) for name in ("registries", "serving")}
OTHERWISE = {"pandas", "protobuf"}  # what serving has in another version than those that it builds on


def targets() -> dict[str, tuple[str, str]]:
    """Of each target what it builds on and its instructions."""
    pieces = re.split(r"^FROM ", DOCKERFILE, flags=re.MULTILINE)[1:]
    found = {}
    for piece in pieces:
        first, _, rest = piece.partition("\n")
        parent, _, name = first.partition(" AS ")
        found[name] = (parent, rest)
    return found


def pins(path: Path) -> dict[str, str]:
    """Name -> version of a list of packages."""
    text = path.read_text(encoding="utf-8")
    return dict(re.findall(r"^([a-z0-9-]+)==(\S+)", text, flags=re.MULTILINE))


def installed(packages: str) -> dict[str, str]:
    """Name -> version of all that an image with these packages holds."""
    lists = [pins(ROOT / "docker" / f"requirements-{name}.txt") for name in LISTS_OF[packages]]
    names = [name for each in lists for name in each]
    twice = {name for name in names if names.count(name) > 1}
    assert twice == (OTHERWISE if packages == "serving" else set())
    return {name: version for each in lists for name, version in each.items()}


def test_hadolint_finds_nothing():
    hadolint = Path(sys.executable).parent / "hadolint"
    done = subprocess.run([hadolint, ROOT / "docker" / "Dockerfile"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr


def test_a_stage_has_its_own_code_alone_beside_what_all_share():
    parent, instructions = targets()["stage"]
    assert parent == "${PACKAGES}"
    copied = re.findall(r"^COPY (.*)", instructions, flags=re.MULTILINE)
    folders = [f"--from=code /code/components/{room}/ /app/components/{room}/" for room in SHARED]
    own = "--from=rooms /rooms/ /app/components/"
    configurations = "--from=code /configurations/components/ /app/components/"
    assert copied == [
        "--from=code /code/components/__init__.py /app/components/",
        configurations,
        *folders,
        own,
    ]


def test_an_image_checks_what_can_be_set_of_every_stage(tmp_path: Path):
    patterns = re.search(r"cp -r --parents (.*) /configurations/", targets()["code"][1])
    assert patterns
    paths = {path for pattern in patterns[1].split() for path in ROOT.glob(pattern)}
    paths |= {ROOT / "components" / name for name in ("__init__.py", *SHARED)}
    for path in paths:
        target = tmp_path / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            shutil.copytree(path, target, dirs_exist_ok=True)
        else:
            shutil.copyfile(path, target)
    script = (
        "from components.core.parameters import parse_values, wants_gpu\n"
        "parse_values({'text_configs': [{'name': 'a'}], 'fusion_folds': 8, 'ensemble_config': {}})\n"
        "print(wants_gpu('text', [{'name': 'a'}]), wants_gpu('text', [{'name': 'a', 'kind': 'linear'}]))"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout == "True False\n", done.stderr
    assert not (tmp_path / "components" / "text" / "run.py").exists()


@pytest.mark.parametrize("target", ["stage", "client"])
def test_an_image_runs_as_nobody_and_cannot_change_its_code(target: str):
    _, instructions = targets()[target]
    lines = [line for line in instructions.splitlines() if line]
    assert "USER 10001:0" in lines
    assert not any("chown" in line or line.startswith("RUN chmod") for line in lines)
    assert "chmod -R a+rX,a-w /code /configurations\n" in targets()["code"][1]


@pytest.mark.parametrize("target", ["stage", "client"])
def test_an_image_says_where_it_comes_from(target: str):
    _, instructions = targets()[target]
    for label in ("source", "revision", "title"):
        assert f"org.opencontainers.image.{label}=" in instructions


@pytest.mark.parametrize("stage", IMAGES, ids=lambda stage: stage.name)
def test_a_stage_installs_what_it_imports(stage: Stage):
    assert stage.packages in targets()
    packages = {"sklearn": "scikit-learn", "PIL": "pillow", "mlflow": "mlflow-skinny"}
    imported = {packages.get(name, name.replace("_", "-")) for name in imports(stage.rooms)}
    # Of what reads models, promote alone registers any.
    unused = set() if stage.packages == "registries" else {"mlflow-skinny", "model-registry"}
    assert imported - unused <= set(installed(stage.packages))


def imports(rooms: tuple[str, ...]) -> set[str]:
    """What the stage's folders and the shared modules that they reach name in import statements."""
    paths = [path for room in rooms for path in (ROOT / "components" / room).rglob("*.py")]
    pending = [path for path in paths if path.stem != "component"]
    seen, found = set(pending), set()
    while pending:
        text = pending.pop().read_text(encoding="utf-8")
        statements = re.findall(r"^\s*(?:from|import) ([\w.]+)(?: import (\w+))?", text, flags=re.MULTILINE)
        for module, name in statements:
            paths = [ROOT / f"{module.replace('.', '/')}.py", ROOT / module.replace(".", "/") / f"{name}.py"]
            more = {path for path in paths if path.exists()} - seen
            seen |= more
            pending += more
            found.add(module.split(".")[0])
    # `run` on one machine locks its folder; no image runs that.
    return found - set(sys.stdlib_module_names) - {"components", "filelock"}


@pytest.mark.parametrize("path", LISTS, ids=lambda path: path.stem)
def test_every_package_is_pinned_by_hash_and_none_by_address(path: Path):
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    body = "".join(line for line in lines if not line.startswith("#"))
    assert PIN.sub("", body) == ""
    assert PIN.findall(body)
    assert "://" not in path.read_text(encoding="utf-8")


def test_the_tests_compute_with_the_versions_of_the_images():
    images, tests = installed("torch"), pins(CONSTRAINTS)
    computing = ("cleanlab", "numpy", "pandas", "pillow", "pyarrow", "pydantic", "scikit-learn", "scipy")
    for name in (*computing, "simplejpeg", "timm", "tokenizers", "torch", "torchvision", "transformers"):
        assert images[name] == tests[name], name


def test_every_install_demands_hashes_and_takes_nothing_else():
    demand = "pip install --no-cache-dir --require-hashes --no-deps --"
    assert DOCKERFILE.count("pip install") == DOCKERFILE.count(demand) == 6
    assert not re.search(r"RUN --mount|<<|# syntax=", DOCKERFILE)


def test_triton_compiles_one_file_alone_to_reach_a_gpu():
    # An image holds it compiled: a version of Triton's that compiles more needs more of the Dockerfile.
    if metadata.version("triton") != pins(ROOT / "docker" / "requirements-torch.txt")["triton"]:
        pytest.skip("another version than that of the images is installed")
    folder = Path(str(metadata.distribution("triton").locate_file("triton/backends/nvidia")))
    sources = [path.read_text(encoding="utf-8") for path in folder.rglob("*.py")]
    compiled = [
        call for source in sources for call in re.findall(r"(?:compile_\w+_from_\w+|_build)\(", source)
    ]
    assert compiled == ["compile_module_from_file("]


def test_no_compiler_comes_into_an_image():
    assert [name for name, (_, steps) in targets().items() if "apt-get" in steps] == ["triton"]
    assert not any(parent == "triton" for parent, _ in targets().values())


def test_the_base_is_an_argument_so_that_it_can_be_pinned_by_digest():
    assert DOCKERFILE.count("python:3.11") == 1
    assert "ARG BASE_IMAGE=python:3.11-slim-bookworm" in DOCKERFILE


@pytest.mark.parametrize("goal", ["images", "push", "bake"])
def test_one_command_is_for_all_images(goal: str):
    command = ["make", "--dry-run", goal, f"PYTHON={sys.executable}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    found = re.findall(r"(\w+):(?:tables|torch|registries|serving):", done.stdout)
    assert found == [*TASK_NAMES, SERVING.name]


def test_the_stages_are_listed_in_one_place():
    folders = [ROOT / name for name in ("components", "docker", "manifests", "tests", ".ci", ".github")]
    paths = [*ROOT.glob("*"), *(path for folder in folders for path in folder.rglob("*"))]
    text = {".py", ".yaml", ".yml", ".toml", ".hcl", ".sh", ""}
    found = set()
    for path in [path for path in paths if path.is_file() and path.suffix in text]:
        lines = [line for line in path.read_text(encoding="utf-8").splitlines() if " import " not in line]
        # No list of seven is longer than a line for each.
        if any(all_named("\n".join(lines[first : first + 7])) for first in range(len(lines))):
            found.add(str(path.relative_to(ROOT)))
    # The table, the graph, and tests that draw every report and lay out every stage's outputs.
    tests = {"tests/reports/test_reports.py", "tests/client/test_server_run.py"}
    assert found == {"components/core/project.py", "pipeline.py", *tests}


def all_named(text: str) -> bool:
    """Whether every stage is named in a piece of text."""
    return set(STAGE_NAMES) <= set(re.findall(r"\w+", text))


def test_the_selfcheck_imports_the_stages_and_says_their_versions():
    command = [sys.executable, "-m", "components.core.selfcheck"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stdout.splitlines() if line.startswith("stage ")] == [
        f"stage {name}: complete" for name in TASK_NAMES
    ]
    assert "\nkfp 2.17" in done.stdout
