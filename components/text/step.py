"""What a batch of texts teaches: the loss, its gradients, AdamW's groups."""

import re
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.parallel import DistributedDataParallel
from transformers import PreTrainedModel

from components.modeling.memory import StepMemory, estimate_memory
from components.modeling.precision import autocast, loss_scaler
from components.modeling.processes import process_count, share
from components.modeling.step import OptimizerStep
from components.modeling.text.packed_step import (
    ADAM_MOMENTS,
    CudaGraphs,
    PackedStep,
    StepSettings,
    text_limit,
)
from components.modeling.text.packing import TextBatch, logits, make_batch, packs, split_batch
from components.modeling.text.tokens import Tokens
from components.text.kinds.transformer import TransformerConfig

LAYER = re.compile(r"\.layers?\.(\d+)\.")


class Gradients:
    """Gradients of a batch's mean loss, pass by pass.

    Args:
        labels: (N,) classes of all rows.
        weights: (C,) class weights in the loss.
        pause: called before every pass; may raise to stop.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokens: Tokens,
        labels: np.ndarray,
        weights: Tensor,
        config: TransformerConfig,
        pause: Callable[[], None],
    ) -> None:
        self.model, self.tokens, self.labels, self.config = model, tokens, labels, config
        self.pause, self.device = pause, model.device
        self.scaler = loss_scaler(self.device)
        self.weights = weights.to(self.device)
        classifier = _Classifier(model)
        self.classifier = DistributedDataParallel(classifier) if process_count() > 1 else classifier

    def __call__(self, rows: np.ndarray) -> Tensor:
        """Adds the gradients of the batch of `rows`; returns its mean loss, of this process's share."""
        whole = self.weights[torch.from_numpy(self.labels[rows])].sum()
        total = torch.zeros((), device=self.device)
        # By length, so that all processes have as much to do.
        rows, counted = share(rows[np.argsort(self.tokens.lengths[rows], kind="stable")])
        passes = split_batch(self.model, self.tokens, rows, self.config.accumulation)
        # DistributedDataParallel takes a mean over the processes of what must be a sum.
        factor = process_count() if counted else 0
        for part in passes:
            self.pause()
            with self._exchange(last=part is passes[-1]):
                loss = self._loss(self.classifier, part, whole) * factor
                self.scaler.scale(loss).backward()
            total += loss.detach()
        return total

    def memory(self) -> StepMemory:
        """Estimates the memory of a training, with texts as long as the longest."""
        longest = int(self.tokens.lengths.argmax())
        whole = torch.ones((), device=self.device)

        def forward(texts: int) -> Tensor:
            return self._loss(_Classifier(self.model), np.full(texts, longest), whole)

        return estimate_memory(self.model, forward, moments=ADAM_MOMENTS)

    def _loss(self, classifier: nn.Module, rows: np.ndarray, whole: Tensor) -> Tensor:
        batch = make_batch(self.model, self.tokens, rows, self.device)
        labels = torch.from_numpy(self.labels[batch.rows]).to(self.device)
        with autocast(self.device):
            outputs = classifier(batch)
        return batch_loss(outputs, labels, self.weights, whole, self.config.label_smoothing)

    def _exchange(self, *, last: bool) -> AbstractContextManager:
        # Processes need not have as many passes: the last one alone takes the means of all gradients.
        if isinstance(self.classifier, DistributedDataParallel) and not last:
            return self.classifier.no_sync()
        return nullcontext()


class _Classifier(nn.Module):
    """`logits` as a module: what shares gradients among processes wants to be called as one."""

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: TextBatch) -> Tensor:
        return logits(self.model, batch)


def make_step(
    model: PreTrainedModel,
    tokens: Tokens,
    labels: np.ndarray,
    weights: Tensor,
    config: TransformerConfig,
    pause: Callable[[], None],
) -> OptimizerStep:
    """The step of a training: on a GPU that packs the encoder's texts it is captured, else a plain one.

    Args:
        labels, weights, pause: see `Gradients`.

    Raises:
        InputError: a batch will not fit into the GPU's memory.
    """
    optimizer = make_optimizer(model, config)
    if model.device.type == "cpu" or not packs(model):
        gradients = Gradients(model, tokens, labels, weights, config, pause)
        limit = text_limit(config.batch_size, config.accumulation, tokens, model.device)
        limit.check(gradients.memory)
        norm, scaler = config.max_grad_norm, gradients.scaler
        return OptimizerStep(model, optimizer, gradients, max_grad_norm=norm, scaler=scaler, limit=limit)
    settings = StepSettings(
        config.batch_size,
        config.accumulation,
        config.max_tokens,
        config.max_grad_norm,
        config.label_smoothing,
    )
    step = PackedStep(model, optimizer, tokens, labels, weights, settings, capture=CudaGraphs())
    step.limit.check(step.memory)
    return step


def make_optimizer(model: PreTrainedModel, config: TransformerConfig) -> torch.optim.AdamW:
    """AdamW (paper, section 4.1), one group for each pair of learning-rate scale and weight decay."""
    depth = model.config.num_hidden_layers
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        scale = config.layer_decay ** layers_above(name, depth)
        decay = config.weight_decay if parameter.ndim > 1 else 0.0
        groups.setdefault((scale, decay), []).append(parameter)
    return torch.optim.AdamW(
        [
            {"params": parameters, "weight_decay": decay, "scale": scale}
            for (scale, decay), parameters in groups.items()
        ],
        lr=config.learning_rate,
        fused=True,
    )


def layers_above(name: str, depth: int) -> int:
    """How many layers lie between a parameter and the output: 0 in the head, `depth` + 1 in the embeddings.

    The distance of layer-wise learning-rate decay (ULMFiT, arXiv:1801.06146, section 3.2; ELECTRA).
    """
    number = LAYER.search(name)
    if number:
        return depth - int(number[1])
    return depth + 1 if "embedding" in name else 0


def class_weights(labels: np.ndarray, classes: int, *, balanced: bool) -> Tensor:
    """Weights of the classes in the loss, (C,) float32: ones, or N / (C n_c), 0 for a class with no row."""
    if not balanced:
        return torch.ones(classes)
    counts = np.bincount(labels, minlength=classes)
    weights = np.divide(len(labels), classes * counts, out=np.zeros(classes), where=counts > 0)
    return torch.from_numpy(weights).float()


def batch_loss(logits: Tensor, labels: Tensor, weights: Tensor, whole: Tensor, smoothing: float) -> Tensor:
    """A pass's share of the batch's mean cross-entropy: the shares of all passes add up to the mean.

    Args:
        logits: (B, C) of this pass.
        labels: (B,) of this pass.
        weights: (C,) class weights.
        whole: the summed class weights of the whole batch.
    """
    return cross_entropy(logits, labels, weights, reduction="sum", label_smoothing=smoothing) / whole
