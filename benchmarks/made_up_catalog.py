"""A catalog of the challenge's shape and models of full size with random weights, made once into a folder."""

import csv
import io
import os
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw
from safetensors.torch import save_file
from transformers import CamembertConfig, CamembertForSequenceClassification

from benchmarks.catalog_texts import SYLLABLES, catalog_texts
from benchmarks.product_images import SIDE
from components.modeling.image.backbones import Backbone
from components.modeling.text.encoder import save_encoder
from components.modeling.text.tokens import train_tokenizer
from components.preprocess.config import Sources

CLASSES = 27
LARGEST, SMALLEST = 10_209, 764  # products of a class
TEST_SHARE = 0.1  # the challenge's second phase has 8,435 products beside 84,916
TEXTURES = 4  # of a class
TEXTS_TO_LEARN_FROM = 20_000


def write_catalog(folder: Path, products: int) -> Sources:
    """Writes texts, labels and 500x500 JPEGs of labeled products and a tenth as many test products.

    A folder that holds them already is left as it is.
    """
    whole = folder / "whole"
    parts = {"train": products, "test": max(CLASSES, int(TEST_SHARE * products))}
    if not whole.exists():
        frequencies = np.geomspace(LARGEST, SMALLEST, CLASSES)
        for number, (part, count) in enumerate(parts.items()):
            random = np.random.default_rng([0, number])
            labels = np.concatenate(
                [
                    np.tile(np.arange(CLASSES), 8),
                    random.choice(CLASSES, count, p=frequencies / frequencies.sum()),
                ]
            )[:count]
            _write_tables(folder, part, random.permutation(labels), seed=number)
        whole.touch()
    return Sources(
        products=str(folder / "X_train.tsv"),
        labels=str(folder / "Y_train.tsv"),
        images=str(folder / "train"),
        test_products=str(folder / "X_test.tsv"),
        test_images=str(folder / "test"),
    )


def _write_tables(folder: Path, part: str, labels: np.ndarray, *, seed: int) -> None:
    (folder / part).mkdir(parents=True, exist_ok=True)
    titles, descriptions = catalog_texts(len(labels), seed=seed)
    ids = np.arange(len(labels)) + seed * 10**7
    names = [SYLLABLES[label] * 3 for label in labels]  # a word that a class has for itself
    texts = zip(ids, names, titles, descriptions, strict=True)
    rows = [[i, f"{name} {title}", text, i, i] for i, name, title, text in texts]
    _write(folder / f"X_{part}.tsv", ["Integer_id", "Title", "Description", "Image_id", "Product_id"], rows)
    coded = [[i, i, i, 10 * (1 + int(label))] for i, label in zip(ids, labels, strict=True)]
    _write(folder / f"Y_{part}.tsv", ["Integer_id", "Image_id", "Product_id", "Prdtypecode"], coded)
    with ProcessPoolExecutor(os.cpu_count(), get_context("spawn")) as pool:
        count = max(1, len(labels) // 250)
        chunks = zip(np.array_split(ids, count), np.array_split(labels, count), strict=True)
        list(pool.map(_write_images, [(folder / part, *chunk) for chunk in chunks]))


def _write(path: Path, header: list[str], rows: list[list]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter="\t", lineterminator="\n", quoting=csv.QUOTE_NONE, quotechar=None)
        writer.writerow(header)
        writer.writerows(rows)


def _write_images(chunk: tuple[Path, np.ndarray, np.ndarray]) -> None:
    folder, ids, labels = chunk
    white = Image.new("RGB", (SIDE, SIDE), "white")
    for number, label in zip(ids.tolist(), labels.tolist(), strict=True):
        random = np.random.default_rng(number)
        texture = _texture(label, int(random.integers(TEXTURES)))
        mask, reach = Image.new("L", (SIDE, SIDE)), random.uniform(0.2, 0.46, 2) * SIDE
        box = [*(SIDE / 2 - reach), *(SIDE / 2 + reach)]
        draw = ImageDraw.Draw(mask)
        (draw.ellipse if random.random() < 0.5 else draw.rectangle)(box, fill=255)
        file = io.BytesIO()
        Image.composite(texture, white, mask).save(file, "JPEG", quality=85)
        # As many bytes more as make each image another one, and 26 KB on average.
        (folder / f"image_{number}_product_{number}.jpg").write_bytes(
            file.getvalue() + number.to_bytes(8, "big")
        )


@cache
def _texture(label: int, variant: int) -> Image.Image:
    random = np.random.default_rng([label, variant])
    coarse = random.integers(0, 90, (SIDE // 10, SIDE // 10, 3), dtype=np.uint8)
    waves = np.asarray(Image.fromarray(coarse).resize((SIDE, SIDE), Image.Resampling.BICUBIC)).astype(int)
    noise = random.integers(-12, 12, (SIDE, SIDE, 1))
    color = np.random.default_rng(label).integers(20, 180, 3)
    return Image.fromarray(np.clip(color + waves + noise, 0, 255).astype(np.uint8))


def write_text_weights(folder: Path, *, layers: int, hidden: int, heads: int, vocabulary: int) -> str:
    """A CamemBERT of this size with random weights, and a tokenizer; returns its folder."""
    if not (folder / "model.safetensors").exists():
        titles, descriptions = catalog_texts(TEXTS_TO_LEARN_FROM)
        tokenizer = train_tokenizer(
            [*titles, *descriptions], vocabulary=min(8000, vocabulary), max_tokens=128
        )
        torch.manual_seed(0)
        classes = [f"{label:02d}" for label in range(CLASSES)]
        save_encoder(folder, camembert(layers, hidden, heads, vocabulary, CLASSES), tokenizer, classes)
    return str(folder)


def camembert(
    layers: int, hidden: int, heads: int, vocabulary: int, classes: int
) -> CamembertForSequenceClassification:
    """A CamemBERT of that size with random weights."""
    config = CamembertConfig(
        vocab_size=vocabulary,
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=4 * hidden,
        max_position_embeddings=514,
        type_vocab_size=1,
        num_labels=classes,  # type: ignore[call-arg]
    )
    return CamembertForSequenceClassification(config)


def write_image_weights(folder: Path, backbone: str) -> str:
    """A backbone of timm's with random weights; returns its file."""
    path = folder / f"{backbone}.safetensors"
    if not path.exists():
        torch.manual_seed(0)
        folder.mkdir(parents=True, exist_ok=True)
        save_file(Backbone(backbone, (224, 224)).body.state_dict(), path)
    return str(path)
