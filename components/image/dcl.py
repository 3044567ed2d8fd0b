"""Destruction and construction learning: an image is cut into blocks and shuffled, and the network learns
which images were destroyed and where each block came from.

Chen, Bai, Zhang, Mei: Destruction and Construction Learning for Fine-Grained Image Recognition, CVPR 2019,
https://openaccess.thecvf.com/content_CVPR_2019/html/Chen_Destruction_and_Construction_Learning_for_Fine-Grained_Image_Recognition_CVPR_2019_paper.html

Shapes: B images, N blocks a side, C classes, W pooled features, a feature map of (D, h, w).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

CUT = 10 / 448  # of each side, before the neighbor shuffle: the authors' code cuts 10 px at 448


def shuffled_blocks(draws: Tensor, blocks: int, reach: int) -> Tensor:
    """Region confusion (section 3.1.1): every row, then every column, is sorted by i + U(-k, k).

    Args:
        draws: (B, >= 2 * N * N) uniforms in [0, 1).
        blocks: N.
        reach: k; a block strays less than 2k places along an axis.

    Returns:
        (B, N * N) int64 in raster order: which block of the original lies at each place.
    """
    noise = (2 * draws[:, : 2 * blocks * blocks] - 1) * reach
    across, down = noise.unflatten(1, (2, blocks, blocks)).unbind(1)  # (B, N, N) each
    places = torch.arange(blocks, device=draws.device)
    first = places[:, None] * blocks
    grid = first + (places + across).argsort(dim=2, stable=True)  # (B, row, column) -> block
    columns = (places[:, None] + down).argsort(dim=1, stable=True)
    return grid.gather(1, columns).flatten(1)


def neighbor_blocks(draws: Tensor, blocks: int) -> Tensor:
    """The authors' code instead: while a row is filled, its last two blocks swap at random; rows likewise.

    Arguments and result as `shuffled_blocks`.
    """
    swaps = draws[:, : 2 * blocks * blocks].unflatten(1, (2, blocks, blocks)) < 0.5
    grid = torch.arange(blocks * blocks, device=draws.device).view(blocks, blocks)
    grid = grid.expand(len(draws), -1, -1).clone()
    for last in range(1, blocks):
        pair = grid[:, :, last - 1 : last + 1]
        grid[:, :, last - 1 : last + 1] = torch.where(swaps[:, 0, :, last, None], pair.flip(2), pair)
    for last in range(1, blocks):
        pair = grid[:, last - 1 : last + 1]
        grid[:, last - 1 : last + 1] = torch.where(swaps[:, 1, last, 0, None, None], pair.flip(1), pair)
    return grid.flatten(1)


def destroy(pixels: Tensor, source: Tensor, blocks: int, out: Tensor | None = None) -> Tensor:
    """Puts block `source[b, place]` at `place`; the permutation's inverse undoes it exactly.

    A gather of block-wide strips, so each byte is moved once.

    Args:
        pixels: (B, H, W, PIXEL) uint8, contiguous, H and W multiples of N.
        source: (B, N * N) int64.
        out: of the shape of `pixels`, contiguous, to write to.
    """
    batch, height = pixels.shape[:2]
    tall = height // blocks
    first = (source // blocks * height + source % blocks).view(batch, blocks, 1, blocks)
    down = torch.arange(0, height, blocks, device=pixels.device)[:tall]
    image = torch.arange(0, batch * height * blocks, height * blocks, device=pixels.device)
    strips = first + down[:, None] + image.view(-1, 1, 1, 1)  # (B, N, H / N, N)
    moved = torch.empty_like(pixels) if out is None else out
    shape = (batch * height * blocks, -1)
    torch.index_select(pixels.view(shape), 0, strips.flatten(), out=moved.view(shape))
    return moved


def cut_and_destroy(pixels: Tensor, source: Tensor, blocks: int) -> Tensor:
    """The authors' code: cut a border off, destroy what is left, and resize it back. Shapes as `destroy`."""
    height, width = pixels.shape[1:3]
    inner = [(side - 2 * round(CUT * side)) // blocks * blocks for side in (height, width)]
    top, left = (height - inner[0]) // 2, (width - inner[1]) // 2
    cut = pixels[:, top : top + inner[0], left : left + inner[1]].contiguous()
    planes = destroy(cut, source, blocks).permute(0, 3, 1, 2)
    resized = functional.interpolate(planes.float(), (height, width), mode="bilinear", antialias=True)
    return resized.round_().clamp_(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def location_targets(source: Tensor, blocks: int) -> Tensor:
    """Where each block belongs, (B, N * N) float32: (i - N*N // 2) / (N*N) in raster order."""
    count = blocks * blocks
    return (source - count // 2) / count


class DCLHeads(nn.Module):
    """The two heads that construction learning adds to a classifier.

    Args:
        width: W.
        map_width: D.
        swap: "cls_2" tells original from destroyed (2 logits); "cls_2xmul" tells the class as well
            (2C logits: class c, and class c destroyed).
    """

    def __init__(self, width: int, map_width: int, classes: int, blocks: int, swap: str) -> None:
        super().__init__()
        self.classes, self.blocks, self.kind = classes, blocks, swap
        self.swap = nn.Linear(width, 2 if swap == "cls_2" else 2 * classes, bias=False)
        self.location = nn.Conv2d(map_width, 1, 1)

    def locations(self, features: Tensor) -> Tensor:
        """(B, D, h, w) to (B, N * N) within (-1, 1)."""
        places = functional.adaptive_avg_pool2d(self.location(features), self.blocks)
        return torch.tanh(places).flatten(1)

    def swap_targets(self, labels: Tensor) -> Tensor:
        """(B,) labels to (2B,) targets of the swap head for [originals, destroyed]."""
        if self.kind == "cls_2":
            return torch.cat([torch.zeros_like(labels), torch.ones_like(labels)])
        return torch.cat([labels, labels + self.classes])

    def class_logits(self, logits: Tensor, pooled: Tensor) -> Tensor:
        """At test time: the class head's (B, C) logits, with both halves of "cls_2xmul" added."""
        if self.kind == "cls_2":
            return logits
        return logits + self.swap(pooled).unflatten(1, (2, self.classes)).sum(1)


def dcl_loss(
    logits: Tensor,
    swap_logits: Tensor,
    locations: Tensor,
    labels: Tensor,
    swap_labels: Tensor,
    targets: Tensor,
    *,
    gamma: float,
    label_smoothing: float = 0.0,
) -> Tensor:
    """CE + CE_swap + gamma * L1 of the locations (equation 8 with alpha = beta = 1), each a mean.

    Args:
        logits: (2B, C), originals first.
        swap_logits: (2B, 2) or (2B, 2C).
        locations: (2B, N * N).
        labels: (B,).
        swap_labels: (2B,).
        targets: (2B, N * N).
    """
    twice = torch.cat([labels, labels])
    return (
        functional.cross_entropy(logits.float(), twice, label_smoothing=label_smoothing)
        + functional.cross_entropy(swap_logits.float(), swap_labels)
        + gamma * functional.l1_loss(locations.float(), targets)
    )
