"""Identifiers: strict Crockford ULIDs, minted in increasing order (SEND-6).

A ULID is 48 bits of milliseconds and an 80-bit tail, written in 26 characters; the text sorts like the number. The tail
is drawn from the session's seed. When the clock stands still or steps back, the last one is incremented instead.
"""

import re
from typing import Final

from clawproto import entropy
from clawproto.deferred import frozen

_ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS: Final = [high + low for high in _ALPHABET for low in _ALPHABET]
_TAIL_BITS: Final = 80
_TAIL: Final = 2**_TAIL_BITS - 1
_HALF: Final = 2**40 - 1
_MAX_MS: Final = 2**48 - 1
_MESSAGE_ID: Final = re.compile(r"msg-[0-7][0-9A-HJKMNP-TV-Z]{25}")


@frozen
class IdState:
    """What the next identifier depends on besides seed and clock.

    Attributes:
        counter: how many were minted.
        last_ms: time part of the last one; -1 before the first.
        last_tail: tail of the last one.
    """

    counter: int = 0
    last_ms: int = -1
    last_tail: int = 0


def _text(ms: int, tail: int) -> str:
    """26 characters of 5 bits, two at a time; small integers are shifted quicker."""
    pairs, high, low = _PAIRS, tail >> 40, tail & _HALF
    return (
        f"{pairs[ms >> 40]}{pairs[ms >> 30 & 1023]}{pairs[ms >> 20 & 1023]}{pairs[ms >> 10 & 1023]}{pairs[ms & 1023]}"
        f"{pairs[high >> 30]}{pairs[high >> 20 & 1023]}{pairs[high >> 10 & 1023]}{pairs[high & 1023]}"
        f"{pairs[low >> 30]}{pairs[low >> 20 & 1023]}{pairs[low >> 10 & 1023]}{pairs[low & 1023]}"
    )


def _after(ms: int, tail: int) -> tuple[int, int]:
    """Time and tail of the ULID that is greater by one. Raises OverflowError after the last one."""
    if tail < _TAIL:
        return ms, tail + 1
    if ms == _MAX_MS:
        raise OverflowError("no ULID is left")
    return ms + 1, 0


def next_ulid(state: IdState, seed: bytes, wall_ms: int) -> tuple[IdState, str]:
    """Mint one ULID, greater than all that were minted from ``state`` before.

    Args:
        state: as returned by the previous call.
        seed: of the session; equal seeds, states and times give equal ULIDs.
        wall_ms: wall clock; clamped to what 48 bits can hold.

    Raises:
        OverflowError: nothing greater exists (the last one was of the year 10889).
    """
    ms = min(max(wall_ms, 0), _MAX_MS)
    if ms > state.last_ms:
        tail = entropy.bits(seed, "ulid", state.counter, _TAIL_BITS)
    else:
        ms, tail = _after(state.last_ms, state.last_tail)
    return IdState(state.counter + 1, ms, tail), _text(ms, tail)


class Minter:
    """`next_ulid` for many in a row: it changes instead of returning its successor.

    Attributes:
        place: counter, time and tail as in `IdState`, and all but the last two characters of the last one, if known. It
            may be put back to an earlier one.
    """

    __slots__ = ("_draw", "place")

    def __init__(self, state: IdState, seed: bytes) -> None:
        self.place = state.counter, state.last_ms, state.last_tail, ""
        self._draw = entropy.drawer(seed, "ulid", _TAIL_BITS)

    def mint(self, wall_ms: int) -> str:
        """The next one. Raises OverflowError as `next_ulid`; nothing has changed then."""
        counter, last_ms, tail, head = self.place
        if wall_ms <= last_ms and head and (end := tail & 1023) != 1023:
            self.place = counter + 1, last_ms, tail + 1, head
            return head + _PAIRS[end + 1]
        ms = 0 if wall_ms < 0 else min(_MAX_MS, wall_ms)
        if ms > last_ms:
            tail = self._draw(counter)
        else:
            ms, tail = _after(last_ms, tail)
        text = _text(ms, tail)
        self.place = counter + 1, ms, tail, text[:-2]
        return text

    @property
    def state(self) -> IdState:
        """What `next_ulid` would have come to."""
        return IdState(*self.place[:3])


def message_id(state: IdState, seed: bytes, wall_ms: int) -> tuple[IdState, str]:
    """Mint a message id: ``msg-`` and a ULID (SEND-6). As `next_ulid`."""
    state, ulid = next_ulid(state, seed, wall_ms)
    return state, f"msg-{ulid}"


def is_message_id(text: str) -> bool:
    """Whether ``text`` has the form of an id minted here (SEND-6). Ids of others need not have it (ENV-15)."""
    return _MESSAGE_ID.fullmatch(text) is not None
