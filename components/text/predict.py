"""A model's evaluation of texts: batches by length, no padding, one pass."""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from components.data.top_classes import PredProbs, in_form
from components.modeling.growing_matrix import GrowingMatrix
from components.modeling.precision import autocast
from components.modeling.text.encoder import head
from components.modeling.text.packing import logits, make_batch
from components.modeling.text.tokens import Tokens

BATCH_TOKENS = {"cpu": 2048, "cuda": 32768}


def predict(
    model: PreTrainedModel,
    tokens: Tokens,
    rows: np.ndarray,
    *,
    pause: Callable[[], None] = lambda: None,
) -> tuple[PredProbs, np.ndarray]:
    """Class probabilities and pooled features of some texts, in the order of `rows`.

    Args:
        pause: called between two batches; may raise to stop.

    Returns:
        (len(rows), C) and (len(rows), D), both float32.
    """
    if not len(rows):
        classes, width = head(model).weight.shape
        return in_form(np.empty((0, classes), np.float32)), np.empty((0, width), np.float32)
    device = model.device
    pred_probs, places, features = GrowingMatrix(), [], []
    pooled: list[Tensor] = []
    hook = head(model).register_forward_pre_hook(lambda _module, inputs: pooled.append(inputs[0].float()))
    training = model.training
    model.eval()
    try:
        with torch.inference_mode(), autocast(device):
            for chosen in batches_by_length(tokens.lengths[rows], BATCH_TOKENS[device.type]):
                pause()
                batch = make_batch(model, tokens, rows[chosen], device)
                pred_probs.append(logits(model, batch).softmax(dim=1))
                places.append(chosen)
                features.append(pooled.pop().flatten(1))
    finally:
        hook.remove()
        model.train(training)
    order = np.argsort(np.concatenate(places))
    return pred_probs.matrix()[order], torch.cat(features).cpu().numpy()[order]


def batches_by_length(lengths: np.ndarray, batch_tokens: int) -> Iterator[np.ndarray]:
    """Splits texts into batches of about `batch_tokens` tokens: places in `lengths`, shortest text first."""
    if not len(lengths):
        return
    order = np.argsort(lengths, kind="stable")
    batch = np.cumsum(lengths[order]) // batch_tokens
    yield from np.split(order, np.flatnonzero(np.diff(batch)) + 1)
