"""Real pretrained weights: they are read as they were made, and tell the products of a real catalog apart."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from pretrained import image_state, package, text_weights, write_image_weights, write_text_weights

from benchmarks.frozen import ensemble, out_of_fold, read_catalog
from components.data.products import training_task
from components.image.embedding import load_backbone
from components.modeling.metrics import macro_f1
from components.modeling.trained import TrainingSetup
from components.text.embedding import MEAN, TextEmbedder
from components.text.kinds.transformer import TransformerConfig
from components.text.transformer import train_transformer

CATALOGS = Path(os.environ.get("PRODUCT_CATALOGS", "unset"))

pytestmark = pytest.mark.slow
real_catalog = pytest.mark.skipif(
    not CATALOGS.is_dir(), reason="PRODUCT_CATALOGS names no folder of real catalogs"
)


def test_the_converted_image_weights_give_the_outputs_of_their_own_network(tmp_path):
    package("efficientnet_lite_pytorch")
    from efficientnet_lite_pytorch import EfficientNet  # its own network  # pyright: ignore

    theirs = EfficientNet.from_name("efficientnet-lite0").eval()
    theirs.load_state_dict(image_state())
    backbone = load_backbone("", str(write_image_weights(tmp_path)), (224, 224))
    images = torch.randn(2, 3, 224, 224)
    with torch.inference_mode():
        features, pooled = backbone(images)
        assert (theirs.extract_features(images) - features).abs().max() < 1e-5
        logits = pooled @ theirs._fc.weight.T + theirs._fc.bias
        assert (theirs(images) - logits).abs().max() < 1e-5


def test_the_text_weights_know_what_is_alike():
    embedder = TextEmbedder.load(text_weights(), max_tokens=64, device=torch.device("cpu"))
    assert embedder.pooling == MEAN
    titles = ["stainless steel wrist watch for men", "analog watch, leather strap", "cotton bath towel"]
    features = embedder.features(pd.DataFrame({"title": titles, "description": ""}), keep=False)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    alike = features @ features.T
    assert alike[0, 1] > 0.4 > alike[0, 2]


def test_the_text_weights_in_float16_take_half_the_room_and_give_the_same_features(tmp_path):
    half = write_text_weights(tmp_path / "half", float16=True)
    sizes = [(each / "model.safetensors").stat().st_size for each in (half, text_weights())]
    assert sizes[0] < 0.51 * sizes[1]
    table = pd.DataFrame({"title": ["steel wrist watch for men", "cotton bath towel"], "description": ""})
    got, expected = (
        TextEmbedder.load(each, max_tokens=64, device=torch.device("cpu")).features(table, keep=False)
        for each in (half, text_weights())
    )
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, expected, atol=2e-3)


@real_catalog
def test_frozen_encoders_tell_household_products_apart_and_the_ensemble_is_no_worse(tmp_path, monkeypatch):
    for stage in ("image", "text"):
        monkeypatch.setattr(f"components.{stage}.embedding.HF_HOME", str(tmp_path / "kept"))
    products, store = read_catalog(CATALOGS / "household", tmp_path)
    weights = {"image": str(write_image_weights(tmp_path / "weights")), "text": str(text_weights())}
    texts = [
        out_of_fold(config, products, None, tmp_path / config["name"])[0]
        for config in (
            {"name": "tfidf", "kind": "linear", "features": 0},
            {"name": "frozen-text", "kind": "frozen", "weights": weights["text"]},
        )
    ]
    image = {"name": "frozen-image", "kind": "frozen", "weights": weights["image"]}
    images = [out_of_fold(image, products, store, tmp_path / "image")[0]]
    scores = [
        macro_f1(products.labels, pred_probs.argmax(1), len(products.classes))
        for pred_probs in [*texts, *images, ensemble(texts, images, products)]
    ]
    assert scores[2] >= 0.84
    assert scores[-1] >= max(scores[:-1]) - 0.003


@real_catalog
def test_fine_tuned_the_text_weights_know_household_products_that_they_have_not_seen(tmp_path):
    products, _ = read_catalog(CATALOGS / "household", tmp_path)
    config = TransformerConfig(
        name="minilm",
        weights=str(text_weights()),
        max_tokens=48,
        batch_size=16,
        learning_rate=1e-4,
        epochs=4,
    )
    task = training_task(products, fold=0, cleaned=False)
    pred_probs = train_transformer(products, task, config, TrainingSetup(0, tmp_path / "model")).matrices
    rows, predicted = task.predict["out_of_fold"], next(iter(pred_probs.values()))["out_of_fold"].argmax(1)
    assert macro_f1(products.labels[rows], predicted, len(products.classes)) > 0.9
