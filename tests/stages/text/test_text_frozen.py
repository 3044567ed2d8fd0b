"""The frozen text classifier: mean or first token, computed once a text, whatever the family."""

import json
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from encoder_families import CPU, FAMILIES, family, some_tokens
from safetensors.torch import load_file, save_file
from text_catalog import text_products

from components.core.errors import InputError
from components.data.products import training_task
from components.modeling.text.encoder import save_encoder
from components.modeling.text.tokens import train_tokenizer
from components.modeling.trained import TrainingSetup
from components.text.embedding import FIRST, MEAN, TextEmbedder
from components.text.frozen import train_frozen
from components.text.kinds.frozen import FrozenTextConfig
from components.text.weights import POOLING, find_weights


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setattr("components.text.embedding.HF_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("components.text.weights.HF_HOME", str(tmp_path / "home"))


@pytest.fixture
def folder(tmp_path):
    """A folder of random weights."""
    texts = text_products().table
    tokenizer = train_tokenizer([*texts["title"], *texts["description"]], vocabulary=300, max_tokens=64)
    save_encoder(tmp_path / "weights", family("camembert"), tokenizer, list("abcde"))
    return tmp_path / "weights"


def train(tmp_path, folder, *, fold=None, **changes: Any):
    products = text_products()
    config = FrozenTextConfig(name="frozen", weights=str(folder), max_tokens=32, **changes)
    task = training_task(products, fold=fold, cleaned=False)
    trained: Any = train_frozen(products, task, config, TrainingSetup(0, tmp_path / "model"))
    return trained, products


@pytest.mark.parametrize("pooling", [MEAN, FIRST])
@pytest.mark.parametrize("name", FAMILIES)
def test_pooled_features_are_those_of_each_text_alone(name, pooling):
    model, tokens = family(name).eval(), some_tokens(types=name == "bert")
    embedder = TextEmbedder(model, SimpleNamespace(), pooling, 128)  # pyright: ignore[reportArgumentType]
    rows = np.arange(3, 37)
    found = embedder._embed(tokens, rows)
    for place in (0, 7, 33):
        inside = slice(tokens.offsets[rows[place]], tokens.offsets[rows[place] + 1])
        inputs = {"input_ids": torch.from_numpy(tokens.ids[inside].astype(np.int64))[None]}
        if tokens.types is not None:
            inputs["token_type_ids"] = torch.from_numpy(tokens.types[inside].astype(np.int64))[None]
        with torch.inference_mode():
            states = model.base_model(**inputs, attention_mask=torch.ones_like(inputs["input_ids"]))[0][0]
        expected = states.mean(dim=0) if pooling == MEAN else states[0]
        np.testing.assert_allclose(found[place], expected.numpy(), atol=2e-5)


@pytest.mark.parametrize("classifier", ["logistic", "mlp"])
def test_random_features_are_enough_for_made_up_words(tmp_path, folder, classifier):
    trained, products = train(tmp_path, folder, classifier=classifier)
    matrices = trained.matrices["final"]
    assert (matrices["test"].argmax(1) == np.arange(90, 102) % 3).mean() > 0.9
    assert trained.features.shape == (len(products.table), 48)
    assert trained.features.std(axis=0).min() > 0


def test_a_text_is_computed_once_for_all_folds_and_runs(tmp_path, folder, monkeypatch):
    counts, embed = [], TextEmbedder._embed

    def counted(self, tokens, rows):
        counts.append(len(rows))
        return embed(self, tokens, rows)

    monkeypatch.setattr(TextEmbedder, "_embed", counted)
    first, products = train(tmp_path, folder)
    pairs = {tuple(pair) for pair in products.table[["title", "description"]].to_numpy()}
    assert sum(counts) <= len(pairs)
    before = sum(counts)
    fold, _ = train(tmp_path, folder, fold=1)
    again, _ = train(tmp_path, folder, classifier="mlp")
    assert sum(counts) == before
    assert np.array_equal(again.features, first.features)
    assert fold.features is None
    assert list(fold.matrices["final"]) == ["out_of_fold", "validation"]


def test_weights_without_a_pooler_are_known_again(tmp_path):
    table = text_products().table
    tokenizer = train_tokenizer(table["title"].tolist(), vocabulary=300, max_tokens=64)
    save_encoder(tmp_path / "weights", family("bert"), tokenizer, list("abcde"))
    state = load_file(tmp_path / "weights" / "model.safetensors")
    kept = {name: value for name, value in state.items() if "pooler" not in name}
    assert len(kept) < len(state)
    save_file(kept, tmp_path / "weights" / "model.safetensors", {"format": "pt"})
    for _ in range(2):
        TextEmbedder.load(tmp_path / "weights", max_tokens=32, device=CPU).features(table, keep=True)
    assert len(list((tmp_path / "home" / "features").iterdir())) == 1


def test_texts_are_pooled_as_the_folder_says(tmp_path, folder):
    def pooling(**modes):
        (folder / POOLING).parent.mkdir(exist_ok=True)
        (folder / POOLING).write_text(json.dumps({"word_embedding_dimension": 48, **modes}))
        return TextEmbedder.load(folder, max_tokens=32, device=CPU).pooling

    assert TextEmbedder.load(folder, max_tokens=32, device=CPU).pooling == MEAN
    assert pooling(pooling_mode_cls_token=True, pooling_mode_mean_tokens=False) == FIRST
    assert pooling(pooling_mode_cls_token=False, pooling_mode_mean_tokens=True) == MEAN
    with pytest.raises(InputError, match=r"pools by .*max_tokens.*expected"):
        pooling(pooling_mode_max_tokens=True)
    (folder / POOLING).write_text(json.dumps({FIRST: True}))
    assert json.loads((find_weights(f"file://{folder}") / POOLING).read_text()) == {FIRST: True}


def test_the_model_folder_holds_what_predicting_takes(tmp_path, folder):
    trained, products = train(tmp_path, folder)
    embedder = TextEmbedder.load(tmp_path / "model" / "encoder", max_tokens=32, device=CPU)
    kept = load_file(tmp_path / "model" / "model.safetensors")
    features = torch.from_numpy(embedder.features(products.table.iloc[90:], keep=True))
    assert np.array_equal(features.numpy(), trained.features[90:])
    logits = (features - kept["center"]) / kept["spread"] @ kept["weights"] + kept["bias"]
    np.testing.assert_allclose(logits.softmax(1).numpy(), trained.matrices["final"]["test"], atol=1e-4)


def test_more_tokens_than_the_encoder_has_positions_for_are_refused(tmp_path, folder):
    config = FrozenTextConfig(name="frozen", weights=str(folder), max_tokens=513)
    products = text_products()
    task = training_task(products, fold=None, cleaned=False)
    with pytest.raises(InputError, match="'frozen': max_tokens = 513"):
        train_frozen(products, task, config, TrainingSetup(0, tmp_path / "model"))
