"""Charts as numbers for the templates: where each point of an inline SVG is. Colours are left to the style sheet."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

WIDTH, HEIGHT = 420, 250
LEFT, RIGHT, TOP, BOTTOM = 46, 12, 12, 40
"""Room for the labels of the axes, in the units of the SVG."""


class Axis(NamedTuple):
    """From the lowest to the highest value, with the values that are written."""

    low: float
    high: float
    ticks: tuple[tuple[float, str], ...]
    label: str


class Line(NamedTuple):
    """A named series; `style` is a class of the style sheet."""

    name: str
    points: Sequence[tuple[float, float]]
    style: str
    dots: bool = True


class Whisker(NamedTuple):
    """A value with its interval at a place of the x axis."""

    x: float
    value: float
    low: float
    high: float
    says: str


class Bar(NamedTuple):
    """From the x axis up to a value."""

    low: float
    high: float
    value: float
    says: str


@dataclass(frozen=True)
class Chart:
    """A chart and the sentence that says what is in it, for who cannot see it."""

    title: str
    says: str
    x: Axis
    y: Axis
    lines: Sequence[Line] = ()
    whiskers: Sequence[Whisker] = ()
    bars: Sequence[Bar] = ()
    marks: Sequence[tuple[float, str]] = ()
    """Vertical lines at places of the x axis, with their words."""
    diagonal: bool = False

    def left(self, value: float) -> float:
        """Where a value of the x axis is."""
        share = (value - self.x.low) / (self.x.high - self.x.low)
        return round(LEFT + share * (WIDTH - LEFT - RIGHT), 1)

    def top(self, value: float) -> float:
        """Where a value of the y axis is."""
        share = (value - self.y.low) / (self.y.high - self.y.low)
        return round(HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM), 1)

    def path(self, line: Line) -> str:
        """The points of an SVG polyline."""
        return " ".join(f"{self.left(x)},{self.top(y)}" for x, y in line.points)

    @property
    def legend(self) -> list[Line]:
        """One line of each name."""
        return list({line.name: line for line in self.lines if line.name}.values())


def axis(low: float, high: float, label: str, *, whole: bool = False, most: int = 6) -> Axis:
    """An axis whose ticks are round numbers.

    Args:
        whole: at whole numbers only.
        most: ticks.
    """
    if not high > low:
        low, high = low - 0.5, high + 0.5
    raw = (high - low) / most
    unit = 10.0 ** math.floor(math.log10(raw))
    step = next(unit * m for m in (1, 2, 2.5, 5, 10) if unit * m >= raw * 0.999)
    if whole:
        step = float(max(1, math.ceil(step)))
    digits = max(0, -math.floor(math.log10(step) + 1e-9)) + (1 if f"{step:g}".rstrip("0").endswith("25") else 0)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    ticks = tuple((k * step, f"{k * step:,.{digits}f}") for k in range(first, last + 1))
    return Axis(low, high, ticks, label)


def shares(label: str, low: float = 0.0, high: float = 1.0) -> Axis:
    """An axis of values from 0 to 1, or of a part of that which holds `low` and `high`."""
    return axis(max(0.0, math.floor(low * 10) / 10), min(1.0, math.ceil(high * 10) / 10), label)
