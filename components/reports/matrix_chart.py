"""Matrices as inline SVG: what is taken for what, who agrees with whom."""

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup

from components.reports.charts import tag
from components.reports.page import plain

WIDTH = 1016  # pixels that a page has for a matrix and its names
MATRIX_SIDE = 640  # pixels that a matrix without texts may take
TEXT_SIZE, LARGEST = 22, 40  # pixels of a cell: the least that has room for a text, and the most
LONGEST_NAME = 40  # characters of a row's or column's name


def heatmap(
    shade: np.ndarray,
    names: Sequence[str],
    *,
    title: str,
    hints: Sequence[Sequence[str]],
    texts: Sequence[Sequence[str]] | None = None,
    columns: Sequence[str] | None = None,
    mistakes: bool = False,
) -> Markup:
    """A square matrix of cells.

    Args:
        shade: (K, K) in 0..1, how dark each cell is; cells of 0 are left out.
        hints: (K, K) texts shown where the pointer rests.
        texts: (K, K) texts inside the cells; left out where these have no room.
        columns: what the columns are called, where not as the rows.
        mistakes: draw the cells off the diagonal in the warning color.
    """
    size = min(LARGEST, (WIDTH - _margin(names)) // max(len(names), 1))
    if texts is None or size < TEXT_SIZE:
        texts, size = None, max(11, min(34, MATRIX_SIDE // max(len(names), 1)))
    side = size * len(names)
    left, beside = _names(names, size, turned=False)
    top, above = _names(columns or names, size, turned=True)
    cells, values = [], []
    for row, column in np.argwhere(shade > 0).tolist():
        kind = "wrong" if mistakes and row != column else "right"
        x, y, hint = size * column, size * row, tag("title", hints[row][column])
        box = {"x": x + 0.5, "y": y + 0.5, "width": size - 1, "height": size - 1}
        opacity = f"{0.1 + 0.9 * shade[row, column]:.3f}"
        cells.append(tag("rect", hint, class_=f"cell {kind}", fill_opacity=opacity, **box))
        if texts:
            middle = {"x": x + size / 2, "y": y + size / 2 + 4}
            values.append(tag("text", texts[row][column], class_="value middle", **middle))
    frame = tag("rect", class_="frame", width=side, height=side)
    # Cells under texts are fainter, so that the texts stay readable on the darkest.
    under = tag("g", *cells, class_="under" if texts else "cells")
    return tag(
        "svg",
        tag("g", *beside, transform=f"translate({left - 6} {top})"),
        tag("g", *above, transform=f"translate({left} {top - 6})"),
        tag("g", frame, under, *values, transform=f"translate({left} {top})"),
        class_="matrix",
        role="img",
        aria_label=title,
        width=left + side + 4,
        height=top + side + 4,
        viewBox=f"0 0 {left + side + 4} {top + side + 4}",
    )


def agreement_chart(same: np.ndarray, names: Sequence[str]) -> Markup:
    """How often each two of K classifiers predict the same class, (K, K) shares, in per cent."""
    hints = [[f"{a} and {b}: {same[i, j]:.1%}" for j, b in enumerate(names)] for i, a in enumerate(names)]
    texts = [[f"{100 * value:.0f}" for value in row] for row in same.tolist()]
    least = same.min()
    return heatmap(
        (same - least + 0.05) / (1.05 - least),
        [f"{number}: {name}" for number, name in enumerate(names, start=1)],
        title="Agreement of the classifiers, per cent",
        hints=hints,
        texts=texts,
        columns=[str(number) for number in range(1, len(names) + 1)],
    )


def _names(names: Sequence[str], size: int, *, turned: bool) -> tuple[int, list[Markup]]:
    """A matrix's names along one side: the margin that they need, and the texts."""
    short = [plain(name, LONGEST_NAME) for name in names]
    texts = []
    for index, name in enumerate(short):
        at = size * (index + 0.5) + 4
        if turned:
            texts.append(tag("text", name, class_="tick", transform=f"translate({at} 0) rotate(-90)"))
        else:
            texts.append(tag("text", name, class_="tick end", x=0, y=at))
    return _margin(names), texts


def _margin(names: Sequence[str]) -> int:
    """The pixels that a matrix's names need along one side."""
    return round(14 + 6.4 * max((len(plain(name, LONGEST_NAME)) for name in names), default=1))
