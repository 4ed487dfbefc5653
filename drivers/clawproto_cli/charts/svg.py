"""A chart as SVG, without any library."""

from math import log10
from xml.sax.saxutils import escape

from clawproto_cli.charts.chart import Band, Chart, Panel, Series, amount

WIDTH, PANEL_HEIGHT, GAP = 1100, 250, 84
_LEFT, _RIGHT, _TOP, _BOTTOM = 86, 24, 104, 40
_INK, _PALE, _GRID, _BAND = "#24292f", "#57606a", "#e4e7eb", "#f2d7d5"


def draw(chart: Chart) -> str:
    """The whole document. Equal charts give equal text."""
    height = _TOP + len(chart.panels) * (PANEL_HEIGHT + GAP) - 20 + _BOTTOM
    size = f'viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="Helvetica, Arial, sans-serif">',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
        _text(_LEFT, 34, chart.title, size=20, weight="bold"),
        _text(_LEFT, 56, chart.subtitle, color=_PALE),
    ]
    for index, panel in enumerate(chart.panels):
        parts += _Plot(panel, _TOP + index * (PANEL_HEIGHT + GAP)).draw()
    parts += [_text(_LEFT, height - 14, chart.footer, size=11, color=_PALE, family="monospace"), "</svg>"]
    return "\n".join(parts) + "\n"


class _Plot:
    def __init__(self, panel: Panel, top: float) -> None:
        self._panel, self._top = panel, top
        self._bottom = top + PANEL_HEIGHT

    def draw(self) -> list[str]:
        panel, right = self._panel, WIDTH - _RIGHT
        parts = [_text(_LEFT, self._top - 12, panel.title, size=15, weight="bold")]
        parts += [self._shade(band) for band in panel.bands]
        for tick in panel.y_ticks:
            at = self._y(tick)
            parts.append(_line(_LEFT, at, right, at, _GRID))
            parts.append(_text(_LEFT - 8, at + 4, amount(tick), anchor="end", size=12, color=_PALE))
        for tick in panel.x_ticks:
            at = self._x(tick)
            parts.append(_line(at, self._bottom, at, self._bottom + 5, _INK))
            parts.append(_text(at, self._bottom + 19, amount(tick), anchor="middle", size=12, color=_PALE))
        for series in panel.series:
            parts.append(self._series(series))
        parts.append(_line(_LEFT, self._bottom, right, self._bottom, _INK))
        parts.append(_text((_LEFT + right) / 2, self._bottom + 36, panel.x_label, anchor="middle", color=_PALE))
        middle = (self._top + self._bottom) / 2
        turned = f'transform="rotate(-90 24 {middle:g})"'
        parts.append(_text(24, middle, panel.y_label, anchor="middle", color=_PALE, extra=turned))
        return parts + self._band_labels() + self._legend()

    def _x(self, value: float) -> float:
        low, high = self._panel.x_range
        return _LEFT + (value - low) / (high - low) * (WIDTH - _RIGHT - _LEFT)

    def _y(self, value: float) -> float:
        low, high = self._panel.y_range
        if self._panel.log:
            value, low, high = log10(max(value, 1)), 0, log10(high)
        return self._bottom - (value - low) / (high - low) * PANEL_HEIGHT

    def _series(self, series: Series) -> str:
        if self._panel.style == "line":
            points = " ".join(f"{self._x(x):.1f},{self._y(y):.1f}" for x, y in series.points)
            return f'<polyline points="{points}" fill="none" stroke="{series.color}" stroke-width="2.2"/>'
        path: list[str] = []
        base = self._bottom
        for (x, y), (following, _) in zip(
            series.points, [*series.points[1:], (self._panel.x_range[1], 0)], strict=True
        ):
            if y > 0:
                left, top = self._x(x), min(self._y(y), base - 2)
                width = max(self._x(following) - left, 1.6)
                path.append(f"M{left:.1f} {base:g}V{top:.1f}h{width:.1f}V{base:g}z")
        return f'<path d="{"".join(path)}" fill="{series.color}" fill-opacity="0.85"/>'

    def _shade(self, band: Band) -> str:
        left, right = self._edges(band)
        place = f'x="{left:.1f}" y="{self._top:g}" width="{right - left:.1f}" height="{PANEL_HEIGHT}"'
        return f'<rect {place} fill="{_BAND}"/>'

    def _band_labels(self) -> list[str]:
        """Beside the bands, one below the other, and above everything that is drawn."""
        parts: list[str] = []
        for number, band in enumerate(self._panel.bands):
            left, right = self._edges(band)
            anchor, at = ("end", left - 5) if left > WIDTH * 0.75 else ("start", right + 5)
            below = self._top + 14 + 16 * (number % 4)
            halo = 'paint-order="stroke" stroke="white" stroke-width="4"'
            parts.append(_text(at, below, band.label, size=12, color="#a04038", anchor=anchor, extra=halo))
        return parts

    def _edges(self, band: Band) -> tuple[float, float]:
        left = self._x(band.begin)
        return left, max(self._x(band.end), left + 1.5)

    def _legend(self) -> list[str]:
        parts: list[str] = []
        at: float = WIDTH - _RIGHT
        for series in reversed(self._panel.series):
            at -= 7.2 * len(series.label)
            parts.append(_text(at, self._top - 12, series.label))
            at -= 18
            parts.append(f'<rect x="{at:.1f}" y="{self._top - 23:g}" width="12" height="12" fill="{series.color}"/>')
            at -= 18
        return parts


def _line(x1: float, y1: float, x2: float, y2: float, color: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{color}"/>'


def _text(
    x: float,
    y: float,
    text: str,
    *,
    size: int = 13,
    weight: str = "normal",
    anchor: str = "start",
    color: str = _INK,
    family: str = "",
    extra: str = "",
) -> str:
    attributes = f'x="{x:.1f}" y="{y:.1f}" font-size="{size}" font-weight="{weight}" text-anchor="{anchor}"'
    if family:
        attributes += f' font-family="{family}"'
    return f'<text {attributes} fill="{color}"{" " + extra if extra else ""}>{escape(text)}</text>'
