"""Every number and choice of the hub (HUB-8). All times in milliseconds, all sizes in bytes unless named otherwise."""

from typing import Literal

from attrs import field
from attrs.validators import ge, in_

from clawproto.deferred import frozen

SECOND_MS = 1_000
MINUTE_MS = 60 * SECOND_MS
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS


def _count(default: int, least: int = 0) -> int:
    return field(default=default, validator=ge(least))


def _choice(*values: str) -> str:
    return field(default=values[0], validator=in_(values))


@frozen(kw_only=True)
class HubSettings:
    """The hub's settings; the defaults are the protocol's. They may be replaced while the hub runs (`Hub.configure`).

    Raises:
        ValueError: a negative time, count or size, or an unknown choice.
    """

    # Tokens
    access_token_life_ms: int = _count(DAY_MS, 1)  # TOK-18
    refresh_token_life_ms: int = _count(60 * DAY_MS, 1)  # TOK-18
    token_flavour: Literal["jwt", "opaque"] = _choice("jwt", "opaque")  # type: ignore[assignment]  # TOK-18
    token_subject: bool = True  # AUTH-11: JWT-shaped tokens carry ``sub``
    refresh_mode: Literal["strict", "grace"] = _choice("strict", "grace")  # type: ignore[assignment]  # REF-8
    grace_from_ms: int = _count(2 * SECOND_MS)  # REF-8
    grace_until_ms: int = _count(90 * SECOND_MS)  # REF-8
    grace_redemptions: int = _count(2)  # REF-8
    rotation_kills_access: bool = False  # REF-40, O-3
    device_id_limit: int = _count(128, 1)  # REF-38

    # Pairing
    pairing_code_life_ms: int = _count(DAY_MS, 1)
    unknown_agent: Literal["refuse", "fresh"] = _choice("refuse", "fresh")  # type: ignore[assignment]  # PAIR-12
    repair_spent_codes: bool = False  # PAIR-14

    # Socket
    connect_timeout_ms: int = _count(10 * SECOND_MS, 1)  # HS-3
    connect_limit: int = _count(64 * 1024, 1)  # HS-20
    frame_limit: int = _count(8 * 1024 * 1024, 1)  # LIM-1
    downlink_limit: int = _count(1_000_000, 1)  # LIM-2
    message_id_limit: int = _count(512, 1)  # LIM-4
    emoji_limit: int = _count(64, 1)  # RX-5
    duplicate_session: Literal["takeover", "refuse"] = _choice("takeover", "refuse")  # type: ignore[assignment]  # D-51
    refuse_retry_after_ms: int = _count(5 * SECOND_MS)  # CLOSE-15: named in the reason of a 4002
    takeovers_free: int = _count(3)  # CLOSE-10
    takeover_window_ms: int = _count(10 * SECOND_MS)  # CLOSE-10
    takeover_delay_ms: int = _count(2 * SECOND_MS)  # CLOSE-10
    ping_interval_ms: int = _count(30 * SECOND_MS, 1)  # HB-1
    pong_timeout_ms: int = _count(70 * SECOND_MS, 1)  # HB-1
    send_buffer_frames: int = _count(1024, 1)  # CLOSE-14, SILENT-11
    send_buffer_bytes: int = _count(16 * 1024 * 1024, 1)  # CLOSE-14, SILENT-11
    replay_burst: int = _count(64, 1)  # replayed frames that may wait to be written at a time

    # Routing
    resolver: Literal["strict", "mock"] = _choice("strict", "mock")  # type: ignore[assignment]  # ROUTE-8
    presence_limit: int = _count(16)  # PRES-4
    presence_gate: bool = False  # PRES-5
    merge_streams_live: bool = False  # STREAM-13
    keep_transit_origin: bool = False  # HIST-6
    stamp_reactions: bool = False  # O-2
    read_mark_age_ms: int = _count(30 * DAY_MS)  # READ-3
    read_mark_chats: int = _count(500)  # READ-3

    # Reliable delivery v2
    grant_v2: bool = True  # R2-2
    ack_silence_ms: int = _count(120 * SECOND_MS, 1)  # R2-23
    sweep_interval_ms: int = _count(30 * SECOND_MS, 1)  # R2-23
    window_limit: int = _count(4096, 1)  # R2-25
    replay_pause: int = _count(3500, 1)  # R2-25
    kicks_before_backoff: int = _count(3, 1)  # R2-24
    kick_memory_ms: int = _count(HOUR_MS)  # R2-24
    kick_backoff_first_ms: int = _count(2 * MINUTE_MS)  # R2-24, O-7
    kick_backoff_max_ms: int = _count(30 * MINUTE_MS)  # R2-24

    # Media
    upload_limit: int = _count(100 * 1024 * 1024, 1)  # MEDIA-8

    # Test instrument
    clock_offset_ms: int = 0  # TOK-20: how far the hub's wall clock is ahead of the one it is told
    uplink_log: int = _count(10_000)  # HUB-3: how many records are kept
