"""What all parts of the hub share: tables, clock, outgoing effects and the record of uplinks."""

from collections import Counter, deque
from collections.abc import Iterator

from clawproto.deferred import frozen
from clawproto.hub.connection import Connection, Unwritten
from clawproto.hub.directory import Directory
from clawproto.hub.effects import CloseSocket, CutSocket, HubEffect, SendText
from clawproto.hub.entropy import Entropy
from clawproto.hub.frames import JsonObject, encode, envelope, size
from clawproto.hub.inbox import Inbox
from clawproto.hub.media_store import MediaStore
from clawproto.hub.settings import HubSettings
from clawproto.hub.switches import Switches
from clawproto.hub.timers import Timers
from clawproto.hub.tokens import TokenDesk
from clawproto.instant import Instant


@frozen
class UplinkRecord:
    """What became of one uplink (HUB-3).

    Attributes:
        fate: ``acked``, ``relayed``, ``handled``, ``error:<code>``, a ``SILENT-n`` id, or why it was not looked at.
    """

    conn: int
    user_id: str
    device_id: str
    event: str
    trace_id: str
    chat_id: str
    message_id: str
    fate: str
    at_ms: int


class Context:
    """The hub's tables. Parts change them and append effects; nobody reads a clock."""

    def __init__(self, settings: HubSettings, seed: bytes, now: Instant, media: MediaStore) -> None:
        self.settings = settings
        self.now = now
        self.entropy = Entropy(seed)
        self.timers = Timers()
        self.directory = Directory()
        self.tokens = TokenDesk(self.entropy)
        self.switches = Switches()
        self.media = media
        self.connections: dict[int, Connection] = {}
        self.sessions: dict[tuple[str, str], Connection] = {}
        self.takeovers: dict[tuple[str, str], deque[int]] = {}
        self.kicks: dict[tuple[str, str], list[int]] = {}  # for silence, since the last ack; monotonic
        self.uplinks: deque[UplinkRecord] = deque(maxlen=settings.uplink_log)
        self.counts: Counter[str] = Counter()
        self.reset_fails = False  # HIST-15
        self.read_marks: dict[str, dict[str, int]] = {}
        self.last_seen: dict[str, int] = {}
        self.departed: set[str] = set()
        self._inboxes: dict[str, Inbox] = {}
        self._watchers: dict[str, dict[int, Connection]] = {}
        self._by_user: dict[str, dict[str, Connection]] = {}
        self._effects: list[HubEffect] = []
        self._seq = 0
        self._traces = 0

    # --- effects ---------------------------------------------------------------------------------------------------

    def emit(self, effect: HubEffect) -> None:
        self._effects.append(effect)

    def drain(self) -> list[HubEffect]:
        effects, self._effects = self._effects, []
        return effects

    def send(self, connection: Connection, text: str, row: tuple[int, str] | None = None) -> None:
        """Queue one frame; nothing goes to a connection that is silenced or gone."""
        if connection.conn not in self.connections or self.switches.is_silent(connection.user_id or None):
            return
        connection.sent += 1
        frame = Unwritten(connection.sent, size(text), row)
        connection.unwritten.append(frame)
        connection.unwritten_bytes += frame.size
        self.emit(SendText(connection.conn, text, connection.sent, self.switches.delay_of(connection.user_id)))

    def answer(self, connection: Connection, frame: JsonObject) -> bool:
        """Queue a frame that is lost if the send buffer is full (SILENT-11). Tell whether it was queued."""
        if self.buffer_is_full(connection):
            self.counts["dropped_frames"] += 1
            return False
        self.send(connection, encode(frame))
        return True

    def buffer_is_full(self, connection: Connection) -> bool:
        return (
            connection.buffer_full
            or len(connection.unwritten) >= self.settings.send_buffer_frames
            or connection.unwritten_bytes >= self.settings.send_buffer_bytes
        )

    # --- connections -----------------------------------------------------------------------------------------------

    def of_user(self, user_id: str) -> list[Connection]:
        """The user's connections that have had ``hello-ok``."""
        return list(self._by_user.get(user_id, {}).values())

    def install(self, connection: Connection) -> None:
        """Make it the session of its (user, device)."""
        self.sessions[connection.user_id, connection.device_id] = connection
        self._by_user.setdefault(connection.user_id, {})[connection.device_id] = connection

    def forget(self, connection: Connection) -> None:
        """Take it out of all tables; a user who has lost the last session goes into ``departed``."""
        self.connections.pop(connection.conn, None)
        self.timers.clear(connection.conn, "connect", "install", "ping", "pong", "sweep")
        for name in tuple(connection.watching):
            self.unwatch(connection, name)
        key = (connection.user_id, connection.device_id)
        if self.sessions.get(key) is not connection:
            return
        del self.sessions[key]
        devices = self._by_user[connection.user_id]
        del devices[connection.device_id]
        self.last_seen[connection.user_id] = self.now.wall_ms
        if not devices:
            self.departed.add(connection.user_id)

    def watch(self, connection: Connection, name: str) -> None:
        """Subscribe a connection to the presence of ``name`` (PRES-2)."""
        connection.watching.add(name)
        self._watchers.setdefault(name, {})[connection.conn] = connection

    def unwatch(self, connection: Connection, name: str) -> None:
        """Harmless if there was no subscription (PRES-7)."""
        connection.watching.discard(name)
        watchers = self._watchers.get(name, {})
        watchers.pop(connection.conn, None)
        if not watchers:
            self._watchers.pop(name, None)

    def watchers(self, name: str) -> list[Connection]:
        """The connections subscribed to ``name``."""
        return list(self._watchers.get(name, {}).values())

    def close(self, connection: Connection, code: int, reason: str = "") -> None:
        """End a connection with a CLOSE frame."""
        if connection.conn in self.connections:
            self.forget(connection)
            self.emit(CloseSocket(connection.conn, code, reason))

    def cut(self, connection: Connection, *, flush: bool = False) -> None:
        """End a connection without a CLOSE frame."""
        if connection.conn in self.connections:
            self.forget(connection)
            self.emit(CutSocket(connection.conn, flush))

    # --- building --------------------------------------------------------------------------------------------------

    def next_seq(self) -> int:
        """One counter for all inboxes: a single recipient sees a sparse sequence (R1-2)."""
        self._seq += 1
        return self._seq

    @property
    def upcoming_seq(self) -> int:
        return self._seq + 1

    def trace(self) -> str:
        self._traces += 1
        return f"h-{self._traces}"

    def build(self, event: str, payload: JsonObject, *, trace_id: str | None = None) -> JsonObject:
        """A downlink stamped with the hub's time (ENV-8)."""
        return envelope(event, self.trace() if trace_id is None else trace_id, self.now.wall_ms, payload)

    def sender(self, user_id: str) -> JsonObject:
        """ENV-3, ENV-4."""
        return {"id": user_id, "type": "direct", "nick_name": self.directory.users[user_id].nick_name}

    def inbox(self, user_id: str) -> Inbox:
        return self._inboxes.setdefault(user_id, Inbox())

    def inboxes(self) -> Iterator[tuple[str, Inbox]]:
        return iter(self._inboxes.items())
