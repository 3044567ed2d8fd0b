"""`python tests/support/renew_golden.py`: writes the outlines of the compiled pipelines anew.

Read the difference before you commit it: it is what every cluster will receive.
"""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from outline import outline

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from components.client.commands.compile import compile_pipeline  # noqa: E402
from components.client.graph.prediction import build_prediction  # noqa: E402
from components.client.presets import PRESETS  # noqa: E402
from pipeline import build_pipeline  # noqa: E402

GOLDEN = ROOT / "tests" / "deploy" / "golden"


def main() -> None:
    with TemporaryDirectory() as folder:
        for preset in PRESETS:
            compiled = Path(folder) / f"{preset}.yaml"
            compile_pipeline(build_pipeline, preset, compiled)
            (GOLDEN / f"{preset}.txt").write_text(outline(compiled), encoding="utf-8")
        compile_pipeline(build_prediction, "paper", compiled)
        (GOLDEN / "predict.txt").write_text(outline(compiled), encoding="utf-8")


if __name__ == "__main__":
    main()
