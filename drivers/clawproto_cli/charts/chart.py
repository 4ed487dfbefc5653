"""What a picture shows, whoever draws it."""

from collections.abc import Sequence
from math import ceil, floor, log10
from typing import Literal

from attrs import field

from clawproto.deferred import frozen


@frozen
class Series:
    """One measurement.

    Attributes:
        points: x and y; with bars, y is drawn from x to the next x.
    """

    label: str
    color: str
    points: Sequence[tuple[float, float]] = field(repr=False)


@frozen
class Band:
    """Something that happened, shaded from ``begin`` to ``end``; a line if both are equal."""

    begin: float
    end: float
    label: str


@frozen(kw_only=True)
class Panel:
    """One coordinate system.

    Attributes:
        log: the y axis is logarithmic and begins at 1; what is 0 is not drawn.
    """

    title: str
    x_label: str
    y_label: str
    series: tuple[Series, ...]
    x_range: tuple[float, float]
    y_range: tuple[float, float]
    log: bool = False
    style: Literal["bars", "line"] = "bars"
    bands: tuple[Band, ...] = ()

    @property
    def x_ticks(self) -> list[float]:
        return _even_ticks(*self.x_range)

    @property
    def y_ticks(self) -> list[float]:
        if not self.log:
            return _even_ticks(*self.y_range)
        return [10.0**power for power in range(floor(log10(self.y_range[1])) + 1)]


@frozen
class Chart:
    """Panels below each other.

    Attributes:
        subtitle: what was measured, and how.
        footer: how to measure it again.
    """

    title: str
    subtitle: str
    panels: tuple[Panel, ...]
    footer: str


def amount(value: float) -> str:
    """A number on an axis: ``1``, ``2.5``, ``10 k``, ``1 M``."""
    for size, unit in ((1_000_000, " M"), (1_000, " k")):
        if abs(value) >= size:
            return f"{value / size:g}{unit}"
    return f"{value:g}"


def largest_per_column(values: Sequence[int], columns: int, begin: int = 0, end: int | None = None) -> list[int]:
    """``values[begin:end]`` as at most ``columns`` numbers, each the largest of its part, so that no peak is lost."""
    last = len(values) if end is None else end
    width = max(1, ceil((last - begin) / columns))
    return [max(values[at : min(at + width, last)]) for at in range(begin, last, width)]


def _even_ticks(low: float, high: float) -> list[float]:
    span = high - low
    if span <= 0:
        return [low]
    rough = span / 8
    size = 10.0 ** floor(log10(rough))
    step = next(size * factor for factor in (1, 2, 3, 5, 6, 10) if size * factor >= rough * 0.999)
    return [tick * step for tick in range(ceil(low / step - 1e-9), floor(high / step + 1e-9) + 1)]
