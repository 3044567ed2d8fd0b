"""The best of several image classifiers is the one with the least log-loss on validation."""

import json

import numpy as np
import pytest
from image_catalog import CONFIG, run_image_stage

from components.core.errors import InputError
from components.image.config import IMAGE_KINDS, PARAMETERS
from components.modeling.metrics import log_loss

WEAK = {**CONFIG, "name": "weak", "epochs": 1, "learning_rate": 1e-6}
COLORS = {"name": "colors", "kind": "color_histogram", "epochs": 1, "min_steps": 30}


def best_of(folder, *candidates, **options):
    config = {"name": "image", "kind": "best_of", "candidates": list(candidates)}
    return run_image_stage(folder, config, defaults={}, **options)


@pytest.mark.parametrize("order", [(WEAK, COLORS), (COLORS, WEAK)])
def test_the_better_one_is_taken_whole_and_both_are_reported(tmp_path, order):
    metrics, found, catalog = best_of(tmp_path / "best", *order)
    _, alone, _ = run_image_stage(tmp_path / "alone", COLORS, defaults={})
    assert found.name == "image"
    for split, matrix in alone.matrices["final"].items():
        assert np.array_equal(found.matrices["final"][split].pred_probs, matrix.pred_probs)
    labels = catalog.labels[54:72]
    expected = log_loss(labels, alone.matrices["final"]["validation"].pred_probs)
    assert metrics["log_loss_colors"] == pytest.approx(expected)
    assert metrics["log_loss_weak"] > metrics["log_loss_colors"]
    assert metrics["macro_f1"] == metrics["macro_f1_colors"] > metrics["macro_f1_weak"]
    manifest = json.loads((tmp_path / "best" / "model" / "manifest.json").read_text())
    assert manifest["name"] == "image"
    assert not list((tmp_path / "best").glob("tmp*"))


def test_folds_cannot_choose_on_validation(tmp_path):
    config = {"name": "image", "kind": "best_of", "candidates": [WEAK, COLORS]}
    with pytest.raises(InputError, match=r"image: it chooses on validation, which must have no say"):
        PARAMETERS["image_fold_config"](config)
    with pytest.raises(InputError, match="image: no validation products"):
        best_of(tmp_path, WEAK, COLORS, fold=1)


@pytest.mark.parametrize(
    ("candidates", "message"),
    [
        ([COLORS], "candidates"),
        ([COLORS, COLORS], "colors is named twice"),
        ([COLORS, {**WEAK, "epochs": 0}], "weak.*epochs"),
        ([COLORS, {**WEAK, "cleaned": True}], "cleaned is set beside"),
        ([COLORS, {"name": "b", "kind": "best_of", "candidates": [COLORS, WEAK]}], "best_of itself"),
    ],
)
def test_candidates_that_cannot_be_compared_are_refused(candidates, message):
    with pytest.raises(InputError, match=message):
        IMAGE_KINDS.parse({"name": "image", "kind": "best_of", "candidates": candidates})


def test_it_wants_a_gpu_where_a_candidate_does():
    def wants(*candidates):
        config = IMAGE_KINDS.parse({"name": "i", "kind": "best_of", "candidates": list(candidates)})
        return IMAGE_KINDS.of(config).wants_gpu(config)

    assert wants(WEAK, COLORS)
    assert not wants(COLORS, {**COLORS, "name": "others"})
