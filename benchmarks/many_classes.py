"""Fusion, ensemble and evaluation where there are many classes: CPU time, memory, and what they gain.

    python benchmarks/many_classes.py                                    85,000 products of 300 classes
    python benchmarks/many_classes.py --rows 20000 --classes 3000
    python benchmarks/many_classes.py --keep FOLDER                      leaves the reports there

Three text and two image classifiers of different quality predict the validation split; the stages run one
after the other as the pipeline runs them, each in a process of its own, with the decision-level kinds of the
laptop's preset; see `made_up_classifiers.py` for what they say. Memory is the process's highest, with Python
and its libraries.
"""

import argparse
import platform
import sys
import tempfile
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.alone import print_used, run_alone
from benchmarks.made_up_classifiers import IMAGES, TEXTS, write_inputs
from components.client.presets import LAPTOP
from components.core.stage import Result
from components.fusion.config import PARAMETERS, decision_level_kinds

STAGES = ("fusion", "ensemble", "evaluate")
FOLDS = 8  # of fusion, the default


def fusion(folder: Path, kinds: Collection[str] = decision_level_kinds()) -> Result:
    """Runs the fusion stage with those of the laptop preset's configurations that are of these kinds."""
    from components.fusion.run import run_fusion

    configs = PARAMETERS["fusion_configs"](LAPTOP["fusion_configs"])
    return run_fusion(
        folder / "products",
        folder / "images",
        text=[folder / name for name in TEXTS],
        image=[folder / name for name in IMAGES],
        text_features=[],
        image_features=[],
        text_models=[],
        image_models=[],
        configs=[config for config in configs if config.kind in kinds],
        folds=FOLDS,
        seed=0,
        members=folder / "members",
        feature_level=folder / "feature_level",
        fusion_model=folder / "fusion_model",
    )


def ensemble(folder: Path) -> Result:
    """Runs the ensemble stage, without the feature-level classifiers, which are not made here."""
    from components.ensemble.config import PARAMETERS
    from components.ensemble.run import run_ensemble

    return run_ensemble(
        folder / "products",
        folder / "images",
        folder / "members",
        folder / "feature_level",
        text_models=[folder / "models" / name for name in TEXTS],
        image_models=[folder / "models" / name for name in IMAGES],
        fusion_model=folder / "fusion_model",
        profile=folder / "profile.json",
        config=PARAMETERS["ensemble_config"]({**LAPTOP["ensemble_config"], "feature_level": {}}),
        probabilities=folder / "ensemble",
        ensemble_model=folder / "model",
    )


def evaluate(folder: Path) -> Result:
    """Runs the evaluate stage."""
    from components.evaluate.run import run_evaluate

    return run_evaluate(
        folder / "products",
        folder / "images",
        text=[folder / name for name in TEXTS],
        image=[folder / name for name in IMAGES],
        members=folder / "members",
        feature_level=folder / "feature_level",
        ensemble=folder / "ensemble",
        label_issues=folder / "label_issues",
        new_products=folder / "new_products",
        predictions=folder / "predictions",
        seed=0,
        metadata={},
        results=folder / "results",
    )


def run_here(stage: str, folder: Path) -> None:
    """Runs one stage and prints what it took, as one line of JSON."""
    work: Callable[[Path], Result] = {"fusion": fusion, "ensemble": ensemble, "evaluate": evaluate}[stage]
    result = work(folder)
    (folder / f"{stage}.html").write_text(result.report, encoding="utf-8")
    print_used(report_kib=len(result.report.encode()) / 2**10, metrics=dict(result.metrics))


def run_apart(stage: str, folder: Path) -> Mapping[str, float]:
    """Runs one stage in a process of its own and prints its row; returns the stage's metrics."""
    row = run_alone(__file__, "--stage", stage, "--keep", str(folder))
    print(f"{stage:10} {row['seconds']:8.1f} {row['gib']:8.2f} {row['report_kib']:8.0f}", flush=True)
    return row["metrics"]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=85_000)
    parser.add_argument("--classes", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--stage", choices=STAGES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.stage:
        run_here(options.stage, options.keep)
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.keep or Path(scratch)
        write_inputs(folder, options.rows, options.classes, options.seed)
        print(f"{platform.processor() or platform.machine()}, {options.rows:,} x {options.classes:,}")
        print(f"{'stage':10} {'CPU s':>8} {'GiB':>8} {'page KiB':>8}")
        metrics = [run_apart(stage, folder) for stage in STAGES]
    single, member = (metrics[0][f"best_{one}_macro_f1"] for one in ("single", "member"))
    voted = metrics[1]["macro_f1"]
    print(f"macro-F1: best single {single:.4f}, best member {member:.4f}, ensemble {voted:.4f}")


if __name__ == "__main__":
    main()
