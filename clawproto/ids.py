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
_SHIFTS: Final = range(120, -1, -10)  # 26 characters of 5 bits, two at a time
_TAIL_BITS: Final = 80
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


def _text(number: int) -> str:
    return "".join([_PAIRS[number >> shift & 1023] for shift in _SHIFTS])


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
        number = (state.last_ms << _TAIL_BITS) + state.last_tail + 1
        ms, tail = number >> _TAIL_BITS, number & (2**_TAIL_BITS - 1)
        if ms > _MAX_MS:
            raise OverflowError("no ULID is left")
    return IdState(state.counter + 1, ms, tail), _text(ms << _TAIL_BITS | tail)


def message_id(state: IdState, seed: bytes, wall_ms: int) -> tuple[IdState, str]:
    """Mint a message id: ``msg-`` and a ULID (SEND-6). As `next_ulid`."""
    state, ulid = next_ulid(state, seed, wall_ms)
    return state, f"msg-{ulid}"


def is_message_id(text: str) -> bool:
    """Whether ``text`` has the form of an id minted here (SEND-6). Ids of others need not have it (ENV-15)."""
    return _MESSAGE_ID.fullmatch(text) is not None
