"""What fusion and ensemble cannot do with a small validation split or without features, and what they say."""

from pathlib import Path

import numpy as np
import pytest
from fusion_classifiers import StagePaths, run_fusion_stage, write_stage

from components.core.artifacts import read_manifest
from components.core.errors import InputError
from components.data.features import Features, write_features
from components.data.probabilities import read_classifiers
from components.data.products import read_products, write_products
from components.ensemble.config import EnsembleConfig
from components.modeling.cross_fitting import affordable_folds

MEAN = {"name": "mean", "kind": "mean"}


def test_what_is_written_names_the_folds_that_were_made(tmp_path: Path) -> None:
    stage, _ = write_stage(tmp_path, rows=(40, 12, 8))
    run_fusion_stage(stage, tmp_path, [MEAN], folds=8)
    [member] = read_classifiers(tmp_path / "members")
    assert member.metadata["folds"] == 4
    assert len(member.metadata["weights_of_folds"]) == 4
    assert read_manifest(tmp_path / "members")["folds"] == 4


def test_duplicates_count_as_one_product_where_folds_are_made(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stage, _ = write_stage(tmp_path, rows=(40, 40, 8))
    table = read_products(stage.products)
    table.table["group"] = np.arange(len(table.table)) // 8
    write_products(table, stage.products)
    run_fusion_stage(stage, tmp_path, [MEAN], folds=8)
    assert "5 folds instead of 8" in caplog.text
    assert "5 of all are no duplicates; --param fusion_folds=5 asks for no more" in caplog.text


def test_too_few_validation_products_are_reported_with_how_many_more_labels_help() -> None:
    labels = np.arange(10)
    with pytest.raises(
        InputError, match=r"Label about 10 more of one class, then fusion_folds=2 is possible"
    ):
        affordable_folds(labels, folds=8, groups=labels, labeled=100, setting="fusion_folds={}")


def test_a_single_fold_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    nowhere = StagePaths(tmp_path / "none", tmp_path / "none", [], [], [], [])
    with pytest.raises(InputError, match="1 folds: what is learned on validation needs from 2"):
        run_fusion_stage(nowhere, tmp_path, [MEAN], folds=1)
    with pytest.raises(ValueError, match=r"folds\n  Input should be greater than or equal to 2"):
        EnsembleConfig(folds=1)


@pytest.mark.parametrize("kind", ["concat", "sum", "attention"])
def test_a_text_classifier_without_features_is_reported_by_name_and_setting(
    tmp_path: Path, kind: str
) -> None:
    stage, _ = write_stage(tmp_path)
    ids = read_products(stage.products).ids
    write_features(stage.text_features[0], Features("text-0", ids, np.zeros((len(ids), 0), np.float32)))
    with pytest.raises(
        InputError, match=r"no text classifier \(text-0\) .*set \"features\" .*--param text_configs"
    ):
        run_fusion_stage(stage, tmp_path, [MEAN, {"name": "both", "kind": kind}], folds=2)
