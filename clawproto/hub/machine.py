"""The hub: the server's side of the protocol as a machine without clock, randomness and IO (HUB-1).

    inputs --handle(input, now)--> tables --> effects, in order

A development tool. It checks tokens, but has no accounts worth protecting.
"""

from typing import assert_never

from attrs import evolve

from clawproto.hub import delivery, handshake, rest, uplinks
from clawproto.hub.connection import Connection, Phase
from clawproto.hub.context import Context, UplinkRecord
from clawproto.hub.controls import Controls
from clawproto.hub.effects import HubEffect, SendPing
from clawproto.hub.handlers.presence import announce
from clawproto.hub.inputs import (
    HttpReceived,
    HubInput,
    PongSeen,
    SocketClosed,
    SocketOpened,
    SocketText,
    SocketWritten,
    Tick,
)
from clawproto.hub.media_store import MediaMemory, MediaStore
from clawproto.hub.settings import HubSettings
from clawproto.instant import Instant


class Hub(Controls):
    """One hub. Same settings, seed, inputs and times: same effects.

    Args:
        settings: all numbers; `Controls.configure` changes them later.
        seed: 1 to 64 bytes; every id, nonce and token derives from it.
        now: the first moment; may not lie after that of any later call.
        media: where uploads are kept; None keeps them in memory.

    Raises:
        ValueError: an unusable seed.
    """

    def __init__(self, settings: HubSettings, seed: bytes, now: Instant, media: MediaStore | None = None) -> None:
        super().__init__(Context(settings, seed, now, MediaMemory() if media is None else media))
        self.advance(now)

    def handle(self, event: HubInput, now: Instant) -> list[HubEffect]:
        """Take one input and return what to do, together with what was left over from controls.

        Never raises for anything a peer can send. Inputs of unknown sockets are ignored.
        """
        self.advance(now)
        match event:
            case SocketOpened():
                handshake.opened(self._context, event.conn)
            case HttpReceived():
                rest.receive(self._context, event)
            case Tick():
                pass
            case SocketText() | SocketWritten() | PongSeen() | SocketClosed():
                connection = self._context.connections.get(event.conn)
                if connection is not None:
                    self._on_socket(connection, event)
            case _:
                assert_never(event)
        self._run_timers()
        return self.take_effects()

    def advance(self, now: Instant) -> None:
        """Tell the time without an input; what controls build is stamped with it."""
        self._context.now = evolve(now, wall_ms=now.wall_ms + self._context.settings.clock_offset_ms)

    def take_effects(self) -> list[HubEffect]:
        """What controls have asked for since the last call of this or `handle`."""
        for user_id in sorted(self._context.departed):
            if not self._context.of_user(user_id):
                announce(self._context, user_id, online=False)
        self._context.departed.clear()
        return self._context.drain()

    def next_deadline(self) -> int | None:
        """When a `Tick` is due, monotonic milliseconds; None if nothing is pending."""
        return self._context.timers.next_due()

    @property
    def uplink_records(self) -> tuple[UplinkRecord, ...]:
        """Every uplink that is still remembered, oldest first (HUB-3)."""
        return tuple(self._context.uplinks)

    @property
    def settings(self) -> HubSettings:
        return self._context.settings

    def _on_socket(self, connection: Connection, event: SocketText | SocketWritten | PongSeen | SocketClosed) -> None:
        match event:
            case SocketText() if connection.phase is Phase.CHALLENGED:
                handshake.connect(self._context, connection, event.data)
            case SocketText() if connection.phase is Phase.INSTALLING:
                uplinks.record(self._context, connection, {}, "before hello-ok")
            case SocketText():
                uplinks.receive(self._context, connection, event.data)
            case SocketWritten():
                delivery.written(self._context, connection, event.number)
            case PongSeen():
                connection.pong_ms = self._context.now.mono_ms
            case SocketClosed():
                self._context.forget(connection)

    def _run_timers(self) -> None:
        for conn, purpose in self._context.timers.expired(self._context.now.mono_ms):
            connection = self._context.connections[conn]
            match purpose:
                case "connect":
                    self._context.cut(connection)  # HS-3
                case "install":
                    handshake.install(self._context, connection)
                case "sweep":
                    delivery.sweep(self._context, connection)
                case "ping":
                    self._ping(connection)
                case _:
                    self._check_pong(connection)

    def _ping(self, connection: Connection) -> None:
        if not self._context.switches.is_silent(connection.user_id):
            self._context.emit(SendPing(connection.conn))
        due = self._context.now.mono_ms + self._context.settings.ping_interval_ms
        self._context.timers.set(connection.conn, "ping", due)

    def _check_pong(self, connection: Connection) -> None:
        """HB-1."""
        due = connection.pong_ms + self._context.settings.pong_timeout_ms
        if self._context.now.mono_ms >= due:
            self._context.counts["pong timeouts"] += 1
            self._context.cut(connection)
        else:
            self._context.timers.set(connection.conn, "pong", due)
