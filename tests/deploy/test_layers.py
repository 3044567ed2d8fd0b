"""The import contract of pyproject.toml holds, and would notice."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [Path(sys.executable).parent / "lint-imports", "--no-cache"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)


def test_the_contract_holds():
    done = lint(ROOT)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("importer", "imported"),
    [
        ("core/errors.py", "components.data.uris"),
        ("reports/page.py", "components.evaluate.scores"),
        ("text/run.py", "components.image.config"),
        ("evaluate/run.py", "components.client.presets"),
        ("ensemble/run.py", "components.lifecycle"),
        ("modeling/training.py", "kfp.dsl"),
        ("ensemble/run.py", "kfp"),
    ],
)
def test_it_notices(tmp_path: Path, importer: str, imported: str):
    shutil.copytree(ROOT / "components", tmp_path / "components")
    shutil.copytree(ROOT / "tests" / "support", tmp_path / "tests" / "support")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    path = tmp_path / "components" / importer
    path.write_text(f"{path.read_text(encoding='utf-8')}\nimport {imported}  # noqa\n", encoding="utf-8")
    done = lint(tmp_path)
    assert done.returncode == 1
    assert "BROKEN" in done.stdout
