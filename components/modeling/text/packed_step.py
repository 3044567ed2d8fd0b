"""One optimizer step on packed texts, in buffers that stay where they are: on a GPU a few graph launches.

A small encoder's step is some thousand kernels, which a host launches more slowly than a GPU runs them. Here
the tokens of a batch fill a bin (the next multiple of 512; stand-in texts that weigh nothing take the rest),
so a training meets a handful of shapes, and forward, backward, clipping and AdamW are captured once for each
as CUDA graphs. Weights are multiplied in bfloat16; masters, gradients' sums and moments stay in float32
(Micikevicius et al., arXiv:1710.03740).
"""

import copy
import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel

from components.modeling.text.attention import FusedSelfAttention, Packing
from components.modeling.text.packing import packed_logits, to_device, token_rows
from components.modeling.text.tokens import Tokens

log = logging.getLogger(__name__)

BIN_TOKENS = 512
IGNORED = -100  # the label of a stand-in text
SEPARATE = re.compile(r"(.+)\.(query|key|value)\.(weight|bias)")
Replay = Callable[[], None]


def run_directly(work: Replay) -> Replay:
    """In place of a capture: the same work, launched piece by piece."""
    return work


class CudaGraphs:
    """Captures work as CUDA graphs, which share one pool of memory: they run one after the other."""

    def __init__(self) -> None:
        self.pool: tuple[int, int] | None = None

    def __call__(self, work: Replay) -> Replay:
        """A function that launches `work` as one graph."""
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self.pool):
            work()
        self.pool = self.pool or graph.pool()
        return graph.replay


class FastCopy:
    """A copy of a model to multiply with: in another precision, query, key and value in one product.

    Args:
        model: holds the masters, float32; `load` takes their values over.
    """

    def __init__(self, model: PreTrainedModel, dtype: torch.dtype) -> None:
        self.masters = list(model.parameters())
        self.model = copy.deepcopy(model).to(dtype)  # type: ignore[arg-type]
        for module in list(self.model.modules()):
            separate = getattr(module, "self", None)
            if isinstance(separate, nn.Module) and hasattr(separate, "query"):
                module.self = FusedSelfAttention(separate)
        self.weights = list(self.model.parameters())
        number = {id(weight): place for place, weight in enumerate(self.weights)}
        self.parts: list[tuple[int, int | None]] = []  # of each master: which weight, which third of it
        for name, _ in model.named_parameters():
            weight, third = self._place(name)
            self.parts.append((number[id(weight)], third))
        self.load()

    def _place(self, name: str) -> tuple[nn.Parameter, int | None]:
        separate = SEPARATE.fullmatch(name)
        if separate and isinstance(fused := self.model.get_submodule(separate[1]), FusedSelfAttention):
            return getattr(fused, separate[3]), ("query", "key", "value").index(separate[2])
        return self.model.get_parameter(name), None

    def load(self) -> None:
        """Takes over the masters' values."""
        with torch.no_grad():
            torch._foreach_copy_(self.like_masters([weight.data for weight in self.weights]), self.masters)

    def like_masters(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Views of one tensor a weight (or its gradient), one a master."""
        return [
            tensors[place] if third is None else tensors[place].chunk(3)[third] for place, third in self.parts
        ]


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


class _Buffers:
    """What a pass over one bin reads; filled anew before each.

    Args:
        slots: texts of a bin, stand-ins included.
    """

    def __init__(
        self, names: Sequence[str], tokens: int, slots: int, longest: int, device: torch.device
    ) -> None:
        self.sizes = {**dict.fromkeys(names, tokens), "starts": slots, "ends": slots + 1, "labels": slots}
        self.whole = torch.ones((), device=device)
        self.integers = torch.zeros(sum(self.sizes.values()), dtype=torch.int64, device=device)
        parts = dict(zip(self.sizes, self.integers.split(list(self.sizes.values())), strict=True))
        self.inputs = {name: parts[name][None] for name in names}
        self.labels, self._ends, self._starts = parts["labels"], parts["ends"], parts["starts"]
        self._longest = longest

    def packing(self) -> Packing:
        """Where the texts lie: part of the work, as attention wants 32 bits."""
        return Packing(self._starts, self._ends.int(), self._longest)

    def fill(self, arrays: dict[str, np.ndarray], whole: float) -> None:
        """Copies one pass over, in one piece."""
        flat = np.concatenate([arrays[name].astype(np.int64) for name in self.sizes])
        self.integers.copy_(to_device(flat, self.integers.device))
        self.whole.fill_(whole)


class PackedStep:
    """Takes optimizer steps on batches of texts.

    Args:
        model: its parameters are the masters, float32, and stay the model's.
        labels: (N,) of all texts.
        class_weights: (C,) of the loss.
        dtype: of products; float32 computes what a plain step does.
        capture: makes a replay of the work on one bin.
        reduce: adds up the gradients of several processes, in place; they are float32.

    Raises:
        InputError: a batch does not fit into the GPU's memory; names the accumulation that would.
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
        reduce: Callable[[list[Tensor]], None] | None = None,
    ) -> None:
        self.model, self.optimizer, self.tokens, self.labels = model, optimizer, tokens, labels
        self.settings, self.capture, self.reduce = settings, capture, reduce
        self.device = model.device
        self.weights_of_labels = class_weights.cpu()[torch.from_numpy(labels)].numpy()
        self.class_weights = class_weights.to(self.device)
        self.copy = FastCopy(model, dtype)
        self.loss = torch.zeros((), device=self.device)
        self.gradients = [torch.zeros_like(master) for master in self.copy.masters]
        for master, gradient in zip(self.copy.masters, self.gradients, strict=True):
            master.grad = gradient
        for group in optimizer.param_groups:
            group["lr"] = torch.tensor(float(group["lr"]), device=self.device)
            group["capturable"] = self.device.type == "cuda"
        self.replays: dict[tuple[str, int], Replay] = {}
        self.buffers: dict[int, _Buffers] = {}
        texts = -(-settings.batch_size // settings.accumulation)
        self.slots = texts + -(-(BIN_TOKENS - 1) // (settings.max_tokens - 1))

    def __call__(self, rows: np.ndarray, rate: float) -> Tensor:
        """One step on the texts `rows`; the batch's mean loss, on the device.

        Dropout follows torch's seed of this moment, captured or not.
        """
        self.model.train()
        self.copy.model.train()
        for group in self.optimizer.param_groups:
            group["lr"].fill_(rate * group.get("scale", 1.0))
        whole = float(self.weights_of_labels[rows].sum())
        for number in range(min(self.settings.accumulation, len(rows))):
            self._pass(rows[number :: self.settings.accumulation], whole, first=number == 0)
        if self.reduce:
            self.reduce(self.gradients)
        self._run(("update", 0), self._update)
        return self.loss.clone()

    def reload(self) -> None:
        """After the model's weights were set from outside, as by a resume."""
        self.copy.load()

    def _pass(self, rows: np.ndarray, whole: float, *, first: bool) -> None:
        arrays = self._fill_bin(rows)
        size = len(arrays["input_ids"])
        if size not in self.buffers:
            names = [name for name in arrays if len(arrays[name]) == size]
            self.buffers[size] = _Buffers(names, size, self.slots, self.settings.max_tokens, self.device)
        buffers = self.buffers[size]
        buffers.fill(arrays, whole)
        self._run(("first" if first else "more", size), lambda: self._gradients(buffers, first=first))

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

    def _gradients(self, buffers: _Buffers, *, first: bool) -> None:
        logits = packed_logits(self.copy.model, buffers.inputs, buffers.packing())
        loss = cross_entropy(
            logits,
            buffers.labels,
            self.class_weights,
            ignore_index=IGNORED,
            reduction="sum",
            label_smoothing=self.settings.label_smoothing,
        )
        loss = loss / buffers.whole
        found = torch.autograd.grad(loss, self.copy.weights, materialize_grads=True)
        if first:
            torch._foreach_copy_(self.gradients, self.copy.like_masters(found))
            self.loss.copy_(loss.detach())
        else:
            torch._foreach_add_(self.gradients, [part.float() for part in self.copy.like_masters(found)])
            self.loss.add_(loss.detach())

    def _update(self) -> None:
        if self.settings.max_grad_norm:
            nn.utils.clip_grad_norm_(self.copy.masters, self.settings.max_grad_norm)
        self.optimizer.step()
        self.copy.load()

    def _fill_bin(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """A bin's inputs: the texts, shortest first, then stand-ins of a token at least each."""
        rows = rows[np.argsort(self.tokens.lengths[rows], kind="stable")]
        arrays = token_rows(self.model, self.tokens, rows)
        lengths = self.tokens.lengths[rows]
        spare = self.slots - len(rows)
        rest = -(-(lengths.sum() + spare) // BIN_TOKENS) * BIN_TOKENS - lengths.sum()
        stand_ins = rest // spare + (np.arange(spare) < rest % spare)
        # Their ids are those of the first text's first token: any that the model knows will do.
        arrays = {name: np.concatenate([row, np.full(rest, row[0])]) for name, row in arrays.items()}
        ends = np.cumsum(np.concatenate([[0], lengths, stand_ins]))
        labels = np.concatenate([self.labels[rows], np.full(spare, IGNORED)])
        return {**arrays, "starts": ends[:-1], "ends": ends, "labels": labels}
