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

from components.core.errors import InputError
from components.modeling import checkpoint
from components.modeling.checkpoint import Checkpoints
from components.modeling.step import flatten_optimizer, restore_optimizer

DTYPES = (
    *(torch.float64, torch.float32, torch.float16, torch.bfloat16),
    *(torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool),
)
FILE_OPERATIONS = {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.chmod", "os.scandir"}


def save(folder: Path, step: int, size: int = 4) -> None:
    tensors = {"weight": torch.full((size,), float(step)), "momentum": torch.full((size,), -float(step))}
    Checkpoints(lambda: folder).save(step, tensors, {"epoch": step})


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
    found = Checkpoints(lambda: folder).load()
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


def test_a_kill_while_tensors_are_written_leaves_the_checkpoint_before(tmp_path: Path):
    save(tmp_path, 1)
    child = os.fork()
    if child == 0:
        save(tmp_path, 2, size=50_000_000)
        os._exit(0)
    while not any(tmp_path.glob("step-000000002/.*")):
        assert os.waitpid(child, os.WNOHANG) == (0, 0), "the save was too fast"
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert loaded_step(tmp_path) == 1
    save(tmp_path, 2)
    assert loaded_step(tmp_path) == 2
    assert len(list(tmp_path.rglob("*.*"))) == 4


def test_what_kills_cut_off_goes_with_the_next_save(tmp_path: Path):
    save(tmp_path, 1)
    for step in (2, 3, 9):
        (tmp_path / f"step-00000000{step}").mkdir()
        for name in ("000.safetensors", "001.safetensors", ".tmpAb12", ".state.json.x"):
            (tmp_path / f"step-00000000{step}" / name).write_bytes(b"half")
    save(tmp_path, 3)
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.*")) == [
        f"step-00000000{step}/{name}" for step in (1, 3) for name in ("000.safetensors", "state.json")
    ]
    assert len(list(tmp_path.iterdir())) == 2


def test_an_optimizers_state_comes_back_laid_out_as_its_parameters(tmp_path: Path):
    layer = torch.nn.Conv2d(3, 4, 3)
    layers = [copy.deepcopy(layer).to(memory_format=torch.channels_last) for _ in range(2)]  # type: ignore[call-overload]
    optimizers = [torch.optim.SGD(each.parameters(), 0.1, momentum=0.9, fused=True) for each in layers]
    random = torch.Generator().manual_seed(0)
    images = [torch.rand(2, 3, 8, 8, generator=random).to(memory_format=torch.channels_last) for _ in "abc"]
    for step, pixels in enumerate(images):
        if step == 2:  # the second goes on from a checkpoint
            Checkpoints(lambda: tmp_path).save(step, flatten_optimizer(optimizers[1]), {})
            found = Checkpoints(lambda: tmp_path).load()
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
        with pytest.raises(OSError, match=r"no space left for 80,000 bytes of .*step-000000002"):
            save(tmp_path, 2, size=10_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert loaded_step(tmp_path) == 1
    save(tmp_path, 2)
    assert loaded_step(tmp_path) == 2


def test_tensors_of_every_kind_come_back_bit_for_bit_in_any_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(checkpoint, "PART_BYTES", 500)
    bits = torch.randint(0, 2, (240,), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    tensors = {str(dtype): bits.view(dtype).reshape(2, 5, -1) for dtype in DTYPES}
    tensors |= {
        "transposed": torch.arange(12.0).view(3, 4).T,
        "channels last": torch.arange(48.0).view(2, 2, 3, 4).to(memory_format=torch.channels_last),
        "scalar": torch.tensor(7),
        "empty": torch.empty(0, 3),
        "gradient": torch.ones(2, requires_grad=True),
    }
    tensors |= {"same memory": tensors["scalar"], "part of it": tensors["transposed"].T[1:]}
    Checkpoints(lambda: tmp_path).save(1, tensors, {})
    assert len(list(tmp_path.rglob("*.safetensors"))) > 3
    found = Checkpoints(lambda: tmp_path).load()
    assert found is not None
    assert set(found[1]) == set(tensors)
    for name, tensor in found[1].items():
        assert (tensor.dtype, tensor.shape) == (tensors[name].dtype, tensors[name].shape)
        assert torch.equal(tensor, tensors[name].detach())


def test_the_newest_checkpoint_is_loaded(tmp_path: Path):
    checkpoints = Checkpoints(lambda: tmp_path)
    assert checkpoints.load() is None
    for step in (1, 2, 3):
        save(tmp_path, step)
    loaded = checkpoints.load()
    assert loaded is not None
    assert (loaded[0], loaded[1]["weight"][0].item(), loaded[2]) == (3, 3.0, {"epoch": 3})
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize(
    ("damaged", "change"),
    [
        ("000.safetensors", lambda data: data[:-1]),
        ("000.safetensors", lambda data: data[:-1] + bytes([data[-1] ^ 1])),
        ("state.json", lambda data: data.replace(b'"epoch": 2', b'"epoch": 3')),
        ("state.json", lambda data: data[:-9]),
    ],
)
def test_a_damaged_checkpoint_gives_way_to_the_one_before(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damaged: str, change: Callable[[bytes], bytes]
):
    checkpoints = Checkpoints(lambda: tmp_path)
    for step in (1, 2):
        save(tmp_path, step)
    newest = tmp_path / "step-000000002" / damaged
    newest.write_bytes(change(newest.read_bytes()))
    loaded = checkpoints.load()
    assert loaded is not None
    assert loaded[0] == 1
    assert "is damaged" in caplog.text
    save(tmp_path, 2)
    assert loaded_step(tmp_path) == 2


def test_there_is_no_silent_restart_when_every_checkpoint_is_damaged(tmp_path: Path):
    checkpoints = Checkpoints(lambda: tmp_path)
    save(tmp_path, 1)
    (tmp_path / "step-000000001" / "state.json").write_text("{")
    with pytest.raises(InputError, match="every checkpoint is damaged"):
        checkpoints.load()


def test_a_save_that_was_cut_off_is_no_checkpoint(tmp_path: Path):
    checkpoints = Checkpoints(lambda: tmp_path)
    save(tmp_path, 1)
    save(tmp_path, 2)
    (tmp_path / "step-000000002" / "state.json").unlink()
    loaded = checkpoints.load()
    assert loaded is not None
    assert loaded[0] == 1


def test_an_optimizer_goes_on_where_it_was():
    torch.manual_seed(0)
    results = []
    for interrupted in (False, True):
        weight = torch.nn.Parameter(torch.ones(3))
        optimizer = torch.optim.AdamW([weight], lr=0.1)
        for step in range(6):
            if interrupted and step == 3:
                kept = {name: tensor.clone() for name, tensor in flatten_optimizer(optimizer).items()}
                optimizer = torch.optim.AdamW([weight], lr=0.1)
                restore_optimizer(optimizer, kept)
            optimizer.zero_grad()
            (weight**2).sum().backward()
            optimizer.step()
        results.append(weight.detach().clone())
    assert torch.equal(results[0], results[1])
