"""The synchronous half of a fleet, shared by both drivers: it feeds the machine and tells the driver what to do.

    survey, beat, lease ──> StoreWork ──> report ──┐
    session ends ──────────────────────────────────┼──> Ownership ──> decisions ──> the driver's tasks
    deadline ──────────────────────────────────────┘

No await lies between an event and the start of what it decides.
"""

import os
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Generic, Literal, TypedDict, TypeVar, assert_never

from clawproto import app_events
from clawproto.app_events import AppEvent
from clawproto.config import Features
from clawproto.errors import ClawProtoError, LoggedOut, NotPaired, SessionClosed, SessionTakenOver
from clawproto.mailbox import InboxLimit
from clawproto.policy import Policy
from clawproto_io.client_base import ClientBase
from clawproto_io.clock import Clock, SystemClock, system_seed
from clawproto_io.errors import LeaseLost, StoreError
from clawproto_io.fleet.board import AccountView, Board, FleetNews, Tally, Totals, What
from clawproto_io.fleet.messages import (
    Beat,
    Depart,
    Ending,
    Evicted,
    FleetEvent,
    GiveBack,
    Leave,
    SessionEnded,
    StartSession,
    StopSession,
    Survey,
    Surveyed,
    Sweep,
    Take,
    Tick,
)
from clawproto_io.fleet.ownership import Ownership
from clawproto_io.fleet.policy import FleetPolicy
from clawproto_io.fleet.shares import Shard, member_name
from clawproto_io.fleet.work import StoreDecision, StoreWork
from clawproto_io.http import new_client
from clawproto_io.logs import logger
from clawproto_io.owners import new_owner
from clawproto_io.stores import AccountStore, open_accounts
from clawproto_io.throttle import Throttle

if TYPE_CHECKING:
    import ssl as ssl_module

HANDLER_PATIENCE = 5.0  # seconds that a handler gets to return after its session has been ended

log = logger("fleet")

C = TypeVar("C", bound=ClientBase)


class SessionSettings(TypedDict, total=False):
    """Settings of ``connect`` that hold for every session of a fleet; see there."""

    policy: Policy | None
    features: Features | None
    client_version: str
    headers: Iterable[tuple[str, str]]
    proxy: str | Literal[True] | None
    ssl: "ssl_module.SSLContext | None"
    inbox_limit: InboxLimit | None
    settle: Literal["auto", "explicit"]
    send_limit: int
    shutdown_timeout: float | None


class FleetSettings(SessionSettings, total=False):
    """Settings of ``fleet``; those of ``connect`` among them hold for every session.

    Attributes:
        shard: take a part of the accounts only, for instance ``1/2``; None: all.
        fleet_policy: the numbers; the same for all members.
        throttle: how fast sockets are opened and tokens refreshed; None: the default numbers.
        on_news: called with whatever happens; what it raises is logged.
        clock: None: the system's.
    """

    shard: Shard | str | None
    fleet_policy: FleetPolicy | None
    throttle: Throttle | None
    on_news: Callable[[FleetNews], None] | None
    clock: Clock | None


class FleetBase(ABC, Generic[C]):
    """The part of a fleet that is the same for both drivers.

    Attributes:
        name: of this member, as the others see it.
    """

    def __init__(
        self,
        accounts: AccountStore | str | os.PathLike[str],
        handler: Callable[[C, str], Awaitable[None]] | None,
        settings: FleetSettings,
    ) -> None:
        shard, policy = settings.pop("shard", None), settings.pop("fleet_policy", None)
        shard = Shard.parse(shard) if isinstance(shard, str) else shard or Shard()
        self._throttle = settings.pop("throttle", None) or Throttle()
        self._on_news = settings.pop("on_news", None)
        self._clock = settings.pop("clock", None) or SystemClock()
        if unknown := settings.keys() - SessionSettings.__optional_keys__:
            raise TypeError(f"unknown settings: {', '.join(sorted(unknown))}")
        self._settings: SessionSettings = settings
        self._store = open_accounts(accounts)
        self._owns_store = self._store is not accounts
        self._handler = handler
        proxy = settings.get("proxy", True)
        self._http = new_client(
            proxy=proxy if isinstance(proxy, str) else None,
            ssl_context=settings.get("ssl"),
            trust_env=proxy is not None,
        )
        self.name = member_name(new_owner(), shard)
        self._machine = Ownership(self.name, policy or FleetPolicy(), system_seed())
        self._board = Board(self.name)
        self._work = StoreWork(self._store, self.name, self._now_ms)
        self._was_owned: frozenset[str] = frozenset()
        self._is_leaving = False

    async def _close(self) -> None:
        """Let go of connections and files, at the very end."""
        try:
            await self._http.aclose()
            if self._owns_store:
                await self._store.aclose()
        except Exception as error:
            log.warning("closing the store or the HTTP client failed: %s", type(error).__name__)

    # --- looking ---

    @property
    def accounts(self) -> tuple[AccountView, ...]:
        """All accounts of the store, by name, as of the last look at it."""
        return self._board.views(self._machine, self._client_of)

    @property
    def members(self) -> tuple[str, ...]:
        """Everybody who owns accounts or wants to, as of the last look at the store."""
        return tuple(sorted(self._board.members))

    @property
    def totals(self) -> Totals:
        """Sums over the accounts of this member."""
        return self._board.totals(self._machine, self._client_of)

    @property
    def is_out_of_touch(self) -> bool:
        """The store could not be reached for so long that others may have taken everything over."""
        return self._machine.is_out_of_touch(self._now_ms())

    @property
    def store_problem(self) -> str | None:
        """Why the store could not be asked last time; None if it could."""
        return self._work.problem

    def stop(self) -> None:
        """Ask for an orderly end; returns at once. Harmless when repeated."""
        if not self._is_leaving:
            self._is_leaving = True
            self._feed(Leave())

    # --- what a driver adds ---

    @abstractmethod
    def _ask(self, decision: StoreDecision) -> None:
        """Begin to carry it out, and feed the report."""

    @abstractmethod
    def _start(self, account: str) -> None:
        """Begin to hold the session of ``account``, and report its end with `_session_ended`."""

    @abstractmethod
    def _stop(self, account: str) -> None:
        """Bring it to its end."""

    @abstractmethod
    def _client_of(self, account: str) -> C | None:
        """That of a session that runs."""

    @abstractmethod
    def _depart(self) -> None:
        """Begin to leave the store; nothing is left after that."""

    @abstractmethod
    def _soon(self, what: Callable[[], None]) -> None:
        """Call it after the step that is under way."""

    @abstractmethod
    def _rearm(self) -> None:
        """The deadline may have changed."""

    # --- feeding ---

    def _now_ms(self) -> int:
        return self._clock.now().mono_ms

    def _tick_delay(self) -> float | None:
        """Seconds until a tick is due."""
        deadline = self._machine.next_deadline()
        return None if deadline is None else self._clock.seconds(deadline - self._now_ms())

    def _tick(self) -> None:
        deadline = self._machine.next_deadline()
        if deadline is not None and deadline <= self._now_ms():
            self._feed(Tick())

    def _feed(self, event: FleetEvent) -> None:
        if isinstance(event, Surveyed):
            for news in self._board.look(event):
                self._tell(news)
        for decision in self._machine.handle(event, self._now_ms()):
            match decision:
                case Beat() | Survey() | Take() | GiveBack() | Sweep():
                    self._ask(decision)
                case StartSession(account):
                    self._board.tally(account).begin()
                    self._start(account)
                case StopSession(account):
                    self._stop(account)
                case Depart():
                    self._depart()
                case _:
                    assert_never(decision)
        self._tell_moves()
        self._rearm()

    def _tell_moves(self) -> None:
        owned = self._machine.owned
        if owned != self._was_owned:
            before, self._was_owned = self._was_owned, owned
            for account in sorted(owned - before):
                self._tell(FleetNews("owned", account))
            for account in sorted(before - owned):
                self._board.tally(account).ready = False
                self._tell(FleetNews("let-go", account))

    def _tell(self, news: FleetNews) -> None:
        if self._on_news is not None:
            try:
                self._on_news(news)
            except Exception:
                log.exception("on_news failed")

    # --- sessions ---

    def _listener(self, account: str) -> Callable[[AppEvent], None]:
        tally = self._board.tally(account)
        return lambda event: self._note(account, tally, event)

    def _count(self, account: str, client: C | None) -> None:
        """The session has ended; what it has counted is kept."""
        if client is not None:
            self._board.tally(account).add(client)

    def _note(self, account: str, tally: Tally, event: AppEvent) -> None:
        tally.note_event(event)
        what: What | None = None
        match event:
            case app_events.Ready():
                what = "ready"
            case app_events.Disconnected(planned=False):
                what = "disconnected"
            case app_events.TokensRotated(adopted=False):
                what = "rotated"
            case app_events.LoggedOut() | app_events.CredentialsNeeded():
                what = "logged-out"
                self._soon(lambda: self._stop(account))
            case app_events.TakenOver():
                self._soon(lambda: self._feed(Evicted(account)))
            case _:
                pass
        if what is not None:
            self._tell(FleetNews(what, account, detail=tally.note if what in ("disconnected", "logged-out") else ""))

    def _session_ended(self, account: str, error: BaseException | None, stopped: bool) -> None:
        """Judge how it ended.

        Args:
            error: what came out of it.
            stopped: it was asked to end.
        """
        tally = self._board.tally(account)
        tally.ready = False
        ending: Ending = "failed"
        if isinstance(error, SessionTakenOver | LeaseLost):
            ending = "lost"
        elif tally.needs_pairing:
            ending = "logged-out"
        elif stopped:
            ending = "stopped"
        expected = isinstance(error, SessionClosed | LoggedOut | NotPaired)  # a handler may let these through
        if ending == "failed" or (ending == "stopped" and error is not None and not expected):
            tally.note = _describe(error)
            log.warning("the session of %s failed: %s", account, tally.note, exc_info=_traced(error))
            self._tell(FleetNews("failed", account, detail=tally.note))
        self._feed(SessionEnded(account, ending))


def _describe(error: BaseException | None) -> str:
    """A foreign text may quote what people write, or worse: only its type is told (AUTH-9)."""
    if error is None:
        return "the handler returned before the session had ended"
    return str(error) if isinstance(error, ClawProtoError | StoreError) else f"failed with {type(error).__name__}"


def _traced(error: BaseException | None) -> BaseException | None:
    """Mistakes of the handler's own are logged with their trace."""
    return None if isinstance(error, ClawProtoError | StoreError) else error
