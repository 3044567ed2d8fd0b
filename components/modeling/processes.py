"""Several processes, one a GPU of one node, that train one model on the same batches."""

import logging
import sys
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, distributed, nn
from torch.multiprocessing.spawn import ProcessContext, ProcessExitedException, start_processes
from torch.nn.parallel import DistributedDataParallel

from components.core.errors import InputError
from components.modeling.termination import Termination, catch_sigterm


@dataclass(frozen=True)
class Group:
    """The processes of one training, and which of them this is; alone by default."""

    rank: int = 0
    size: int = 1

    def parallel(self, model: nn.Module) -> nn.Module:
        """The model as it is to be called: in a group each gradient is its mean over the processes."""
        return DistributedDataParallel(model) if self.size > 1 else model

    def without_exchange(self, model: nn.Module) -> AbstractContextManager:
        """Within the block gradients of a `parallel` model stay this process's own."""
        return model.no_sync() if isinstance(model, DistributedDataParallel) else nullcontext()

    def first(self, value: Any) -> Any:
        """The value of rank 0. All processes must call it."""
        values = [value]
        if self.size > 1:
            distributed.broadcast_object_list(values)
        return values[0]

    def any(self, *flags: bool) -> list[bool]:
        """For each flag, whether a process of the group has raised it. All processes must call it."""
        if self.size == 1:
            return list(flags)
        raised = torch.tensor(flags, dtype=torch.int32)
        distributed.all_reduce(raised, distributed.ReduceOp.MAX)
        return [bool(flag) for flag in raised]

    def mean(self, values: Tensor) -> Tensor:
        """The mean of the processes' values. All processes must call it."""
        if self.size > 1:
            distributed.all_reduce(values)
        return values / self.size

    def add_up(self, tensors: list[Tensor]) -> None:
        """Each tensor becomes its sum over the processes. All processes must call it."""
        if self.size > 1:
            flat = torch.cat([tensor.flatten() for tensor in tensors])
            distributed.all_reduce(flat)
            parts = flat.split([tensor.numel() for tensor in tensors])
            for tensor, part in zip(tensors, parts, strict=True):
                tensor.copy_(part.view_as(tensor))

    def interleaved(self, part: np.ndarray) -> np.ndarray:
        """The rows of which each process holds `rows[rank::size]`, put together. All must call it."""
        if self.size == 1:
            return part
        parts: list[Any] = [None] * self.size
        distributed.all_gather_object(parts, part)
        rows = np.empty((sum(map(len, parts)), *part.shape[1:]), part.dtype)
        for rank, values in enumerate(parts):
            rows[rank :: self.size] = values
        return rows


def train_together(train: Callable[..., Any], count: int, label: str, *arguments: Any) -> Any:
    """Calls `train(Group(rank, count), *arguments)` in `count` processes and returns what rank 0 returns.

    SIGTERM is passed on to them. One that dies takes the others with it.

    Args:
        label: marks the log lines of rank 0.

    Raises:
        InputError: what a process raised.
        SystemExit: with status 143, once all have left on SIGTERM.
    """
    outcomes = get_context("spawn").SimpleQueue()
    with tempfile.TemporaryDirectory(prefix="processes-") as folder, catch_sigterm() as termination:
        meeting = Path(folder) / "meeting"
        context = start_processes(
            _work, (count, label, meeting, outcomes, train, arguments), count, join=False
        )
        assert context is not None
        try:
            outcome = _first_outcome(context, outcomes, termination)
        finally:
            _kill(context)
    if isinstance(outcome, BaseException):
        raise outcome
    return outcome


def _kill(context: ProcessContext) -> None:
    for process in context.processes:
        if process is not None:
            process.kill()


def _first_outcome(context: ProcessContext, outcomes: Any, termination: Termination) -> Any:
    ended = False
    while outcomes.empty():
        if ended:
            raise RuntimeError("the training's processes ended without a result")
        if termination.requested:
            for process in context.processes:
                process.terminate()
        try:
            ended = context.join(timeout=0.2, grace_period=5)
        except ProcessExitedException:
            if termination.requested:  # it came before the training had begun
                sys.exit(143)
            raise
    return outcomes.get()


def _work(
    rank: int,
    count: int,
    label: str,
    meeting: Path,
    outcomes: Any,
    train: Callable[..., Any],
    arguments: tuple[Any, ...],
) -> None:
    if rank == 0:
        logging.basicConfig(level=logging.WARNING, format=f"[{label}] %(message)s", stream=sys.stdout)
        logging.getLogger("components").setLevel(logging.INFO)
    torch.set_num_threads(max(1, torch.get_num_threads() // count))
    backend = "gloo"
    if torch.cuda.is_available():
        torch.cuda.set_device(rank)
        backend = "cpu:gloo,cuda:nccl"
    distributed.init_process_group(backend, init_method=f"file://{meeting}", rank=rank, world_size=count)
    try:
        outcome = train(Group(rank, count), *arguments)
    except (InputError, SystemExit) as error:
        outcome = error
    if rank == 0 or isinstance(outcome, InputError):
        outcomes.put(outcome)
