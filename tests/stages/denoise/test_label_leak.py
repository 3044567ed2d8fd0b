"""What denoising removes is chosen without validation: labels at random are predicted by chance."""

import pytest

from benchmarks.label_leak import SPLITS, draw


@pytest.mark.parametrize("split", SPLITS)
def test_labels_at_random_are_predicted_by_chance(split: str):
    assert draw(300, 10, leak=False).above_chance(split) < 3


def test_with_folds_of_validation_too_they_are_not():
    assert draw(300, 10, leak=True).above_chance("validation") > 3
