"""Encoders: packed logits equal padded ones, weights come from anywhere, and nothing of theirs is run."""

import json
import pickle
import shutil
from collections.abc import Iterator
from pathlib import Path

import fsspec
import numpy as np
import pytest
import sentencepiece
import torch
from encoder_families import CPU, FAMILIES, family, some_tokens
from text_catalog import small_config, text_products
from transformers import PreTrainedModel

from components.core.errors import InputError
from components.data.products import training_task
from components.data.uris import SCHEMES
from components.modeling.text.attention import Packing
from components.modeling.text.cpu_linear import OneDnnLinear, use_onednn
from components.modeling.text.encoder import load_encoder, save_encoder
from components.modeling.text.forward import PACKABLE
from components.modeling.text.packing import TextBatch, logits, make_batch, packs, split_batch
from components.modeling.text.tokens import Tokens, tokenize, train_tokenizer
from components.modeling.trained import TrainingSetup
from components.text.encoder import prepare_encoder
from components.text.predict import predict
from components.text.step import batch_loss
from components.text.transformer import train_transformer
from components.text.weights import find_weights


def padded_logits(model: PreTrainedModel, tokens: Tokens, rows: np.ndarray) -> torch.Tensor:
    """Every text in one block padded to 128, as anyone would do it."""
    ids = torch.ones(len(rows), 128, dtype=torch.long)
    mask = torch.zeros(len(rows), 128, dtype=torch.long)
    types = torch.zeros(len(rows), 128, dtype=torch.long)
    for place, row in enumerate(rows):
        inside = slice(tokens.offsets[row], tokens.offsets[row + 1])
        length = tokens.lengths[row]
        ids[place, :length] = torch.from_numpy(tokens.ids[inside].astype(np.int64))
        mask[place, :length] = 1
        if tokens.types is not None:
            types[place, :length] = torch.from_numpy(tokens.types[inside].astype(np.int64))
    extra = {} if tokens.types is None else {"token_type_ids": types}
    return model(input_ids=ids, attention_mask=mask, **extra).logits


@pytest.mark.parametrize("name", FAMILIES)
def test_logits_without_padding_equal_padded_ones(name):
    model, tokens = family(name), some_tokens(types=name == "bert")
    rows = np.random.default_rng(1).permutation(40)
    with torch.inference_mode():
        expected = padded_logits(model, tokens, rows)
        found = {}
        for part in split_batch(model, tokens, rows, 1):
            batch = make_batch(model, tokens, part, CPU)
            found.update(zip(batch.rows.tolist(), logits(model, batch), strict=True))
    assert packs(model) == (model.config.model_type in PACKABLE)
    got = torch.stack([found[row] for row in rows.tolist()])
    assert expected.std() > 0.05
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", PACKABLE)
def test_cumulative_lengths_give_the_same_logits(name):
    model, tokens = family(name), some_tokens(types=name == "bert")
    batch = make_batch(model, tokens, np.arange(40), CPU)
    ends = torch.from_numpy(np.concatenate([[0], np.cumsum(tokens.lengths[batch.rows])]).astype(np.int32))
    assert batch.packing is not None
    view = Packing(batch.packing.starts, ends, 128)
    with torch.inference_mode():
        got = logits(model, TextBatch(batch.rows, batch.inputs, view))
        torch.testing.assert_close(got, logits(model, batch), atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", ["camembert", "deberta-v2"])
def test_gradients_of_the_passes_add_up_to_the_padded_batchs(name):
    model, tokens = family(name), some_tokens()
    rows, labels = np.arange(40), torch.arange(40) % 5
    torch.nn.functional.cross_entropy(padded_logits(model, tokens, rows), labels).backward()
    expected = [parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None]
    model.zero_grad()
    for part in split_batch(model, tokens, rows, 3):
        batch = make_batch(model, tokens, part, CPU)
        passed = batch_loss(logits(model, batch), labels[batch.rows], torch.ones(5), torch.tensor(40.0), 0.0)
        passed.backward()
    got = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    for one, other in zip(got, expected, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


def test_blocks_of_near_length_hold_every_text_once_and_little_padding():
    tokens = some_tokens(200)
    blocks = split_batch(family("deberta-v2"), tokens, np.arange(200), 1)
    assert sorted(np.concatenate(blocks).tolist()) == list(range(200))
    padded = sum(len(block) * tokens.lengths[block].max() for block in blocks)
    assert tokens.lengths.sum() / padded > 0.95


def test_predictions_come_in_the_order_of_the_rows():
    model, tokens = family("camembert"), some_tokens()
    rows = np.random.default_rng(2).permutation(40)[:25]
    pred_probs, features = predict(model, tokens, rows)
    with torch.inference_mode():
        expected = padded_logits(model, tokens, rows).softmax(dim=1).numpy()
    np.testing.assert_allclose(pred_probs, expected, atol=1e-5)
    assert features.shape == (25, 48)
    final = model.classifier.out_proj  # type: ignore[union-attr]
    with torch.inference_mode():
        again = final(torch.from_numpy(features)).softmax(dim=1).numpy()  # type: ignore[operator]
    np.testing.assert_allclose(again, expected, atol=1e-5)


def test_tokens_are_those_of_the_tokenizer_itself():
    table = text_products().table
    titles, descriptions = table["title"].tolist(), table["description"].tolist()
    tokenizer = train_tokenizer(titles + descriptions, vocabulary=400, max_tokens=16)
    tokens = tokenize(tokenizer, titles, descriptions, max_tokens=16)
    for row, (title, description) in enumerate(zip(titles, descriptions, strict=True)):
        expected = tokenizer(title, description or None, truncation=True, max_length=16)["input_ids"]
        assert tokens.ids[tokens.offsets[row] : tokens.offsets[row + 1]].tolist() == expected
    assert tokens.lengths.max() == 16


def test_a_tokenizer_learns_the_same_from_the_same_texts():
    table = text_products().table
    first, second = (
        train_tokenizer(table["title"].tolist(), vocabulary=400, max_tokens=16).backend_tokenizer.to_str()
        for _ in range(2)
    )
    assert first == second


@pytest.fixture
def folder(tmp_path) -> Path:
    """A folder of weights as anyone would save them."""
    tokenizer = train_tokenizer(text_products().table["title"].tolist(), vocabulary=300, max_tokens=128)
    save_encoder(tmp_path / "weights", family("camembert"), tokenizer, list("abcde"))
    return tmp_path / "weights"


class Canary:
    """Creates a file the moment it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


def test_a_pickle_beside_the_weights_is_never_opened(folder, tmp_path):
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Canary(tmp_path / "ran")))
    (folder / "training_args.bin").write_bytes(pickle.dumps(Canary(tmp_path / "ran")))
    load_encoder(folder, classes=3)
    assert not (tmp_path / "ran").exists()


def test_a_pickle_instead_of_weights_is_refused(folder, tmp_path):
    (folder / "model.safetensors").unlink()
    for name in ("pytorch_model.bin", "model.safetensors.bin", "model.pt"):
        (folder / name).write_bytes(pickle.dumps(Canary(tmp_path / "ran")))
    with pytest.raises(InputError, match=r"expected config.json and model.safetensors.*save_pretrained"):
        load_encoder(folder, classes=3)
    assert not (tmp_path / "ran").exists()


def test_an_index_that_points_to_a_pickle_is_refused(folder, tmp_path):
    (folder / "shard.bin").write_bytes(pickle.dumps(Canary(tmp_path / "ran")))
    index = {"metadata": {}, "weight_map": {"roberta.embeddings.word_embeddings.weight": "shard.bin"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(InputError, match=r"shard\.bin"):
        load_encoder(folder, classes=3)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json"])
def test_code_that_comes_with_weights_is_refused(folder, tmp_path, name):
    (folder / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Evil: pass\n")
    settings = json.loads((folder / name).read_text())
    settings["auto_map"] = {"AutoModelForSequenceClassification": "evil.Evil", "AutoTokenizer": "evil.Evil"}
    (folder / name).write_text(json.dumps(settings))
    with pytest.raises(InputError, match="auto_map"):
        load_encoder(folder, classes=3)
    assert not (tmp_path / "ran").exists()


def test_damaged_safetensors_are_an_error_of_the_input(folder):
    (folder / "model.safetensors").write_bytes(b"\x00" * 64)
    with pytest.raises(InputError, match="cannot be loaded"):
        load_encoder(folder, classes=3)


def test_a_config_of_other_sizes_than_the_weights_is_refused(folder):
    settings = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**settings, "num_hidden_layers": 5}))
    with pytest.raises(InputError, match="encoder's weights are missing"):
        load_encoder(folder, classes=3)
    (folder / "config.json").write_text(json.dumps({**settings, "intermediate_size": 64}))
    with pytest.raises(InputError, match="of another size"):
        load_encoder(folder, classes=3)


def test_weights_by_uri_are_copied_once_and_without_strangers(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("components.text.weights.HF_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("components.data.uris.SCHEMES", (*SCHEMES, "memory"))
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Canary(tmp_path / "ran")))
    copied = find_weights(f"file://{folder}")
    assert copied.is_relative_to(tmp_path / "cache")
    assert not (copied / "pytorch_model.bin").exists()
    assert find_weights(f"file://{folder}") == copied
    model, _ = load_encoder(copied, classes=5)
    original, _ = load_encoder(folder, classes=5)
    for name, weight in original.state_dict().items():
        torch.testing.assert_close(model.state_dict()[name], weight, atol=0, rtol=0)


def test_a_vocabulary_of_sentencepiece_alone_serves_as_well(tmp_path):
    texts = tmp_path / "texts.txt"
    texts.write_text("\n".join(f"robe rouge {size} coton bleu taille {7 * size}" for size in range(500)))
    sentencepiece.SentencePieceTrainer.train(  # type: ignore[attr-defined]
        input=str(texts), model_prefix=str(tmp_path / "m"), vocab_size=100, hard_vocab_limit=False
    )
    family("camembert").save_pretrained(tmp_path / "weights")
    (tmp_path / "m.model").rename(tmp_path / "weights" / "sentencepiece.bpe.model")
    _, tokenizer = load_encoder(tmp_path / "weights", classes=3)
    tokens = tokenize(tokenizer, ["robe rouge"], ["bleu"], max_tokens=32)
    assert tokenizer.decode(tokens.ids) == "<s> robe rouge</s></s> bleu</s>"


def test_more_tokens_than_the_weights_have_positions_for_are_refused(folder):
    products = text_products()
    with pytest.raises(InputError, match=r"'small': max_tokens = 513, but .* takes texts of 510 tokens"):
        prepare_encoder(products, np.arange(9), small_config(weights=str(folder), max_tokens=513), seed=0)
    prepare_encoder(products, np.arange(9), small_config(weights=str(folder), max_tokens=510), seed=0)


def test_sizes_are_refused_where_the_weights_have_their_own(folder):
    with pytest.raises(ValueError, match="dropout come with the weights"):
        small_config(weights=str(folder), dropout=0.5)


@pytest.mark.parametrize(
    ("weights", "says"),
    [
        ("./no/such/folder", "no such folder"),
        ("file:///no/such/folder", "cannot be fetched"),
        ("nosuchscheme://bucket/model", "cannot be read"),
        ("not a name at all!", "cannot be had from the hub"),
    ],
)
def test_weights_that_cannot_be_had_say_what_to_do(weights, says):
    with pytest.raises(InputError, match=says):
        find_weights(weights)


def test_another_family_trains_from_a_folder_without_packing(tmp_path):
    products = text_products(36, 9, 6)
    tokenizer = train_tokenizer(products.table["title"].tolist(), vocabulary=300, max_tokens=32)
    save_encoder(tmp_path / "weights", family("deberta-v2"), tokenizer, list("abcde"))
    trained = train_transformer(
        products,
        training_task(products, fold=None, cleaned=False),
        small_config(weights=str(tmp_path / "weights"), epochs=2),
        TrainingSetup(0, tmp_path / "model"),
    )
    assert trained.matrices["best"]["test"].shape == (6, 3)
    assert trained.curves[1]["loss"] < trained.curves[0]["loss"]


def test_the_private_product_of_torch_has_the_arguments_that_are_used():
    schema = torch.ops.mkldnn._linear_pointwise.default._schema
    arguments = [argument.name for argument in schema.arguments]
    assert arguments == ["X", "W", "B", "attr", "scalars", "algorithm"]


def test_linear_layers_by_onednn_equal_torchs_own_and_so_do_their_gradients():
    torch.manual_seed(0)
    for inputs, outputs in ((48, 96), (96, 48), (48, 5)):
        own = torch.nn.Linear(inputs, outputs)
        rows = torch.randn(2, 7, inputs, requires_grad=True)
        expected = own(rows)
        expected.square().sum().backward()
        gradients = [part.grad.clone() for part in (own.weight, own.bias, rows) if part.grad is not None]
        own.zero_grad()
        rows.grad = None
        use_onednn(torch.nn.Sequential(own))
        assert type(own) is OneDnnLinear
        got = own(rows)
        got.square().sum().backward()
        torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)
        for part, gradient in zip((own.weight, own.bias, rows), gradients, strict=True):
            torch.testing.assert_close(part.grad, gradient, atol=1e-5, rtol=1e-5)


@pytest.fixture
def remote(folder, tmp_path, monkeypatch) -> Iterator[fsspec.AbstractFileSystem]:
    """An object store that holds the folder's files below /models/small, a pickle among them."""
    monkeypatch.setattr("components.text.weights.HF_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("components.data.uris.SCHEMES", (*SCHEMES, "memory"))
    store = fsspec.filesystem("memory")
    for path in folder.iterdir():
        store.pipe_file(f"/models/small/{path.name}", path.read_bytes())
    store.pipe_file("/models/small/pytorch_model.bin", pickle.dumps(Canary(tmp_path / "ran")))
    yield store
    store.rm("/models", recursive=True)


def test_weights_of_an_object_store_load_and_its_pickle_stays_there(remote, folder):
    copied = find_weights("memory://models/small")
    assert not (copied / "pytorch_model.bin").exists()
    assert (copied / "model.safetensors").read_bytes() == (folder / "model.safetensors").read_bytes()
    load_encoder(copied, classes=3)


def test_weights_that_change_in_the_store_are_fetched_anew(remote):
    first = find_weights("memory://models/small")
    remote.pipe_file("/models/small/tokenizer_config.json", b"{}")
    second = find_weights("memory://models/small")
    assert second != first
    assert (second / "tokenizer_config.json").read_bytes() == b"{}"


def test_a_download_that_broke_off_is_made_again(remote, monkeypatch):
    def broken(path, target, **_):
        Path(target).write_bytes(b"half of it")
        raise ConnectionError("the store has gone away")

    monkeypatch.setattr(remote, "get_file", broken)
    with pytest.raises(InputError, match="the store has gone away"):
        find_weights("memory://models/small")
    monkeypatch.delattr(remote, "get_file")
    load_encoder(find_weights("memory://models/small"), classes=3)


def test_a_copy_that_was_damaged_is_fetched_again(remote, caplog):
    copied = find_weights("memory://models/small")
    (copied / "config.json").write_text("{}")
    assert find_weights("memory://models/small") == copied
    assert (copied / "config.json").read_bytes() == remote.cat_file("/models/small/config.json")
    assert "weights are fetched again" in caplog.text


def test_an_implementation_that_a_folder_names_is_not_used(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "copy")
    settings = json.loads((folder / "config.json").read_text())
    settings |= {"attn_implementation": "someone/kernel", "_attn_implementation": "flash_attention_2"}
    (tmp_path / "copy" / "config.json").write_text(json.dumps(settings))
    model, _ = load_encoder(tmp_path / "copy", classes=3)
    assert model.config._attn_implementation == load_encoder(folder, classes=3)[0].config._attn_implementation


def test_a_download_that_was_cut_short_is_refused(remote, monkeypatch):
    whole = remote.cat_file("/models/small/model.safetensors")

    def short(path, target, **_):
        Path(target).write_bytes(remote.cat_file(path)[: len(whole) // 2])

    monkeypatch.setattr(remote, "get_file", short)
    with pytest.raises(InputError, match=r"model\.safetensors.*bytes.*of"):
        find_weights("memory://models/small")
