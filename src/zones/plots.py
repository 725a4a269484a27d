"""Plots as inline SVG: lines over time, bars by name, sparks in a table's row. Colours are those of the page's CSS.

Not for the page around them (`fleet_page`). Every plot has a title and a description for who does not see it, lines are
told apart by their dashes and labels, too, and each mark says its value when it is pointed at.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape

DAY = 86_400
WIDTH, HEIGHT = 880, 300
LEFT, RIGHT, TOP, BOTTOM = 76, 128, 16, 40
"""Space around a plot's area for its axes and, on the right, the labels of lines."""
BAR, BAR_GAP, NAME_WIDTH = 16, 8, 132
LABEL_HEIGHT = 16
"""Least distance between two labels of lines."""
SPARK_WIDTH, SPARK_HEIGHT = 160, 28
TIME_STEPS = tuple(round(step * DAY) for step in (1 / 24, 1 / 8, 1 / 4, 1 / 2, 1, 2, 4, 7, 14, 28, 91, 182, 364))
"""Distances (s) between the ticks of a time axis."""

Point = tuple[float, float]
"""Time (s since 1970) and value."""
Show = Callable[[float], str]


@dataclass(frozen=True)
class Line:
    """A line of a plot; `style` is the CSS class that gives it colour and dashes."""

    name: str
    style: str
    points: Sequence[Point]


@dataclass(frozen=True)
class Bar:
    """A bar of a plot: its name, its value (None: no end in sight), whether it is below the limit."""

    name: str
    value: float | None
    low: bool


@dataclass(frozen=True)
class Plot:
    """What all plots say of themselves: an id on the page, a title, a description, how values are written."""

    id: str
    title: str
    description: str
    show: Show


@dataclass(frozen=True)
class Scale:
    """Maps values from `low` to `high` to places from `start` to `end`."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """Return the place of a value."""
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)


def value_ticks(highest: float, most: int = 5) -> list[float]:
    """Return round values from 0 to at least `highest`, at most `most` steps of them."""
    if highest <= 0:
        return [0.0, 1.0]
    size = 10.0 ** math.floor(math.log10(highest / most))
    step = next(size * factor for factor in (1, 2, 5, 10, 20) if highest / (size * factor) <= most)
    return [step * count for count in range(math.ceil(highest / step - 1e-9) + 1)]


def time_ticks(first: float, last: float, most: int = 8) -> list[float]:
    """Return round times (s, in UTC) between two times, at most `most` steps of them."""
    step = next((step for step in TIME_STEPS if (last - first) / step <= most), (last - first) / most)
    return [step * count for count in range(math.ceil(first / step), math.floor(last / step) + 1)]


def lines_plot(plot: Plot, lines: Sequence[Line], limit: tuple[str, float] | None = None) -> str:
    """Return lines over time; `limit` is the name and value of a line across. At least one line has a point."""
    times = [time for line in lines for time, _ in line.points]
    highest = max([value for line in lines for _, value in line.points] + [limit[1] if limit else 0.0])
    first, last = min(times), max(max(times), min(times) + 3_600)
    ticks = value_ticks(highest)
    across = Scale(first, last, LEFT, WIDTH - RIGHT)
    up = Scale(ticks[0], ticks[-1], HEIGHT - BOTTOM, TOP)
    parts = [*_grid(ticks, up, plot.show), *_time_axis(first, last, across)]
    labels = []
    if limit:
        parts.append(_stroke("limit", [(LEFT, up(limit[1])), (WIDTH - RIGHT, up(limit[1]))]))
        labels.append((up(limit[1]), limit[0], "limit"))
    for line in lines:
        placed = [(across(time), up(value)) for time, value in line.points]
        parts.append(_stroke(line.style, placed))
        for (time, value), (x, y) in zip(line.points, placed, strict=True):
            parts.append(_dot(line, x, y, f"{line.name}: {plot.show(value)}, {_time(time)} UTC"))
        if placed:
            labels.append((placed[-1][1], line.name, line.style))
    parts += _labels(labels)
    return _svg(plot, WIDTH, HEIGHT, parts)


def bars_plot(plot: Plot, bars: Sequence[Bar], limit: tuple[str, float], most: float) -> str:
    """Return horizontal bars; those beyond `most` or without end fill the width. `limit` is a line across them."""
    height = TOP + len(bars) * (BAR + BAR_GAP) + BOTTOM
    values = [most if bar.value is None else min(bar.value, most) for bar in bars]
    ticks = value_ticks(max([*values, limit[1]]))
    across = Scale(ticks[0], ticks[-1], NAME_WIDTH, WIDTH - RIGHT)
    bottom = height - BOTTOM
    parts = []
    for tick in ticks:
        x = across(tick)
        parts.append(f'<line class="grid" x1="{x:.1f}" y1="{TOP}" x2="{x:.1f}" y2="{bottom}"/>')
        parts.append(_text(x, bottom + 18, plot.show(tick), "middle"))
    for row, (bar, value) in enumerate(zip(bars, values, strict=True)):
        y = TOP + row * (BAR + BAR_GAP)
        style, shown = "bar low" if bar.low else "bar", plot.show(math.inf if bar.value is None else bar.value)
        said = f"{bar.name}: {shown}" + (f", below {plot.show(limit[1])}" if bar.low else "")
        parts.append(
            f'<rect class="{style}" x="{NAME_WIDTH}" y="{y}" width="{max(across(value) - NAME_WIDTH, 1):.1f}" '
            f'height="{BAR}"><title>{escape(said)}</title></rect>'
        )
        parts.append(_text(NAME_WIDTH - 8, y + BAR - 4, bar.name, "end"))
        parts.append(_text(across(value) + 6, y + BAR - 4, ("▲ " if bar.low else "") + shown, "start"))
    x = across(limit[1])
    parts.append(_stroke("limit", [(x, TOP), (x, bottom)]))
    parts.append(_text(x, bottom + 34, limit[0], "middle", "limit"))
    return _svg(plot, WIDTH, height, parts)


def spark(said: str, points: Sequence[Point]) -> str:
    """Return a small line without axes, from 0 up; `said` is its description. Empty without two points."""
    if len(points) < 2:
        return ""
    highest = max(value for _, value in points) or 1.0
    across = Scale(points[0][0], max(points[-1][0], points[0][0] + 1), 2, SPARK_WIDTH - 2)
    up = Scale(0, highest, SPARK_HEIGHT - 2, 2)
    line = _stroke("zones", [(across(time), up(value)) for time, value in points])
    return (
        f'<svg class="spark" viewBox="0 0 {SPARK_WIDTH} {SPARK_HEIGHT}" role="img" aria-label="{escape(said)}">'
        f"{line}</svg>"
    )


def _svg(plot: Plot, width: int, height: int, parts: Sequence[str]) -> str:
    inner = "\n".join(f"  {part}" for part in parts)
    return (
        f'<svg id="{plot.id}" viewBox="0 0 {width} {height}" role="img" '
        f'aria-labelledby="{plot.id}-title {plot.id}-description">\n'
        f'  <title id="{plot.id}-title">{escape(plot.title)}</title>\n'
        f'  <desc id="{plot.id}-description">{escape(plot.description)}</desc>\n{inner}\n</svg>'
    )


def _grid(ticks: Sequence[float], up: Scale, show: Show) -> list[str]:
    parts = []
    for tick in ticks:
        y = up(tick)
        parts.append(f'<line class="grid" x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}"/>')
        parts.append(_text(LEFT - 8, y + 4, show(tick), "end"))
    return parts


def _time_axis(first: float, last: float, across: Scale) -> list[str]:
    bottom = HEIGHT - BOTTOM
    form = "%d %b" if last - first > 2 * DAY else "%d %b %H:%M"
    parts = []
    for tick in time_ticks(first, last):
        x = across(tick)
        parts.append(f'<line class="grid" x1="{x:.1f}" y1="{bottom}" x2="{x:.1f}" y2="{bottom + 5}"/>')
        parts.append(_text(x, bottom + 20, datetime.fromtimestamp(tick, UTC).strftime(form), "middle"))
    return parts


def _labels(labels: Sequence[tuple[float, str, str]]) -> list[str]:
    """Return the labels at the right of lines, from the top down, none over another."""
    parts, free = [], float(TOP)
    for y, name, style in sorted(labels):
        at = max(y, free)
        free = at + LABEL_HEIGHT
        parts.append(_text(WIDTH - RIGHT + 8, at + 4, name, "start", style))
    return parts


def _stroke(style: str, points: Sequence[Point]) -> str:
    return f'<polyline class="line {style}" points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in points)}"/>'


def _dot(line: Line, x: float, y: float, said: str) -> str:
    return f'<circle class="dot {line.style}" cx="{x:.1f}" cy="{y:.1f}" r="2.5"><title>{escape(said)}</title></circle>'


def _text(x: float, y: float, text: str, anchor: str, style: str = "") -> str:
    return f'<text class="{style}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M")
