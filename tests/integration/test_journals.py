"""Both drivers record: what is in the file is what happened, and the core does it again."""

import logging
import stat
from pathlib import Path

import pytest

from clawproto.app_events import MessageReceived
from clawproto.replay import read, replay
from clawproto.timeline import timeline
from clawproto_io import Journal
from clawproto_io.hub_thread import HubThread
from clawproto_io.stores import MemoryStore
from tests.integration.driver_adapters import PairingAdapter
from tests.integration.test_drivers_on_the_hub import POLICY, driver, hub, next_of, record, run

__all__ = ["driver", "hub"]


@pytest.mark.integration
@pytest.mark.rule("AUTH-9")
@pytest.mark.parametrize("masked", [False, True])
def test_a_session_is_recorded_from_beginning_to_end(
    hub: HubThread, driver: PairingAdapter, tmp_path: Path, masked: bool
) -> None:
    agent, other = hub.create_agent(), hub.create_agent()
    chat = hub.call(lambda machine: machine.create_conversation([agent.user_id, other.user_id]))
    path = tmp_path / "agent.jsonl"
    tokens = [agent.access_token, agent.refresh_token]

    async def scenario() -> None:
        with Journal(path, contents=not masked) as journal:
            stored = MemoryStore(record(hub, agent))
            async with (
                driver.connect(stored, policy=POLICY, journal=journal if masked else path) as client,
                driver.connect(MemoryStore(record(hub, other)), policy=POLICY) as peer,
            ):
                await peer.send(chat, "Strictly confidential")
                received = await next_of(client, MessageReceived)
                await client.send(chat, "No less confidential", reply_to=received)
                await client.refresh()
                assert client.credentials is not None and client.credentials.tokens is not None
                pair = client.credentials.tokens
                tokens.extend(token.reveal() for token in (pair.access, pair.refresh) if token is not None)

    run(driver, scenario)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    text = path.read_text(encoding="ascii")
    assert len(set(tokens)) == 4 and not any(token in text for token in tokens)
    assert ("onfidential" in text) is not masked
    journal = read(text.splitlines())
    report = replay(journal)
    assert (report.difference, report.lost, report.unlike, report.cut) == (None, 0, 0, False)
    told = [mark.text for mark in timeline(journal).marks]
    assert "ready, delivery v2" in told and "rotated" in told and "the session is stopped" in told


@pytest.mark.integration
def test_a_journal_that_cannot_be_written_disturbs_nothing(
    hub: HubThread, driver: PairingAdapter, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    agent = hub.create_agent()

    async def scenario() -> None:
        stored = MemoryStore(record(hub, agent))
        async with driver.connect(stored, policy=POLICY, journal=tmp_path / "missing" / "x.jsonl") as client:
            await client.send(agent.conversation_id, "hello")

    with caplog.at_level(logging.WARNING, "clawproto"):
        run(driver, scenario)
    assert any("cannot be written" in record.getMessage() for record in caplog.records)
