"""A hub and any number of sessions under virtual time: both ends of the protocol, with no socket and no clock.

    world = World()
    ann = world.join(world.hub.create_user("Ann"), "phone")
    command = ann.give(lambda number: Send(number, chat_id, ({"kind": "text", "text": "hi"},)))
    world.run_for(1_000)
    assert isinstance(ann.results[command], Receipt)

The network between them is perfect until a test cuts it: frames arrive at once, in order. Everything that a session or
the hub asks for is put into one queue and done in turn, so nothing happens within something else.
"""

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Literal, TypeAlias
from urllib.parse import parse_qsl, unquote, urlsplit

from attrs import evolve

from clawproto.app_events import AppEvent
from clawproto.config import Config, Features
from clawproto.credentials import Credentials, Identity, TokenPair
from clawproto.effects import (
    Abort,
    Close,
    Effect,
    Emit,
    Logout,
    Open,
    Persist,
    Reconnect,
    RecordIntent,
    Reload,
    RememberDevice,
    RequestHttp,
    RequestRefresh,
    Resolve,
    SendFrame,
    Swap,
)
from clawproto.events import (
    Closed,
    Command,
    Event,
    FrameReceived,
    HttpAnswered,
    HttpFailed,
    Opened,
    OpenFailed,
    Reloaded,
    Settle,
    Start,
    Stop,
    StoreConflicted,
    Stored,
    Tick as SessionTick,
)
from clawproto.http import HttpAnswer, HttpRequest
from clawproto.hub import (
    CloseSocket,
    CutSocket,
    HttpDrop,
    HttpReceived,
    HttpRespond,
    Hub,
    HubEffect,
    HubInput,
    HubSettings,
    PongSeen,
    SendPing,
    SendText,
    SocketClosed,
    SocketOpened,
    SocketText,
    SocketWritten,
    Tick as HubTick,
)
from clawproto.instant import Instant
from clawproto.policy import Policy
from clawproto.results import Result
from clawproto.secret import Secret
from clawproto.session import Session

START = Instant(1_790_000_000_000, 1_000)
SettleMode: TypeAlias = Literal["auto", "explicit"]


class Member:
    """One session in the world.

    Attributes:
        record: what its store holds.
        told: everything that the application was told, oldest first.
        results: how commands were resolved, by number.
        held: with explicit settling, delivery numbers of what the application has and is not done with.
        frames_up, frames_down: texts of all frames, oldest first, if the world records them.
        reachable: while False, no socket can be opened.
    """

    def __init__(self, world: "World", config: Config, record: Credentials, settle: SettleMode) -> None:
        self.session = Session(config)
        self.record: Credentials = record
        self.told: list[AppEvent] = []
        self.results: dict[int, Result] = {}
        self.held: dict[int, AppEvent] = {}
        self.frames_up: list[str] = []
        self.frames_down: list[str] = []
        self.reachable = True
        self._world = world
        self._settle = settle
        self._commands = 0
        self._sockets: dict[int, int] = {}  # generation to number at the hub

    # --- the application's side ---

    def give(self, build: Callable[[int], Command]) -> int:
        """Give a command; returns its number."""
        self._commands += 1
        self.handle(build(self._commands))
        return self._commands

    def settle(self, delivery: int) -> None:
        """The application is done with something."""
        if self.held.pop(delivery, None) is not None:
            self.handle(Settle(delivery))

    def stop(self) -> None:
        self.handle(Stop())

    def of(self, kind: type[AppEvent]) -> list[AppEvent]:
        """What it was told, of one kind."""
        return [event for event in self.told if isinstance(event, kind)]

    # --- the network's side ---

    def cut(self) -> None:
        """Every socket breaks; both sides notice."""
        for generation, conn in list(self._sockets.items()):
            del self._sockets[generation]
            self._world.to_hub(SocketClosed(conn))
            self.handle(Closed(generation, 1006))
        self._world.settle_down()

    # --- inside ---

    def handle(self, event: Event) -> None:
        """Feed the session, and put what it asks for into the world's queue."""
        for effect in self.session.handle(event, self._world.now):
            self._world.later(self._carry_out, effect)
        self._world.settle_down()

    def receive(self, conn: int, text: str) -> bool:
        """A frame from the hub; False if that socket is gone."""
        for generation, number in self._sockets.items():
            if number == conn:
                if self._world.records:
                    self.frames_down.append(text)
                self.handle(FrameReceived(generation, text))
                return True
        return False

    def closed(self, conn: int, code: int, reason: str) -> None:
        """The hub has ended a socket."""
        for generation, number in list(self._sockets.items()):
            if number == conn:
                del self._sockets[generation]
                self.handle(Closed(generation, code, reason))

    def _carry_out(self, effect: Effect) -> None:
        match effect:
            case Open(generation):
                if not self.reachable:
                    self.handle(OpenFailed(generation, "unreachable"))
                    return
                self._sockets[generation] = self._world.connect(self)
                self.handle(Opened(generation))
                self._world.to_hub(SocketOpened(self._sockets[generation]))
            case SendFrame(generation, text):
                if (conn := self._sockets.get(generation)) is not None:
                    if self._world.records:
                        self.frames_up.append(text)
                    self._world.to_hub(SocketText(conn, text))
            case Close(generation) | Reconnect(generation) | Abort(generation):
                conn = self._sockets.pop(generation, None)
                if conn is not None:
                    self._world.to_hub(SocketClosed(conn))
                    if not isinstance(effect, Abort):
                        self.handle(Closed(generation, 1000))
            case RequestRefresh(request, http) | RequestHttp(request, http):
                self._world.request(self, request, http)
            case RecordIntent() | Persist() | Logout() | Reload():
                self.handle(self._store(effect))
            case RememberDevice(device_id):
                self.record = evolve(self.record, identity=evolve(self.record.identity, socket_device_id=device_id))
            case Emit(event, delivery):
                self.told.append(event)
                if delivery is not None and self._settle == "auto":
                    self.handle(Settle(delivery))
                elif delivery is not None:
                    self.held[delivery] = event
            case Resolve(command, result):
                self.results[command] = result
            case Swap():
                pass

    def _store(self, effect: RecordIntent | Persist | Logout | Reload) -> Event:
        """A store that never fails, in one value."""
        record = self.record
        match effect:
            case RecordIntent(operation, intent):
                if record.generation != intent.generation:
                    return StoreConflicted(operation, record)
                self.record = evolve(record, intent=intent)
            case Persist(operation, credentials, replaces):
                if replaces is not None and record.generation != replaces:
                    return StoreConflicted(operation, record)
                self.record = evolve(credentials, intent=None, refused=None)
            case Logout(operation, refused=refused, replaces=replaces):
                if record.generation != replaces:
                    return StoreConflicted(operation, record)
                self.record = evolve(
                    record, tokens=None, generation=record.generation + 1, intent=None, refused=refused
                )
            case Reload(operation):
                return Reloaded(operation, record)
        return Stored(operation, self.record.generation)


class World:
    """The hub, its members, and the time that they share.

    Args:
        records: keep the text of every frame at its member.
    """

    def __init__(self, settings: HubSettings | None = None, *, seed: bytes = b"world", records: bool = True) -> None:
        self.now = START
        self.hub = Hub(settings or HubSettings(), seed, self.now)
        self.members: list[Member] = []
        self.records = records
        self._by_conn: dict[int, Member] = {}
        self._requests: dict[int, tuple[Member, int]] = {}
        self._numbers = 0
        self._queue: deque[Callable[[], None]] = deque()
        self._settling = False

    def join(
        self,
        user_id: str,
        device_id: str,
        *,
        features: Features | None = None,
        policy: Policy | None = None,
        settle: SettleMode = "auto",
        agent_id: str | None = None,
        conversation_id: str | None = None,
    ) -> Member:
        """A session of this user on this device, started with tokens that the hub has just issued."""
        issued = self.hub.issue_tokens(user_id, device_id)
        identity = Identity(
            user_id, device_id, "http://hub", "ws://hub/ws", agent_id=agent_id, conversation_id=conversation_id
        )
        pair = TokenPair(Secret(issued["access_token"]), Secret(issued["refresh_token"]), self.now.wall_ms)
        self._numbers += 1
        config = Config(
            seed=self._numbers.to_bytes(16, "big"),
            policy=policy or Policy(),
            capabilities=(features or Features()).capabilities,
        )
        record = Credentials(identity, pair, 1)
        member = Member(self, config, record, settle)
        self.members.append(member)
        member.handle(Start(record))
        return member

    def control(self, action: Callable[[Hub], object]) -> None:
        """Do something to the hub, and carry out what it asks for: ``world.control(lambda hub: hub.kick())``."""
        self.hub.advance(self.now)
        action(self.hub)
        self._perform(self.hub.take_effects())
        self.settle_down()

    # --- time ---

    def run_for(self, milliseconds: int) -> None:
        """Let time pass, with a Tick for whoever has a deadline."""
        until = self.now.mono_ms + milliseconds
        self.settle_down()
        while True:
            dues = [member.session.next_deadline() for member in self.members] + [self.hub.next_deadline()]
            due = min((one for one in dues if one is not None), default=None)
            if due is None or due > until:
                break
            self._go_to(max(due, self.now.mono_ms))
            for member in self.members:
                deadline = member.session.next_deadline()
                if deadline is not None and deadline <= self.now.mono_ms:
                    member.handle(SessionTick())
            deadline = self.hub.next_deadline()
            if deadline is not None and deadline <= self.now.mono_ms:
                self.to_hub(HubTick())
            self.settle_down()
        self._go_to(until)
        self.hub.advance(self.now)

    def run_until(self, condition: Callable[[], bool], within_ms: int = 600_000) -> None:
        """Let time pass until ``condition`` holds.

        Raises:
            TimeoutError: it did not, within the time.
        """
        end = self.now.mono_ms + within_ms
        while not condition():
            if self.now.mono_ms >= end:
                raise TimeoutError("the condition did not come about")
            self.run_for(50)

    def _go_to(self, mono_ms: int) -> None:
        self.now = Instant(self.now.wall_ms + mono_ms - self.now.mono_ms, mono_ms)

    # --- for members ---

    def later(self, action: Callable[[Effect], None], effect: Effect) -> None:
        """Do this in its turn."""
        self._queue.append(partial(action, effect))

    def settle_down(self) -> None:
        """Do everything that is to be done now."""
        if self._settling:
            return
        self._settling = True
        try:
            while self._queue:
                self._queue.popleft()()
        finally:
            self._settling = False

    def connect(self, member: Member) -> int:
        """A number for a new socket."""
        self._numbers += 1
        self._by_conn[self._numbers] = member
        return self._numbers

    def to_hub(self, event: HubInput) -> None:
        """Feed the hub in its turn."""
        self._queue.append(lambda: self._perform(self.hub.handle(event, self.now)))

    def request(self, member: Member, request: int, http: HttpRequest) -> None:
        """Pass an HTTP request on."""
        self._numbers += 1
        self._requests[self._numbers] = (member, request)
        parts = urlsplit(http.url)
        headers = {name.lower(): value for name, value in http.headers}
        self.to_hub(
            HttpReceived(
                self._numbers, http.method, unquote(parts.path), dict(parse_qsl(parts.query)), headers, http.body or b""
            )
        )

    def _perform(self, effects: list[HubEffect]) -> None:
        self._queue.extend(partial(self._carry_out, effect) for effect in effects)

    def _carry_out(self, effect: HubEffect) -> None:
        match effect:
            case SendText(conn, text, number):
                if self._by_conn[conn].receive(conn, text):
                    self.to_hub(SocketWritten(conn, number))
            case SendPing(conn):
                self.to_hub(PongSeen(conn))
            case CloseSocket(conn, code, reason):
                self._by_conn[conn].closed(conn, code, reason)
                self.to_hub(SocketClosed(conn))
            case CutSocket(conn):
                self._by_conn[conn].closed(conn, 1006, "")
                self.to_hub(SocketClosed(conn))
            case HttpRespond(number, status, headers, body):
                member, request = self._requests.pop(number)
                member.handle(HttpAnswered(request, HttpAnswer(status, headers, body)))
            case HttpDrop(number):
                member, request = self._requests.pop(number)
                member.handle(HttpFailed(request, sent=True, detail="dropped"))
