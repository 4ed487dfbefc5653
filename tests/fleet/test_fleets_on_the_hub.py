"""Fleets of both drivers against a hub: several members in one process, on one store in memory."""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest
import trio
from attrs import evolve

import clawproto_asyncio
import clawproto_trio
from clawproto.app_events import MessageReceived
from clawproto.hub import Hub, HubAgent
from clawproto.policy import Policy
from clawproto_io.fleet.board import AccountView, FleetNews
from clawproto_io.fleet.policy import FleetPolicy
from clawproto_io.hub_thread import HubThread
from clawproto_io.stores import MemoryAccounts, SqliteAccounts
from clawproto_io.throttle import Throttle
from tests.integration.test_drivers_on_the_hub import record

pytestmark = pytest.mark.integration

POLICY = Policy(
    refresh_floor_ms=200,
    unexplained_floor_ms=100,
    reconnect_first_ms=50,
    reconnect_max_ms=200,
    takeover_max_ms=100,
    credential_poll_ms=100,
)
FLEET = FleetPolicy(term_ms=1_500, starts_per_second=100, backoff_first_ms=50, backoff_max_ms=400)
PATIENCE = 60.0


class Api:
    """One driver."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._driver: Any = {"asyncio": clawproto_asyncio, "trio": clawproto_trio}[name]

    def run(self, main: Callable[[], Awaitable[None]]) -> None:
        async def bounded() -> None:
            with anyio.fail_after(PATIENCE):
                await main()

        if self.name == "asyncio":
            asyncio.run(bounded())
        else:
            trio.run(bounded)

    def fleet(self, accounts: Any, handler: Any = None, **settings: Any) -> AbstractAsyncContextManager[Any]:
        made: AbstractAsyncContextManager[Any] = self._driver.fleet(
            accounts, handler, **{"fleet_policy": FLEET, "policy": POLICY, **settings}
        )
        return made

    async def run_fleet(self, accounts: Any, **settings: Any) -> None:
        await self._driver.run_fleet(accounts, fleet_policy=FLEET, policy=POLICY, **settings)


@pytest.fixture(params=["asyncio", "trio"])
def api(request: pytest.FixtureRequest) -> Api:
    return Api(request.param)


async def until(condition: Callable[[], object]) -> None:
    while not condition():
        await anyio.sleep(0.02)


def paired(hub: HubThread, number: int) -> tuple[MemoryAccounts, dict[str, HubAgent]]:
    agents = {f"agent-{index}": hub.create_agent() for index in range(number)}
    return MemoryAccounts({name: record(hub, agent) for name, agent in agents.items()}), agents


def view(fleet: Any, name: str) -> AccountView:
    views: tuple[AccountView, ...] = fleet.accounts
    (found,) = (one for one in views if one.name == name)
    return found


def takeovers(hub: HubThread) -> object:
    return hub.call(lambda machine: machine.state()["takeovers"])


def post(machine: Hub, agent: HubAgent, text: str) -> None:
    machine.post(agent.conversation_id, agent.owner_id, text)


def unacknowledged(hub: HubThread) -> int:
    state: Any = hub.call(lambda machine: machine.state())
    return int(state["connections"][0]["unacked"])


@pytest.mark.rule("CLOSE-11")
def test_two_members_share_and_the_one_that_stays_takes_over(api: Api, hub: HubThread) -> None:
    accounts, _ = paired(hub, 10)

    async def main() -> None:
        async with api.fleet(accounts) as one:
            await until(lambda: one.totals.ready == 10)
            async with api.fleet(accounts) as two:
                await until(lambda: one.totals.ready == two.totals.ready == 5)
                assert set(one.members) == {one.name, two.name}
                await until(lambda: {view.owner for view in one.accounts} == {one.name, two.name})
                await until(lambda: Counter(view.standing for view in two.accounts) == {"ready": 5, "elsewhere": 5})
            assert two.totals.owned == 0
            await until(lambda: one.totals.ready == 10)
            assert one.totals.rotations == sum(view.rotations for view in one.accounts)
        assert await accounts.members() == {}
        assert all(row.lease is not None and row.lease.owner is None for row in await accounts.accounts())

    api.run(main)
    assert takeovers(hub) == 0, "never two sockets at once"
    assert hub.call(lambda machine: machine.state()["ready"]) == 0


@pytest.mark.rule("TOK-12", "REF-49")
def test_tokens_are_rotated_while_accounts_move(api: Api, hub: HubThread) -> None:
    accounts, agents = paired(hub, 6)

    async def main() -> None:
        async with api.fleet(accounts) as one:
            for _ in range(3):
                async with api.fleet(accounts) as two:
                    await until(lambda: one.totals.ready == two.totals.ready == 3)
                    await anyio.sleep(0.5)
            await until(lambda: all(view.rotations for view in one.accounts))
            await until(lambda: all(view.expires_at_ms and view.refresh_at_ms for view in one.accounts))

    api.run(main)
    state: Any = hub.call(lambda machine: machine.state())
    for name, agent in agents.items():
        stored = accounts.records[name].credentials
        assert stored is not None and stored.generation == 1 + state["rotations"][agent.user_id]
    assert "refresh 10003" not in state["counts"]


def test_a_handler_gets_each_session_with_its_name(api: Api, hub: HubThread) -> None:
    accounts, agents = paired(hub, 4)
    heard: list[tuple[str, str]] = []

    async def handler(client: Any, account: str) -> None:
        async for event in client:
            if isinstance(event, MessageReceived):
                heard.append((account, event.text))
                await client.send(event.chat_id, "yes?", reply_to=event)

    async def main() -> None:
        async with api.fleet(accounts, handler) as fleet:
            await until(lambda: fleet.totals.ready == 4)
            for name, agent in agents.items():
                hub.call(partial(post, agent=agent, text=name))
            await until(lambda: fleet.totals.sent == fleet.totals.received == 4)

    api.run(main)
    assert sorted(heard) == [(name, name) for name in sorted(agents)]


def test_without_a_handler_messages_are_settled(api: Api, hub: HubThread) -> None:
    accounts, agents = paired(hub, 1)
    (agent,) = agents.values()

    async def main() -> None:
        async with api.fleet(accounts) as fleet:
            await until(lambda: fleet.totals.ready == 1)
            hub.call(lambda machine: machine.post(agent.conversation_id, agent.owner_id, "hello"))
            await until(lambda: fleet.totals.received == 1)
            await until(lambda: unacknowledged(hub) == 0)

    api.run(main)


@pytest.mark.rule("R2-10")
def test_a_message_that_one_member_did_not_handle_is_handed_out_by_the_next(api: Api, hub: HubThread) -> None:
    accounts, agents = paired(hub, 1)
    (agent,) = agents.values()
    seen: list[str] = []

    async def never_done(client: Any, account: str) -> None:
        async for event in client:
            if isinstance(event, MessageReceived):
                seen.append(f"first: {event.text}")
                await anyio.sleep_forever()

    async def handle(client: Any, account: str) -> None:
        async for event in client:
            if isinstance(event, MessageReceived):
                seen.extend((f"second: {event.text}",))

    async def main() -> None:
        async with api.fleet(accounts, never_done) as fleet:
            await until(lambda: fleet.totals.ready == 1)
            hub.call(lambda machine: machine.post(agent.conversation_id, agent.owner_id, "hello"))
            await until(lambda: seen)
        hub.call(lambda machine: machine.prune(agent.user_id, 0))  # the hub has it no more; the store has it
        async with api.fleet(accounts, handle):
            await until(lambda: len(seen) == 2)

    api.run(main)
    assert seen == ["first: hello", "second: hello"]


def test_a_handler_that_fails_or_leaves_early_is_called_again(
    api: Api, hub: HubThread, caplog: pytest.LogCaptureFixture
) -> None:
    accounts, _ = paired(hub, 2)
    calls: Counter[str] = Counter()
    news: list[FleetNews] = []

    async def handler(client: Any, account: str) -> None:
        calls[account] += 1
        await client.wait_ready()
        if calls[account] <= 2:
            if account == "agent-0":
                raise RuntimeError("with a secret in its text")
            return
        async for _ in client:
            pass

    async def main() -> None:
        async with api.fleet(accounts, handler, on_news=news.append) as fleet:
            await until(lambda: fleet.totals.ready == 2 and min(calls.values()) == 3)
            assert view(fleet, "agent-0").note == "failed with RuntimeError"
            assert view(fleet, "agent-1").note == "the handler returned before the session had ended"

    with caplog.at_level(logging.CRITICAL, "clawproto.fleet"):
        api.run(main)
    assert Counter(one.account for one in news if one.what == "failed") == {"agent-0": 2, "agent-1": 2}
    assert "secret" not in repr(news)


def test_a_handler_that_does_not_listen_cannot_hold_up_the_end(
    api: Api, hub: HubThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    accounts, _ = paired(hub, 1)
    ended: list[str] = []
    monkeypatch.setattr(f"clawproto_{api.name}._fleet.HANDLER_PATIENCE", 0.2)

    async def handler(client: Any, account: str) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            ended.append(account)

    async def main() -> None:
        async with api.fleet(accounts, handler) as fleet:
            await until(lambda: fleet.totals.ready == 1)

    api.run(main)
    assert ended == ["agent-0"]


@pytest.mark.rule("OUT-2", "OUT-8")
def test_a_logged_out_account_is_left_alone_until_it_is_paired_again(api: Api, hub: HubThread) -> None:
    accounts, agents = paired(hub, 2)
    news: list[FleetNews] = []

    async def main() -> None:
        async with api.fleet(accounts, on_news=news.append) as fleet:
            await until(lambda: fleet.totals.ready == 2)
            user = agents["agent-0"].user_id
            hub.call(lambda machine: machine.revoke(user))
            hub.call(lambda machine: machine.kick(user))
            await until(lambda: view(fleet, "agent-0").standing == "unpaired")
            assert view(fleet, "agent-0").owner is None
            await anyio.sleep(1)
            assert view(fleet, "agent-0").standing == "unpaired"
            assert view(fleet, "agent-1").standing == "ready"
            stored = accounts.records["agent-0"].credentials
            assert stored is not None
            hub.call(lambda machine: machine.verdict(user, None))
            fresh = hub.call(lambda machine: machine.issue_tokens(user, agents["agent-0"].device_id))
            again = record(hub, evolve(agents["agent-0"], **fresh))
            await accounts.account("agent-0").save(evolve(again, generation=stored.generation + 1), stored.generation)
            await until(lambda: view(fleet, "agent-0").standing == "ready")

    api.run(main)
    assert [one.account for one in news if one.what == "logged-out"] == ["agent-0"]
    assert not [one for one in news if one.what == "failed"]


def test_accounts_that_are_paired_while_it_runs_are_taken_up(api: Api, hub: HubThread) -> None:
    accounts, _ = paired(hub, 0)

    async def main() -> None:
        async with api.fleet(accounts) as fleet:
            await until(lambda: fleet.members)
            assert fleet.accounts == ()
            await accounts.account("late").save(record(hub, hub.create_agent()), None)
            await until(lambda: fleet.totals.ready == 1)

    api.run(main)


def test_a_store_that_cannot_be_reached_for_a_while_ends_no_session(api: Api, hub: HubThread) -> None:
    accounts, _ = paired(hub, 3)

    async def main() -> None:
        async with api.fleet(accounts) as fleet:
            await until(lambda: fleet.totals.ready == 3)
            accounts.unreachable = True
            await until(lambda: fleet.is_out_of_touch and fleet.store_problem is not None)
            assert fleet.totals.owned == 3
            await anyio.sleep(0.3)
            accounts.unreachable = False
            await until(lambda: not fleet.is_out_of_touch)
            await until(lambda: fleet.totals.ready == 3 and fleet.store_problem is None)
            assert all(one.name.startswith("agent") and one.owner == fleet.name for one in fleet.accounts)

    api.run(main)
    assert takeovers(hub) == 0


def test_a_store_that_stays_away_does_not_hold_up_the_end(api: Api, hub: HubThread) -> None:
    accounts, _ = paired(hub, 2)

    async def main() -> None:
        async with api.fleet(accounts) as fleet:
            await until(lambda: fleet.totals.ready == 2)
            accounts.unreachable = True

    api.run(main)
    assert hub.call(lambda machine: machine.state()["ready"]) == 0


def test_a_cancelled_fleet_gives_everything_back(api: Api, hub: HubThread) -> None:
    accounts, _ = paired(hub, 4)
    news: list[FleetNews] = []

    async def main() -> None:
        async with anyio.create_task_group() as tasks:

            async def work() -> None:
                await api.run_fleet(accounts, on_news=news.append)

            tasks.start_soon(work)
            await until(lambda: sum(one.what == "ready" for one in news) == 4)
            tasks.cancel_scope.cancel()
        assert await accounts.members() == {}
        assert all(row.lease is not None and row.lease.owner is None for row in await accounts.accounts())

    api.run(main)
    assert hub.call(lambda machine: machine.state()["ready"]) == 0


def test_an_error_of_the_block_comes_out_as_it_is(api: Api, hub: HubThread) -> None:
    accounts, _ = paired(hub, 1)

    async def main() -> None:
        async def work() -> None:
            async with api.fleet(accounts) as fleet:
                await until(lambda: fleet.totals.ready == 1)
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await work()
        assert await accounts.members() == {}

    api.run(main)


def test_stopping_from_within_ends_the_waiting(api: Api, hub: HubThread) -> None:
    accounts, _ = paired(hub, 1)

    async def main() -> None:
        async with api.fleet(accounts) as fleet:
            await until(lambda: fleet.totals.ready == 1)
            fleet.stop()
            fleet.stop()
            await fleet.wait_stopped()
            assert fleet.totals.owned == 0
            await fleet.aclose()

    api.run(main)


@pytest.mark.rule("CLOSE-3")
def test_the_reconnects_after_an_outage_are_spread(api: Api, hub: HubThread) -> None:
    accounts, _ = paired(hub, 20)
    times: list[float] = []

    def on_news(news: FleetNews) -> None:
        if news.what == "ready":
            times.append(anyio.current_time())

    async def main() -> None:
        throttle = Throttle(sockets_per_second=10)
        async with api.fleet(accounts, throttle=throttle, on_news=on_news) as fleet:
            await until(lambda: fleet.totals.ready == 20)
            times.clear()
            hub.cut_all()
            await until(lambda: fleet.totals.ready == 0)
            await until(lambda: fleet.totals.ready == 20)

    api.run(main)
    assert times[-1] - times[0] >= 1.5, "twenty at ten a second"
    assert max(sum(at <= other < at + 1 for other in times) for at in times) <= 15


def test_a_file_of_accounts_is_opened_and_closed_by_the_fleet(api: Api, hub: HubThread, tmp_path: Path) -> None:
    path = tmp_path / "agents.db"

    async def main() -> None:
        store = SqliteAccounts(path)
        for index in range(3):
            await store.account(f"agent-{index}").save(record(hub, hub.create_agent()), None)
        await store.aclose()
        async with api.fleet(path, shard="1/2") as one, api.fleet(f"sqlite://{path}", shard="2/2") as two:
            await until(lambda: one.totals.ready + two.totals.ready == 3)
            await anyio.sleep(0.5)
            assert one.totals.ready + two.totals.ready == 3
        assert await store.members() == {}
        await store.aclose()

    api.run(main)


def test_settings_that_cannot_be(api: Api) -> None:
    async def main() -> None:
        for shard in ("3/2", "0/1", "1", "a/b", "1/0"):
            with pytest.raises(ValueError):
                async with api.fleet(MemoryAccounts(), shard=shard):
                    pytest.fail("it began")
        with pytest.raises(TypeError, match="unknown settings: shards"):
            async with api.fleet(MemoryAccounts(), shards="1/2"):
                pytest.fail("it began")

    api.run(main)


def test_what_the_listener_to_news_raises_is_logged(api: Api, hub: HubThread, caplog: pytest.LogCaptureFixture) -> None:
    accounts, _ = paired(hub, 1)

    def on_news(_news: FleetNews) -> None:
        raise RuntimeError("no news is good news")

    async def main() -> None:
        async with api.fleet(accounts, on_news=on_news) as fleet:
            await until(lambda: fleet.totals.ready == 1)

    api.run(main)
    assert "on_news failed" in caplog.text
