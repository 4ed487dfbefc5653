"""A timeline as an SVG picture: a lane a subject, bars for what lasted, dots for what went wrong."""

from html import escape
from typing import Final

from clawproto.timeline import Span, Timeline
from clawproto_cli.text import date_time, printable, span

_WIDTH: Final = 1200
_LEFT: Final = 110
_RIGHT: Final = 20
_LANE: Final = 44
_BAR: Final = 20
_TOP: Final = 56
_LANES: Final = ("connection", "tokens", "refreshes", "sends", "messages", "failures")
_COLOURS: Final = {
    "online": "#2f9e44",
    "opening": "#fab005",
    "waiting": "#fab005",
    "greeting": "#fab005",
    "closing": "#adb5bd",
    "down": "#e03131",
    "in-force": "#4dabf7",
    "answered": "#2f9e44",
    "accepted": "#2f9e44",
    "failed": "#e03131",
    "open": "#868e96",
}
_GREY: Final = "#ced4da"
_STEPS_MS: Final = tuple(
    factor * unit
    for unit, factors in ((1, (100, 500)), (1_000, (1, 5, 10, 30)), (60_000, (1, 5, 15)), (3_600_000, (1, 6, 24, 168)))
    for factor in factors
)


def draw(story: Timeline, title: str) -> str:
    """The picture; everything from the journal is escaped."""
    length = max(story.length_ms, 1)
    height = _TOP + _LANE * len(_LANES) + 34

    def x(ms: int) -> float:
        return round(_LEFT + (_WIDTH - _LEFT - _RIGHT) * min(max(ms, 0), length) / length, 2)

    frame = f'width="{_WIDTH}" height="{height}" viewBox="0 0 {_WIDTH} {height}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {frame} font-family="system-ui, sans-serif" font-size="12">',
        f'<rect width="{_WIDTH}" height="{height}" fill="#ffffff"/>',
        f'<text x="{_LEFT}" y="24" font-size="15" fill="#212529">{_safe(title)}</text>',
        f'<text x="{_LEFT}" y="42" fill="#868e96">from {date_time(story.begin_ms)}, {span(length)}</text>',
    ]
    bottom = _TOP + _LANE * len(_LANES)
    step = next((step for step in _STEPS_MS if length / step <= 12), length)
    for ms in range(0, length + 1, step):
        parts.append(f'<line x1="{x(ms)}" x2="{x(ms)}" y1="{_TOP}" y2="{bottom}" stroke="#f1f3f5"/>')
        parts.append(f'<text x="{x(ms)}" y="{bottom + 18}" fill="#868e96" text-anchor="middle">+{span(ms)}</text>')
    for number, lane in enumerate(_LANES):
        middle = _TOP + _LANE * number + _LANE // 2
        parts.append(f'<text x="{_LEFT - 12}" y="{middle + 4}" fill="#495057" text-anchor="end">{lane}</text>')
        parts.append(f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{middle}" y2="{middle}" stroke="#e9ecef"/>')
        parts += [_bar(item, x(item.begin_ms), x(item.end_ms), middle) for item in story.spans if item.lane == lane]
        for mark in story.marks:
            if mark.failure if lane == "failures" else mark.lane == lane:
                colour = "#e03131" if mark.failure else "#1c7ed6" if lane == "messages" else "#343a40"
                radius = 4 if mark.failure else 2
                parts.append(
                    f'<circle cx="{x(mark.elapsed_ms)}" cy="{middle}" r="{radius}" fill="{colour}">'
                    f"<title>+{span(mark.elapsed_ms)}: {_safe(mark.text)}</title></circle>"
                )
    parts.append("</svg>")
    return "\n".join(parts) + "\n"


def _bar(item: Span, begin: float, end: float, middle: int) -> str:
    width = max(round(end - begin, 2), 1.5)
    colour = _COLOURS.get(item.kind, _GREY)
    words = f"{item.text}, {span(item.end_ms - item.begin_ms)}"
    return (
        f'<rect x="{begin}" y="{middle - _BAR // 2}" width="{width}" height="{_BAR}" rx="2" fill="{colour}" '
        f'stroke="#ffffff" stroke-width="0.5"><title>{_safe(words)}</title></rect>'
    )


def _safe(text: str) -> str:
    return escape(printable(text))
