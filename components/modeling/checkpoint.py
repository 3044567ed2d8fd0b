"""Checkpoints of a training: durable, checked by digest, resumed byte for byte."""

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from components.core.artifacts import whole_file, write_json
from components.core.errors import InputError

log = logging.getLogger(__name__)

STATE = "state.json"
KEEP = 2  # a damaged newest one has one before it
PART_BYTES = 64 * 2**20


def fingerprint(*parts: Any) -> str:
    """A digest of what a training depends on: configuration, seed, rows, data digests (all JSON)."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def digest_of(tensors: Mapping[str, torch.Tensor]) -> str:
    """The SHA-256 of tensors: their names, types, shapes and bytes."""
    digest = hashlib.sha256()
    _add(digest, tensors)
    return digest.hexdigest()


def _add(digest: Any, tensors: Mapping[str, torch.Tensor]) -> None:
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)};".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)


class Checkpoints:
    """The newest checkpoints of one training, in `folder/step-<step>/`, no pickle.

    A checkpoint is tensors, in parts, and a state with their digest, which is written last: without it there
    is no checkpoint.

    Args:
        folder: names where they lie, asked at every use; see `lease.training_folder`.
    """

    def __init__(self, folder: Callable[[], Path]) -> None:
        self.folder = folder
        self.newest: Path | None = None  # that this process has loaded or saved: it is whole

    def save(self, step: int, tensors: Mapping[str, torch.Tensor], state: Mapping[str, Any]) -> None:
        """Writes a checkpoint, whole or not at all, and then drops the oldest.

        A step that is already saved and whole is left alone, so that its replacement cannot be cut off.

        Raises:
            OSError: the disk is full; the message names path and bytes, the older checkpoint is whole.
        """
        folder = self.folder()
        target = folder / f"step-{step:09d}"
        if target == self.newest:
            return
        _drop(target)  # a damaged one
        for path in set(folder.glob("step-*")) - set(_newest_first(folder)):  # a save that was cut off
            _drop(path)
        digest = hashlib.sha256(json.dumps(state, sort_keys=True).encode())
        with ThreadPoolExecutor(1) as hasher:
            for number, part in enumerate(_parts(tensors)):
                hashed = hasher.submit(_add, digest, part)
                _write(target / f"{number:03d}.safetensors", part)
                hashed.result()
        write_json(target / STATE, {"sha256": digest.hexdigest(), "state": state})
        self.newest = target
        for old in _newest_first(folder)[KEEP:]:
            _drop(old)

    def load(self) -> tuple[int, dict[str, torch.Tensor], dict[str, Any]] | None:
        """The newest whole checkpoint as (step, tensors, state); None where none was ever finished.

        A damaged checkpoint is passed over with a warning for the one before it.

        Raises:
            InputError: there are checkpoints and every one is damaged: never a silent restart.
        """
        damaged = []
        for path in _newest_first(self.folder()):
            try:
                tensors, state = _read(path)
            except Exception as error:  # a damaged file makes its reader raise anything
                log.warning("checkpoint %s is damaged (%s); trying the one before", path, error)
                damaged.append(str(path))
                continue
            self.newest = path
            return int(path.name.removeprefix("step-")), tensors, state
        if damaged:
            raise InputError(
                f"every checkpoint is damaged: {', '.join(damaged)}. "
                "Delete them to start this training again from its beginning."
            )
        return None


def _newest_first(folder: Path) -> list[Path]:
    return sorted((state.parent for state in folder.glob(f"step-*/{STATE}")), reverse=True)


def _parts(tensors: Mapping[str, torch.Tensor]) -> Iterator[dict[str, torch.Tensor]]:
    """The tensors by name in parts of about `PART_BYTES`, as safetensors wants them.

    That is on the CPU, contiguous, no two in the same memory.
    """
    part: dict[str, torch.Tensor] = {}
    memory: set[int] = set()
    for name, tensor in sorted(tensors.items()):
        tensor = tensor.detach().cpu().contiguous()
        if part and sum(other.nbytes for other in part.values()) + tensor.nbytes > PART_BYTES:
            yield part
            part, memory = {}, set()
        part[name] = tensor.clone() if tensor.untyped_storage().data_ptr() in memory else tensor
        memory.add(tensor.untyped_storage().data_ptr())
    yield part


def _write(path: Path, tensors: dict[str, torch.Tensor]) -> None:
    with whole_file(path, size=sum(tensor.nbytes for tensor in tensors.values())) as temporary:
        save_file(tensors, temporary)
    # The page cache is given back part by part: to fill gigabytes of fresh memory takes longer than to write
    # them to the disk, and pushes out what the training reads.
    if hasattr(os, "posix_fadvise"):
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _read(folder: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    expected = json.loads((folder / STATE).read_text(encoding="utf-8"))
    tensors: dict[str, torch.Tensor] = {}
    for path in sorted(folder.glob("*.safetensors")):
        # Copies: what is loaded maps the file, which the next saves delete.
        tensors |= {name: tensor.clone() for name, tensor in load_file(path).items()}
    digest = hashlib.sha256(json.dumps(expected["state"], sort_keys=True).encode())
    _add(digest, tensors)
    if digest.hexdigest() != expected["sha256"]:
        raise ValueError("its digest is another")
    return tensors, expected["state"]


def _drop(checkpoint: Path) -> None:
    # The state goes first: a kill between the two leaves no checkpoint rather than a damaged one.
    (checkpoint / STATE).unlink(missing_ok=True)
    shutil.rmtree(checkpoint, ignore_errors=True)
