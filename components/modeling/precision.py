"""The precision in which a device multiplies, and what it needs that gradients are neither lost nor slow.

float16 has 5 bits of exponent: most gradients of a network are below what it can hold. There the loss is
multiplied by a scale first; a step whose gradients overflow is left out and halves the scale, and many good
ones double it (Micikevicius et al., arXiv:1710.03740, section 3.2). bfloat16 and float32 need none of it.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch.amp.grad_scaler import GradScaler

AMPERE = (8, 0)  # compute capability from which on a GPU multiplies bfloat16 and has flash attention


def is_ampere(device: torch.device) -> bool:
    """Whether a GPU is an A100 or newer."""
    return torch.cuda.get_device_capability(device) >= AMPERE


def product_type(device: torch.device) -> torch.dtype:
    """What a device multiplies in: float32 on a CPU, bfloat16 on a GPU, float16 on one before the A100."""
    if device.type == "cpu":
        return torch.float32
    return torch.bfloat16 if is_ampere(device) else torch.float16


def autocast(device: torch.device) -> torch.autocast:
    """A block whose products are in the device's `product_type`."""
    dtype = product_type(device)
    return torch.autocast(device.type, dtype, enabled=dtype != torch.float32)


def loss_scaler(device: torch.device) -> GradScaler:
    """Scales losses where the device multiplies in float16; elsewhere it leaves everything as it is."""
    return GradScaler(device.type, enabled=product_type(device) == torch.float16)


@contextmanager
def subnormals_as_zero() -> Iterator[None]:
    """A block in which this thread, and no other, takes numbers nearer to 0 than 1e-38 for 0.

    The moments of an optimizer fall there where gradients stay away, as those of a rare n-gram do, and many
    a processor is twenty times slower with such numbers.
    """
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)
