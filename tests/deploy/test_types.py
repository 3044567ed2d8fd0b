"""The training pipeline keeps the server's rule of types."""
# Generated functions of kfp carry no types.
# pyright: reportArgumentType=false

from pathlib import Path
from typing import Any

import pytest
import yaml
from kfp.compiler import Compiler
from server_types import mismatches

from components.client.presets import DENOISE_ON, PRESETS
from pipeline import build_pipeline

ROOT = Path(__file__).parents[2]


def compiled(graph: Any, folder: Path) -> dict[str, Any]:
    path = folder / "pipeline.yaml"
    Compiler().compile(graph, str(path))
    return next(yaml.safe_load_all(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize("denoise_on", DENOISE_ON)
@pytest.mark.parametrize("preset", PRESETS.values(), ids=PRESETS)
def test_what_feeds_a_task_has_its_inputs_type(preset: dict[str, Any], denoise_on: str, tmp_path: Path):
    spec = compiled(build_pipeline({**preset, "denoise_on": denoise_on}), tmp_path)
    assert mismatches(spec) == []


@pytest.mark.parametrize(
    ("parameter", "problem"),
    [
        ("denoise_folds: list[int]", "fold is NUMBER_INTEGER, got STRING"),
        ("text_configs: list[dict]", "config is STRUCT, got STRING"),
        ("image_configs: list[dict]", "config is STRUCT, got STRING"),
    ],
)
def test_a_bare_list_to_loop_over_breaks_the_rule(parameter: str, problem: str, tmp_path: Path):
    source = (ROOT / "pipeline.py").read_text(encoding="utf-8")
    assert parameter in source
    twin: dict[str, Any] = {"__name__": "twin"}
    bare = parameter.partition("[")[0]
    exec(compile(source.replace(parameter, bare), "twin.py", "exec"), twin)
    found = mismatches(compiled(twin["build_pipeline"](PRESETS["paper"]), tmp_path))
    assert any(problem in each for each in found), found
