"""What every kind leaves predicts again what its run predicted, from the files alone."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from every_kind import (
    REGISTRIES,
    WITHOUT_IMAGE,
    EveryKind,
    fusion_configs,
    image_configs,
    text_configs,
    train_every_kind,
)

from components.core.artifacts import read_manifest
from components.core.errors import InputError
from components.core.reading import read_json
from components.data.features import read_features
from components.data.image_store import ImageStore
from components.data.probabilities import read_classifier, read_classifiers
from components.fusion.classifiers import to_inputs
from components.modeling.trained import REFIT, Predicted

CPU = torch.device("cpu")
ANYWHERE = Path("anywhere")
CONFIGS = {"text": text_configs(ANYWHERE), "image": image_configs(ANYWHERE), "fusion": fusion_configs()}
FUSED = [("text", "linear"), ("text", "transformer"), ("image", "network"), ("image", "color_histogram")]
POOLED = ("concat", "sum", "attention", "ngram_color_mlp")
SINGLE = [(stage, kind) for stage in ("text", "image") for kind in REGISTRIES[stage].kinds()]
EVERY = [*SINGLE, *(("fusion", kind) for kind in REGISTRIES["fusion"].kinds())]
TOLERANCE = 2e-6  # batches of other sizes add up in another order


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EveryKind]:
    folder = tmp_path_factory.mktemp("every-kind")
    with pytest.MonkeyPatch.context() as patch:
        for stage in ("text", "image"):
            patch.setattr(f"components.{stage}.embedding.HF_HOME", str(folder / "home"))
        yield train_every_kind(folder)


@pytest.mark.parametrize("stage", REGISTRIES)
def test_no_kind_is_left_out_here(stage: str):
    assert set(CONFIGS[stage]) == set(REGISTRIES[stage].kinds())


def predicted(trained: EveryKind, stage: str, folder: Path, rows: np.ndarray) -> Predicted:
    """What the model of a folder makes of some products."""
    model, table = REGISTRIES[stage].load(folder, device=CPU), trained.products.table.iloc[rows]
    if stage == "text":
        return model.predict(table[["title", "description"]])
    keys = [key or ("elsewhere" if row % 2 else None) for row, key in zip(rows, table["image"], strict=True)]
    return model.predict(ImageStore(trained.images), keys)


def assert_same(found: np.ndarray, expected: np.ndarray) -> None:
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=TOLERANCE)
    assert np.array_equal(found.argmax(axis=1), expected.argmax(axis=1))


@pytest.mark.parametrize(("stage", "kind"), SINGLE, ids=[f"{stage}-{kind}" for stage, kind in SINGLE])
def test_no_products_are_predicted_as_none(trained: EveryKind, stage: str, kind: str):
    model = trained.of(stage, kind, "model")
    none, one = (predicted(trained, stage, model, np.arange(count)) for count in (0, 1))
    assert none.pred_probs.shape == (0, 3)
    assert (none.features is None) == (one.features is None)
    if none.features is not None and one.features is not None:
        assert none.features.shape == (0, one.features.shape[1])


@pytest.mark.parametrize("stage", ["text", "image"])
def test_what_predicts_keeps_no_features(
    trained: EveryKind, stage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(f"components.{stage}.embedding.HF_HOME", str(tmp_path))
    predicted(trained, stage, trained.of(stage, "frozen", "model"), np.arange(5))
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(("stage", "kind"), SINGLE, ids=[f"{stage}-{kind}" for stage, kind in SINGLE])
def test_a_classifier_predicts_again_what_it_predicted(trained: EveryKind, stage: str, kind: str):
    model, products = trained.of(stage, kind, "model"), trained.products
    refits = "'refit': True" in str(CONFIGS[stage][kind])
    assert (model / REFIT).is_dir() == refits
    matrices = read_classifier(trained.of(stage, kind, "probabilities")).matrices
    for number, (checkpoint, splits) in enumerate(matrices.items()):
        folder = model if number == 0 else model / checkpoint
        for split in ("validation", "test"):
            # In another order, so that nothing goes by a product's place.
            rows = products.rows(split)[::-1]
            part = folder / REFIT if refits and split == "test" else folder
            if (checkpoint, split) != ("best", "validation"):
                found = predicted(trained, stage, part, rows).pred_probs
                assert_same(found, splits[split].aligned(products.ids[rows], where=""))


def test_a_transformer_predicted_validation_by_epochs_that_are_kept(trained: EveryKind):
    model, rows = trained.of("text", "transformer", "model"), trained.products.rows("validation")
    best, *late = read_classifier(trained.of("text", "transformer", "probabilities")).matrices.items()
    assert len(late) == 3, "all of the four epochs are to be kept here"
    folders = [model, *(model / checkpoint for checkpoint, _ in late)]
    of_epochs = np.stack([predicted(trained, "text", folder, rows).pred_probs for folder in folders])
    expected = best[1]["validation"].aligned(trained.products.ids[rows], where="")
    assert np.abs(of_epochs - expected).max(axis=2).min(axis=0).max() < TOLERANCE


@pytest.mark.parametrize(("stage", "kind"), SINGLE, ids=[f"{stage}-{kind}" for stage, kind in SINGLE])
def test_a_classifier_gives_the_features_that_it_left(trained: EveryKind, stage: str, kind: str):
    features = read_features(trained.of(stage, kind, "features")).values
    found = predicted(trained, stage, trained.of(stage, kind, "model"), np.arange(len(features))).features
    assert found is not None
    np.testing.assert_allclose(found, features, atol=1e-4)


def test_late_and_first_checkpoints_are_kept_under_their_names(trained: EveryKind):
    text, image = (trained.of(*which, "model") for which in (("text", "transformer"), ("image", "network")))
    assert len([path for path in text.iterdir() if path.is_dir()]) == 3
    assert sorted(path.name for path in image.iterdir() if path.is_dir()) == ["epoch-1", "stage1"]
    assert read_manifest(image / "stage1")["name"] == "tiny"


@pytest.mark.parametrize(("stage", "kind"), EVERY, ids=[f"{stage}-{kind}" for stage, kind in EVERY])
def test_a_changed_file_is_refused_by_name(trained: EveryKind, stage: str, kind: str, tmp_path: Path):
    fused = stage == "fusion"
    folder = next(trained.fused(kind))[2] if fused else trained.of(stage, kind, "model")
    shutil.copytree(folder, tmp_path / "model")
    for path in [path for path in sorted((tmp_path / "model").rglob("*")) if path.is_file()]:
        content = path.read_bytes()
        path.write_bytes(content[:-2] + bytes([content[-2] ^ 1]) + content[-1:])
        with pytest.raises(InputError, match=path.name):
            REGISTRIES[stage].load(tmp_path / "model", device=CPU)
        path.write_bytes(content)


def test_a_model_of_another_stage_is_refused(trained: EveryKind):
    with pytest.raises(InputError, match=r"network/model/manifest.json: no text model: kind = 'network'"):
        REGISTRIES["text"].load(trained.of("image", "network", "model"), device=CPU)


def inputs_of(trained: EveryKind) -> dict[str, dict[str, Any]]:
    """Name of each classifier that was fused -> split -> matrix."""
    return dict(to_inputs(read_classifier(trained.of(*which, "probabilities")) for which in FUSED))


@pytest.mark.parametrize("kind", [kind for kind in fusion_configs() if kind not in POOLED])
def test_decision_level_fusion_predicts_again_what_it_predicted(trained: EveryKind, kind: str):
    products, inputs = trained.products, inputs_of(trained)
    made = {each.name: each for each in read_classifiers(trained.folder / "members")}
    fold_of = read_json(trained.folder / "fusion-model" / "folds.json", "folds")
    found = [(name, folder) for name, level, folder in trained.fused(kind) if level == "members"]
    assert found
    for name, folder in found:
        member = REGISTRIES["fusion"].load(folder)
        read = read_json(folder / "config.json", "settings")["inputs"]
        for split, folds in (("test", [None]), ("validation", [0, 1])):
            for fold in folds:
                ids = products.ids[products.rows(split)]
                ids = np.array([one for one in ids if fold is None or fold_of[one] == fold], dtype=object)
                stacked = np.stack([inputs[each][split].aligned(ids, where=each) for each in read])
                assert_same(member.predict(stacked, fold=fold), made[name].chosen(split, ids))


@pytest.mark.parametrize("kind", POOLED)
def test_feature_level_fusion_predicts_again_what_it_predicted(trained: EveryKind, kind: str):
    products, store = trained.products, ImageStore(trained.images)
    made = {each.name: each for each in read_classifiers(trained.folder / "feature-level")}
    features = [read_features(trained.of(*which, "features")) for which in FUSED]
    found = [(name, folder) for name, level, folder in trained.fused(kind) if level == "feature_level"]
    assert [name for name, _ in found] == [config["name"] for config in fusion_configs()[kind]]
    for name, folder in found:
        assert (folder / REFIT).is_dir() == (kind == "ngram_color_mlp")
        for split in ("validation", "test"):
            part = folder / REFIT if split == "test" and (folder / REFIT).is_dir() else folder
            model, rows = REGISTRIES["fusion"].load(part, device=CPU), products.rows(split)[::-1]
            pooled = {each.name: each.values[rows] for each in features}
            pred_probs = model.predict(products.table.iloc[rows], store, pooled).pred_probs
            assert_same(pred_probs, made[name].chosen(split, products.ids[rows]))


@pytest.mark.parametrize("kind", POOLED)
def test_products_without_images_alone_are_predicted(trained: EveryKind, kind: str):
    table = trained.products.table.iloc[list(WITHOUT_IMAGE)]
    for name, _, folder in trained.fused(kind):
        if "step_by_step" not in name:
            model = REGISTRIES["fusion"].load(folder, device=CPU)
            found = model.predict(table, ImageStore(trained.images), {}).pred_probs
            assert found.shape == (len(table), 3)
            np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)
