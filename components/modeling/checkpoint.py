"""Checkpoints of a training: durable, checked by digest, resumed byte for byte."""

import hashlib
import json
import logging
import os
import shutil
import signal
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import accumulate, chain
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import torch
from safetensors.torch import load_file

from components.core.artifacts import MANIFEST, read_manifest, whole_file, write_json, write_manifest
from components.core.errors import InputError

log = logging.getLogger(__name__)

TENSORS = "tensors.safetensors"
FLUSH_BYTES = 64 * 2**20
DTYPES = {  # safetensors' names
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}


def fingerprint(*parts: Any) -> str:
    """A digest of what a training depends on: configuration, seed, rows, data digests (all JSON)."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def weights_digest(model: torch.nn.Module) -> str:
    """A digest of all weights and buffers of a model."""
    digest = hashlib.sha256()
    for tensor in model.state_dict().values():
        digest.update(_bytes(tensor))
    return digest.hexdigest()


class Checkpoints:
    """The newest checkpoints of one training, in `folder/step-<step>/`.

    A checkpoint is tensors (safetensors) and a JSON state, with a manifest written last. No pickle.

    Args:
        folder: where they lie; on a cluster a mounted volume, so that a retry finds them.
        training: the `fingerprint` of the training; checkpoints of another training are ignored.
        keep: how many stay; at least two, so that a damaged newest one has one before it.
    """

    def __init__(self, folder: Path, training: str, *, keep: int = 2) -> None:
        self.folder = folder / training[:16]
        self.keep = max(keep, 2)

    def save(self, step: int, tensors: Mapping[str, torch.Tensor], state: Mapping[str, Any]) -> None:
        """Writes a checkpoint, whole or not at all, and then drops the oldest and what earlier kills left.

        A step that is already saved and whole is left alone, so that its replacement cannot be cut off.

        Raises:
            OSError: the disk is full; the message names path and bytes, the older checkpoint is whole.
        """
        target = self.folder / f"step-{step:09d}"
        if _is_whole(target):
            return
        _drop(target)
        target.mkdir(parents=True)
        with whole_file(target / TENSORS) as temporary:
            digest = _write_tensors(temporary, tensors)
        write_json(target / "state.json", dict(state))
        write_manifest(target, known={TENSORS: digest}, step=step)
        for old in self._newest_first()[self.keep :]:
            _drop(old)
        for path in self.folder.glob("step-*"):  # a save that a kill cut off
            if path.name < target.name and not (path / MANIFEST).exists():
                _drop(path)

    def load(self) -> tuple[int, dict[str, torch.Tensor], dict[str, Any]] | None:
        """The newest whole checkpoint as (step, tensors, state); None where none was ever finished.

        A damaged checkpoint is passed over with a warning for the one before it.

        Raises:
            InputError: there are checkpoints and every one is damaged: never a silent restart.
        """
        damaged = []
        for path in self._newest_first():
            try:
                manifest = read_manifest(path)
                tensors = load_file(path / TENSORS)
                state = json.loads((path / "state.json").read_text(encoding="utf-8"))
                return manifest["step"], tensors, state
            except (InputError, OSError, ValueError) as error:
                log.warning("checkpoint %s is damaged (%s); trying the one before", path, error)
                damaged.append(str(path))
        if damaged:
            raise InputError(
                f"every checkpoint is damaged: {', '.join(damaged)}. "
                "Delete them to start this training again from its beginning."
            )
        return None

    def clear(self) -> None:
        """Deletes the checkpoints, once the training's outputs are written."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _newest_first(self) -> list[Path]:
        # A folder without a manifest is a save that was cut off: it never was a checkpoint.
        finished = [path for path in self.folder.glob("step-*") if (path / MANIFEST).exists()]
        return sorted(finished, reverse=True)


def _write_tensors(path: Path, tensors: Mapping[str, torch.Tensor]) -> str:
    # Safetensors' format and the file's SHA-256, in one pass over the memory in which the tensors lie.
    names = sorted(tensors, key=lambda name: -tensors[name].element_size())  # keeps every tensor aligned
    ends = list(accumulate(tensors[name].nbytes for name in names))
    header = {
        name: {
            "dtype": DTYPES[tensors[name].dtype],
            "shape": list(tensors[name].shape),
            "data_offsets": [end - tensors[name].nbytes, end],
        }
        for name, end in zip(names, ends, strict=True)
    }
    words = json.dumps(header).encode()
    words += b" " * (-len(words) % 8)
    parts = chain([len(words).to_bytes(8, "little") + words], (_bytes(tensors[name]) for name in names))
    digest = hashlib.sha256()
    with ThreadPoolExecutor(1) as hasher, path.open("wb") as file:
        flushed = 0
        for part in parts:
            hashed = hasher.submit(digest.update, part)
            file.write(part)
            if file.tell() - flushed >= FLUSH_BYTES:
                flushed = _flush(file, flushed)
            hashed.result()
    return digest.hexdigest()


def _flush(file: BinaryIO, start: int) -> int:
    # Gives the page cache back at once: filling fresh memory with gigabytes takes three times as long as the
    # disk does, and would push out what the training reads.
    file.flush()
    os.fsync(file.fileno())
    end = file.tell()
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(file.fileno(), start, end - start, os.POSIX_FADV_DONTNEED)
    return end


def _bytes(tensor: torch.Tensor) -> memoryview:
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data


def _is_whole(checkpoint: Path) -> bool:
    try:
        read_manifest(checkpoint)
    except (InputError, ValueError):
        return False
    return True


def _drop(checkpoint: Path) -> None:
    # The manifest goes first: a kill between the two leaves no checkpoint rather than a damaged one.
    (checkpoint / MANIFEST).unlink(missing_ok=True)
    shutil.rmtree(checkpoint, ignore_errors=True)


class Termination:
    """Set once SIGTERM has come (a spot node's notice, a deleted pod)."""

    def __init__(self) -> None:
        self.requested = False

    def exit_if_requested(self) -> None:
        """Ends the process with status 143; call it right after a checkpoint is saved."""
        if self.requested:
            self.leave()

    def leave(self) -> NoReturn:
        """Ends the process with status 143."""
        log.warning("SIGTERM: the checkpoint is saved; the next attempt goes on from it")
        sys.exit(128 + signal.SIGTERM)


@contextmanager
def catch_sigterm() -> Iterator[Termination]:
    """Within the block SIGTERM only sets a flag, so that the loop can save before it ends."""
    termination = Termination()

    def request(_signal: int, _frame: Any) -> None:
        termination.requested = True

    previous = signal.signal(signal.SIGTERM, request)
    try:
        yield termination
    finally:
        signal.signal(signal.SIGTERM, previous)


def flatten_optimizer(optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """An optimizer's state as named tensors: `optimizer.<parameter number>.<name>`."""
    state = optimizer.state_dict()["state"]
    return {
        f"optimizer.{number}.{name}": torch.as_tensor(value)
        for number, values in state.items()
        for name, value in values.items()
        if value is not None
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, torch.Tensor]) -> None:
    """Puts back what `flatten_optimizer` took, laid out in memory as the parameters are.

    Learning rates are the schedule's business.
    """
    state: dict[int, dict[str, torch.Tensor]] = {}
    for key, tensor in tensors.items():
        if key.startswith("optimizer."):
            _, number, name = key.split(".", 2)
            state.setdefault(int(number), {})[name] = tensor
    whole = optimizer.state_dict()
    optimizer.load_state_dict({"state": state, "param_groups": whole["param_groups"]})
    # A file knows no strides, and fused kernels read a parameter and its state in step.
    for parameter, values in optimizer.state.items():
        for name, value in values.items():
            if value.shape == parameter.shape:
                values[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)
