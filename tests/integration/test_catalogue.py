"""Both drivers exchange every event of the catalogue with the development hub, over real sockets."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from clawproto import app_events as told, errors
from clawproto.app_events import AppEvent, MessageReceived
from clawproto.config import Delivery, Features
from clawproto.credentials import Credentials, Identity, TokenPair
from clawproto.effects import Effect, SendFrame
from clawproto.events import Event, FrameReceived
from clawproto.hub import HubSettings
from clawproto.instant import Instant
from clawproto.policy import Policy
from clawproto.secret import Secret
from clawproto.testing.client_api import ClientApi
from clawproto_io.clock import SystemClock
from clawproto_io.hub_thread import HubThread
from clawproto_io.stores import MemoryStore
from tests.core.test_catalogue import catalogue
from tests.integration.driver_adapters import ADAPTERS, PairingAdapter
from tests.integration.test_drivers_on_the_hub import run

QUICK = Policy(
    refresh_floor_ms=0,
    reconnect_first_ms=20,
    reconnect_max_ms=100,
    unexplained_floor_ms=100,
    ack_debounce_ms=20,
    ping_after_ms=400,
    stream_interval_ms=20,
)


@pytest.fixture
def hub() -> Iterator[HubThread]:
    with HubThread(HubSettings(ping_interval_ms=30_000)) as running:
        yield running


@pytest.fixture(params=ADAPTERS, ids=lambda adapter: adapter.name)
def driver(request: pytest.FixtureRequest) -> PairingAdapter:
    adapter: PairingAdapter = request.param
    return adapter


def fresh(hub: HubThread, user_id: str, device_id: str) -> Credentials:
    issued = hub.call(lambda machine: machine.issue_tokens(user_id, device_id))
    identity = Identity(user_id, device_id, hub.base_url, hub.ws_url)
    pair = TokenPair(Secret(issued["access_token"]), Secret(issued["refresh_token"]), SystemClock().now().wall_ms)
    return Credentials(identity, pair, 1)


class Frames:
    """Names of everything that went over the wire."""

    def __init__(self) -> None:
        self.up: set[str] = set()
        self.down: set[str] = set()

    def observe(self, now: Instant, event: Event, effects: tuple[Effect, ...], state: object) -> None:
        self.up |= {effect.event for effect in effects if isinstance(effect, SendFrame)}
        if isinstance(event, FrameReceived):
            self.down.add(json.loads(event.data)["event"])


class Listener:
    """One client with everything that it was told."""

    def __init__(self, driver: PairingAdapter, client: ClientApi) -> None:
        self.client = client
        self.told: list[AppEvent] = []
        self._driver = driver

    async def listen(self) -> None:
        async for event in self.client:
            self.told.append(event)

    async def until(self, kind: type[Any], fits: Callable[[Any], bool] = lambda _: True) -> Any:
        while True:
            for event in self.told:
                if isinstance(event, kind) and fits(event):
                    return event
            await self._driver.sleep(0.01)


async def break_off(client: ClientApi, chat: str) -> None:
    async with client.stream(chat) as stream:
        await stream.append("oh")
        raise LookupError


async def play(driver: PairingAdapter, hub: HubThread, delivery: Delivery, frames: Frames) -> None:
    dora, tom = hub.call(lambda machine: (machine.create_user("Dora"), machine.create_user("Tom")))
    robo = hub.create_agent(dora, "Robo")
    chat = hub.call(lambda machine: machine.create_conversation([dora, tom, robo.user_id], "Three"))
    features = Features(
        delivery=delivery, receipts=True, own_devices=True, metadata=True, signals=True, permissions=True, history=True
    )

    def connect(user_id: str, device_id: str) -> Any:
        store = MemoryStore(fresh(hub, user_id, device_id))
        return driver.connect(store, policy=QUICK, features=features, observer=frames.observe)

    async with (
        connect(dora, "phone") as phone_client,
        connect(dora, "laptop") as laptop_client,
        connect(tom, "tablet") as tom_client,
        connect(robo.user_id, robo.device_id) as robo_client,
    ):
        phone, laptop = Listener(driver, phone_client), Listener(driver, laptop_client)
        friend, agent = Listener(driver, tom_client), Listener(driver, robo_client)
        everyone = (phone, laptop, friend, agent)

        async def acts() -> None:
            for one in everyone:
                await one.client.wait_ready()
            # messages, receipts, replies, refusals
            await friend.client.send(chat, "lunch?")
            question = await phone.until(MessageReceived)
            await friend.until(told.MessageDelivered, lambda event: event.user_id == dora)
            await phone.client.send(chat, "yes", reply_to=question)
            await laptop.until(MessageReceived, lambda event: event.own)
            with pytest.raises(errors.SendRejected):
                await phone.client.send("cnv_" + "0" * 26, "x")
            # streams
            with agent.client.typing(chat):
                async with agent.client.stream(chat) as stream:
                    for piece in ("Let ", "me ", "think"):
                        await stream.append(piece)
                        await driver.sleep(0.05)
                    stream.finish_with("I have thought.")
            assert stream.receipt is not None and stream.receipt.message_id == stream.message_id
            finished = await friend.until(told.StreamFinished)
            assert finished.text == "Let me think"
            last = await friend.until(MessageReceived, lambda event: event.streamed)
            assert (last.message_id, last.text) == (stream.message_id, "I have thought.")
            with pytest.raises(LookupError):
                await break_off(agent.client, chat)
            await friend.until(told.StreamDiscarded)
            await friend.until(told.TypingChanged, lambda event: not event.is_typing)
            # slots
            receipt = await phone.client.react(chat, question.message_id, "👍")
            assert receipt.message_id == f"rxn:{question.message_id}:{dora}"
            await friend.until(told.ReactionChanged)
            await phone.client.react(chat, question.message_id, None)
            await friend.until(told.ReactionChanged, lambda event: event.emoji is None)
            phone.client.mark_read(chat, question.emitted_at_ms)
            await laptop.until(told.ReadMarkMoved, lambda event: event.read_up_to_ms == question.emitted_at_ms)
            hub.call(lambda machine: machine.recall(chat, tom, question.message_id))
            await phone.until(told.MessageRecalled)
            # presence
            await phone.client.watch_presence(tom)
            await phone.until(told.PresenceChanged, lambda event: event.snapshot and event.online)
            hub.call(lambda machine: machine.kick(tom))
            await phone.until(told.PresenceChanged, lambda event: not event.online)
            phone.client.unwatch_presence(tom)
            with pytest.raises(errors.NotDone):
                await phone.client.watch_presence("somebody")
            # signals
            hub.call(lambda machine: machine.invalidate_metadata(chat, ["title"], version=3))
            phone.client.applied(await phone.until(told.MetadataInvalidated))
            hub.call(lambda machine: machine.signal(dora, "friend.added", tom))
            signal = await phone.until(told.SignalReceived)
            assert signal.paths == ("/v1/friendships",)
            phone.client.applied(signal)
            hub.call(lambda machine: machine.permission(robo.user_id, "request", {"request_id": "req-1"}))
            hub.call(lambda machine: machine.permission(robo.user_id, "resolved", {"request_id": "req-1"}))
            await phone.until(told.PermissionRequested)
            await phone.until(told.PermissionResolved)
            # history
            await phone.client.transfer_history("laptop", "history_sync_request", {"since": 1})
            request = await laptop.until(told.HistoryReceived)
            assert request.kind == "history_sync_request" and request.data["since"] == 1
            for number in range(4):
                await friend.client.send(chat, f"more {number}")
            await laptop.until(MessageReceived, lambda event: event.text == "more 3")
            await driver.sleep(0.2)
            hub.call(lambda machine: machine.prune(dora, keep=2))
            laptop.told.clear()
            await laptop.client.reset_cursor()
            await laptop.until(told.HistoryTruncated)
            await laptop.until(MessageReceived, lambda event: event.text == "more 3")
            # a refused handshake, and a quiet moment
            hub.call(lambda machine: machine.hello_fail("try later", user_id=dora))
            hub.call(lambda machine: machine.kick(dora, "phone"))
            await phone.until(told.HandshakeRefused)
            await phone.client.wait_ready()
            await driver.sleep(0.6)
            for one in everyone:
                assert not one.client.quarantined
                assert not [event for event in one.told if isinstance(event, told.UnknownEvent)]
                await one.client.aclose()

        await driver.together(acts, *(one.listen for one in everyone))


@pytest.mark.integration
@pytest.mark.rule("EVT-1", "EVT-6", "STREAM-12", "DEL-1", "RX-4", "PRES-3", "HIST-14")
def test_every_event_of_the_catalogue_over_real_sockets(driver: PairingAdapter, hub: HubThread) -> None:
    frames = Frames()

    async def scenario() -> None:
        await play(driver, hub, "v2", frames)
        await play(driver, hub, "v1", frames)

    run(driver, scenario)
    up, down = catalogue()
    assert frames.up == up
    assert frames.down == down
