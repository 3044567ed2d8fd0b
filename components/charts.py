"""Small charts as inline SVG; colours come from the reports' style sheet, for light and dark."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from markupsafe import Markup

from components.report import plain

WIDTH, HEIGHT = 440, 240
LEFT, RIGHT, TOP, BOTTOM = 52, 12, 12, 38


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round numbers from at most `low` to at least `high`, about `count` of them."""
    if high <= low:
        high = low + (abs(low) or 1.0)
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(index * step, 12) for index in range(first, last + 1)]


def number(value: float) -> str:
    """A tick's text: 0.00005 -> "5e-05", 1200 -> "1,200", 0.5 -> "0.5"."""
    if value and abs(value) < 1e-3:
        return f"{value:.0e}"
    return f"{value:,.4f}".rstrip("0").rstrip(".")


def bar(value: float, maximum: float = 1.0) -> Markup:
    """A bar beside a number in a table; decoration, so hidden from screen readers."""
    width = 100 * min(max(value / maximum, 0.0), 1.0) if maximum > 0 else 0.0
    return Markup(
        '<svg class="bar" viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true">'
        '<rect class="track" width="100" height="8"/><rect class="fill" width="{:.2f}" height="8"/></svg>'
    ).format(width)


def interval_bar(
    value: float, low: float, high: float, bounds: tuple[float, float], marks: Sequence[float] = ()
) -> Markup:
    """A dot with its interval between `bounds`, and hollow marks for figures from elsewhere."""

    def x(figure: float) -> float:
        return 4 + 172 * min(max((figure - bounds[0]) / (bounds[1] - bounds[0]), 0.0), 1.0)

    hollow = Markup("").join(
        Markup('<path class="mark" d="M{0:.1f} 6 l5 5 l-5 5 l-5 -5 z"/>').format(x(mark)) for mark in marks
    )
    return Markup(
        '<svg class="interval" viewBox="0 0 180 22" aria-hidden="true"><line class="axis" x1="4" x2="176" y1="11" y2="11"/>'
        '{}<line class="whisker" x1="{:.1f}" x2="{:.1f}" y1="11" y2="11"/><circle class="dot" cx="{:.1f}" cy="11" r="4.5"/></svg>'
    ).format(hollow, x(low), x(high), x(value))


def line_chart(
    series: Mapping[str, Sequence[tuple[float, float]]],
    *,
    title: str,
    x_name: str,
    y_name: str,
    from_zero: bool = False,
) -> Markup:
    """Lines over one axis: name -> (x, y) points. Up to four series differ by colour and by dashes."""
    points = [point for line in series.values() for point in line]
    x_ticks = ticks(min(x for x, _ in points), max(x for x, _ in points))
    lowest = 0.0 if from_zero else min(y for _, y in points)
    y_ticks = ticks(lowest, max(y for _, y in points))
    frame = _Frame((min(x for x, _ in points), max(x for x, _ in points)), (y_ticks[0], y_ticks[-1]))
    inside = [tick for tick in x_ticks if frame.x_range[0] <= tick <= frame.x_range[1]]
    body = [frame.grid(inside, y_ticks, x_name, y_name)]
    for index, (name, line) in enumerate(series.items()):
        shape = '<polyline class="line s{}" points="{}"><title>{}</title></polyline>'
        if len(line) == 1:  # one epoch is a point, not a line
            line = [(line[0][0], line[0][1])] * 2
            shape = shape.replace('class="line', 'class="line single')
        path = " ".join(f"{frame.x(x):.1f},{frame.y(y):.1f}" for x, y in line)
        body.append(Markup(shape).format(index, path, plain(name)))
    return _svg(title, Markup("").join(body)) + (_legend(series) if len(series) > 1 else Markup(""))


def histogram(
    counts: Sequence[int], edges: Sequence[float], *, title: str, x_name: str, y_name: str = "products"
) -> Markup:
    """Columns of `counts` between `edges` (one more edge than counts), spaced evenly."""
    y_ticks = ticks(0, max([*counts, 1]), 4)
    frame = _Frame((0, len(counts)), (0, y_ticks[-1]))
    body = [frame.grid([], y_ticks, x_name, y_name)]
    width = frame.x(1) - frame.x(0)
    every = max(1, math.ceil(len(edges) / 8))
    for index, count in enumerate(counts):
        top = frame.y(count)
        body.append(
            Markup(
                '<rect class="column" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"><title>{} to {}: {:,}</title></rect>'
            ).format(
                frame.x(index) + 0.75,
                top,
                max(width - 1.5, 0.5),
                frame.y(0) - top,
                number(edges[index]),
                number(edges[index + 1]),
                count,
            )
        )
    for index, edge in enumerate(edges):
        if index % every == 0:
            body.append(
                Markup('<text class="tick middle" x="{:.1f}" y="{}">{}</text>').format(
                    frame.x(index), HEIGHT - BOTTOM + 15, number(edge)
                )
            )
    return _svg(title, Markup("").join(body))


def reliability_chart(
    confidence: np.ndarray, accuracy: np.ndarray, count: np.ndarray, *, title: str
) -> Markup:
    """Accuracy over confidence; a point's area is its bin's count, the diagonal is perfect calibration."""
    frame = _Frame((0, 1), (0, 1))
    scale = [0, 0.2, 0.4, 0.6, 0.8, 1]
    body = [
        frame.grid(scale, scale, "confidence", "accuracy"),
        Markup('<line class="diagonal" x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}"/>').format(
            frame.x(0), frame.y(0), frame.x(1), frame.y(1)
        ),
    ]
    for c, a, n in zip(confidence.tolist(), accuracy.tolist(), count.tolist(), strict=True):
        radius = 2.5 + 9 * math.sqrt(n / count.max())
        body.append(
            Markup(
                '<circle class="bubble" cx="{:.1f}" cy="{:.1f}" r="{:.1f}"><title>confidence {:.0%}, accuracy {:.0%}, {:,} products</title></circle>'
            ).format(frame.x(c), frame.y(a), radius, c, a, n)
        )
    return _svg(title, Markup("").join(body))


def heatmap(
    shade: np.ndarray,
    names: Sequence[str],
    *,
    title: str,
    hints: Sequence[Sequence[str]],
    texts: Sequence[Sequence[str]] | None = None,
    accent: bool = True,
) -> Markup:
    """A square matrix of cells.

    Args:
        shade: (K, K) in 0..1, how dark each cell is; 0 is left out.
        hints: (K, K) texts shown where the pointer rests.
        texts: (K, K) texts inside the cells, for few classes.
        accent: draw cells off the diagonal in the warning colour (mistakes).
    """
    size = 40 if texts else max(11, min(26, 760 // max(len(names), 1)))
    margin = 14 + 6.4 * min(max((len(name) for name in names), default=1), 22)
    side = margin + size * len(names) + 4
    body = []
    for index, name in enumerate(names):
        at, short = margin + size * (index + 0.5), plain(name, 22)
        body.append(
            Markup('<text class="tick end" x="{:.0f}" y="{:.1f}">{}</text>').format(margin - 6, at + 4, short)
        )
        body.append(
            Markup('<text class="tick" transform="translate({:.1f} {:.0f}) rotate(-90)">{}</text>').format(
                at + 4, margin - 6, short
            )
        )
    for row, column in zip(*np.nonzero(shade), strict=True):
        kind = "wrong" if accent and row != column else "right"
        x, y = margin + size * column, margin + size * row
        body.append(
            Markup(
                '<rect class="cell {}" x="{:.1f}" y="{:.1f}" width="{}" height="{}" fill-opacity="{:.3f}"><title>{}</title></rect>'
            ).format(
                kind,
                x + 0.5,
                y + 0.5,
                size - 1,
                size - 1,
                0.08 + 0.92 * float(shade[row, column]),
                plain(hints[row][column]),
            )
        )
        if texts:
            strong = " strong" if shade[row, column] > 0.55 else ""
            body.append(
                Markup('<text class="value middle{}" x="{:.1f}" y="{:.1f}">{}</text>').format(
                    strong, x + size / 2, y + size / 2 + 4, plain(texts[row][column])
                )
            )
    frame = Markup('<rect class="frame" x="{0:.1f}" y="{0:.1f}" width="{1}" height="{1}"/>').format(
        margin, size * len(names)
    )
    return Markup(
        '<svg class="matrix" role="img" aria-label="{}" width="{:.0f}" height="{:.0f}" viewBox="0 0 {:.0f} {:.0f}">{}</svg>'
    ).format(plain(title), side, side, side, side, frame + Markup("").join(body))


class _Frame:
    """Axes: data coordinates to the drawing's."""

    def __init__(self, x_range: tuple[float, float], y_range: tuple[float, float]) -> None:
        self.x_range, self.y_range = x_range, y_range

    def x(self, value: float) -> float:
        low, high = self.x_range
        return LEFT + (WIDTH - LEFT - RIGHT) * ((value - low) / (high - low) if high > low else 0.5)

    def y(self, value: float) -> float:
        low, high = self.y_range
        return (
            HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * ((value - low) / (high - low) if high > low else 0.5)
        )

    def grid(self, x_ticks: Sequence[float], y_ticks: Sequence[float], x_name: str, y_name: str) -> Markup:
        parts = [
            Markup(
                '<line class="gridline" x1="{}" x2="{}" y1="{:.1f}" y2="{:.1f}"/><text class="tick end" x="{}" y="{:.1f}">{}</text>'
            ).format(
                LEFT, WIDTH - RIGHT, self.y(tick), self.y(tick), LEFT - 6, self.y(tick) + 4, number(tick)
            )
            for tick in y_ticks
        ]
        parts += [
            Markup('<text class="tick middle" x="{:.1f}" y="{}">{}</text>').format(
                self.x(tick), HEIGHT - BOTTOM + 15, number(tick)
            )
            for tick in x_ticks
        ]
        parts.append(
            Markup('<text class="tick middle" x="{:.1f}" y="{}">{}</text>').format(
                (LEFT + WIDTH - RIGHT) / 2, HEIGHT - 5, plain(x_name)
            )
        )
        parts.append(
            Markup('<text class="tick middle" transform="translate(11 {:.1f}) rotate(-90)">{}</text>').format(
                (TOP + HEIGHT - BOTTOM) / 2, plain(y_name)
            )
        )
        return Markup("").join(parts)


def _svg(title: str, body: Markup) -> Markup:
    return Markup('<svg class="chart" role="img" aria-label="{}" viewBox="0 0 {} {}">{}</svg>').format(
        plain(title), WIDTH, HEIGHT, body
    )


def _legend(names: Mapping[str, object]) -> Markup:
    items = Markup("").join(
        Markup(
            '<span class="key"><svg viewBox="0 0 24 8" aria-hidden="true"><line class="line s{}" x1="0" x2="24" y1="4" y2="4"/></svg>{}</span>'
        ).format(index, plain(name))
        for index, name in enumerate(names)
    )
    return Markup('<p class="legend">{}</p>').format(items)
