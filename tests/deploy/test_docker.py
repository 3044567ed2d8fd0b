"""The Dockerfile and what it installs: a target a stage, its own code alone, every package by hash."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from components.core.project import STAGES

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "docker" / "Dockerfile").read_text(encoding="utf-8")
LISTS = sorted((ROOT / "docker").glob("requirements-*.txt"))
PIN = re.compile(r"[a-z0-9-]+==\S+ \\\n    --hash=sha256:[0-9a-f]{64}\n")
# What a stage's target builds on, directly.
PARENTS = {
    "preprocess": "stores",
    "denoise": "stores",
    "text": "torch",
    "image": "torch",
    "fusion": "torch",
    "ensemble": "base",
    "evaluate": "base",
}
LISTS_OF = {
    "base": {"kfp", "tables"},
    "stores": {"kfp", "tables", "stores"},
    "torch": {"kfp", "tables", "stores", "torch"},
}


def targets() -> dict[str, tuple[str, str]]:
    """Of each target what it builds on and its instructions."""
    pieces = re.split(r"^FROM ", DOCKERFILE, flags=re.MULTILINE)[1:]
    found = {}
    for piece in pieces:
        first, _, rest = piece.partition("\n")
        parent, _, name = first.partition(" AS ")
        found[name] = (parent, rest)
    return found


def test_hadolint_finds_nothing():
    hadolint = Path(sys.executable).parent / "hadolint"
    done = subprocess.run([hadolint, ROOT / "docker" / "Dockerfile"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_has_a_target_with_its_own_code_alone(stage: str):
    parent, instructions = targets()[stage]
    assert parent == PARENTS[stage]
    copied = re.findall(r"^COPY .*", instructions, flags=re.MULTILINE)
    own = f"COPY --from=code /code/stages/{stage}/ /app/components/{stage}/"
    assert [line for line in copied if "/code/" in line] == ["COPY --from=code /code/shared/ /app/", own]
    assert f'CMD ["python", "-m", "components.core.selfcheck", "{stage}"]' in instructions


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_runs_as_nobody_and_cannot_change_its_code(stage: str):
    _, instructions = targets()[stage]
    lines = [line for line in instructions.splitlines() if line]
    assert "USER 10001:0" in lines
    assert not any("chown" in line or line.startswith("RUN chmod") for line in lines)
    _, code = targets()["code"]
    assert "chmod -R a+rX,a-w /code\n" in code


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_says_where_it_comes_from(stage: str):
    _, instructions = targets()[stage]
    for label in ("source", "revision", "title"):
        assert f"org.opencontainers.image.{label}=" in instructions


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_installs_what_it_imports(stage: str):
    imported = imports(stage)
    lists = LISTS_OF[PARENTS[stage]] | ({"cleanlab"} if stage == "denoise" else set())
    text = "".join((ROOT / "docker" / f"requirements-{name}.txt").read_text() for name in lists)
    installed = set(re.findall(r"^([a-z0-9-]+)==", text, flags=re.MULTILINE))
    packages = {"sklearn": "scikit-learn", "PIL": "pillow"}
    assert {packages.get(name, name.replace("_", "-")) for name in imported} <= installed


def imports(stage: str) -> set[str]:
    """What the stage's folder and the shared modules that it reaches name in import statements."""
    pending = [path for path in (ROOT / "components" / stage).glob("*.py") if path.stem != "component"]
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
    return found - set(sys.stdlib_module_names) - {"components"}


@pytest.mark.parametrize("path", LISTS, ids=lambda path: path.stem)
def test_every_package_is_pinned_by_hash_and_none_by_address(path: Path):
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    body = "".join(line for line in lines if not line.startswith("#"))
    assert PIN.sub("", body) == ""
    assert PIN.findall(body)
    assert "://" not in path.read_text(encoding="utf-8")


def test_the_lists_of_one_image_agree():
    pins: dict[str, set[str]] = {}
    for name in LISTS_OF["torch"] | {"cleanlab"}:
        text = (ROOT / "docker" / f"requirements-{name}.txt").read_text(encoding="utf-8")
        for package, version in re.findall(r"^([a-z0-9-]+)==(\S+)", text, flags=re.MULTILINE):
            pins.setdefault(package, set()).add(version)
    assert {package: versions for package, versions in pins.items() if len(versions) > 1} == {}


def test_every_install_demands_hashes_and_takes_nothing_else():
    assert DOCKERFILE.count("pip install") == 6
    assert DOCKERFILE.count("pip install --no-cache-dir --require-hashes --no-deps --") == 6
    assert not re.search(r"RUN --mount|<<|# syntax=", DOCKERFILE)


def test_the_base_is_an_argument_so_that_it_can_be_pinned_by_digest():
    assert DOCKERFILE.count("python:3.11") == 1
    assert "ARG BASE_IMAGE=python:3.11-slim-bookworm" in DOCKERFILE


def test_one_command_builds_all_seven():
    bake = (ROOT / "docker" / "bake.hcl").read_text(encoding="utf-8")
    built = re.search(r"stage = \[(.*)\]", bake)
    assert built is not None
    assert re.findall(r'"(\w+)"', built[1]) == list(STAGES)


@pytest.mark.parametrize("stage", ["ensemble", "evaluate"])
def test_the_selfcheck_imports_the_stage_and_says_its_versions(stage: str):
    done = subprocess.run(
        [sys.executable, "-m", "components.core.selfcheck", stage], capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"stage {stage}\npython 3.")
    assert "\nkfp 2.17" in done.stdout


def test_the_selfcheck_refuses_an_unknown_stage():
    done = subprocess.run(
        [sys.executable, "-m", "components.core.selfcheck", "nothing"],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert done.returncode == 1
    assert "usage:" in done.stderr
