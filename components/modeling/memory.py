"""Whether a step fits into a GPU's memory: estimated before the first epoch, said in one line where not."""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from components.core.errors import InputError

MARGIN = 0.9  # of the free memory: what is not counted takes the rest, workspaces and fragments
NUMBER = 4  # bytes of a float32


@dataclass(frozen=True)
class StepMemory:
    """Bytes that a training takes beside its weights.

    Attributes:
        fixed: whatever the batch: gradients, what the optimizer keeps, copies of the weights.
        sample: what a pass keeps of each of its samples until it has their gradients.
    """

    fixed: float
    sample: float

    def fitting(self, free: float) -> int:
        """Samples of the largest pass that fits."""
        return max(0, int((MARGIN * free - self.fixed) / self.sample))


class MemoryLimit:
    """What is said where a step does not fit, before the training or when it happens.

    Args:
        batch: what does not fit, in words.
        samples: of its largest pass on one device.
        remedy: samples that would fit -> what to set for it.

    Attributes:
        free: bytes, at the time when this was made.
    """

    def __init__(self, device: torch.device, batch: str, samples: int, remedy: Callable[[int], str]) -> None:
        self.batch, self.samples, self.remedy = batch, samples, remedy
        self.free = free_memory(device)

    def check(self, estimate: Callable[[], StepMemory]) -> float:
        """Bytes that a step takes; 0 on a CPU, where nothing is estimated.

        Raises:
            InputError: they are more than is free; names what would fit.
        """
        if math.isinf(self.free):
            return 0.0
        with self.explained(0):
            memory = estimate()
        if (fits := memory.fitting(self.free)) < self.samples:
            raise self._error(fits)
        return (memory.fixed + self.samples * memory.sample) / MARGIN

    @contextmanager
    def explained(self, fits: int | None = None) -> Iterator[None]:
        """Tells what to do where memory runs out within the block.

        Args:
            fits: samples that would; None takes half of the samples.
        """
        try:
            yield
        except torch.OutOfMemoryError:
            raise self._error(self.samples // 2 if fits is None else fits) from None

    def _error(self, fits: int) -> InputError:
        remedy = self.remedy(fits) if fits else "use a smaller network or a larger GPU"
        return InputError(
            f"{self.batch} does not fit into the GPU's {self.free / 2**30:.1f} GiB of free memory: {remedy}"
        )


def free_memory(device: torch.device) -> float:
    """Bytes of a GPU that this process may still take; without end on a CPU, which has its disk."""
    if device.type == "cpu":
        return math.inf
    unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return torch.cuda.mem_get_info(device)[0] + unused


def estimate_memory(model: nn.Module, forward: Callable[[int], Tensor], *, moments: int) -> StepMemory:
    """Estimates a training's memory from passes of two and of four samples.

    Args:
        forward: so many samples, each of the largest size -> their loss; called without taking gradients.
        moments: numbers that the optimizer keeps of each weight.
    """
    known = {tensor.untyped_storage().data_ptr(): 0 for tensor in [*model.parameters(), *model.buffers()]}
    two, four = (_kept_bytes(forward, samples, known) for samples in (2, 4))
    weights = sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
    sample = max(1.0, (four - two) / 2)
    return StepMemory(NUMBER * (1 + moments) * weights + max(0.0, two - 2 * sample), sample)


def _kept_bytes(forward: Callable[[int], Tensor], samples: int, known: Mapping[int, int]) -> int:
    """Bytes that a forward pass keeps for its backward pass, each piece of memory once, beside `known`."""
    kept = dict(known)

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept.setdefault(storage.data_ptr(), storage.nbytes())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = forward(samples)
    del loss  # until here nothing was freed whose place another tensor could take
    return sum(kept.values())
