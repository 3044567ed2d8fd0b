"""The transformer text classifier: CamemBERT on title and description (paper, section 3.1.2)."""

import dataclasses
import hashlib
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from components.data.products import Products, Task
from components.modeling.callbacks import best_epoch, copied_weights
from components.modeling.checkpoint import Checkpoints, digest_of, fingerprint
from components.modeling.device import choose_device, device_name
from components.modeling.lease import remove_training, training_folder
from components.modeling.processes import interleaved, process_count, process_rank, train_together
from components.modeling.termination import catch_sigterm
from components.modeling.text.encoder import load_encoder, save_encoder
from components.modeling.text.tokens import Tokens, table_tokens
from components.modeling.trained import Predicted, Trained, TrainingSetup, predict_in_parts
from components.text.encoder import prepare_encoder
from components.text.kinds.transformer import TransformerConfig
from components.text.predict import predict
from components.text.training import Training
from components.text.weights import find_weights

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TransformerText:
    """A fine-tuned encoder and its tokenizer, which knows the longest text pair."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase

    def predict(self, table: pd.DataFrame) -> Predicted:
        """Probabilities and features of the products of a table with titles and descriptions."""

        def predicted(part: slice) -> Predicted:
            tokens = table_tokens(table.iloc[part], self.tokenizer)
            return Predicted(*predict(self.model, tokens, np.arange(len(tokens.lengths))))

        return predict_in_parts(predicted, len(table))


def load_transformer(folder: Path, *, device: torch.device) -> TransformerText:
    """Reads what `train_transformer` left, or one of its late checkpoints."""
    model, tokenizer = load_encoder(folder)
    model.to(device).eval()  # pyright: ignore[reportCallIssue, reportArgumentType]
    return TransformerText(model, tokenizer)


def train_transformer(
    products: Products,
    task: Task,
    config: TransformerConfig,
    setup: TrainingSetup,
) -> Trained:
    """Fine-tunes an encoder on `task.fit` and predicts `task.predict`.

    The epoch with the best validation macro-F1 is the chosen one, in a fold's training the last. A validation
    product is predicted at the epoch that is the best on other validation products. Where a
    checkpoint of the same training lies in the setup's folder, it goes on from there, and on a CPU ends with
    the same bytes. With several GPUs a process on each trains on its part of the same batches as one would.
    The model is config.json, model.safetensors and tokenizer.json.

    Returns:
        Matrices of the chosen epoch ("best" or "last") and of `config.late_checkpoints` late epochs; pooled
        features of all products unless the task is a fold's.

    Raises:
        InputError: the weights cannot be used, a loss is not a number, every checkpoint is damaged.
        SystemExit: SIGTERM came; a checkpoint is saved, status 143.
    """
    started = time.monotonic()
    if setup.gpus > 1 and config.weights != "scratch":
        find_weights(config.weights, revision=config.revision or None)  # fetched once, for all processes
    label = f"text {config.name}"
    trained = train_together(_train, setup.gpus, label, products, task, config, setup)
    trained.metrics["seconds"] = time.monotonic() - started
    return trained


def _train(
    products: Products,
    task: Task,
    config: TransformerConfig,
    setup: TrainingSetup,
) -> Trained:
    encoder, tokenizer = prepare_encoder(products, task.fit, config, seed=setup.seed)
    tokenizer.model_max_length = config.max_tokens
    tokens = table_tokens(products.table, tokenizer)
    encoder.to(choose_device(config.accelerator))  # type: ignore[arg-type]
    log.info("%s tokens of %s texts, %s weights", *(f"{n:,}" for n in _sizes(tokens, encoder)))
    identity = _identity(products, task, config, tokens, encoder, setup.seed)
    with training_folder(setup.checkpoints, identity) as folder, catch_sigterm() as termination:
        training = Training(
            encoder,
            tokens,
            products.labels,
            task,
            config,
            groups=products.table["group"].to_numpy(),
            seed=setup.seed,
            checkpoints=Checkpoints(folder) if folder else None,
            termination=termination,
        )
        training.run()
        trained = _predict(training, products, termination.leave_if_requested)
        if process_rank() == 0:
            _save(training, tokenizer, setup.model, list(trained.matrices)[1:], products.classes)
        delete = partial(remove_training, folder()) if folder else None
    return dataclasses.replace(trained, delete_checkpoints=delete)


def _save(
    training: Training,
    tokenizer: PreTrainedTokenizerBase,
    folder: Path,
    late: Sequence[str],
    classes: Sequence[str],
) -> None:
    """Writes the chosen epoch's weights, and those of each late checkpoint into a folder of its name."""
    chosen = training.best.weights or copied_weights(training.predicted)
    weights = {_checkpoint(epoch): state for epoch, state in training.late.kept.items()}
    metadata = {"name": training.config.name, "kind": training.config.kind}
    for part, state in {**{folder / each: weights[each] for each in late}, folder: chosen}.items():
        training.predicted.load_state_dict(state)
        save_encoder(part, training.predicted, tokenizer, classes, **metadata)


def _predict(training: Training, products: Products, pause: Callable[[], None]) -> Trained:
    """What the chosen epoch's weights say of every split, and its late companions."""
    task, curves, late = training.task, training.loop.curves, training.config.late_checkpoints
    chosen = best_epoch(curves) or len(curves)
    if training.best.weights:
        training.predicted.load_state_dict(training.best.weights)
    rows = task.predicted(products)
    own = rows[process_rank() :: process_count()]
    predicted = predict(training.predicted, training.tokens, own, pause=pause)
    pred_probs, features = map(interleaved, predicted)
    place = np.empty(len(products.table), np.int64)
    place[rows] = np.arange(len(rows))
    name = "best" if training.best.weights else "last"
    matrices = {name: {split: pred_probs[place[split_rows]] for split, split_rows in task.predict.items()}}
    if len(training.evaluation.out_of_fold):
        matrices[name]["validation"] = training.evaluation.out_of_fold
    kept = {epoch: probs for epoch, probs in training.evaluation.kept.items() if epoch != chosen}
    matrices |= {_checkpoint(epoch): kept[epoch] for epoch in list(kept)[-late:]}
    metrics = {
        "epochs": float(len(curves)),
        "chosen_epoch": float(chosen),
        "loss": curves[-1]["loss"],
        "parameters": float(sum(weight.numel() for weight in training.model.parameters())),
    }
    device = device_name(training.model.device)
    return Trained(matrices, None if task.of_fold else features, metrics, curves, device=device)


def _checkpoint(epoch: int) -> str:
    return f"epoch-{epoch:03d}"


def _identity(
    products: Products,
    task: Task,
    config: TransformerConfig,
    tokens: Tokens,
    encoder: torch.nn.Module,
    seed: int,
) -> str:
    """What a training depends on: a checkpoint of anything else is not resumed."""
    digest = hashlib.blake2b()
    for array in (tokens.ids, tokens.offsets, products.labels, task.fit, *task.predict.values()):
        digest.update(np.ascontiguousarray(array).data)
    settings = config.model_dump(exclude={"checkpoint_minutes"})
    metadata = (seed, sorted(task.predict), products.classes)
    return fingerprint(settings, *metadata, digest.hexdigest(), digest_of(encoder.state_dict()))


def _sizes(tokens: Tokens, encoder: torch.nn.Module) -> tuple[int, int, int]:
    weights = sum(parameter.numel() for parameter in encoder.parameters())
    return len(tokens.ids), len(tokens.offsets) - 1, weights
