"""What the documents name is there: paths, commands with their options, parameters, targets of make."""

import re
import shlex
from pathlib import Path

import click
import pytest

import pipeline
from components.client.graph.prediction import build_prediction
from components.client.presets import PRESETS

ROOT = Path(__file__).parents[2]
PATTERNS = (
    "README.md",
    "CONTRIBUTING.md",
    "docs/[!c]*.md",
    "docs/cl*.md",
    "components/*/README.md",
    "benchmarks/*.md",
)
DOCUMENTS = sorted(str(path.relative_to(ROOT)) for each in PATTERNS for path in ROOT.glob(each))
# One name, one thing: these have others now (CONTRIBUTING.md).
RETIRED = re.compile(r"\b(voters?|judge[sd]?|told)\b", re.IGNORECASE)
# What docs/extending.md has its reader add.
ADDED = ("components/text/kinds/centroid.py", "components/fusion/kinds/geometric.py", "components/lengths")


def options(command: click.Command) -> set[str]:
    """The options of a command, or of all commands of a group."""
    found = {option for each in command.params for option in (*each.opts, *each.secondary_opts)}
    return (
        found.union(*map(options, command.commands.values())) if isinstance(command, click.Group) else found
    )


OPTIONS = {name: options(command) for name, command in pipeline.main.commands.items()}
PARAMETERS = {
    name
    for build in (pipeline.build_pipeline, build_prediction)
    for name in build(PRESETS["laptop"]).component_spec.inputs
}
ARTIFACTS = {
    name
    for stage in pipeline.COMPONENTS.values()
    for name in {**stage.component_spec.inputs, **stage.component_spec.outputs}
}


@pytest.fixture(params=DOCUMENTS)
def document(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def text(document: str) -> str:
    return (ROOT / document).read_text(encoding="utf-8").replace("\\\n", " ")


def test_paths(document: str, text: str):
    links = [link.partition("#")[0] for link in re.findall(r"\]\(([^)\s]*)\)", text) if "://" not in link]
    assert [link for link in links if not (ROOT / document).parent.joinpath(link).exists()] == []
    named = re.findall(r"(?<![/\w])(?:components|docker|manifests|tests|benchmarks|docs)/[\w./-]*\w", text)
    assert [path for path in named if not (ROOT / path).exists() and not path.startswith(ADDED)] == []


def test_commands(text: str):
    for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL):
        for line in re.findall(r"^python pipeline\.py (.*?)(?=^\S|\Z)", block, re.DOTALL | re.MULTILINE):
            name, *words = shlex.split(line, comments=True)
            assert {word for word in words if word.startswith("--")} <= OPTIONS[name]


def test_options_parameters_and_targets(document: str, text: str):
    if not document.startswith("benchmarks"):  # whose programs have options of their own
        assert set(re.findall(r"`(--[a-z-]+)", text)) <= set().union(*OPTIONS.values())
    of_parameters = r"\b((?:catalog|cluster|denoise|text|image|fusion|ensemble|preprocess)_\w+)(?:=|`)"
    assert set(re.findall(of_parameters, text)) <= PARAMETERS | ARTIFACTS
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for words in re.findall(r"(?:^|`)make ([a-z -]+)", text, re.MULTILINE):
        assert set(words.split()) <= targets


def test_retired_words():
    read = [ROOT / document for document in DOCUMENTS if document != "CONTRIBUTING.md"]
    read += [path for room in ("components", "benchmarks", "docker") for path in (ROOT / room).rglob("*.py")]
    lines = [(path, line) for path in read for line in path.read_text(encoding="utf-8").splitlines()]
    assert len(lines) > 10_000
    assert [(path, line) for path, line in lines if RETIRED.search(line) and "OLD_KEYS" not in line] == []
