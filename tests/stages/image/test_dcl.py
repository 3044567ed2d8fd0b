"""Destruction and construction learning: the shuffle, its inverse, its targets, its heads and loss."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from components.image.dcl import (
    DCLHeads,
    cut_and_destroy,
    dcl_loss,
    destroy,
    neighbor_blocks,
    shuffled_blocks,
)
from components.image.kinds.network import NetworkConfig
from components.image.network import DCLNetwork
from components.modeling.image.augmentation import PIXEL, uniforms

BLOCKS = 7
SIZES = [((448, 448), 7), ((80, 60), 5), ((28, 42), 7)]


def permutations(shuffle: str, count: int = 64, blocks: int = BLOCKS) -> torch.Tensor:
    draws = uniforms(0, 0, np.arange(count), 2 * blocks * blocks)
    return shuffled_blocks(draws, blocks, 2) if shuffle == "sort" else neighbor_blocks(draws, blocks)


def by_hand(image: torch.Tensor, source: list[int], blocks: int) -> torch.Tensor:
    """Block by block, as the definition says."""
    tall, wide = image.shape[0] // blocks, image.shape[1] // blocks
    result = torch.empty_like(image)
    for place, block in enumerate(source):
        y, x = divmod(place, blocks)
        v, u = divmod(block, blocks)
        result[y * tall : (y + 1) * tall, x * wide : (x + 1) * wide] = image[
            v * tall : (v + 1) * tall, u * wide : (u + 1) * wide
        ]
    return result


@pytest.mark.parametrize("shuffle", ["sort", "neighbors"])
def test_every_shuffle_is_a_permutation_and_most_move_blocks(shuffle):
    source = permutations(shuffle)
    straight = torch.arange(BLOCKS**2)
    assert torch.equal(source.sort(dim=1).values, straight.expand(64, -1))
    assert (source != straight).float().mean() > 0.5
    assert len(source.unique(dim=0)) == 64


def test_sorted_blocks_stay_within_2k_places():
    source = permutations("sort", 500)
    place = torch.arange(BLOCKS**2)
    # A row's shuffle and then a column's: a block moves less than 2k = 4 places along each axis.
    assert ((source % BLOCKS) - (place % BLOCKS)).abs().max() < 4
    assert ((source // BLOCKS) - (place // BLOCKS)).abs().max() < 4


def test_sorting_shuffles_rows_and_then_columns_by_the_papers_rule():
    draws = uniforms(5, 1, np.arange(3), 2 * 9)
    for draw, found in zip(draws.numpy().astype(np.float32), shuffled_blocks(draws, 3, 1), strict=True):
        across, down = (2 * draw - 1).reshape(2, 3, 3)
        grid = np.stack([row[np.argsort(np.arange(3) + across[i])] for i, row in enumerate(_grid(3))])
        columns = [grid[:, j][np.argsort(np.arange(3) + down[:, j])] for j in range(3)]
        assert found.tolist() == np.stack(columns, axis=1).ravel().tolist()


def _grid(side: int) -> np.ndarray:
    return np.arange(side * side).reshape(side, side)


@pytest.mark.parametrize(("size", "blocks"), SIZES)
def test_destroying_moves_blocks_as_the_permutation_says_and_its_inverse_undoes_it(size, blocks):
    images = torch.randint(0, 256, (3, *size, PIXEL), dtype=torch.uint8)
    source = permutations("sort", 3, blocks)
    destroyed = destroy(images, source, blocks)
    for image, order, found in zip(images, source.tolist(), destroyed, strict=True):
        assert torch.equal(found, by_hand(image, order, blocks))
    assert torch.equal(destroy(destroyed, source.argsort(dim=1), blocks), images)


def network(**options) -> DCLNetwork:
    config = NetworkConfig(
        name="v",
        backbone="small_resnet",
        weights="scratch",
        dcl_resize=(64, 64),
        dcl_crop=(56, 56),
        **options,
    )
    return DCLNetwork(config, config.stages()[1], np.full(5, 0.2))


@pytest.mark.parametrize("white", [False, True])
@pytest.mark.parametrize("shuffle", ["sort", "neighbors"])
def test_location_targets_equal_the_true_permutation_for_every_block(shuffle, white):
    pixels = torch.randint(0, 256, (4, 56, 56, PIXEL), dtype=torch.uint8)
    if white:
        pixels.fill_(255)
    draws = uniforms(0, 0, np.arange(4), 98)
    both = torch.cat([pixels, torch.zeros_like(pixels)])
    targets = network(dcl_shuffle=shuffle).destroy(both, draws)
    source = shuffled_blocks(draws, 7, 2) if shuffle == "sort" else neighbor_blocks(draws, 7)
    change = destroy if shuffle == "sort" else cut_and_destroy
    assert torch.equal(both[:4], pixels)
    assert torch.equal(both[4:], change(pixels, source, 7))
    raster = (torch.arange(49) - 24) / 49
    assert torch.equal(targets[:4], raster.expand(4, -1))
    assert torch.equal(targets[4:], raster[source])
    assert not torch.equal(targets[4:], targets[:4])


def test_cutting_the_border_keeps_the_size_and_a_flat_image():
    images = torch.full((2, 448, 448, PIXEL), 77, dtype=torch.uint8)
    found = cut_and_destroy(images, permutations("neighbors", 2), 7)
    assert torch.equal(found, images)
    images[:, :10] = images[:, -10:] = images[:, :, :10] = images[:, :, -10:] = 0
    assert (cut_and_destroy(images, permutations("neighbors", 2), 7) == 77).all()


@pytest.mark.parametrize(("kind", "width"), [("cls_2", 2), ("cls_2xmul", 10)])
def test_heads_have_the_papers_shapes(kind, width):
    heads = DCLHeads(16, 16, 5, 7, kind)
    features = torch.randn(4, 16, 14, 14)
    assert heads.swap(features.mean((2, 3))).shape == (4, width)
    locations = heads.locations(features)
    assert locations.shape == (4, 49)
    assert torch.allclose(
        locations, torch.tanh(functional.avg_pool2d(heads.location(features), 2)).flatten(1)
    )
    assert heads.locations(torch.randn(4, 16, 5, 4)).shape == (4, 49)


def test_swap_targets_name_original_and_destroyed():
    labels = torch.tensor([3, 1])
    assert DCLHeads(4, 4, 5, 7, "cls_2").swap_targets(labels).tolist() == [0, 0, 1, 1]
    assert DCLHeads(4, 4, 5, 7, "cls_2xmul").swap_targets(labels).tolist() == [3, 1, 8, 6]


def test_at_test_time_both_halves_of_the_swap_head_are_added():
    logits, pooled = torch.randn(3, 5), torch.randn(3, 16)
    two, many = DCLHeads(16, 16, 5, 7, "cls_2"), DCLHeads(16, 16, 5, 7, "cls_2xmul")
    assert torch.equal(two.class_logits(logits, pooled), logits)
    halves = many.swap(pooled)
    assert torch.allclose(many.class_logits(logits, pooled), logits + halves[:, :5] + halves[:, 5:])


def test_the_loss_of_undecided_heads_is_its_three_terms():
    labels = torch.tensor([0, 2])
    loss = dcl_loss(
        torch.zeros(4, 5),
        torch.zeros(4, 2),
        torch.zeros(4, 49),
        labels,
        torch.tensor([0, 0, 1, 1]),
        torch.full((4, 49), 0.25),
        gamma=0.5,
    )
    assert math.isclose(loss.item(), math.log(5) + math.log(2) + 0.5 * 0.25, rel_tol=1e-6)


def test_the_three_heads_learn_ten_times_faster_and_all_learn():
    model = network()
    (backbone, slow), (heads, fast) = model.parameter_groups()
    assert fast == 10 * slow
    assert len(backbone) + len(heads) == len(list(model.parameters()))
    pixels = torch.randint(0, 256, (8, 56, 56, PIXEL), dtype=torch.uint8)
    model(pixels, uniforms(0, 0, np.arange(4), model.draws), torch.tensor([0, 1, 2, 3])).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in heads)
