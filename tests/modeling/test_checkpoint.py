"""A checkpoint's save, cut off anywhere: what is left is whole, and the next save succeeds."""

import copy
import itertools
import os
import resource
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from components.modeling import checkpoint
from components.modeling.checkpoint import (
    DTYPES,
    Checkpoints,
    fingerprint,
    flatten_optimizer,
    restore_optimizer,
)

FILE_OPERATIONS = {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.chmod", "os.scandir"}
TRAINING = fingerprint("training")


def save(folder: Path, step: int, size: int = 4) -> None:
    tensors = {"weight": torch.full((size,), float(step)), "momentum": torch.full((size,), -float(step))}
    Checkpoints(folder, TRAINING).save(step, tensors, {"epoch": step})


def killed_at(operation: int, work: Callable[[], None], folder: Path) -> bool:
    """Runs `work` in a child that dies at its n-th file operation in `folder`; False if there are fewer."""
    child = os.fork()
    if child == 0:
        count = itertools.count(1)

        def die(event: str, arguments: tuple) -> None:
            ours = event in FILE_OPERATIONS and str(arguments[0]).startswith(str(folder))
            if ours and next(count) == operation:
                os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(die)
        work()
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert status in (0, signal.SIGKILL)
    return os.WIFSIGNALED(status)


def loaded_step(folder: Path) -> int:
    found = Checkpoints(folder, TRAINING).load()
    assert found is not None
    step, tensors, state = found
    assert tensors["weight"].tolist() == [step] * 4
    assert tensors["momentum"].tolist() == [-step] * 4
    assert state == {"epoch": step}
    return step


def test_a_kill_at_any_file_operation_of_a_save_leaves_a_whole_checkpoint(tmp_path: Path):
    before = tmp_path / "before"
    save(before, 1)
    save(before, 2)
    steps = []
    folder = tmp_path / "killed"
    for operation in itertools.count(1):
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(before, folder)
        if not killed_at(operation, lambda: save(folder, 3), folder):
            break
        steps.append(loaded_step(folder))
        save(folder, 3)
        assert loaded_step(folder) == 3
    assert steps == sorted(steps)
    assert set(steps) == {2, 3}
    assert len(steps) > 20


def test_what_kills_cut_off_goes_with_the_next_save(tmp_path: Path):
    save(tmp_path, 1)
    folder = tmp_path / TRAINING[:16]
    for step in (2, 9):  # a manifest is written last
        (folder / f"step-{step:09d}").mkdir()
        (folder / f"step-{step:09d}" / "tensors.safetensors").write_bytes(b"half")
    save(tmp_path, 3)
    assert sorted(path.name[-1] for path in folder.iterdir()) == ["1", "3", "9"]
    save(tmp_path, 9)
    assert sorted(path.name[-1] for path in folder.iterdir()) == ["3", "9"]


def test_an_optimizers_state_comes_back_laid_out_as_its_parameters(tmp_path: Path):
    layer = torch.nn.Conv2d(3, 4, 3)
    layers = [copy.deepcopy(layer).to(memory_format=torch.channels_last) for _ in range(2)]  # type: ignore[call-overload]
    optimizers = [torch.optim.SGD(each.parameters(), 0.1, momentum=0.9, fused=True) for each in layers]
    random = torch.Generator().manual_seed(0)
    images = [torch.rand(2, 3, 8, 8, generator=random).to(memory_format=torch.channels_last) for _ in "abc"]
    for step, pixels in enumerate(images):
        if step == 2:  # the second goes on from a checkpoint
            Checkpoints(tmp_path, TRAINING).save(step, flatten_optimizer(optimizers[1]), {})
            found = Checkpoints(tmp_path, TRAINING).load()
            assert found is not None
            restore_optimizer(optimizers[1], found[1])
        for each, optimizer in zip(layers, optimizers, strict=True):
            optimizer.zero_grad()
            each(pixels).square().sum().backward()
            optimizer.step()
    for parameter, values in optimizers[1].state.items():
        assert values["momentum_buffer"].stride() == parameter.stride()
    for one, other in zip(layers[0].parameters(), layers[1].parameters(), strict=True):
        assert torch.equal(one, other)


def test_a_full_disk_leaves_the_older_checkpoint_and_names_path_and_bytes(tmp_path: Path):
    save(tmp_path, 1)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))  # stands for the space that is left
    try:
        with pytest.raises(OSError, match=r"no space left after writing [\d,]+ bytes of .*step-000000002"):
            save(tmp_path, 2, size=10_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert loaded_step(tmp_path) == 1
    save(tmp_path, 2)
    assert loaded_step(tmp_path) == 2


def test_tensors_of_every_kind_come_back_bit_for_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(checkpoint, "FLUSH_BYTES", 100)
    bits = torch.randint(0, 2, (240,), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    tensors = {str(dtype): bits.view(dtype).reshape(2, 5, -1) for dtype in DTYPES}
    tensors |= {
        "transposed": torch.arange(12.0).view(3, 4).T,
        "channels last": torch.arange(48.0).view(2, 2, 3, 4).to(memory_format=torch.channels_last),
        "scalar": torch.tensor(7),
        "empty": torch.empty(0, 3),
        "gradient": torch.ones(2, requires_grad=True),
    }
    Checkpoints(tmp_path, TRAINING).save(1, tensors, {})
    found = Checkpoints(tmp_path, TRAINING).load()
    assert found is not None
    assert set(found[1]) == set(tensors)
    for name, tensor in found[1].items():
        assert (tensor.dtype, tensor.shape) == (tensors[name].dtype, tensors[name].shape)
        assert torch.equal(tensor, tensors[name].detach())
