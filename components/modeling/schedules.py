"""Learning rates over a training: from a step, counted from 0, to its rate."""

import math


def linear(step: int, steps: int, *, peak: float, warmup: float) -> float:
    """A linear rise from 0 in a share `warmup` of the steps, a linear fall to 0 (paper, section 4.1)."""
    rising = math.ceil(warmup * steps)
    if step < rising:
        return peak * step / rising
    return peak * (steps - step) / max(1, steps - rising)


def stepwise(step: int, epoch_steps: int, *, peak: float, decay: float, every: int) -> float:
    """The rate falls to `decay` of itself after every `every` epochs (paper, section 4.1)."""
    return peak * decay ** (step // epoch_steps // every)


def cosine(step: int, steps: int, *, peak: float, warmup: float = 0.2) -> float:
    """A linear rise for a share of the steps, then half a cosine down to nearly 0.

    Loshchilov and Hutter 2017, "SGDR", equation 5, in one period.
    """
    rising = max(1, round(warmup * steps))
    if step < rising:
        return peak * (step + 1) / rising
    return peak * 0.5 * (1 + math.cos(math.pi * (step + 1 - rising) / (steps + 1 - rising)))


def one_cycle(step: int, steps: int, *, low: float, peak: float, end: float, warmup: float = 0.2) -> float:
    """Half a cosine from `low` to `peak` in a share of the steps, another from there to `end`.

    Smith and Topin 2017, "Super-Convergence", as `torch.optim.lr_scheduler.OneCycleLR` does it.
    """
    turn = warmup * steps - 1
    if step <= turn:
        return _half_cosine(low, peak, step / turn if turn else 1.0)  # of five steps the first is the turn
    return _half_cosine(peak, end, (step - turn) / (steps - 1 - turn))


def _half_cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) / 2.0 * (math.cos(math.pi * share) + 1)
