"""`python tests/support/renew_golden.py`: writes the compiled documents that the tests compare with anew.

Read the difference before you commit it: it is what every cluster will receive.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from components.client.commands.compile import compile_pipeline  # noqa: E402
from components.client.presets import PRESETS  # noqa: E402
from pipeline import build_pipeline  # noqa: E402

GOLDEN = ROOT / "tests" / "deploy" / "golden"


def main() -> None:
    for preset in PRESETS:
        path = GOLDEN / f"{preset}.yaml"
        compile_pipeline(build_pipeline, preset, path)
        # The compiler's comments change their order from run to run.
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        path.write_text("".join(line for line in lines if not line.startswith("#")), encoding="utf-8")


if __name__ == "__main__":
    main()
