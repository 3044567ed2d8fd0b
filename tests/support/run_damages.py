"""Single damages to what a finished run left, each followed by a second `run` into the same folder.

`python tests/support/run_damages.py [COUNT]` prints how each ended. A damage ends well where the second run
leaves what the first one left, or is refused with a line.
"""

import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

from damages import HARMLESS, REFUSED, WARNED, damage  # noqa: E402
from tiny_catalog import TINY_RUN  # noqa: E402

from components.client.sample.catalog import write_sample  # noqa: E402

COUNT = 20
LEFT = ("predictions.tsv", "predictions_detail.tsv", "metrics.json", "label_issues.tsv", "summary.md")


def run(catalog: dict[str, str], output: Path) -> subprocess.CompletedProcess[str]:
    """The pipeline on a small catalog, into a folder that may hold an earlier run."""
    options = [f"--{name.replace('_', '-')}={path}" for name, path in catalog.items()]
    options += [f"--param={name}={json.dumps(value)}" for name, value in TINY_RUN.items()]
    command = [sys.executable, str(ROOT / "pipeline.py"), "run", *options, f"--output={output}"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, env=environment)


def contents(folder: Path) -> dict[str, bytes]:
    """What a run left of its results."""
    return {name: (folder / name).read_bytes() for name in LEFT if (folder / name).is_file()}


def outcome(done: subprocess.CompletedProcess[str], folder: Path, whole: dict[str, bytes]) -> str:
    """How a run after a damage ended."""
    said = done.stdout + done.stderr
    if "Traceback" in said:
        return f"traceback: {said[-500:]}"
    if done.returncode:
        return REFUSED
    if contents(folder) != whole:
        return "silent: other results"
    return WARNED if "cannot be used" in said else HARMLESS


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else COUNT
    draw, ends = random.Random(0), Counter[str]()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        catalog = {
            name: str(path)
            for name, path in write_sample(folder / "catalog", seed=1, products=700, test_products=40).items()
        }
        first = run(catalog, folder / "run")
        assert first.returncode == 0, first.stdout + first.stderr
        whole = contents(folder / "run")
        for _ in range(count):
            shutil.copytree(folder / "run", folder / "copy")
            done = damage(folder / "copy" / ".finished", draw)
            end = outcome(run(catalog, folder / "copy"), folder / "copy", whole)
            shutil.rmtree(folder / "copy")
            ends[end.split(":")[0]] += 1
            print(f"{done}: {end}", flush=True)
    print(", ".join(f"{end} {number}" for end, number in sorted(ends.items())))


if __name__ == "__main__":
    main()
