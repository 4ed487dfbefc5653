"""What becomes of a session when its program ends roughly, on either loop."""

import asyncio
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest

import clawproto_asyncio
from clawproto import errors
from clawproto.effects import Effect
from clawproto.events import Event, FrameReceived
from clawproto.instant import Instant
from clawproto.session import Session
from clawproto.testing.conformance import run_check
from clawproto.testing.peer import CHAT, Peer
from clawproto.testing.stage import POLICY, Scene, raises
from clawproto_io import setup
from clawproto_io.stores import MemoryStore
from tests.integration.driver_adapters import ADAPTERS, PairingAdapter

either = pytest.mark.parametrize("driver", ADAPTERS, ids=lambda adapter: adapter.name)


@pytest.mark.rule("REF-48")
def test_the_end_of_asyncio_run_waits_for_a_rotation() -> None:
    """The main function is over while another task holds the session: ``asyncio.run`` cancels every task there is, in
    the middle of a refresh."""
    with Peer() as peer:
        peer.refresh_gate.clear()
        store = MemoryStore(peer.credentials())
        tasks: list[asyncio.Task[None]] = []

        async def hold() -> None:
            async with clawproto_asyncio.connect(store, policy=POLICY) as client:
                await client.wait_ready()
                await client.refresh()

        async def main() -> None:
            tasks.append(asyncio.create_task(hold()))
            await _until(lambda: peer.redeemed)
            threading.Timer(0.2, peer.refresh_gate.set).start()

        asyncio.run(main())
        assert store.credentials is not None
        assert store.credentials.tokens is not None
        assert store.credentials.tokens.access.reveal() == peer.pair[0]


def test_cancelling_every_task_by_hand_ends_the_session_in_good_order() -> None:
    with Peer() as peer:
        store = MemoryStore(peer.credentials())

        async def hold() -> None:
            async with clawproto_asyncio.connect(store, policy=POLICY) as client:
                await client.wait_ready()
                async for _ in client:
                    pass

        async def main() -> None:
            holding = asyncio.create_task(hold())
            await _until(peer.acked)
            for task in asyncio.all_tasks() - {asyncio.current_task()}:
                task.cancel()
            async with asyncio.timeout(5):
                while others := asyncio.all_tasks() - {asyncio.current_task()}:
                    await asyncio.wait(others)
            assert holding.cancelled()

        asyncio.run(main())


PROGRAM = """
import {loop}, os, signal, sys, threading
import clawproto_{loop}
from clawproto.testing.peer import Peer
from clawproto.testing.stage import POLICY
from clawproto_io.stores import MemoryStore

with Peer() as peer:
    peer.refresh_gate.clear()
    store = MemoryStore(peer.credentials())

    def interrupt():
        os.kill(os.getpid(), signal.SIGINT)
        threading.Timer(0.3, peer.refresh_gate.set).start()

    peer.on_redeem = threading.Timer(0.1, interrupt).start

    async def main():
        async with clawproto_{loop}.connect(store, policy=POLICY) as client:
            await client.wait_ready()
            await client.refresh()
            print("not reached")

    try:
        {loop}.run({main})
    except KeyboardInterrupt:
        print("interrupted")
    print(store.credentials.tokens.access.reveal() == peer.pair[0])
"""


@pytest.mark.rule("REF-32", "REF-48")
@pytest.mark.parametrize(("loop", "main"), [("asyncio", "main()"), ("trio", "main")])
def test_an_interrupt_from_the_keyboard_waits_for_a_rotation(loop: str, main: str) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM.format(loop=loop, main=main)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        # Where the tests were started in the background, the interrupt is ignored, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert done.stdout.split("\n") == ["interrupted", "True", ""], done.stdout + done.stderr


class Defective(Session):
    """Raises where no session should."""

    armed = False

    def handle(self, event: Event, now: Instant) -> tuple[Effect, ...]:
        if self.armed and isinstance(event, FrameReceived):
            raise ZeroDivisionError
        return super().handle(event, now)


@either
def test_a_defect_ends_the_session_and_is_not_hidden(driver: PairingAdapter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(setup, "Session", Defective)

    async def check(scene: Scene) -> None:
        async def hold() -> None:
            async with scene.connect() as client:
                await client.wait_ready()
                Defective.armed = True
                scene.peer.message("hi", 1)
                await raises(errors.DriverFailed, lambda: _iterate(client))
                await raises(errors.DriverFailed, client.wait_ready)

        try:
            failure = await raises(errors.DriverFailed, hold)
        finally:
            Defective.armed = False
        cause = failure.__cause__
        while isinstance(cause, BaseExceptionGroup):
            cause = cause.exceptions[0]
        assert isinstance(cause, ZeroDivisionError)

    run_check(driver, check)


async def _until(condition: Callable[[], object]) -> None:
    while not condition():
        await asyncio.sleep(0.01)


async def _iterate(client: Any) -> None:
    async for _ in client:
        pass


@pytest.mark.rule("AUTH-9")
@either
def test_no_token_is_logged_at_any_level(driver: PairingAdapter, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    for name in ("clawproto", "websockets", "httpx2", "httpcore2", "asyncio"):
        caplog.set_level(logging.DEBUG, name)
    tokens: list[str] = []

    async def check(scene: Scene) -> None:
        tokens.extend(scene.peer.pair)
        async with scene.connect() as client:
            await client.wait_ready()
            await client.refresh()
            tokens.extend(scene.peer.pair)
            await client.request("GET", "/v1/users/me")
            await client.send(CHAT, "hello")
            scene.peer.cuts()
            await scene.until(lambda: len(scene.peer.presented) == 2)
            await client.wait_ready()
            scene.peer.verdicts.append(10003)
            await raises(errors.LoggedOut, client.refresh)

    run_check(driver, check)
    client_records = [
        record for record in caplog.records if not record.name.startswith("websockets.server")
    ]  # the peer's own
    assert any(record.name == f"clawproto.{driver.name}" for record in client_records)
    text = "\n".join(record.getMessage() + repr(record.args) for record in client_records)
    assert len(tokens) == 4
    for token in tokens:
        assert token[:12] not in text
