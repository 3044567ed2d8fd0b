"""`python tests/renew_golden.py`: writes the golden compiled pipelines and the pipeline resources anew.

Read the difference before you commit it: it is what every cluster will receive.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from components.cluster_settings import ClusterSettings  # noqa: E402
from components.presets import PRESETS  # noqa: E402
from pipeline import compile_pipeline  # noqa: E402

GOLDEN = ROOT / "tests" / "golden"
RESOURCES = ROOT / "manifests" / "overlays" / "pipeline-resources" / "pipeline.yaml"
RESOURCE_SETTINGS = ClusterSettings(volume="training", secret="object-store")


def main() -> None:
    for preset in PRESETS:
        compile_pipeline(preset, GOLDEN / f"{preset}.yaml")
    compile_pipeline("paper", RESOURCES, manifest=True, settings=RESOURCE_SETTINGS)


if __name__ == "__main__":
    main()
