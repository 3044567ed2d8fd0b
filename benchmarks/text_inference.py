"""Our inference against transformers' pipeline("text-classification", batch_size=64), truncated at 128.

    python benchmarks/text_inference.py                 10,000 products, 4 layers of 128, one thread
    python benchmarks/text_inference.py --hidden 768 --layers 12 --heads 12 --products 1000

Both start from texts and end with probabilities, which must be equal. CPU time on a CPU, wall time on a GPU.
"""

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import pipeline

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.catalog_texts import catalog_texts
from benchmarks.clock import DEVICE, clock, device_name
from benchmarks.made_up_catalog import CLASSES, camembert
from components.modeling.text.encoder import load_encoder, save_encoder
from components.modeling.text.tokens import tokenize, train_tokenizer
from components.text.predict import predict


def write_model(
    folder: Path, titles: list[str], descriptions: list[str], options: argparse.Namespace
) -> None:
    """A CamemBERT with random weights and a tokenizer, as a training would leave it."""
    tokenizer = train_tokenizer([*titles, *descriptions], vocabulary=8000, max_tokens=128)
    torch.manual_seed(0)
    model = camembert(options.layers, options.hidden, options.heads, 8000, CLASSES)
    save_encoder(folder, model, tokenizer, [f"{label:02d}" for label in range(CLASSES)])


def time_pipeline(folder: Path, titles: list[str], descriptions: list[str]) -> tuple[float, np.ndarray]:
    """Seconds of the pipeline, and its probabilities."""
    classify = pipeline("text-classification", model=str(folder), device=DEVICE, batch_size=64, top_k=None)
    texts = [
        {"text": title, "text_pair": description}
        for title, description in zip(titles, descriptions, strict=True)
    ]
    started = clock()
    scores: Any = classify(texts, truncation=True, padding=True, max_length=128)
    seconds = clock() - started
    return seconds, np.array([[s["score"] for s in sorted(row, key=lambda s: s["label"])] for row in scores])


def time_ours(folder: Path, titles: list[str], descriptions: list[str]) -> tuple[float, np.ndarray]:
    """Seconds of tokenizing and predicting, and the probabilities."""
    model, tokenizer = load_encoder(folder)
    model.to(DEVICE)  # type: ignore[arg-type]
    started = clock()
    tokens = tokenize(tokenizer, titles, descriptions, max_tokens=128)
    pred_probs, _ = predict(model, tokens, np.arange(len(titles)))
    return clock() - started, np.asarray(pred_probs)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, value in {"products": 10_000, "layers": 4, "hidden": 128, "heads": 4}.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    options = parser.parse_args()
    torch.set_num_threads(1)
    titles, descriptions = catalog_texts(options.products)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_model(folder, titles, descriptions, options)
        ours, got = time_ours(folder, titles, descriptions)
        theirs, expected = time_pipeline(folder, titles, descriptions)
    print(f"{device_name()}, one thread, torch {torch.__version__}")
    print(f"{options.products} products, {options.layers} layers of {options.hidden}\n")
    print(f"{'':12}{'seconds':>9}{'products/s':>12}{'ratio':>8}")
    print(f"{'ours':12}{ours:9.2f}{options.products / ours:12.0f}{1:8.2f}")
    print(f"{'pipeline':12}{theirs:9.2f}{options.products / theirs:12.0f}{theirs / ours:8.2f}")
    print(f"\nlargest difference of a probability: {np.abs(got - expected).max():.1e}")


if __name__ == "__main__":
    main()
