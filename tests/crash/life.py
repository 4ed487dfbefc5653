"""One life of a session, in a child process: what it does, and what it tells about it.

Every line that it prints is one JSON object, written in one piece, so that what was said before a kill has been heard.
"""

import faulthandler
import json
import os
from collections.abc import Callable
from typing import Any

from attrs import asdict, field, frozen

import clawproto_asyncio._driver
import clawproto_trio._driver
from clawproto import errors
from clawproto.app_events import (
    CredentialsNeeded,
    LoggedOut,
    MessageReceived,
    MessagesSaved,
    MessagesUnsaved,
    Misconfigured,
    Ready,
    SaveAlarm,
    SaveRecovered,
    SendSettled,
    TokensRotated,
)
from clawproto.policy import Policy
from clawproto.testing.client_api import ClientApi
from clawproto_io import SqliteStore
from tests.crash.boundaries import Boundaries, Target
from tests.integration.driver_adapters import ADAPTERS, PairingAdapter

POLICY = Policy(
    fallback_life_ms=1_600,  # the tokens are opaque: a rotation is due every 0.8 s
    refresh_floor_ms=100,
    unknown_answer_wait_ms=50,
    refresh_backoff_first_ms=50,
    refresh_backoff_max_ms=200,
    wall_check_ms=50,
    reconnect_first_ms=20,
    reconnect_max_ms=100,
    unexplained_floor_ms=20,
    takeover_max_ms=50,
    close_timeout_ms=500,
    credential_poll_ms=100,
    ack_debounce_ms=20,
    save_retry_first_ms=50,
    save_retry_max_ms=200,
)

DRIVERS = {"asyncio": clawproto_asyncio._driver, "trio": clawproto_trio._driver}


@frozen(kw_only=True)
class Plan:
    """What a life is to do.

    Attributes:
        code: pair with it first.
        sends: texts for `chat_id`, in this order.
        awaited: texts that must arrive before it may end.
        undecided: ids of messages that must be settled before it may end.
        settles: it is to be left alone: it only gets over what lies behind.
        ends_refused: at the end the hub revokes the session.
        target: where it dies; None: it is not killed from within.
        patience: seconds that the whole may take.
        busy_ms: how long the store waits for somebody else's lock.
    """

    driver: str
    store: str
    base_url: str
    chat_id: str
    code: str | None = None
    sends: tuple[str, ...] = ()
    awaited: tuple[str, ...] = ()
    undecided: tuple[str, ...] = ()
    settles: bool = False
    ends_refused: bool = False
    target: Target | None = None
    patience: float = 60.0
    busy_ms: int = 5_000

    def to_json(self) -> str:
        """One line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Plan":
        """The opposite."""
        fields = json.loads(text)
        target = fields.pop("target")
        fields |= {name: tuple(fields[name]) for name in ("sends", "awaited", "undecided")}
        return cls(**fields, target=None if target is None else Target(**target))


def say(event: str, **fields: Any) -> None:
    """Tell whoever watches. What is in the pipe survives a kill."""
    os.write(1, (json.dumps({"event": event, **fields}) + "\n").encode())


@frozen
class Life:
    """One run of a plan."""

    plan: Plan
    adapter: PairingAdapter
    boundaries: Boundaries
    seen: list[Any] = field(factory=list[Any])

    async def run(self) -> None:
        """The whole of it."""
        plan = self.plan
        if plan.code is not None:
            self.boundaries.is_pairing = True
            await self.adapter.pair(plan.store, plan.code, base_url=plan.base_url, identity="repair", policy=POLICY)
            self.boundaries.is_pairing = False
            say("paired")
        store = SqliteStore(plan.store, busy_timeout_ms=plan.busy_ms)
        async with self.adapter.connect(store, policy=POLICY) as client:
            await self.adapter.together(lambda: self._listen(client), lambda: self._act(client))
        await store.aclose()
        say("ended", counts=dict(self.boundaries.counts))

    async def _listen(self, client: ClientApi) -> None:
        async for event in client:
            match event:
                case MessageReceived(text=text):
                    with self.boundaries.around("application"):
                        say("handled", text=text)
                case SendSettled(message_id=message_id, accepted=accepted):
                    say("settled", message_id=message_id, accepted=accepted)
                case LoggedOut(cause=cause):
                    say("logged-out", cause=cause)
                case CredentialsNeeded():
                    say("credentials-needed")
                    await client.aclose()
                case TokensRotated(adopted=adopted):
                    say("adopted" if adopted else "rotated")
                case Ready():
                    say("ready")
                case SaveAlarm(attempts=attempts, detail=detail):
                    say("alarm", attempts=attempts, detail=detail)
                case SaveRecovered(attempts=attempts):
                    say("recovered", attempts=attempts)
                case MessagesUnsaved(attempts=attempts, detail=detail):
                    say("messages-alarm", attempts=attempts, detail=detail)
                case MessagesSaved(attempts=attempts):
                    say("messages-recovered", attempts=attempts)
                case Misconfigured(code=code, text=text):
                    say(code, text=text)
                case _:
                    pass
            self.seen.append(event)

    async def _act(self, client: ClientApi) -> None:
        try:
            await client.wait_ready()
            if not self.plan.settles:
                await self._talk(client)
            elif not self._count(TokensRotated):
                await self._refresh(client)
            await self._until(lambda: self._count(TokensRotated) >= (1 if self.plan.settles else 2))
            await self._until(lambda: client.is_ready)
            await self._until(lambda: set(self.plan.awaited) <= set(self._texts()))
            await self._until(lambda: set(self.plan.undecided) <= self._settled())
            if self.plan.ends_refused:
                say("ask", what="revoke")
                await self._until(lambda: self._count(LoggedOut))
        except (errors.LoggedOut, errors.NotPaired, errors.SessionClosed):
            pass
        await client.aclose()

    async def _talk(self, client: ClientApi) -> None:
        """Messages, a rotation that the application asks for, a REST call, and a connection that breaks."""
        first, *others = self.plan.sends
        await self._send(client, first)
        await self._refresh(client)
        await client.request("GET", "/v1/users/me")
        say("ask", what="cut")
        await self.adapter.together(*(self._sender(client, text) for text in others))

    async def _refresh(self, client: ClientApi) -> None:
        try:
            await client.refresh()
        except errors.RefreshFailed as error:
            say("not refreshed", text=str(error))

    def _sender(self, client: ClientApi, text: str) -> Callable[[], Any]:
        return lambda: self._send(client, text)

    async def _send(self, client: ClientApi, text: str) -> None:
        say("sending", text=text)
        receipt = await client.send(self.plan.chat_id, text)
        say("sent", text=text, message_id=receipt.message_id)

    async def _until(self, condition: Callable[[], object]) -> None:
        while not condition() and not self._count(LoggedOut) and not self._count(CredentialsNeeded):
            await self.adapter.sleep(0.005)

    def _count(self, kind: type[Any]) -> int:
        return sum(isinstance(event, kind) for event in self.seen)

    def _settled(self) -> set[str]:
        return {event.message_id for event in self.seen if isinstance(event, SendSettled)}

    def _texts(self) -> list[str]:
        return [event.text for event in self.seen if isinstance(event, MessageReceived)]


def live(plan: Plan) -> None:
    """Run a plan in this process, which ends with it."""
    boundaries = Boundaries(plan.target)
    boundaries.install(DRIVERS[plan.driver])
    (adapter,) = [one for one in ADAPTERS if one.name == plan.driver]
    life = Life(plan, adapter, boundaries)
    faulthandler.dump_traceback_later(plan.patience + 5)  # should it hang
    adapter.run(lambda: adapter.within(plan.patience, life.run))
