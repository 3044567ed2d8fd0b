"""Rows joined by product id, never by position."""

from collections.abc import Sequence

import numpy as np

from components.core.errors import InputError


def rows_of(ids: np.ndarray, wanted: Sequence[str] | np.ndarray, *, what: str, where: str) -> np.ndarray:
    """Where each of the wanted ids stands among `ids`, which are unique: (len(wanted),) int64.

    Args:
        what: what the rows are, as in "probabilities"; for the message.
        where: whose they are; for the message.

    Raises:
        InputError: a wanted id is not among them.
    """
    row_of = {product: row for row, product in enumerate(ids.tolist())}
    missing = [product for product in wanted if product not in row_of]
    if missing:
        raise InputError(
            f"{where}: no {what} for {len(missing)} of {len(wanted)} products, the first is {missing[0]!r}; "
            "were they made from the same catalog?"
        )
    return np.array([row_of[product] for product in wanted], np.int64)
