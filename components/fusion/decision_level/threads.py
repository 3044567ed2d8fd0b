"""Thread settings of computations that are too small to share."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def one_thread() -> Iterator[None]:
    """Within the block torch uses one thread.

    Handing out parts of tiny products costs more than computing them, many times more on a busy machine;
    and the sums do not depend on how many processors there are.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
