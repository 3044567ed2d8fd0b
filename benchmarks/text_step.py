"""Our training step against the Hugging Face Trainer: same model, texts, batch size and precision.

    python benchmarks/text_step.py                              6 layers of 256 on the CPU, one thread
    python benchmarks/text_step.py --layers 12 --hidden 768 --heads 12 --vocabulary 32005    CamemBERT-base
    python benchmarks/text_step.py --family bert --layers 6 --hidden 384 --heads 12          MiniLM

The Trainer pads to 128 tokens, pads to the longest text of a batch, or groups by length in its own sampler's
batches. Ours takes the same texts in random batches; on a CPU it runs once more with torch's own linear
layers in place of oneDNN's, to tell packing's part from the products'. The time is CPU time on a CPU, wall
time on a GPU, where ours is timed once its graphs are captured; the first step is left out; variants take
turns, equally often, and the shortest run counts.
Losses are compared without dropout, step by step, on the same batches.
The Trainer needs the package accelerate.
"""

import argparse
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.catalog_texts import catalog_texts
from benchmarks.clock import DEVICE, busy_seconds, clock, device_name
from benchmarks.reference_trainer import CLASSES, grouped_batches, new_model, run_trainer
from components.data.products import Task
from components.modeling.termination import Termination
from components.modeling.text.cpu_linear import use_onednn
from components.modeling.text.forward import PACKABLE
from components.modeling.text.tokens import Tokens, tokenize, train_tokenizer
from components.text.kinds.transformer import TransformerConfig
from components.text.training import Training

MAX_TOKENS = 128
OURS = "ours, random batches"


def run_ours(training: Training, batches: list[np.ndarray]) -> tuple[float, list[float]]:
    """Time of all steps but the first of what `start_ours` gave, and each step's loss."""
    started = 0.0
    for number, rows in enumerate(batches):
        training.loop.take_step(rows)
        started = clock() if number == 0 else started
    end = clock()
    training.loop.read_losses()
    losses = training.loop.losses[:]
    if DEVICE.type == "cuda":  # each size of batch was captured when it first came: once more without that
        started = clock()
        take_steps(training, batches[1:])
        end = clock()
    return end - started, losses


def start_ours(
    options: argparse.Namespace,
    tokens: Tokens,
    labels: np.ndarray,
    order: np.ndarray,
    *,
    dropout: float,
    onednn: bool = True,
) -> tuple[Training, list[np.ndarray]]:
    """A training that has not begun, and its batches."""
    config = TransformerConfig(name="ours", batch_size=options.batch_size, epochs=1, warmup=0)
    model = new_model(options, dropout=dropout, packed=True)
    if onednn:
        use_onednn(model)
    task, settings = Task(order, {}), {"seed": 0, "checkpoints": None, "termination": Termination()}
    training = Training(model, tokens, labels, task, config, groups=np.arange(len(labels)), **settings)
    return training, np.split(order, range(options.batch_size, len(order), options.batch_size))


def take_steps(training: Training, batches: list[np.ndarray]) -> None:
    for rows in batches:
        training.loop.take_step(rows)


def time_busy(options: argparse.Namespace, tokens: Tokens, labels: np.ndarray, order: np.ndarray) -> float:
    """Seconds in which a GPU works during all steps but the first, once its graphs are captured."""
    training, batches = start_ours(options, tokens, labels, order, dropout=0.1)
    take_steps(training, batches)
    return busy_seconds(lambda: take_steps(training, batches[1:]))


def matrix_ceiling(size: int = 8192, repeats: int = 10) -> float:
    """FLOP/s of a large matrix product: bf16 on a GPU, float32 by the faster of two libraries on a CPU."""
    size = size if DEVICE.type == "cuda" else 1024
    kind = torch.bfloat16 if DEVICE.type == "cuda" else torch.float32
    left = torch.randn(size, size, device=DEVICE, dtype=kind)
    product = nn.Sequential(nn.Linear(size, size, bias=False, device=DEVICE, dtype=kind))
    fastest = 0.0
    with torch.inference_mode():
        for prepare in (lambda model: None, use_onednn):
            prepare(product)
            product(left)
            started = clock()
            for _ in range(repeats):
                product(left)
            fastest = max(fastest, repeats * 2 * size**3 / (clock() - started))
    return fastest


def time_in_turns(
    runs: Mapping[str, Callable[[], tuple[float, list[float]]]], rounds: int
) -> dict[str, float]:
    """The shortest time of each run, all in turns: a busy machine then troubles all alike."""
    shortest = dict.fromkeys(runs, np.inf)
    for _ in range(rounds):
        for name, run in runs.items():
            shortest[name] = min(shortest[name], run()[0])
    return shortest


def loss_gap(
    options: argparse.Namespace, tokens: Tokens, labels: np.ndarray, order: np.ndarray, width: int | None
) -> float:
    """The largest difference between a step's loss of the Trainer and of ours, without dropout."""
    _, expected = run_trainer(options, tokens, labels, order, width=width, dropout=0.0)
    _, got = run_ours(*start_ours(options, tokens, labels, order, dropout=0.0))
    return float(np.abs(np.array(expected) - np.array(got)).max())


def read_options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, value in {"layers": 6, "hidden": 256, "heads": 4, "vocabulary": 8000, "batch-size": 64}.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    families = [*PACKABLE, "deberta-v2"]
    parser.add_argument("--family", choices=families, default="camembert")
    parser.add_argument("--batches", type=int, default=4, help="timed steps a run")
    parser.add_argument("--rounds", type=int, default=2, help="runs of a variant; the shortest counts")
    parser.add_argument("--threads", type=int, default=1, help="of both, on a CPU")
    return parser.parse_args()


def report(
    options: argparse.Namespace, seconds: dict[str, float], gaps: dict[str, float], real: int, busy: float
) -> None:
    """Prints one line a variant, our share of what the processor can multiply, and how long a GPU is busy."""
    ours = seconds[OURS]
    print(f"{'':32}{'seconds':>9}{'tokens/s':>10}{'ratio':>8}{'largest loss difference':>26}")
    for name, taken in seconds.items():
        gap = f"{gaps[name]:.1e}" if name in gaps else ""
        print(f"{name:32}{taken:9.2f}{real / taken:10.0f}{taken / ours:8.2f}{gap:>26}")
    weights = 12 * options.layers * options.hidden**2
    floor = 6 * weights * real / matrix_ceiling()
    print(f"\nours: {floor / ours:.2f} of the matrix ceiling of this run, in real tokens")
    if busy:
        works, step, share = 1e3 * busy / options.batches, 1e3 * ours / options.batches, floor / busy
        print(f"ours: the GPU works {works:.1f} of {step:.1f} ms a step, then at {share:.2f} of the ceiling")


def main() -> None:
    options = read_options()
    torch.set_num_threads(options.threads)
    titles, descriptions = catalog_texts(6400)
    tokenizer = train_tokenizer([*titles, *descriptions], vocabulary=8000, max_tokens=MAX_TOKENS)
    tokens = tokenize(tokenizer, titles, descriptions, max_tokens=MAX_TOKENS)
    labels = np.random.default_rng(0).integers(0, CLASSES, len(titles))

    grouped = grouped_batches(tokens.lengths, options.batch_size, options.batches)
    first = np.random.default_rng(1).permutation(len(titles))[: options.batch_size]  # warms up, not timed
    mixed = np.concatenate([first, np.random.default_rng(2).permutation(grouped)])
    grouped = np.concatenate([first, grouped])
    variants = {
        "Trainer, padded to 128": (mixed, MAX_TOKENS),
        "Trainer, padded to the longest": (mixed, None),
        "Trainer, grouped by length": (grouped, None),
    }
    real = int(tokens.lengths[mixed[options.batch_size :]].sum())
    print(
        f"{device_name()}, threads: {options.threads}, "
        f"torch {torch.__version__}\n"
        f"{options.family}, {options.layers} layers of {options.hidden}, batch {options.batch_size}, "
        f"{options.batches} steps, "
        f"{real / options.batch_size / options.batches:.1f} tokens a text: "
        f"{options.batches * options.batch_size * MAX_TOKENS / real:.3f} padded tokens a real one at 128\n"
    )
    start = partial(start_ours, options, tokens, labels, mixed, dropout=0.1)
    runs: dict[str, Callable[[], tuple[float, list[float]]]] = {OURS: lambda: run_ours(*start())}
    if DEVICE.type == "cpu":
        runs["ours, torch's linear layers"] = lambda: run_ours(*start(onednn=False))
    for name, (order, width) in variants.items():
        runs[name] = partial(run_trainer, options, tokens, labels, order, width=width, dropout=0.1)
    seconds = time_in_turns(runs, options.rounds)
    busy = time_busy(options, tokens, labels, mixed) if DEVICE.type == "cuda" else 0.0
    gaps = {
        name: loss_gap(options, tokens, labels, order[: 3 * options.batch_size], width)
        for name, (order, width) in variants.items()
    }
    report(options, seconds, gaps, real, busy)


if __name__ == "__main__":
    main()
