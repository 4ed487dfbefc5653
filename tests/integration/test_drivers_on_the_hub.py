"""Both drivers against the development hub: pairing, messages, rotations, takeover, logout and pairing again."""

from collections.abc import Callable, Coroutine, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from clawproto import errors
from clawproto.app_events import Disconnected, LoggedOut, MessageReceived, Ready, TakenOver, TokensRotated
from clawproto.config import Features
from clawproto.credentials import Credentials, Identity, TokenPair
from clawproto.effects import Effect, RequestHttp
from clawproto.events import Event
from clawproto.hub import HubAgent
from clawproto.instant import Instant
from clawproto.policy import Policy
from clawproto.results import RefreshSucceeded
from clawproto.secret import Secret
from clawproto.testing.client_api import ClientApi
from clawproto.wire.values import TextFragment
from clawproto_io.clock import SystemClock
from clawproto_io.hub_thread import HubThread
from clawproto_io.stores import MemoryStore
from tests.integration.driver_adapters import ADAPTERS, PairingAdapter

POLICY = Policy(
    refresh_floor_ms=0,
    credential_poll_ms=50,
    reconnect_first_ms=20,
    reconnect_max_ms=100,
    unexplained_floor_ms=100,
    ack_debounce_ms=20,
)
Scenario = Callable[[], Coroutine[Any, Any, None]]


@pytest.fixture
def hub() -> Iterator[HubThread]:
    with HubThread() as running:
        yield running


@pytest.fixture(params=ADAPTERS, ids=lambda adapter: adapter.name)
def driver(request: pytest.FixtureRequest) -> PairingAdapter:
    adapter: PairingAdapter = request.param
    return adapter


def run(driver: PairingAdapter, scenario: Scenario) -> None:
    async def main() -> None:
        await driver.within(20, scenario)
        assert driver.leftovers() == []

    driver.run(main)


def record(hub: HubThread, agent: HubAgent) -> Credentials:
    """What an earlier client of this agent would have stored."""
    identity = Identity(agent.user_id, agent.device_id, hub.base_url, hub.ws_url, conversation_id=agent.conversation_id)
    now = SystemClock().now().wall_ms
    return Credentials(identity, TokenPair(Secret(agent.access_token), Secret(agent.refresh_token), now), 1)


async def next_of(client: ClientApi, kind: type[Any]) -> Any:
    async for event in client:
        if isinstance(event, kind):
            return event
    raise AssertionError(f"no {kind.__name__}")


def text_of(event: MessageReceived) -> str:
    return "".join(part.text for part in event.message.fragments if isinstance(part, TextFragment))


@pytest.mark.rule("PAIR-9", "DEV-4", "SEND-9", "AUTH-3")
def test_pair_connect_send_and_answer(driver: PairingAdapter, hub: HubThread, tmp_path: Path) -> None:
    agent, other = hub.create_agent(), hub.create_agent()
    chat = hub.call(lambda machine: machine.create_conversation([agent.user_id, other.user_id]))
    path = tmp_path / "agent.db"

    async def scenario() -> None:
        paired = await driver.pair(path, agent.pairing_code, base_url=hub.base_url)
        assert paired.identity.user_id == agent.user_id
        other_store = MemoryStore(record(hub, other))
        async with (
            driver.connect(path, policy=POLICY) as one,
            driver.connect(other_store, policy=POLICY) as two,
        ):
            await one.wait_ready()
            await two.wait_ready()
            receipt = await one.send(chat, "lunch?")
            received = await next_of(two, MessageReceived)
            assert received.message.message_id == receipt.message_id
            assert (text_of(received), received.sender.id) == ("lunch?", agent.user_id)
            await two.send(chat, "yes", reply_to=received)
            answer = await next_of(one, MessageReceived)
            assert answer.event == "message.reply"
            me = await one.request("GET", "/v1/users/me")
            assert agent.user_id in str(me.data)

    run(driver, scenario)


@pytest.mark.rule("REF-9", "REF-28", "REF-41")
def test_an_asked_for_rotation_leaves_the_socket_alone(driver: PairingAdapter, hub: HubThread) -> None:
    agent = hub.create_agent()
    store = MemoryStore(record(hub, agent))

    async def scenario() -> None:
        async with driver.connect(store, policy=POLICY) as client:
            await client.wait_ready()
            assert isinstance(await client.refresh(), RefreshSucceeded)
            rotated = await next_of(client, TokensRotated)
            assert not rotated.adopted
            await client.send(agent.conversation_id, "still here")
            assert store.credentials is not None
            assert store.credentials.generation == 2
            assert store.credentials.tokens != record(hub, agent).tokens

    run(driver, scenario)


@pytest.mark.rule("REF-26", "HS-10")
def test_a_due_rotation_changes_the_socket(driver: PairingAdapter, hub: HubThread) -> None:
    hub.call(lambda machine: machine.configure({"access_token_life_ms": 6_000}))
    agent = hub.create_agent()
    policy = Policy(refresh_floor_ms=0, jitter_ms=0, reconnect_first_ms=20, wall_check_ms=1_000)

    async def scenario() -> None:
        async with driver.connect(MemoryStore(record(hub, agent)), policy=policy) as client:
            await next_of(client, Ready)
            await next_of(client, TokensRotated)
            gone = await next_of(client, Disconnected)
            assert gone.planned
            await next_of(client, Ready)
            await client.send(agent.conversation_id, "on the new token")

    run(driver, scenario)


@pytest.mark.rule("HS-15", "REF-22")
def test_a_rejected_token_is_rotated_before_the_next_connect(driver: PairingAdapter, hub: HubThread) -> None:
    agent = hub.create_agent()
    hub.call(lambda machine: machine.reject_access(agent.user_id))

    async def scenario() -> None:
        async with driver.connect(MemoryStore(record(hub, agent)), policy=POLICY) as client:
            await client.wait_ready()
            await client.send(agent.conversation_id, "back again")

    run(driver, scenario)


@pytest.mark.rule("SEND-17", "CLOSE-13")
def test_a_send_survives_the_loss_of_its_socket(driver: PairingAdapter, hub: HubThread) -> None:
    agent = hub.create_agent()

    async def scenario() -> None:
        async with driver.connect(MemoryStore(record(hub, agent)), policy=POLICY) as client:
            await client.wait_ready()
            hub.call(lambda machine: machine.lose_acks(1, user_id=agent.user_id))

            async def cut() -> None:
                while not hub.call(lambda machine: machine.uplinks(agent.user_id)):
                    await driver.sleep(0.01)
                await driver.sleep(0.05)
                hub.cut_all()

            async def send() -> None:
                receipt = await client.send(agent.conversation_id, "twice on the wire, once in the chat")
                assert receipt.message_id == receipt.minted_id

            await driver.together(send, cut)

    run(driver, scenario)


@pytest.mark.rule("R2-28", "SEND-19")
def test_unsettled_messages_come_again(driver: PairingAdapter, hub: HubThread) -> None:
    agent = hub.create_agent()
    store = MemoryStore(record(hub, agent))

    def post(text: str) -> None:
        hub.call(lambda machine: machine.post(agent.conversation_id, agent.owner_id, text))

    async def read(count: int, fail: bool) -> list[str]:
        seen: list[str] = []
        with pytest.raises(ZeroDivisionError) if fail else nullcontext():
            async with driver.connect(store, policy=POLICY) as client:
                while len(seen) < count:
                    seen.append(text_of(await next_of(client, MessageReceived)))
                if fail:
                    raise ZeroDivisionError
        return seen

    async def scenario() -> None:
        for text in ("one", "two", "three"):
            post(text)
        assert await read(2, fail=True) == ["one", "two"]
        assert await read(2, fail=False) == ["two", "three"]
        post("four")
        assert await read(1, fail=False) == ["four"]

    run(driver, scenario)


@pytest.mark.rule("CLOSE-15", "CLOSE-5")
def test_a_takeover_is_told_and_the_session_returns(driver: PairingAdapter, hub: HubThread) -> None:
    agent = hub.create_agent()

    async def scenario() -> None:
        async with driver.connect(MemoryStore(record(hub, agent)), policy=POLICY) as client:
            await client.wait_ready()
            hub.call(lambda machine: machine.take_over(agent.user_id))
            assert (await next_of(client, TakenOver)).code == 4001
            await next_of(client, Ready)

    run(driver, scenario)


@pytest.mark.rule("CLOSE-2")
def test_an_unreachable_hub_is_tried_again(driver: PairingAdapter, hub: HubThread) -> None:
    agent = hub.create_agent()

    async def scenario() -> None:
        hub.refuse_connections(True)
        async with driver.connect(MemoryStore(record(hub, agent)), policy=POLICY) as client:
            for _ in range(3):
                gone = await next_of(client, Disconnected)
                assert gone.code is None
            hub.refuse_connections(False)
            await client.wait_ready()

    run(driver, scenario)


@pytest.mark.rule("OUT-2", "OUT-3", "OUT-5", "OUT-8", "PAIR-2")
def test_a_revoked_agent_is_logged_out_and_paired_again(driver: PairingAdapter, hub: HubThread) -> None:
    agent = hub.create_agent()
    store = MemoryStore(record(hub, agent))

    async def scenario() -> None:
        async with driver.connect(store, policy=POLICY, on_logout="wait") as client:
            await client.wait_ready()
            hub.call(lambda machine: machine.revoke(agent.user_id))
            with pytest.raises(errors.LoggedOut) as caught:
                await client.refresh()
            assert agent.refresh_token not in repr(caught.value)
            event = await next_of(client, LoggedOut)
            assert event.identity.user_id == agent.user_id
            assert store.credentials is not None and store.credentials.tokens is None
            with pytest.raises(errors.LoggedOut):
                await client.send(agent.conversation_id, "too late")
            paired = await client.pair(agent.pairing_code)
            assert paired.identity.user_id == agent.user_id
            await client.wait_ready()
            await client.send(agent.conversation_id, "back")

    run(driver, scenario)


@pytest.mark.rule("PAIR-10")
def test_pairing_over_a_stored_identity_must_be_asked_for(driver: PairingAdapter, hub: HubThread) -> None:
    agent = hub.create_agent()
    store = MemoryStore(record(hub, agent))

    async def scenario() -> None:
        with pytest.raises(errors.PairRefused) as caught:
            await driver.pair(store, agent.pairing_code, base_url=hub.base_url)
        assert caught.value.spent == "no"
        paired = await driver.pair(store, agent.pairing_code, base_url=hub.base_url, identity="repair")
        assert paired.identity.user_id == agent.user_id
        assert paired.generation == 2

    run(driver, scenario)


@pytest.mark.rule("PAIR-7")
def test_a_cancelled_pairing_is_saved_all_the_same(driver: PairingAdapter, hub: HubThread) -> None:
    """The code is single-use: once the request is out, giving up must not lose what it brings."""
    agent = hub.create_agent()
    store = MemoryStore()
    hub.call(lambda machine: machine.fail_http("/v1/agents/connect", "delay", 300))
    asked: list[RequestHttp] = []

    def observe(_now: Instant, _event: Event, effects: tuple[Effect, ...], _state: object) -> None:
        asked.extend(effect for effect in effects if isinstance(effect, RequestHttp))

    async def scenario() -> None:
        async def pair(cancel: Callable[[], None]) -> None:
            async def give_up() -> None:
                while not asked:
                    await driver.sleep(0.01)
                cancel()

            async def redeem() -> None:
                await driver.pair(store, agent.pairing_code, base_url=hub.base_url, observer=observe)

            await driver.together(redeem, give_up)

        assert await driver.cancelled(pair)
        assert store.credentials is not None
        assert store.credentials.identity.user_id == agent.user_id

    run(driver, scenario)


@pytest.mark.rule("REF-45", "REF-49")
def test_two_sessions_share_a_store_and_adopt_each_others_rotation(driver: PairingAdapter, hub: HubThread) -> None:
    agent = hub.create_agent()
    store = MemoryStore(record(hub, agent))

    async def scenario() -> None:
        async with (
            driver.connect(store, policy=POLICY) as one,
            driver.connect(store, policy=POLICY, socket_device_id="second") as two,
        ):
            await one.wait_ready()
            await two.wait_ready()
            assert isinstance(await one.refresh(), RefreshSucceeded)
            assert isinstance(await two.refresh(), RefreshSucceeded)
            await one.send(agent.conversation_id, "one")
            await two.send(agent.conversation_id, "two")

    run(driver, scenario)


@pytest.mark.rule("ROUTE-4", "ROUTE-6")
def test_another_device_of_the_same_agent_hears_it(driver: PairingAdapter, hub: HubThread) -> None:
    agent = hub.create_agent()
    features = Features(own_devices=True)
    store = MemoryStore(record(hub, agent))

    async def scenario() -> None:
        async with (
            driver.connect(store, policy=POLICY, features=features) as one,
            driver.connect(store, policy=POLICY, features=features, socket_device_id="second") as two,
        ):
            await one.wait_ready()
            await two.wait_ready()
            await one.send(agent.conversation_id, "hello me")
            heard = await next_of(two, MessageReceived)
            assert heard.own and not heard.conversational

    run(driver, scenario)
