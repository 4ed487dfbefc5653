"""Words for people: nothing that a peer wrote may steer the terminal."""

from datetime import UTC, datetime


def printable(text: str) -> str:
    """``text`` with control characters, line ends included, written as escapes."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)


def clock_time(wall_ms: int) -> str:
    """Local time of day."""
    return datetime.fromtimestamp(wall_ms / 1000, UTC).astimezone().strftime("%H:%M:%S")


def date_time(wall_ms: int) -> str:
    """Local date and time, with its offset. Far away times, as an odd token may claim, are told in milliseconds."""
    try:
        return datetime.fromtimestamp(wall_ms / 1000, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S %z")
    except (ValueError, OverflowError, OSError):
        return f"{wall_ms} ms"


_UNITS = ((86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1_000, "s"))


def span(ms: int) -> str:
    """A length of time in its two largest units: ``1 h 30 min``."""
    left, parts = abs(ms), list[str]()
    for size, unit in _UNITS:
        if left >= size and len(parts) < 2:
            parts.append(f"{left // size} {unit}")
            left %= size
        elif parts:
            break
    return " ".join(parts) or f"{left} ms"
