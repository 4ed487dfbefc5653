"""One session in a `clawproto.testing.world.World`: its process, its store, its sockets, and the application on it."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Literal, TypeAlias

from attrs import evolve

from clawproto.app_events import AppEvent
from clawproto.config import Config
from clawproto.credentials import Credentials
from clawproto.effects import (
    Abort,
    Close,
    Effect,
    Emit,
    Keep,
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
    Opened,
    OpenFailed,
    Reloaded,
    Settle,
    Start,
    Stop,
    StoreConflicted,
    Stored,
)
from clawproto.hub import SocketClosed, SocketOpened, SocketText
from clawproto.results import Result
from clawproto.session import Session

if TYPE_CHECKING:
    from clawproto.testing.world import World

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
        life: how often its process was started; what an earlier one asked for never happens.
        is_up: its process runs.
    """

    def __init__(self, world: "World", config: Config, record: Credentials, settle: SettleMode) -> None:
        self.session = Session(config)
        self.config = config
        self.life = 1
        self.is_up = True
        self.record: Credentials = record
        self.told: list[AppEvent] = []
        self.results: dict[int, Result] = {}
        self.held: dict[int, AppEvent] = {}
        self.frames_up: list[str] = []
        self.frames_down: list[str] = []
        self.reachable = True
        self._world = world
        self._settle: SettleMode = settle
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

    # --- the process ---

    def crash(self) -> None:
        """The process dies: everything is lost that is not in a store, and whatever is under way has no end."""
        self.is_up = False
        self.life += 1
        self.held.clear()
        self.cut()

    def restart(self) -> None:
        """Another process starts on the same stores."""
        self.life += 1
        self.is_up = True
        self.config = evolve(self.config, seed=self._world.fresh_seed())
        self.session = Session(self.config)
        self.begin()

    def begin(self) -> None:
        """Start the session."""
        self.handle(Start(self.record))

    # --- inside ---

    def next_deadline(self) -> int | None:
        """When it wants a Tick."""
        return self.session.next_deadline() if self.is_up else None

    def handle(self, event: Event) -> None:
        """Feed the session, and put what it asks for into the world's queue."""
        if not self.is_up:
            return
        for effect in self.session.handle(event, self._world.now):
            self.later(partial(self._carry_out, effect))
        self._world.settle_down()

    def later(self, action: Callable[[], None]) -> None:
        """Do this in its turn, unless the process is dead by then."""
        life = self.life
        self._world.later(lambda: action() if life == self.life else None)

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
            case Keep():
                raise AssertionError("this member has no message store")

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
