"""One optimizer step on packed texts, in buffers that stay where they are: on a GPU a few graph launches.

A small encoder's step is some thousand kernels, which a host launches more slowly than a GPU runs them. Here
the tokens of a batch fill a bin (the next multiple of 512; stand-in texts that weigh nothing take the rest),
so a training meets a handful of shapes, and forward, backward, clipping and AdamW are captured once for each
as CUDA graphs. Weights are multiplied in bfloat16; masters, gradients' sums and moments stay in float32
(Micikevicius et al., arXiv:1710.03740).
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, distributed, nn
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel

from components.modeling.memory import MemoryLimit, StepMemory, estimate_memory
from components.modeling.processes import process_count, process_rank
from components.modeling.step import OptimizerStep
from components.modeling.text.bins import BIN_TOKENS, IGNORED, BinBuffers, bin_size, fill_bin, slots_of
from components.modeling.text.fast_copy import ADD_EACH, COPY_EACH, FastCopy
from components.modeling.text.forward import text_logits
from components.modeling.text.tokens import Tokens

log = logging.getLogger(__name__)

ADAM_MOMENTS = 2  # numbers that Adam keeps of a weight

Replay = Callable[[], None]


def run_directly(work: Replay) -> Replay:
    """In place of a capture: the same work, launched piece by piece."""
    return work


class CudaGraphs:
    """Captures work as CUDA graphs, which share one pool of memory: they run one after the other."""

    def __init__(self) -> None:
        self.pool: Any = None

    def __call__(self, work: Replay) -> Replay:
        """A function that launches `work` as one graph."""
        graph = torch.cuda.CUDAGraph()
        # NCCL watches its work from a thread of its own, which must not break a capture.
        mode = "thread_local" if process_count() > 1 else "global"
        with torch.cuda.graph(graph, pool=self.pool, capture_error_mode=mode):
            work()
        self.pool = self.pool or graph.pool()
        return graph.replay


@dataclass(frozen=True)
class StepSettings:
    """What a step computes.

    Attributes:
        batch_size: texts of a step.
        accumulation: passes of a step, where memory is short.
        max_tokens: tokens of the longest text.
        max_grad_norm: gradients are clipped to it; 0 for no clipping.
        label_smoothing: of the cross-entropy.
    """

    batch_size: int
    accumulation: int
    max_tokens: int
    max_grad_norm: float
    label_smoothing: float


class PackedStep(OptimizerStep):
    """Takes optimizer steps on batches of texts.

    Args:
        model: its parameters are the masters, float32, and stay the model's.
        labels: (N,) of all texts.
        class_weights: (C,) of the loss.
        dtype: of products; float32 computes what a plain step does.
        capture: makes a replay of the work on one bin.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        optimizer: torch.optim.Optimizer,
        tokens: Tokens,
        labels: np.ndarray,
        class_weights: Tensor,
        settings: StepSettings,
        *,
        dtype: torch.dtype = torch.bfloat16,
        capture: Callable[[Replay], Replay] = run_directly,
    ) -> None:
        super().__init__(model, optimizer, self._backward, max_grad_norm=settings.max_grad_norm)
        self.encoder, self.tokens, self.labels, self.device = model, tokens, labels, model.device
        self.settings, self.capture = settings, capture
        self.weights_of_labels = class_weights.cpu()[torch.from_numpy(labels)].numpy()
        self.class_weights = class_weights.to(self.device)
        self.copy = FastCopy(model, dtype)
        self.loss = torch.zeros((), device=self.device)
        sizes = [master.numel() for master in self.copy.masters]
        self.flat = torch.zeros(sum(sizes), dtype=self.copy.masters[0].dtype, device=self.device)
        pieces = zip(self.flat.split(sizes), self.copy.masters, strict=True)
        self.gradients = [piece.view_as(master) for piece, master in pieces]
        for master, gradient in zip(self.copy.masters, self.gradients, strict=True):
            master.grad = gradient
        for parameters in optimizer.param_groups:
            parameters["lr"] = torch.tensor(float(parameters["lr"]), device=self.device)
            parameters["capturable"] = self.device.type == "cuda"
        self.replays: dict[tuple[str, int], Replay] = {}
        self.buffers: dict[int, BinBuffers] = {}
        texts = -(-settings.batch_size // settings.accumulation)
        self.slots = slots_of(texts, settings.max_tokens)
        self.limit = text_limit(settings.batch_size, settings.accumulation, tokens, self.device)

    def _take(self, batch: np.ndarray) -> Tensor:
        # Dropout follows torch's seed of this moment, captured or not.
        self.copy.model.train()
        loss = self._backward(batch)
        if process_count() > 1:
            # In place of DistributedDataParallel, whose hooks see no graph's replay and no copy's gradients;
            # between two graphs and not in one, as that NCCL can be captured was never seen.
            distributed.all_reduce(self.flat)
        self._run(("update", 0), self._update)
        return loss

    def load_state_dict(self, tensors: dict[str, Tensor]) -> None:
        super().load_state_dict(tensors)
        self.copy.load()

    def _backward(self, batch: np.ndarray) -> Tensor:
        whole = float(self.weights_of_labels[batch].sum())
        passes = self.settings.accumulation * process_count()
        rows = batch[np.argsort(self.tokens.lengths[batch], kind="stable")]
        parts = [rows[part::passes] for part in range(passes)]
        if not len(parts[process_rank()]):
            self.flat.zero_()
            return torch.zeros_like(self.loss)
        for first in range(0, passes, process_count()):
            side_by_side = parts[first : first + process_count()]
            rows = side_by_side[process_rank()]
            if len(rows):
                self._pass(rows, self._size(side_by_side), whole, first=first == 0)
        return self.loss * process_count()

    def _size(self, parts: list[np.ndarray]) -> int:
        # All processes take the same bin: none replays a graph while another captures one.
        return max(bin_size(self.tokens.lengths[rows], self.slots) for rows in parts)

    def memory(self) -> StepMemory:
        """Estimates what a training takes beside what this step holds already."""
        shortest = np.argsort(self.tokens.lengths, kind="stable")[:1]
        least = self._size([shortest])

        def forward(bins: int) -> Tensor:
            buffers = self._filled(self._bin(shortest, least + bins * BIN_TOKENS), 1.0)
            return self._loss(buffers)

        of_bin = estimate_memory(self.copy.model, forward, moments=ADAM_MOMENTS)
        return StepMemory(of_bin.fixed, of_bin.sample / BIN_TOKENS * int(self.tokens.lengths.max()))

    def _pass(self, rows: np.ndarray, size: int, whole: float, *, first: bool) -> None:
        buffers = self._filled(self._bin(rows, size), whole)
        key = ("first" if first else "more", size)
        self._run(key, lambda: self._gradients(buffers, first=first))

    def _bin(self, rows: np.ndarray, size: int) -> dict[str, np.ndarray]:
        return fill_bin(self.encoder, self.tokens, self.labels, rows, size=size, slots=self.slots)

    def _filled(self, arrays: dict[str, np.ndarray], whole: float) -> BinBuffers:
        size = len(arrays["input_ids"])
        if size not in self.buffers:
            names = [name for name in arrays if len(arrays[name]) == size]
            self.buffers[size] = BinBuffers(names, size, self.slots, self.settings.max_tokens, self.device)
        self.buffers[size].fill(arrays, whole)
        return self.buffers[size]

    def _run(self, key: tuple[str, int], work: Replay) -> None:
        if key in self.replays:
            self.replays[key]()
            return
        work()  # what a capture needs to have run once is this step itself
        try:
            self.replays[key] = self.capture(work)
        except RuntimeError as error:
            log.warning("no CUDA graph, the same step runs in separate launches: %s", error)
            self.capture = run_directly
            self.replays[key] = work

    def _loss(self, buffers: BinBuffers) -> Tensor:
        logits = text_logits(self.copy.model, buffers.inputs, buffers.packing())
        loss = cross_entropy(
            logits,
            buffers.labels,
            self.class_weights,
            ignore_index=IGNORED,
            reduction="sum",
            label_smoothing=self.settings.label_smoothing,
        )
        return loss / buffers.whole

    def _gradients(self, buffers: BinBuffers, *, first: bool) -> None:
        loss = self._loss(buffers)
        found = torch.autograd.grad(loss, self.copy.weights, materialize_grads=True)
        if first:
            COPY_EACH(self.gradients, self.copy.like_masters(found))
            self.loss.copy_(loss.detach())
        else:
            ADD_EACH(self.gradients, [part.float() for part in self.copy.like_masters(found)])
            self.loss.add_(loss.detach())

    def _update(self) -> None:
        if self.max_grad_norm:
            nn.utils.clip_grad_norm_(self.copy.masters, self.max_grad_norm)
        self.optimizer.step()
        self.copy.load()


def text_limit(batch_size: int, accumulation: int, tokens: Tokens, device: torch.device) -> MemoryLimit:
    """What is said where a batch of texts does not fit into a device's memory."""
    processes = process_count()

    def remedy(texts: int) -> str:
        return f'set "accumulation": {-(-batch_size // (texts * processes))}'

    batch = f"a batch of {batch_size} texts of up to {tokens.lengths.max()} tokens in {accumulation} pass"
    plural = "" if accumulation == 1 else "es"
    return MemoryLimit(device, batch + plural, -(-batch_size // (accumulation * processes)), remedy)
