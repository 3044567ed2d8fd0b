"""What denoise flags by the most probable classes of each product, against all probabilities of a run.

python benchmarks/flagged_in_part.py runs/types --kept 10
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from components.data import top_classes
from components.data.folds import read_folds
from components.data.products import read_products
from components.denoise.config import MARGIN, DenoiseConfig
from components.denoise.issues import find_issues, known_classes
from components.denoise.run import mean_pred_probs


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, help="its folder, of a run on the laptop's preset")
    parser.add_argument("--kept", type=int, default=10, help="classes of a product")
    options = parser.parse_args()
    artifacts = next((options.run / "artifacts").iterdir())
    products = read_products(artifacts / "preprocess" / "products")
    folds = {
        str(folder): classifier
        for path in artifacts.glob("for-loop-*/text/probabilities")  # the classifiers are text-2
        for folder, classifier in read_folds(path, classes=products.classes).items()
    }
    config = DenoiseConfig(filter_by=MARGIN)
    known = known_classes(products, pictured=False)

    def flagged() -> set[int]:
        pred_probs = {
            split: mean_pred_probs(products, split, folds) for split in ("out_of_fold", "validation")
        }
        found = find_issues(products, pred_probs, config, known=known, kept=frozenset())
        return set(found.rows.tolist())

    whole = flagged()
    top_classes.MANY_CLASSES, top_classes.KEPT = options.kept, options.kept
    part = flagged()
    print(f"{len(products.classes)} classes: {len(whole):,} flagged; by {options.kept} of them {len(part):,}")
    print(
        f"{len(whole & part):,} by both, {len(whole & part) / len(whole | part):.1%} of all that are flagged"
    )


if __name__ == "__main__":
    main()
