"""Every number of the client, each with the rule it comes from. All times in milliseconds."""

from collections.abc import Callable
from typing import Any, Literal

from attrs import field
from attrs.validators import ge, optional

from clawproto.deferred import frozen

SECOND_MS = 1_000
MINUTE_MS = 60 * SECOND_MS
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS


_POSITIVE: Callable[[Any, Any, int | None], None] = optional(ge(1))


def _ms(default: int) -> int:
    return field(default=default, validator=ge(0))


@frozen(kw_only=True)
class Policy:
    """The client's settings. The defaults are the protocol's; tests and demos shorten them.

    Raises:
        ValueError: a negative time or count, or nothing between two repetitions.
    """

    # Token timing
    fallback_life_ms: int = _ms(DAY_MS)  # TOK-4, TOK-8
    lead_min_ms: int = _ms(30 * MINUTE_MS)  # TOK-7
    lead_max_ms: int = _ms(2 * HOUR_MS)  # TOK-7
    jitter_ms: int = _ms(5 * MINUTE_MS)  # TOK-10
    clip_short_lives: bool = True  # TOK-15, TOK-19
    clock_tolerance_ms: int = _ms(MINUTE_MS)  # TOK-20
    wall_check_ms: int = _ms(MINUTE_MS)  # TOK-21

    # Refresh
    refresh_floor_ms: int = _ms(30 * SECOND_MS)  # REF-16
    refresh_floor_scope: Literal["any", "same-token"] = "any"  # REF-17
    refresh_backoff_first_ms: int = _ms(SECOND_MS)  # REF-20
    refresh_backoff_max_ms: int = _ms(30 * SECOND_MS)  # REF-20
    refresh_backoff_jitter: float = 0.25  # REF-20
    refresh_timeout_ms: int = _ms(30 * SECOND_MS)  # REF-50
    unknown_answer_wait_ms: int = _ms(2 * SECOND_MS)  # REF-44
    grace_ms: int = _ms(90 * SECOND_MS)  # REF-44, REF-46
    retry_after_max_ms: int = _ms(HOUR_MS)  # REF-47
    save_retry_first_ms: int = _ms(100)  # REF-10
    save_retry_max_ms: int = _ms(5 * SECOND_MS)  # REF-10
    save_alarm_after: int = 3  # REF-10
    keep_batch: int = field(default=512, validator=ge(1))  # changes in one `Keep`
    record_intent: bool = True  # REF-46
    credential_poll_ms: int | None = field(default=2 * SECOND_MS, validator=_POSITIVE)  # OUT-8; None: no polling

    # Socket
    open_timeout_ms: int = _ms(10 * SECOND_MS)  # name lookup, TCP, TLS and upgrade
    handshake_timeout_ms: int = _ms(10 * SECOND_MS)  # HS-4
    reconnect_first_ms: int = _ms(500)  # CLOSE-3
    reconnect_max_ms: int = _ms(30 * SECOND_MS)  # CLOSE-2, CLOSE-3
    reconnect_jitter: float = 0.3  # CLOSE-3
    stable_after_ms: int = _ms(5 * SECOND_MS)  # CLOSE-4
    unexplained_floor_ms: int = _ms(5 * SECOND_MS)  # CLOSE-5
    takeover_window_ms: int = _ms(10 * MINUTE_MS)  # O-10
    takeover_max_ms: int = _ms(MINUTE_MS)  # O-10
    close_timeout_ms: int = _ms(5 * SECOND_MS)  # CLOSE-12
    ping_after_ms: int = field(default=30 * SECOND_MS, validator=ge(1))  # HB-6
    pong_timeout_ms: int = _ms(10 * SECOND_MS)  # HB-6
    receiver_stall_ms: int = _ms(20 * SECOND_MS)  # how long a full application inbox may stop the reading

    # Sends
    ack_timeout_ms: int = _ms(15 * SECOND_MS)  # SEND-13
    retransmit_after_timeout: bool = False  # SEND-14: once on each connection
    retransmit_on_reconnect: bool = True  # SEND-17
    offline_queue: int = field(default=128, validator=ge(0))  # SEND-20
    undecided_kept: int = field(default=512, validator=ge(0))  # SEND-16: told undecided, still reconciled
    frame_limit: int = field(default=900_000, validator=ge(1))  # LIM-3, bytes
    downlink_limit: int = field(default=8 * 1024 * 1024, validator=ge(1))  # a frame above it is dropped unread, bytes
    gate_ms: int = _ms(600 * SECOND_MS)  # ERR-9, ERR-14
    gate_table: int = field(default=512, validator=ge(1))  # ERR-18
    require_chat_prefix: bool = True  # ROUTE-7

    # Reliable delivery
    ack_debounce_ms: int = _ms(200)  # R2-13
    ack_repeat_ms: int = _ms(30 * SECOND_MS)  # R2-15
    replay_idle_ms: int = _ms(5 * SECOND_MS)  # RPL-7
    remembered_messages: int = field(default=4096, validator=ge(0))  # SEND-19: at most so many, at least half

    quarantine_limit: int = field(default=64 * 1024, validator=ge(0))  # R2-11: kept of a rejected frame, characters

    # Activities, signals and streams
    typing_repeat_ms: int = field(default=3 * SECOND_MS, validator=ge(1))  # TYPE-2
    typing_guard_ms: int = _ms(900 * SECOND_MS)  # TYPE-6
    typing_expiry_ms: int = _ms(6 * SECOND_MS)  # TYPE-3
    typing_table: int = field(default=512, validator=ge(1))  # indicators of others, at most
    presence_limit: int = field(default=16, validator=ge(0))  # PRES-4
    remembered_slots: int = field(default=4096, validator=ge(2))  # RX-3, READ-4: reactions and marks, at least half
    remembered_signals: int = field(default=1024, validator=ge(2))  # NOTIFY-2: event ids, at least half
    read_marks_owed: int = field(default=512, validator=ge(1))  # READ-1: chats, while offline
    permission_cards: int = field(default=256, validator=ge(1))  # PERM-3: open at a time, the oldest makes room
    streams_followed: int = field(default=64, validator=ge(1))  # STREAM-9: of others, at a time
    stream_silence_ms: int = _ms(600 * SECOND_MS)  # after which a stream of somebody else is discarded
    stream_interval_ms: int = _ms(100)  # between two message.add of one stream; what comes faster is put together
    cursor_reset_timeout_ms: int = _ms(10 * SECOND_MS)  # HIST-15

    # REST and pairing
    rest_timeout_ms: int = _ms(30 * SECOND_MS)  # REST-3
    pairing_timeout_ms: int = _ms(15 * SECOND_MS)  # PAIR-7: name lookup included, hence below the hard limit of 20 s
    pairing_retry_first_ms: int = _ms(SECOND_MS)  # PAIR-6
    pairing_retries: int = field(default=2, validator=ge(0))  # PAIR-6
