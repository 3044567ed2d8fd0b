"""Small charts as inline SVG; their colors come from the reports' style sheet, for light and dark."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from markupsafe import Markup, escape

from components.modeling.reliability import Calibration, ChanceBand
from components.reports.page import plain

WIDTH, HEIGHT = 440, 240
LEFT, RIGHT, TOP, BOTTOM = 68, 12, 12, 38


def tag(name: str, *children: str, **attributes: str | float) -> Markup:
    """An SVG element. `class_` stands for class, underscores for hyphens; text is cleaned and escaped."""
    written = Markup("").join(
        Markup(' {}="{}"').format(key.rstrip("_").replace("_", "-"), _attribute(value))
        for key, value in attributes.items()
    )
    inside = Markup("").join(
        child if isinstance(child, Markup) else escape(plain(child)) for child in children
    )
    return Markup("<{0}{1}>{2}</{0}>").format(name, written, inside)


def number(value: float) -> str:
    """A tick's text: 0.00005 -> "5e-05", 1200 -> "1,200", 0.5 -> "0.5"."""
    if value and abs(value) < 1e-3:
        return f"{value:.1e}".replace(".0e", "e")
    return f"{value:,.4f}".rstrip("0").rstrip(".")


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round numbers from at most `low` to at least `high`, about `count` of them."""
    if high <= low:
        high = low + (abs(low) or 1.0)
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(index * step, 12) for index in range(first, last + 1)]


def bar(value: float, maximum: float = 1.0, *, weak: bool = False) -> Markup:
    """A bar beside a number in a table, which screen readers pass over: the number stands beside it."""
    return _bar(0, 100 * min(max(value / maximum, 0.0), 1.0) if maximum > 0 else 0.0, warn=weak)


def gain_bar(value: float, most: float) -> Markup:
    """A bar to the right of the middle for a gain, to the left for a loss; `most` fills a half."""
    length = 50 * min(abs(value) / most, 1.0) if most > 0 else 0.0
    return _bar(50 if value >= 0 else 50 - length, length, warn=value < 0)


def _bar(start: float, length: float, *, warn: bool) -> Markup:
    return tag(
        "svg",
        tag("rect", class_="track", width=100, height=8),
        tag("rect", class_="loss" if warn else "fill", x=start, width=length, height=8),
        class_="bar",
        viewBox="0 0 100 8",
        preserveAspectRatio="none",
        aria_hidden="true",
    )


def interval_bar(
    value: float, low: float, high: float, bounds: tuple[float, float], marks: Sequence[float] = ()
) -> Markup:
    """A dot with its interval between `bounds`, and hollow diamonds for figures from elsewhere."""

    def x(figure: float) -> float:
        return 6 + 168 * min(max((figure - bounds[0]) / (bounds[1] - bounds[0]), 0.0), 1.0)

    return tag(
        "svg",
        tag("line", class_="axis", x1=6, x2=174, y1=11, y2=11),
        tag("line", class_="whisker", x1=x(low), x2=x(high), y1=11, y2=11),
        *(tag("path", class_="mark", d=f"M{x(mark):.1f} 6l5 5l-5 5l-5 -5z") for mark in marks),
        tag("circle", class_="dot", cx=x(value), cy=11, r=4.5),
        class_="interval",
        viewBox="0 0 180 22",
        aria_hidden="true",
    )


def line_chart(
    series: Mapping[str, Sequence[tuple[float, float]]],
    *,
    title: str,
    x_name: str,
    from_zero: bool = False,
    dot: tuple[float, float] | None = None,
    rules: Sequence[tuple[float, str]] = (),
) -> Markup:
    """Lines over one axis: name -> (x, y) points. Up to four series differ by color and by dashes.

    Args:
        dot: a point to mark.
        rules: upright lines, as (x, what happened there).
    """
    x_values = [x for line in series.values() for x, _ in line]
    y_values = [y for line in series.values() for _, y in line]
    y_ticks = ticks(0.0 if from_zero else min(y_values), max(y_values))
    frame = _Frame((min(x_values), max(x_values)), (y_ticks[0], y_ticks[-1]))
    x_ticks = [tick for tick in ticks(*frame.x_range) if frame.x_range[0] <= tick <= frame.x_range[1]]
    if all(float(x).is_integer() for x in x_values):
        x_ticks = [tick for tick in x_ticks if float(tick).is_integer()]
    lines = [_line(index, name, line, frame) for index, (name, line) in enumerate(series.items())]
    lines += [_rule(x, happened, frame) for x, happened in rules]
    if dot:
        lines.append(tag("circle", class_="dot", cx=frame.x(dot[0]), cy=frame.y(dot[1]), r=4.5))
    chart = _chart(title, *frame.grid(x_ticks, y_ticks, x_name, ""), *lines)
    return chart + _legend(series) if len(series) > 1 else chart


def histogram(counts: Sequence[int], edges: Sequence[float], *, title: str, x_name: str) -> Markup:
    """Columns of `counts` between `edges` (one edge more than counts), as wide as their bins.

    Where bins differ in width, heights are counts by the unit of x: a column's area is its count.
    """
    widths = np.diff(np.asarray(edges, float))
    even = bool(np.allclose(widths, widths[0]))
    heights = np.asarray(counts, float) / (1 if even else widths)
    y_ticks = ticks(0, float(max([*heights, 1e-9])), 4)
    frame = _Frame((float(edges[0]), float(edges[-1])), (0, y_ticks[-1]))
    floor = frame.y(0)
    columns = [
        tag(
            "rect",
            tag("title", f"{number(edges[index])} to {number(edges[index + 1])}: {count:,}"),
            class_="column",
            x=frame.x(edges[index]) + 0.5,
            y=frame.y(height),
            width=max(frame.x(edges[index + 1]) - frame.x(edges[index]) - 1, 0.5),
            height=floor - frame.y(height),
        )
        for index, (count, height) in enumerate(zip(counts, heights.tolist(), strict=True))
    ]
    x_ticks = [tick for tick in ticks(float(edges[0]), float(edges[-1])) if edges[0] <= tick <= edges[-1]]
    y_name = "products" if even else f"products a {x_name.split()[0].rstrip('s')}"
    return _chart(title, *frame.grid(x_ticks, y_ticks, x_name, y_name), *columns)


def reliability_chart(found: Calibration, band: ChanceBand | None = None, *, title: str) -> Markup:
    """Accuracy over confidence: a point's area is its bin's count, the diagonal perfect calibration.

    Args:
        band: how far from the diagonal chance alone may take a bin, drawn as an upright line.
    """
    frame = _Frame((0, 1), (0, 1))
    scale = [0, 0.2, 0.4, 0.6, 0.8, 1]
    x0, x1, y0, y1 = frame.x(0), frame.x(1), frame.y(0), frame.y(1)
    points = [
        tag(
            "circle",
            tag("title", f"confidence {sure:.0%}, accuracy {right:.0%}, {products:,} products"),
            class_="bubble",
            cx=frame.x(sure),
            cy=frame.y(right),
            r=2.5 + 8 * math.sqrt(products / found.count.max()),
        )
        for sure, right, products in zip(
            found.confidence.tolist(), found.accuracy.tolist(), found.count.tolist(), strict=True
        )
    ]
    by_chance = (
        zip(found.confidence.tolist(), band.low.tolist(), band.high.tolist(), strict=True) if band else ()
    )
    whiskers = [
        tag("line", class_="whisker", x1=frame.x(sure), x2=frame.x(sure), y1=frame.y(low), y2=frame.y(high))
        for sure, low, high in by_chance
    ]
    diagonal = tag("line", class_="diagonal", x1=x0, y1=y0, x2=x1, y2=y1)
    return _chart(title, *frame.grid(scale, scale, "confidence", "accuracy"), diagonal, *whiskers, *points)


class _Frame:
    """Axes: the data's coordinates to the drawing's."""

    def __init__(self, x_range: tuple[float, float], y_range: tuple[float, float]) -> None:
        self.x_range, self.y_range = x_range, y_range

    def x(self, value: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * _share(value, self.x_range)

    def y(self, value: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * _share(value, self.y_range)

    def grid(
        self, x_ticks: Sequence[float], y_ticks: Sequence[float], x_name: str, y_name: str
    ) -> list[Markup]:
        right, floor, middle = WIDTH - RIGHT, HEIGHT - BOTTOM, (TOP + HEIGHT - BOTTOM) / 2
        parts = [tag("text", x_name, class_="tick middle", x=(LEFT + right) / 2, y=HEIGHT - 5)]
        parts += [tag("text", y_name, class_="tick middle", transform=f"translate(11 {middle}) rotate(-90)")]
        for tick in y_ticks:
            at = self.y(tick)
            parts.append(tag("line", class_="gridline", x1=LEFT, x2=right, y1=at, y2=at))
            parts.append(tag("text", number(tick), class_="tick end", x=LEFT - 6, y=at + 4))
        for tick in x_ticks:
            parts.append(tag("text", number(tick), class_="tick middle", x=self.x(tick), y=floor + 15))
        return parts


def _share(value: float, bounds: tuple[float, float]) -> float:
    low, high = bounds
    return (value - low) / (high - low) if high > low else 0.5


def _line(index: int, name: str, line: Sequence[tuple[float, float]], frame: _Frame) -> Markup:
    # One epoch is a point: a line of no length with round ends.
    single = " single" if len(line) == 1 else ""
    points = " ".join(f"{frame.x(x):.1f},{frame.y(y):.1f}" for x, y in [*line, line[-1]])
    return tag("polyline", tag("title", name), class_=f"line s{index}{single}", points=points)


def _rule(x: float, happened: str, frame: _Frame) -> Markup:
    y0, y1 = (frame.y(value) for value in frame.y_range)
    ends = {"x1": frame.x(x), "x2": frame.x(x), "y1": y0, "y2": y1}
    return tag("line", tag("title", happened), class_="resumed", **ends)


def _chart(title: str, *parts: Markup) -> Markup:
    return tag("svg", *parts, class_="chart", role="img", aria_label=title, viewBox=f"0 0 {WIDTH} {HEIGHT}")


def _legend(names: Mapping[str, object]) -> Markup:
    keys = []
    for index, name in enumerate(names):
        stroke = tag("line", class_=f"line s{index}", x1=0, x2=24, y1=4, y2=4)
        sample = tag("svg", stroke, viewBox="0 0 24 8", aria_hidden="true")
        keys.append(tag("span", sample, name, class_="key"))
    return tag("p", *keys, class_="legend")


def _attribute(value: str | float) -> str:
    return f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else str(value)
