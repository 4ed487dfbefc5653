"""Where the application's listeners are called: on the session's loop, and anything made for that loop works there."""

import asyncio

import anyio
import pytest
import sniffio
import trio

from clawproto.app_events import AppEvent, Disconnected, MessageReceived, Ready
from clawproto.effects import Effect
from clawproto.events import Event, Tick
from clawproto.instant import Instant
from clawproto.testing.conformance import run_check
from clawproto.testing.stage import Scene
from tests.integration.driver_adapters import WITH_UVLOOP, PairingAdapter


@pytest.mark.parametrize("driver", WITH_UVLOOP, ids=lambda adapter: adapter.name)
def test_listeners_know_their_loop(driver: PairingAdapter) -> None:
    expected = "trio" if driver.name == "trio" else "asyncio"
    noticed: list[type[AppEvent]] = []
    observed: set[type[Event]] = set()

    def check_loop() -> None:
        assert sniffio.current_async_library() == expected
        assert anyio.current_time() > 0
        if expected == "asyncio":
            asyncio.get_running_loop()
        else:
            trio.lowlevel.current_task()

    def notice(event: AppEvent) -> None:
        check_loop()
        noticed.append(type(event))

    def observe(_now: Instant, event: Event, _effects: tuple[Effect, ...], _state: object) -> None:
        check_loop()
        observed.add(type(event))

    async def check(scene: Scene) -> None:
        async with scene.connect(on_notice=notice, observer=observe) as client:
            await client.wait_ready()
            scene.peer.message("hello", 1)
            async for event in client:
                if isinstance(event, MessageReceived):
                    break
            scene.peer.cuts()
            await scene.until(lambda: noticed.count(Ready) == 2)

    run_check(driver, check)
    assert Disconnected in noticed and Tick in observed, "each of these was listened to without an error"
