"""The numbers of the demonstration. They are shorter than in life, so that weeks fit into a minute; it says so."""

from typing import Final

from clawproto.hub import HubSettings
from clawproto.policy import Policy

TOKEN_LIFE_MS: Final = 10_000
FLOOR_MS: Final = 1_000
TALK_EVERY: Final = 0.1  # seconds between two pings of an agent
PIECE_EVERY: Final = 0.12  # seconds between two pieces of a long answer
ANSWER: Final = ("It was ", "a dark ", "and stormy ", "night, ", "and the ", "token ", "was about ", "to expire.")
ROTATIONS_WANTED: Final = 3

POLICY: Final = Policy(
    refresh_floor_ms=FLOOR_MS,
    unexplained_floor_ms=FLOOR_MS,
    reconnect_first_ms=250,
    reconnect_max_ms=1_000,
    refresh_backoff_first_ms=500,
    refresh_backoff_max_ms=1_000,
    refresh_timeout_ms=5_000,
    ack_timeout_ms=5_000,
    save_retry_max_ms=1_000,
)
HUB: Final = HubSettings(access_token_life_ms=TOKEN_LIFE_MS, uplink_log=100_000)

_LIFE, _FLOOR = TOKEN_LIFE_MS // 1000, FLOOR_MS // 1000
NOTICE: Final = (
    f"This demonstration is shortened: access tokens live {_LIFE} s instead of a day or so, and the least wait between",
    f"two refreshes, and after an unexplained disconnect, is {_FLOOR} s instead of 30 s and 5 s; waits between tries",
    "and timeouts are shorter, too. Lead and jitter of a refresh shrink with the token's life by themselves. The rest",
    "is as in production: HTTP and WebSocket on loopback, SQLite files, the public interface of both drivers.",
)
