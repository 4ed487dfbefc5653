"""The few pairs of tokens that an exploration needs, under fixed names, and the two clocks that stand still.

A pair is a small number; which pair it stands for is decided anew in every state, so there are always enough. Its
access token has an age: ``new-1`` as the server has just minted it (``new-2`` to ``new-5`` if it did so while others
are new: the order of issue matters), ``fresh`` once it is in force, ``due`` when the session wants another one
(``due-1`` to ``due-5`` if it never was in force). ``short`` is a new one that does not live longer than the old
(TOK-22). Real tokens pass from one age to the next in hours; here that is one transition of its own, since nothing
else takes as long.
"""

import base64
import json
from email.utils import formatdate
from typing import Final, Literal, TypeAlias

from clawproto.credentials import Identity, TokenPair
from clawproto.instant import Instant
from clawproto.policy import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS, Policy
from clawproto.secret import Secret

Age: TypeAlias = Literal[
    "new-1",
    "new-2",
    "new-3",
    "new-4",
    "new-5",
    "short",
    "fresh",
    "due",
    "due-1",
    "due-2",
    "due-3",
    "due-4",
    "due-5",
]
NEW: Final[tuple[Age, ...]] = ("new-1", "new-2", "new-3", "new-4", "new-5")  # in the order of issue

NOW: Final = Instant(1_790_000_000_000, 10_000_000)  # every canonical state is of this moment
DATE: Final = formatdate(NOW.wall_ms / 1000, usegmt=True)
SIZE: Final = 16

# Issue and expiry, counted from NOW.
TIMES: Final[dict[Age, tuple[int, int]]] = {
    "new-5": (40 * SECOND_MS, DAY_MS + 40 * SECOND_MS),
    "new-4": (30 * SECOND_MS, DAY_MS + 30 * SECOND_MS),
    "new-3": (20 * SECOND_MS, DAY_MS + 20 * SECOND_MS),
    "new-2": (10 * SECOND_MS, DAY_MS + 10 * SECOND_MS),
    "new-1": (0, DAY_MS),
    "short": (0, HOUR_MS - MINUTE_MS),
    "fresh": (-10 * MINUTE_MS, DAY_MS - 10 * MINUTE_MS),
    "due": (HOUR_MS - DAY_MS, HOUR_MS),
    "due-1": (HOUR_MS - DAY_MS + 10 * SECOND_MS, HOUR_MS + 10 * SECOND_MS),
    "due-2": (HOUR_MS - DAY_MS + 20 * SECOND_MS, HOUR_MS + 20 * SECOND_MS),
    "due-3": (HOUR_MS - DAY_MS + 30 * SECOND_MS, HOUR_MS + 30 * SECOND_MS),
    "due-4": (HOUR_MS - DAY_MS + 40 * SECOND_MS, HOUR_MS + 40 * SECOND_MS),
    "due-5": (HOUR_MS - DAY_MS + 50 * SECOND_MS, HOUR_MS + 50 * SECOND_MS),
}
IN_FORCE: Final[dict[Age, Age]] = {
    "new-1": "fresh",
    "new-2": "fresh",
    "new-3": "fresh",
    "new-4": "fresh",
    "new-5": "fresh",
    "short": "due",
    "due-1": "due",
    "due-2": "due",
    "due-3": "due",
    "due-4": "due",
    "due-5": "due",
}
HOURS_LATER: Final[dict[Age, Age]] = {
    "new-1": "due-1",
    "new-2": "due-2",
    "new-3": "due-3",
    "new-4": "due-4",
    "new-5": "due-5",
    "short": "due",
    "fresh": "due",
}

# The protocol's numbers at a smaller scale: the same order among them, one second as the least common step, no jitter.
POLICY: Final = Policy(
    refresh_floor_ms=4 * SECOND_MS,
    refresh_backoff_first_ms=SECOND_MS,
    refresh_backoff_max_ms=4 * SECOND_MS,
    refresh_backoff_jitter=0,
    unknown_answer_wait_ms=2 * SECOND_MS,
    grace_ms=12 * SECOND_MS,
    retry_after_max_ms=8 * SECOND_MS,
    save_retry_first_ms=SECOND_MS,
    save_retry_max_ms=2 * SECOND_MS,
    save_alarm_after=2,
    credential_poll_ms=2 * SECOND_MS,
    wall_check_ms=8 * SECOND_MS,
    open_timeout_ms=2 * SECOND_MS,
    handshake_timeout_ms=2 * SECOND_MS,
    reconnect_first_ms=SECOND_MS,
    reconnect_max_ms=2 * SECOND_MS,
    reconnect_jitter=0,
    stable_after_ms=SECOND_MS,
    unexplained_floor_ms=SECOND_MS,
    takeover_window_ms=8 * SECOND_MS,
    takeover_max_ms=4 * SECOND_MS,
    close_timeout_ms=SECOND_MS,
    ping_after_ms=4 * SECOND_MS,
    pong_timeout_ms=2 * SECOND_MS,
    receiver_stall_ms=3 * SECOND_MS,
    replay_idle_ms=SECOND_MS,
)
FAR_MS: Final = 16 * SECOND_MS  # beyond every other time above; what lies further ahead counts as this far

IDENTITY: Final = Identity("usr_1", "device-1", "https://api.example", "wss://hub.example/ws")


def _segment(value: dict[str, object]) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def _access(number: int, age: Age) -> Secret:
    issued, expires = (NOW.wall_ms + after for after in TIMES[age])
    claims = _segment({"exp": expires // 1000, "iat": issued // 1000, "sub": IDENTITY.user_id, "jti": number})
    return Secret(f"{_segment({'alg': 'none'})}.{claims}.signed")


ACCESS: Final[dict[tuple[int, Age], Secret]] = {
    (number, age): _access(number, age) for number in range(SIZE) for age in TIMES
}
REFRESH: Final = tuple(Secret(f"refresh-{number}") for number in range(SIZE))
PAIRS: Final[dict[tuple[int, Age], TokenPair]] = {
    (number, age): TokenPair(access, REFRESH[number], NOW.wall_ms) for (number, age), access in ACCESS.items()
}
_BY_ACCESS: Final[dict[str, tuple[int, Age]]] = {access.digest: key for key, access in ACCESS.items()}
_BY_REFRESH: Final = {refresh.digest: number for number, refresh in enumerate(REFRESH)}


def by_access(digest: str) -> tuple[int, Age]:
    """The pair, and the age, that an access token's digest names."""
    return _BY_ACCESS[digest]


def by_refresh(digest: str) -> int:
    """The pair that a refresh token's digest names."""
    return _BY_REFRESH[digest]
