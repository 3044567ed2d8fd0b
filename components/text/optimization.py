"""What moves the weights: AdamW's groups, the learning rate's course, the loss."""

import re

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel

from components.text.config import TransformerConfig

LAYER = re.compile(r"\.layers?\.(\d+)\.")


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


def learning_rate(step: int, steps: int, config: TransformerConfig) -> float:
    """The rate of a step: a linear rise, then a linear fall to 0 (paper, section 4.1)."""
    rising = int(np.ceil(config.warmup * steps))
    if step < rising:
        return config.learning_rate * step / rising
    return config.learning_rate * (steps - step) / max(1, steps - rising)


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Sets every group to `rate` times its own scale."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["scale"]


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
