"""What every client has, whatever its loop: the session to look at, and settling.

How a client waits is its driver's affair (`ClientBase._call`); nothing here knows an event loop.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable

from clawproto import calls, errors, results
from clawproto.app_events import AppEvent, FrameRejected, MessageReceived, MetadataInvalidated, SignalReceived
from clawproto.credentials import Credentials, Guard, Identity
from clawproto.engine import Engine
from clawproto.events import Command
from clawproto.results import Result
from clawproto_io.setup import Parts


class ClientBase(ABC):
    """The part of a client that is the same for every driver."""

    def __init__(self, parts: Parts) -> None:
        self._engine: Engine = parts.engine
        self._on_logout = parts.on_logout
        self._runner = parts.runner
        self._typing: dict[str, int] = {}
        self._engine.mailbox.settler = self

    # --- what a driver adds ---

    @abstractmethod
    async def _call(self, build: Callable[[int], Command], *, limited: bool = False) -> Result:
        """Give a command and wait for its result. ``limited``: while many of these are undecided, wait before."""

    @abstractmethod
    async def _pause(self) -> None:
        """Let others run, and be cancelled."""

    @property
    @abstractmethod
    def _failure(self) -> BaseException | None:
        """Why the driver broke."""

    # --- looking ---

    @property
    def state(self) -> object:
        """The session's frozen state, for diagnosis; its shape may change between versions."""
        return self._engine.session.state

    @property
    def is_ready(self) -> bool:
        """Connected, and past the handshake."""
        return self._engine.session.is_ready and not self._engine.stopped

    @property
    def credentials(self) -> Credentials | None:
        """What the session runs on at this moment; its tokens do not print themselves."""
        return self._engine.session.credentials

    @property
    def identity(self) -> Identity | None:
        """Who the agent is; None before the first pairing."""
        credentials = self._engine.session.credentials
        return None if credentials is None else credentials.identity

    @property
    def guard(self) -> Guard:
        """To be given to the next `connect` of the same agent in this process (REF-33)."""
        return self._engine.session.guard

    @property
    def counts(self) -> tuple[int, int]:
        """Messages that have come in this session, repeats included, and sends that the hub has accepted."""
        return self._engine.received, self._engine.accepted

    @property
    def quarantined(self) -> tuple[FrameRejected, ...]:
        """The last 64 frames and messages that could not be taken, with the reason, oldest first (R2-11)."""
        return tuple(self._engine.quarantined)

    # --- being done with events ---

    async def settle(self, event: AppEvent) -> None:
        """Say that ``event`` is done with, after ``connect(settle="explicit")``: its place in the stream may be
        acknowledged (R2-10). Harmless for events that need none, and when repeated. `MessageReceived.settle` is the
        same for a message."""
        self._engine.mailbox.settle(event)
        await self._pause()

    async def reject(self, event: MessageReceived, problem: str) -> None:
        """The application cannot take this message, not even later: it goes into `quarantined`, and its place in the
        stream is settled (R2-11)."""
        self._engine.reject(event, problem)
        await self._pause()

    def applied(self, event: MetadataInvalidated | SignalReceived) -> None:
        """What the signal asked for was fetched and applied: repetitions are dropped from now on (META-3, NOTIFY-3)."""
        command = calls.build_applied(event)
        if command is not None and not self._engine.stopped:
            self._engine.handle(command)

    # --- inside ---

    def _judged(self, result: Result) -> Result:
        """The result, unless the session is over: then the exception that says why."""
        if isinstance(result, results.LoggedOutResult | results.RefreshRefused):
            raise errors.LoggedOut(self._engine.logged_out)
        if isinstance(result, results.StoppedResult) and self._failure is not None:
            raise errors.DriverFailed from self._failure
        return result

    def _closed(self) -> errors.ClawProtoError:
        """Why nothing comes any more."""
        if self._failure is not None:
            error = errors.DriverFailed()
            error.__cause__ = self._failure
            return error
        return errors.SessionClosed()

    def _never_ready(self) -> errors.ClawProtoError | None:
        """Why the session will never be ready; None if it may be."""
        engine = self._engine
        if engine.stopped:
            return self._closed()
        if self._on_logout == "end" and engine.logged_out is not None:
            return errors.LoggedOut(engine.logged_out)
        if self._on_logout == "end" and engine.credentials_needed:
            return errors.NotPaired()
        return None

    def _next_event(self) -> AppEvent | None:
        """The next event if there is one.

        Raises:
            StopAsyncIteration: the session was stopped, or logged out and ``on_logout`` is ``end``.
            DriverFailed: the driver broke.
        """
        engine = self._engine
        if engine.logged_out is not None and engine.logout_was_told and self._on_logout == "end":
            raise StopAsyncIteration
        event = engine.take()
        if event is None and engine.is_shut:
            if self._failure is not None:
                raise errors.DriverFailed from self._failure
            raise StopAsyncIteration
        return event
