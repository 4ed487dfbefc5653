"""What a trio application holds."""

from collections.abc import Callable, Iterable, Mapping, Sequence

import trio

from clawproto import calls, errors, results
from clawproto.app_events import AppEvent, MessageReceived
from clawproto.calls import RestAnswer
from clawproto.credentials import Credentials, Guard, Identity
from clawproto.events import Command, Pair, Refresh, SetTyping
from clawproto.json_types import Json
from clawproto.results import Receipt, RefreshSkipped, RefreshSucceeded, Result
from clawproto_io.pairing import new_device_id
from clawproto_io.setup import PairMode, Parts
from clawproto_trio._driver import Driver


class Client:
    """One session. Made by `clawproto_trio.connect`; every method is for tasks of the same run.

    Iterate over it for the events of `clawproto.app_events`, from one task at a time. Messages are settled when the
    loop comes back for the next event, so a message whose handling was cut short comes again (R2-9).
    """

    def __init__(self, driver: Driver, parts: Parts) -> None:
        self._driver = driver
        self._engine = parts.engine
        self._on_logout = parts.on_logout
        self._room = trio.Semaphore(parts.send_limit)
        self._iterating = False

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

    # --- events ---

    def __aiter__(self) -> "Client":
        """The client itself: there is one stream of events."""
        return self

    async def __anext__(self) -> AppEvent:
        """The next event. After a stop this goes on until the session has come to its end.

        Raises:
            StopAsyncIteration: the session was stopped, or logged out and ``on_logout`` is ``end``.
            DriverFailed: the driver broke.
            RuntimeError: another task is iterating.
        """
        if self._iterating:
            raise RuntimeError("another task is iterating over this client")
        self._iterating = True
        try:
            await trio.lowlevel.checkpoint()
            self._engine.mailbox.settle_handed_out()
            while True:
                if self._engine.logout_was_told and self._on_logout == "end":
                    raise StopAsyncIteration
                event = self._engine.take()
                if event is not None:
                    return event
                if self._engine.is_shut:
                    if self._driver.failure is not None:
                        raise errors.DriverFailed from self._driver.failure
                    raise StopAsyncIteration
                self._driver.arrived.clear()
                await self._driver.arrived.wait()
        finally:
            self._iterating = False

    async def settle(self, event: AppEvent) -> None:
        """Say that ``event`` is done with, after ``connect(settle="explicit")``: its place in the stream may be
        acknowledged (R2-10). Harmless for events that need none, and when repeated."""
        self._engine.mailbox.settle(event)
        await trio.lowlevel.checkpoint()

    async def wait_ready(self) -> None:
        """Wait until messages flow.

        Raises:
            LoggedOut, NotPaired: they never will, unless somebody pairs the agent; not with ``on_logout="wait"``.
            SessionClosed: the session was stopped.
            DriverFailed: the driver broke.
        """
        engine = self._engine
        await trio.lowlevel.checkpoint()
        while not self.is_ready:
            if engine.stopped:
                raise self._closed()
            if self._on_logout == "end" and engine.logged_out is not None:
                raise errors.LoggedOut(engine.logged_out)
            if self._on_logout == "end" and engine.credentials_needed:
                raise errors.NotPaired
            self._driver.changed.clear()
            await self._driver.changed.wait()

    # --- acting ---

    async def send(
        self,
        chat_id: str,
        content: str | Iterable[Mapping[str, Json]],
        *,
        mentions: Sequence[Json] = (),
        reply_to: MessageReceived | Mapping[str, Json] | None = None,
        mode: str = "normal",
        message_id: str | None = None,
        to: Mapping[str, Json] | None = None,
    ) -> Receipt:
        """Send a message and wait until the hub has accepted it; offline, it is queued (SEND-20).

        Cancelling this abandons the wait, not the message. While many commands are undecided, it waits before it queues
        anything.

        Args:
            content: a text, or ready fragments (FRAG-1).
            mentions: objects as in MENT-1.
            reply_to: the message that this one answers, or a complete ``context.reply`` object (SEND-4).
            mode: SEND-3.
            message_id: that of an undecided send, to send the very same message again (SEND-5).
            to: display hint (ENV-5).

        Raises:
            SendRejected, SendUndecided, SendGated, SendDropped: see there.
            LoggedOut, NotPaired, SessionClosed, DriverFailed: there is no session to send on.
            ValueError: the message cannot be sent; nothing happened.
        """
        await self._room.acquire()
        result = await self._call(
            lambda command: calls.build_send(
                command,
                chat_id,
                content,
                mentions=mentions,
                reply_to=reply_to,
                mode=mode,
                message_id=message_id,
                to=to,
            ),
            self._room.release,
        )
        return calls.receipt_of(result)

    def set_typing(self, chat_id: str, is_typing: bool) -> None:
        """Show or hide the typing indicator; dropped while offline (SEND-20)."""
        if not self._engine.stopped:
            self._engine.handle(SetTyping(chat_id, is_typing))

    async def request(
        self,
        method: str,
        path: str,
        *,
        json: Json = None,
        body: bytes | None = None,
        content_type: str = "application/json",
        timeout: float | None = None,
    ) -> RestAnswer:
        """An authenticated REST call; a 401 or 403 refreshes the tokens and repeats it once (REST-4).

        Args:
            path: below the base URL, with a leading slash.
            json: encoded as the body.
            body: ready bytes, instead of ``json``.
            timeout: seconds; None means `Policy.rest_timeout_ms`.

        Raises:
            RestUnauthorized, RestRefused, RestFailed, NotPaired: see there.
            LoggedOut, SessionClosed, DriverFailed: the session is over.
            ValueError: the call cannot be made; nothing happened.
        """
        timeout_ms = None if timeout is None else round(timeout * 1000)
        result = await self._call(
            lambda command: calls.build_rest(
                command,
                method,
                path,
                json_body=json,
                body=body,
                content_type=content_type,
                timeout_ms=timeout_ms,
            )
        )
        return calls.answer_of(result)

    async def refresh(self) -> RefreshSucceeded | RefreshSkipped:
        """Ask for new tokens, or join the refresh in flight (REF-12). Cancelling this cancels no refresh (REF-48).

        Raises:
            RefreshFailed: for now; the session tries again by itself.
            LoggedOut, SessionClosed, DriverFailed: the session is over.
        """
        return calls.refreshed_by(await self._call(Refresh))

    async def pair(
        self,
        code: str,
        *,
        base_url: str | None = None,
        ws_url: str | None = None,
        device_id: str | None = None,
        platform: str = "clawproto",
        kind: str = "clawbot",
        plugin_version: str | None = None,
        identity: PairMode = "repair",
    ) -> Credentials:
        """Redeem a pairing code for this session, for instance after a logout; then it connects by itself (OUT-8).

        Args:
            base_url: None: that of the stored identity.
            ws_url: None: that of the stored identity, or derived from ``base_url`` (AUTH-8).
            device_id: None: that of the stored identity, or a new one (DEV-4).
            identity: ``repair`` this agent, ``new``, or ``refuse`` if one is stored (PAIR-2, PAIR-10).

        Raises:
            PairRefused: nothing was stored.
            SessionClosed, DriverFailed: the session is over.
            ValueError: no ``base_url`` is known.
        """
        known = self.identity
        if base_url is None:
            if known is None:
                raise ValueError("base_url is needed for the first pairing")
            base_url, ws_url = known.base_url, ws_url or known.ws_url
        if device_id is None:
            device_id = known.device_id if known is not None else new_device_id()
        address, device = base_url, device_id
        result = await self._call(
            lambda command: Pair(
                command,
                code,
                address,
                device,
                ws_url=ws_url,
                platform=platform,
                kind=kind,
                plugin_version=plugin_version,
                identity=identity,
            )
        )
        return calls.credentials_of(result)

    async def aclose(self) -> None:
        """Stop the session and wait for its end; a rotation on its way is finished first (REF-32).

        Cancelling this ends the waiting, not the stopping. Leaving the ``connect`` block does the same.
        """
        self._driver.stop()
        await self._driver.finished()

    # --- inside ---

    async def _call(self, build: Callable[[int], Command], decided: Callable[[], None] | None = None) -> Result:
        decision = _Decision()

        def resolve(result: Result) -> None:
            if decided is not None:
                decided()
            decision.make(result)

        try:
            await trio.lowlevel.checkpoint_if_cancelled()
            self._engine.submit(build, resolve)
        except BaseException:
            if decided is not None:
                decided()
            raise
        result = await decision.wait()
        if isinstance(result, results.LoggedOutResult | results.RefreshRefused):
            raise errors.LoggedOut(self._engine.logged_out)
        if isinstance(result, results.StoppedResult) and self._driver.failure is not None:
            raise errors.DriverFailed from self._driver.failure
        return result

    def _closed(self) -> errors.ClawProtoError:
        if self._driver.failure is not None:
            error = errors.DriverFailed()
            error.__cause__ = self._driver.failure
            return error
        return errors.SessionClosed()


class _Decision:
    """A result that is still to come."""

    def __init__(self) -> None:
        self._made = trio.Event()
        self._result: Result = results.StoppedResult()

    def make(self, result: Result) -> None:
        self._result = result
        self._made.set()

    async def wait(self) -> Result:
        await self._made.wait()
        return self._result
