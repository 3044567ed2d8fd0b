"""Several processes, one a GPU, that train one model on the same batches: started here, or by torchrun.

Which of them this is, and how many there are, is what `torch.distributed` says; alone where it was not begun.
"""

import json
import logging
import os
import signal
import sys
import tempfile
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, distributed
from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from components.core.errors import InputError
from components.data.top_classes import PredProbs, concatenated
from components.modeling.termination import TERMINATED

STARTED = ("RANK", "LOCAL_RANK", "WORLD_SIZE")  # torchrun's variables: this process is one of its own


def process_rank() -> int:
    """This process's number among those that train together, from 0."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def process_count() -> int:
    """How many processes train together."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def share(rows: np.ndarray) -> tuple[np.ndarray, int]:
    """This process's rows of a batch, and how many of the batch's they are.

    Of fewer rows than processes one gets the first, and 0: it has gradients to exchange, which must weigh
    nothing.
    """
    part = rows[process_rank() :: process_count()]
    return (part, len(part)) if len(part) else (rows[:1], 0)


def from_first(value: Any) -> Any:
    """The value of process 0. All must call it."""
    values = [value]
    if process_count() > 1:
        distributed.broadcast_object_list(values)
    return values[0]


def in_any(*flags: bool) -> list[bool]:
    """For each flag, whether a process has raised it. All must call it."""
    raised = torch.tensor(flags, dtype=torch.int32)
    if process_count() > 1:
        distributed.all_reduce(raised, distributed.ReduceOp.MAX)
    return raised.bool().tolist()


def mean(values: Tensor) -> Tensor:
    """The mean of the processes' values. All must call it."""
    if process_count() > 1:
        distributed.all_reduce(values)
    return values / process_count()


def interleaved(part: PredProbs) -> Any:
    """The rows of which each process holds `rows[rank::count]`, put together. All must call it."""
    if process_count() == 1:
        return part
    parts: list[Any] = [None] * process_count()
    distributed.all_gather_object(parts, part)
    lengths = [len(each) for each in parts]
    starts = np.cumsum([0, *lengths])
    place = np.empty(starts[-1], np.int64)
    for rank, length in enumerate(lengths):
        place[rank :: len(parts)] = starts[rank] + np.arange(length)
    return concatenated(parts)[place]


def train_together(train: Callable[..., Any], count: int, label: str, *arguments: Any) -> Any:
    """Calls `train(*arguments)` in `count` processes of this node and returns what process 0 returns.

    In a process of torchrun's (several nodes, each with its processes) it joins those instead; all but
    process 0 end there, with status 0.

    Args:
        count: processes to start; below 2 this one trains alone.
        label: marks the log lines of process 0.

    Raises:
        InputError: what a process raised.
        SystemExit: with status 143, once all have left on SIGTERM.
    """
    if all(name in os.environ for name in STARTED):
        outcome = _join(train, arguments)
        if int(os.environ["RANK"]) > 0:
            sys.exit(0)
        return outcome
    return _launch(train, count, label, arguments) if count > 1 else train(*arguments)


def _join(train: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    backend = "gloo"
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        backend = "cpu:gloo,cuda:nccl"
    if int(os.environ["RANK"]) > 0:
        logging.getLogger("components").setLevel(logging.ERROR)  # else all is said several times
    distributed.init_process_group(backend)
    outcome = train(*arguments)
    distributed.destroy_process_group()
    return outcome


def _launch(train: Callable[..., Any], count: int, label: str, arguments: tuple[Any, ...]) -> Any:
    # What fails is reported from here, once: the agent would print a traceback of its own for each process.
    agent = logging.getLogger("torch.distributed.elastic")
    agent.propagate = False
    agent.addHandler(logging.NullHandler())
    before = signal.getsignal(signal.SIGTERM)
    with tempfile.TemporaryDirectory(prefix="processes-") as folder:
        config = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=count,
            run_id=uuid.uuid4().hex,
            rdzv_backend="c10d",
            rdzv_endpoint="localhost:0",
            local_addr="localhost",  # a pod's own name need not be one that it can look up
            max_restarts=0,
            logs_specs=DefaultLogsSpecs(folder),
            signals_to_handle="SIGTERM",
        )
        try:
            return elastic_launch(config, _work)(train, count, label, arguments)[0]
        except SignalException:
            sys.exit(TERMINATED)
        except ChildFailedError as error:
            if error.get_first_failure()[1].exitcode in (TERMINATED, -signal.SIGTERM):
                sys.exit(TERMINATED)
            _raise_input_error(Path(folder))
            raise
        finally:
            signal.signal(signal.SIGTERM, before)


def _raise_input_error(folder: Path) -> None:
    # The process that found it may not be the one that ended first: the others lose their connection to it.
    prefix = f"{InputError.__name__}: "
    for path in sorted(folder.rglob("error.json")):
        message = json.loads(path.read_text(encoding="utf-8"))["message"]["message"]
        if message.startswith(prefix):
            raise InputError(message.removeprefix(prefix)) from None


def _work(train: Callable[..., Any], count: int, label: str, arguments: tuple[Any, ...]) -> Any:
    if os.environ["RANK"] == "0":
        logging.basicConfig(level=logging.WARNING, format=f"[{label}] %(message)s", stream=sys.stdout)
        logging.getLogger("components").setLevel(logging.INFO)
    torch.set_num_threads(max(1, torch.get_num_threads() // count))
    outcome = _join(train, arguments)
    return outcome if os.environ["RANK"] == "0" else None
