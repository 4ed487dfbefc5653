"""A series as one line of blocks, for the terminal."""

from collections.abc import Sequence
from math import log10

_BLOCKS, _PLAIN = " ▁▂▃▄▅▆▇█", " .:-=+*%#"


def sparkline(values: Sequence[int], top: int, *, plain: bool = False) -> str:
    """One character a value; logarithmic, full at ``top``, blank at 0. ``plain`` keeps to ASCII."""
    blocks = _PLAIN if plain else _BLOCKS
    steps = len(blocks) - 1
    scale = log10(max(top, 1) + 1)
    return "".join(blocks[max(1, round(steps * log10(value + 1) / scale))] if value else " " for value in values)


def scale(begin: str, middle: str, end: str, width: int) -> str:
    """The axis below: three labels, at both ends and between."""
    room = width - len(begin) - len(end)
    return f"{begin}{middle:^{max(room, 0)}}{end}"
