"""The kinds of text, image and fusion: each whole, found by its module, and light to read."""

import inspect
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from components.core.errors import InputError
from components.core.kinds import Registry
from components.fusion.config import FUSION_KINDS
from components.image.config import IMAGE_KINDS
from components.text.config import TEXT_KINDS, TextConfig

ROOT = Path(__file__).parents[2]
REGISTRIES = (TEXT_KINDS, IMAGE_KINDS, FUSION_KINDS)
ALL = [(registry, name) for registry in REGISTRIES for name in registry.kinds()]
CANDIDATES = [{"name": name, "kind": "color_histogram"} for name in ("a", "b")]
# Kind -> what a configuration of it cannot do without.
NEEDED: dict[tuple[str, str], dict[str, Any]] = {
    ("image", "best_of"): {"candidates": CANDIDATES},
    ("image", "frozen"): {"weights": "some/folder"},
}
HEAVY = ("torch", "pandas", "numpy", "pyarrow", "sklearn", "scipy", "transformers", "kfp")
HALF = """
from typing import Literal
from components.core.kinds import Kind
from components.text.config import TextConfig
class Config(TextConfig):
    {field}
{kind}
"""


def smallest(registry: Registry, name: str) -> dict[str, Any]:
    """A configuration that sets what it must."""
    return {"name": "a", "kind": name, **NEEDED.get((registry.stage, name), {})}


@pytest.mark.parametrize("registry, name", ALL, ids=[f"{registry.stage}-{name}" for registry, name in ALL])
def test_every_kind_has_a_configuration_and_a_function_that_fits_it(registry: Registry, name: str):
    kind = registry.kinds()[name]
    config = registry.parse(smallest(registry, name))
    assert registry.of(config) is kind
    assert isinstance(kind.wants_gpu(config), bool)
    assert inspect.isfunction(kind.load_fit())


@pytest.mark.parametrize("registry, name", ALL, ids=[f"{registry.stage}-{name}" for registry, name in ALL])
def test_null_stands_for_no_default(registry: Registry, name: str):
    for key in set(registry.kinds()[name].config.model_fields) - {"kind"}:
        with pytest.raises(InputError, match=f"{key} = null should be"):
            registry.parse({**smallest(registry, name), key: None})


def test_kinds_are_read_without_what_fits_them():
    script = (
        f"import sys\nfor name in {HEAVY!r}: sys.modules[name] = None\n"
        "from components.client.parameters import parse_parameters\n"
        "from components.fusion.config import decision_level_kinds\n"
        "parse_parameters(['text_configs=[{\"name\": \"a\"}]'], {'text_configs': 'List[Dict]'})\n"
        "print(*decision_level_kinds())"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.split() == ["linear", "logistic", "mean", "mlp", "product"], done.stderr


def test_what_trains_backbones_wants_a_gpu():
    joint = {"name": "joint", "kind": "concat", "training": "end_to_end"}
    assert FUSION_KINDS.any_wants_gpu([{"name": "mean", "kind": "mean"}, joint])
    assert not FUSION_KINDS.any_wants_gpu([{**joint, "training": "step_by_step"}])
    assert not FUSION_KINDS.any_wants_gpu([{**joint, "accelerator": "cpu"}])
    wants = {name for registry, name in ALL if registry.any_wants_gpu([smallest(registry, name)])}
    assert wants == {"transformer", "network", "frozen"}


@pytest.mark.parametrize("registry, name", ALL, ids=[f"{registry.stage}-{name}" for registry, name in ALL])
def test_no_kind_asks_for_a_gpu_that_its_configuration_forbids(registry: Registry, name: str):
    if "accelerator" in registry.kinds()[name].config.model_fields:
        assert not registry.any_wants_gpu([{**smallest(registry, name), "accelerator": "cpu"}])
    else:
        assert not registry.any_wants_gpu([smallest(registry, name)])


@pytest.mark.parametrize(
    ("field", "kind"),
    [
        ('kind: Literal["tree"] = "tree"', ""),
        (
            'kind: Literal["bush"] = "bush"',
            'KIND = Kind(Config, fit="os:stat", load="os:stat", uses_gpu=False)',
        ),
        ("depth: int = 3", 'KIND = Kind(Config, fit="os:stat", load="os:stat", uses_gpu=False)'),
        ('kind: Literal["tree"] = "tree"', 'KIND = Kind(Config, fit="os:stat", uses_gpu=False)'),
    ],
    ids=["no KIND", "another name", "no name", "nothing that loads it"],
)
def test_half_a_kind_is_no_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, field: str, kind: str):
    package = tmp_path / "half_kinds"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "tree.py").write_text(HALF.format(field=field, kind=kind))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "half_kinds", raising=False)
    monkeypatch.delitem(sys.modules, "half_kinds.tree", raising=False)
    with pytest.raises(TypeError, match=r"half_kinds.tree: expected KIND = Kind.*\"tree\""):
        Registry("text", "half_kinds", TextConfig).kinds()


def test_a_kind_of_another_stage_is_no_kind():
    with pytest.raises(TypeError, match=r"a FusionConfig with"):
        Registry("fusion", "components.text.kinds", FUSION_KINDS.base).kinds()


def test_a_misspelt_or_former_kind_is_reported_with_the_one_that_was_meant():
    for kind, meant in (("colors", "color_histogram"), ("netwrok", "network")):
        with pytest.raises(InputError, match=rf"kind = '{kind}' is not one of .*did you mean '{meant}'"):
            IMAGE_KINDS.parse({"name": "a", "kind": kind})


def test_a_configuration_without_a_name_is_distinguished():
    with pytest.raises(InputError, match="text configuration without a name: name is missing"):
        TEXT_KINDS.parse({"kind": "linear"})
