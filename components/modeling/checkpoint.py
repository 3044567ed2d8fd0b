"""Checkpoints of a training: durable, checked by digest, resumed byte for byte."""

import hashlib
import json
import logging
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from components.core.artifacts import whole_file, write_json
from components.core.errors import InputError

log = logging.getLogger(__name__)

TENSORS = ".safetensors"


def fingerprint(*parts: Any) -> str:
    """A digest of what a training depends on: configuration, seed, rows, data digests (all JSON)."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def digest_of(tensors: Mapping[str, torch.Tensor], state: Mapping[str, Any] | None = None) -> str:
    """The SHA-256 of tensors (names, types, shapes, bytes) and of a state that JSON can hold."""
    digest = hashlib.sha256(json.dumps(state, sort_keys=True).encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)};".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


class Checkpoints:
    """The newest checkpoints of one training: `folder/step-<step>.safetensors` and `.json`, no pickle.

    The JSON file holds the state and a digest and is written last: without it there is no checkpoint.

    Args:
        folder: names where they lie, asked at every use; see `lease.training_folder`.
        keep: how many stay; at least two, so that a damaged newest one has one before it.
    """

    def __init__(self, folder: Callable[[], Path], *, keep: int = 2) -> None:
        self.folder = folder
        self.keep = max(keep, 2)
        self.newest: Path | None = None  # that this process has loaded or saved: it is whole

    def save(self, step: int, tensors: Mapping[str, torch.Tensor], state: Mapping[str, Any]) -> None:
        """Writes a checkpoint, whole or not at all, and then drops the oldest.

        A step that is already saved and whole is left alone, so that its replacement cannot be cut off.

        Raises:
            OSError: the disk is full; the message names path and bytes, the older checkpoint is whole.
        """
        marker = self.folder() / f"step-{step:09d}.json"
        if marker == self.newest:
            return
        marker.unlink(missing_ok=True)  # of a damaged one
        _drop_unfinished(marker.parent)
        tensors = _apart(tensors)
        size = sum(tensor.nbytes for tensor in tensors.values())
        with ThreadPoolExecutor(1) as hasher, whole_file(marker.with_suffix(TENSORS), size=size) as temporary:
            digest = hasher.submit(digest_of, tensors, state)
            save_file(tensors, temporary)
        write_json(marker, {"sha256": digest.result(), "state": state})
        self.newest = marker
        for old in _newest_first(marker.parent)[self.keep :]:
            _drop(old)

    def load(self) -> tuple[int, dict[str, torch.Tensor], dict[str, Any]] | None:
        """The newest whole checkpoint as (step, tensors, state); None where none was ever finished.

        A damaged checkpoint is passed over with a warning for the one before it.

        Raises:
            InputError: there are checkpoints and every one is damaged: never a silent restart.
        """
        damaged = []
        for marker in _newest_first(self.folder()):
            try:
                tensors, state = _read(marker)
            except (SafetensorError, OSError, ValueError, KeyError) as error:
                log.warning("checkpoint %s is damaged (%s); trying the one before", marker, error)
                damaged.append(str(marker))
                continue
            self.newest = marker
            return int(marker.stem.removeprefix("step-")), tensors, state
        if damaged:
            raise InputError(
                f"every checkpoint is damaged: {', '.join(damaged)}. "
                "Delete them to start this training again from its beginning."
            )
        return None


def _newest_first(folder: Path) -> list[Path]:
    return sorted(folder.glob("step-*.json"), reverse=True)


def _drop_unfinished(folder: Path) -> None:
    """Deletes what a kill left of a save."""
    for path in [*folder.glob(".*"), *folder.glob(f"step-*{TENSORS}")]:
        if not path.with_suffix(".json").exists():
            path.unlink(missing_ok=True)


def _apart(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """What safetensors asks for: on the CPU, contiguous, no two in the same memory."""
    found: dict[str, torch.Tensor] = {}
    taken: set[int] = set()
    for name, tensor in tensors.items():
        tensor = tensor.detach().cpu().contiguous()
        place = tensor.untyped_storage().data_ptr()
        found[name] = tensor.clone() if place in taken else tensor
        taken.add(place)
    return found


def _read(marker: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    expected = json.loads(marker.read_text(encoding="utf-8"))
    # Copies: what is loaded maps the file, which the next saves delete.
    tensors = {name: tensor.clone() for name, tensor in load_file(marker.with_suffix(TENSORS)).items()}
    if digest_of(tensors, expected["state"]) != expected["sha256"]:
        raise ValueError("its digest is another")
    return tensors, expected["state"]


def _drop(marker: Path) -> None:
    # The marker goes first: a kill between the two leaves no checkpoint rather than a damaged one.
    marker.unlink(missing_ok=True)
    marker.with_suffix(TENSORS).unlink(missing_ok=True)
