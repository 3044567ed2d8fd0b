"""The training loops that timm and torchvision publish, with AMP and channels last, for image_step.py.

timm: train.py with `--amp --amp-dtype bfloat16 --channels-last --opt sgd`, its loader with the prefetcher.
torchvision: references/classification/train.py with `--amp`, float16 with a gradient scaler; channels last is
ours to add. Both decode with PIL in worker processes, in every epoch. Without a GPU there is neither AMP nor
a prefetcher.
"""

import io
from collections.abc import Callable, Iterable

import timm
import torch
import torchvision
from PIL import Image
from timm.data.loader import create_loader
from timm.optim._optim_factory import create_optimizer_v2
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from benchmarks.image_input import DEVICE, clock

CLASSES = 27
ON_GPU = DEVICE.type == "cuda"
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
Step = Callable[[Tensor, Tensor], None]


class Labeled(Dataset):
    """Encoded images, decoded one at a time, each with a label; timm sets the transform."""

    def __init__(self, jpegs: list[bytes], transform: Callable | None = None) -> None:
        self.jpegs, self.transform = jpegs, transform

    def __len__(self) -> int:
        return len(self.jpegs)

    def __getitem__(self, row: int) -> tuple[Tensor, int]:
        image = Image.open(io.BytesIO(self.jpegs[row])).convert("RGB")
        assert self.transform is not None
        return self.transform(image), row % CLASSES


def reference_seconds(
    backbone: str, jpegs: list[bytes], *, batch: int, crop: int, workers: int
) -> dict[str, float]:
    """Seconds a step of each loop: with its loader, and on one batch that is there already."""
    torch.backends.cudnn.benchmark = True
    workers = workers if ON_GPU else 0
    found = _seconds("timm's loop", *_timm(backbone, jpegs, batch, crop, workers))
    if backbone in torchvision.models.list_models():
        found |= _seconds("torchvision's loop", *_torchvision(backbone, jpegs, batch, crop, workers))
    return found


def _timm(
    backbone: str, jpegs: list[bytes], batch: int, crop: int, workers: int
) -> tuple[Iterable[tuple[Tensor, Tensor]], Step]:
    loader = create_loader(
        Labeled(jpegs),  # type: ignore[arg-type]
        (3, crop, crop),
        batch,
        is_training=True,
        use_prefetcher=ON_GPU,
        color_jitter=0.0,
        num_workers=workers,
        pin_memory=ON_GPU,
        device=DEVICE,
        persistent_workers=False,
    )
    model = _on_device(timm.create_model(backbone, num_classes=CLASSES))
    optimizer = create_optimizer_v2(model, opt="sgd", lr=0.01, momentum=0.9, weight_decay=0.0)

    def step(images: Tensor, labels: Tensor) -> None:
        with torch.autocast(DEVICE.type, torch.bfloat16, enabled=ON_GPU):
            loss = nn.functional.cross_entropy(model(images), labels)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return loader, step


def _torchvision(
    backbone: str, jpegs: list[bytes], batch: int, crop: int, workers: int
) -> tuple[Iterable[tuple[Tensor, Tensor]], Step]:
    transform = v2.Compose(
        [
            v2.RandomResizedCrop(crop),
            v2.RandomHorizontalFlip(),
            v2.PILToTensor(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(MEAN, STD),
        ]
    )
    dataset = Labeled(jpegs, transform)
    loader = DataLoader(dataset, batch, shuffle=True, num_workers=workers, pin_memory=ON_GPU, drop_last=True)
    model = _on_device(torchvision.models.get_model(backbone, num_classes=CLASSES))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    scaler = torch.amp.GradScaler(DEVICE.type, enabled=ON_GPU)

    def step(images: Tensor, labels: Tensor) -> None:
        with torch.autocast(DEVICE.type, torch.float16, enabled=ON_GPU):
            loss = nn.functional.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()

    return loader, step


def _on_device(model: nn.Module) -> nn.Module:
    return model.to(DEVICE, memory_format=torch.channels_last).train()  # type: ignore[call-overload]


def _seconds(name: str, loader: Iterable[tuple[Tensor, Tensor]], step: Step) -> dict[str, float]:
    start, steps, batch = 0.0, 0, None
    for number, (images, labels) in enumerate(loader):
        if number == 1:
            start = clock()
        images = images.to(DEVICE, memory_format=torch.channels_last, non_blocking=True)
        batch = images, labels.to(DEVICE)
        step(*batch)
        steps = number
    assert batch is not None
    with_loader = (clock() - start) / steps
    start = clock()
    for _ in range(steps):
        step(*batch)
    return {name: with_loader, f"{name}, one batch": (clock() - start) / steps}
