"""The paper's models at their full size, with random weights: they fit, step, checkpoint and predict."""

from pathlib import Path

import numpy as np
import pytest
from image_catalog import write_catalog
from text_catalog import text_products

from benchmarks.made_up_catalog import camembert
from components.data.probabilities import read_classifier
from components.data.products import training_task
from components.image.config import IMAGE_KINDS
from components.image.run import run_image
from components.modeling.text.encoder import save_encoder
from components.modeling.text.tokens import train_tokenizer
from components.modeling.trained import TrainingSetup
from components.text.kinds.transformer import TransformerConfig
from components.text.transformer import train_transformer

# Layers, width, heads and parameters of https://arxiv.org/abs/1911.03894, table 6.
CAMEMBERT = {"base": (12, 768, 12, 110e6), "large": (24, 1024, 16, 335e6)}


def checkpoint_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*.safetensors"))


@pytest.mark.slow
@pytest.mark.parametrize("size", CAMEMBERT)
def test_camembert_steps_and_saves_at_its_size(tmp_path: Path, size: str):
    layers, hidden, heads, parameters = CAMEMBERT[size]
    products = text_products(4, 2, 2)
    table = products.table
    tokenizer = train_tokenizer(table["title"].tolist(), vocabulary=300, max_tokens=128)
    weights = tmp_path / "weights"
    save_encoder(weights, camembert(layers, hidden, heads, 32005, 2), tokenizer, ["0", "1"])
    trained = train_transformer(
        products,
        training_task(products, fold=None, cleaned=False),
        TransformerConfig(name="camembert", weights=str(weights), epochs=1, batch_size=4),
        TrainingSetup(0, tmp_path / "model", tmp_path / "checkpoints"),
    )
    assert trained.metrics["parameters"] == pytest.approx(parameters, rel=0.02)
    assert np.isfinite(trained.metrics["loss"])
    # Weights and AdamW's two moments, float32.
    assert checkpoint_bytes(tmp_path / "checkpoints") > 12 * trained.metrics["parameters"]
    assert trained.delete_checkpoints is not None
    trained.delete_checkpoints()
    (tmp_path / "model" / "model.safetensors").unlink()
    (weights / "model.safetensors").unlink()


@pytest.mark.slow
def test_resnet152_takes_both_stages_at_their_sizes(tmp_path: Path):
    products, images, catalog = write_catalog(tmp_path, 10)
    sizes = {"epochs": 1, "batch_size": 3, "dcl_epochs": 1, "dcl_batch_size": 3}
    metrics = run_image(
        products,
        images,
        IMAGE_KINDS.parse({"name": "resnet152", "weights": "scratch", **sizes}),
        fold=None,
        seed=0,
        probabilities=tmp_path / "probabilities",
        features=tmp_path / "features.npz",
        model=tmp_path / "model",
        checkpoints=tmp_path / "checkpoints",
    ).metrics
    assert np.isfinite(metrics["final_loss"])
    assert (tmp_path / "model" / "model.safetensors").stat().st_size > 4 * 58e6
    classifier = read_classifier(tmp_path / "probabilities", classes=catalog.classes)
    assert [(curve["stage"], curve["epoch"]) for curve in classifier.metadata["curves"]] == [(1, 1), (2, 1)]
