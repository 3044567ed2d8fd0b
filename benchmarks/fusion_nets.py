"""All fusion nets at once, against a loop over them with a DataLoader and scikit-learn's F1.

    python benchmarks/fusion_nets.py                 the loop on 4 nets of each kind, scaled to all
    python benchmarks/fusion_nets.py --loop-nets 0   the loop on every net: some minutes
    python benchmarks/fusion_nets.py --device cuda   all at once on a GPU; the loop stays on the CPU

Both sides start from the same weights, see the same batches and must choose the same epochs and end with
the same weights. The paper's size (sections 3.4 and 4.1): 12 members of 3 text classifiers, 2 image
classifiers and 2 nets, 8 folds, 8,492 validation rows, 27 classes, batch 64, 40 epochs. Rows are
synthetic: the time does not depend on what they say.
"""

import argparse
import platform
import sys
import time
from itertools import product
from pathlib import Path

import numpy as np
import torch
from sklearn.metrics import f1_score
from torch import nn
from torch.utils.data import DataLoader, Subset, TensorDataset

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from components.fusion.decision_level.net_training import Schedule, batches_of, train_nets
from components.fusion.decision_level.nets import Net, TrainedNet, initial_layers
from components.modeling.cross_fitting import stratified_folds


def synthetic_classifiers(
    classifiers: int, rows: int, classes: int, *, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities (V, N, C) of classifiers that are right on most rows, and labels (N,)."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, classes, rows)
    logits = random.normal(size=(classifiers, rows, classes)) * 1.5
    logits[:, np.arange(rows), labels] += np.linspace(5, 2, classifiers)[:, None]
    likelihood = np.exp(logits)
    return (likelihood / likelihood.sum(axis=2, keepdims=True)).astype(np.float32), labels


def paper_nets() -> list[Net]:
    """The paper's 12 members: each text (0 to 2) with each image classifier (3, 4), two nets each."""
    return [
        Net(f"{hidden}({text}, {image})", (text, image), hidden)
        for hidden, text, image in product((0, 6), (0, 1, 2), (3, 4))
    ]


def train_one(
    net: Net,
    pred_probs: np.ndarray,
    labels: np.ndarray,
    folds: np.ndarray,
    *,
    fold: int,
    schedule: Schedule,
    seed: int,
) -> tuple[int, list[np.ndarray]]:
    """One net of one fold as it is usually written; returns the chosen epoch and its weights."""
    inputs = torch.from_numpy(np.concatenate(pred_probs[list(net.inputs)], axis=1)).double()
    dataset = TensorDataset(inputs, torch.from_numpy(labels))
    model = _model(initial_layers(net, pred_probs.shape[2], fold=fold, seed=seed))
    optimizer = torch.optim.Adam(model.parameters(), lr=schedule.learning_rate)
    held_out = np.flatnonzero(folds == fold)
    best, chosen, weights = -1.0, -1, []
    for epoch in range(schedule.epochs):
        order = np.random.default_rng([seed, epoch]).permutation(len(labels))
        parts = np.array_split(order, batches_of(folds, schedule.batch_size))
        batches = [[row for row in part.tolist() if folds[row] != fold] for part in parts]
        for rows, targets in DataLoader(dataset, batch_sampler=batches):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(rows), targets).backward()
            optimizer.step()
        loader = DataLoader(Subset(dataset, held_out.tolist()), batch_size=schedule.batch_size)
        with torch.no_grad():
            predicted = torch.cat([model(rows).argmax(dim=1) for rows, _ in loader]).numpy()
        score = f1_score(labels[held_out], predicted, average="macro")
        if score > best:
            best, chosen, weights = score, epoch, _weights(model)
    return chosen, weights


def _model(layers: list[np.ndarray]) -> nn.Sequential:
    model = nn.Sequential()
    for number, layer in enumerate(layers):
        if number:
            model.append(nn.ReLU())
        linear = nn.Linear(layer.shape[1] - 1, layer.shape[0], dtype=torch.float64)
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(layer[:, :-1]))
            linear.bias.copy_(torch.from_numpy(layer[:, -1]))
        model.append(linear)
    return model


def _weights(model: nn.Sequential) -> list[np.ndarray]:
    return [
        torch.cat([layer.weight.detach(), layer.bias.detach()[:, None]], dim=1).numpy()
        for layer in model
        if isinstance(layer, nn.Linear)
    ]


def difference(trained: TrainedNet, fold: int, epoch: int, weights: list[np.ndarray]) -> tuple[bool, float]:
    """Whether the chosen epochs agree, and the largest difference between the weights."""
    apart = [np.abs(ours[fold] - theirs).max() for ours, theirs in zip(trained.layers, weights, strict=True)]
    return int(trained.epochs[fold]) == epoch, float(max(apart))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=8492)
    parser.add_argument("--classes", type=int, default=27)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--folds", type=int, default=8)
    parser.add_argument("--loop-nets", type=int, default=4, help="nets of each kind in the loop; 0 for all")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)

    pred_probs, labels = synthetic_classifiers(5, options.rows, options.classes, seed=options.seed)
    folds = stratified_folds(labels, folds=options.folds, seed=options.seed)
    nets, schedule = paper_nets(), Schedule(epochs=options.epochs)
    started, wall = time.process_time(), time.perf_counter()
    device = torch.device(options.device)
    trained = train_nets(pred_probs, labels, folds, nets, schedule=schedule, seed=options.seed, device=device)
    together, wall = time.process_time() - started, time.perf_counter() - wall

    everything = [(number, fold) for number in range(len(nets)) for fold in range(options.folds)]
    half = len(everything) // 2
    some = options.loop_nets or half
    spread = np.linspace(0, half - 1, some).astype(int)
    same, apart = [], []
    started, loop_wall = time.process_time(), time.perf_counter()
    for number, fold in [everything[i] for i in [*spread, *(spread + half)]]:
        epoch, weights = train_one(
            nets[number], pred_probs, labels, folds, fold=fold, schedule=schedule, seed=options.seed
        )
        equal, largest = difference(trained[number], fold, epoch, weights)
        same.append(equal)
        apart.append(largest)
    scale = len(everything) / len(same)
    loop, loop_wall = (time.process_time() - started) * scale, (time.perf_counter() - loop_wall) * scale

    print(f"{platform.machine()}, {options.threads} thread(s), torch {torch.__version__}")
    print(
        f"{len(everything)} nets, {options.rows:,} rows, {options.classes} classes, {options.epochs} epochs"
    )
    print(f"{'':34}{'CPU s':>10}{'wall s':>10}")
    print(f"{f'loop, {len(same)} nets, scaled to all':34}{loop:10.1f}{loop_wall:10.1f}")
    print(f"{f'all at once on {device}':34}{together:10.1f}{wall:10.1f}")
    print(f"{'ratio':34}{loop / together:10.1f}{loop_wall / wall:10.1f}")
    print(f"same chosen epoch: {sum(same)} of {len(same)}; largest difference of a weight: {max(apart):.1e}")


if __name__ == "__main__":
    main()
