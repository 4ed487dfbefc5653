"""What a driver does with its sockets."""

import threading
from collections.abc import Callable

from clawproto.app_events import (
    Disconnected,
    FrameRejected,
    MessageReceived,
    Ready,
    TakenOver,
)
from clawproto.mailbox import InboxLimit
from clawproto.testing.stage import Scene, noise, sending


async def check_a_clogged_write_does_not_hold_up_the_end(scene: Scene) -> None:
    """The peer reads nothing more while megabytes are under way: closing is still bounded (CLOSE-12)."""
    async with scene.connect() as client:
        await client.wait_ready()
        scene.peer.reading.clear()

        async def leave(cancel: Callable[[], None]) -> None:
            async def clog() -> None:
                await scene.adapter.sleep(0.3)
                cancel()

            text = noise(800_000)
            await scene.adapter.together(*[lambda: sending(client, text)] * 24, clog)

        assert await scene.adapter.cancelled(leave)
        assert len(scene.peer.sent("message.send")) < 24, "nothing was clogged"
        await scene.adapter.within(3.0, client.aclose)


async def check_a_clogged_write_holds_up_no_reading(scene: Scene) -> None:
    """While nothing can be written, what arrives is still delivered."""
    async with scene.connect() as client:
        await client.wait_ready()
        scene.peer.reading.clear()

        async def read(cancel: Callable[[], None]) -> None:
            async def listen() -> None:
                await scene.adapter.sleep(0.2)
                scene.peer.message("hi", 1)
                await scene.event(client, MessageReceived)
                cancel()

            text = noise(800_000)
            await scene.adapter.together(*[lambda: sending(client, text)] * 24, listen)

        assert await scene.adapter.cancelled(read)
        scene.peer.reading.set()


async def check_a_full_inbox_stops_the_reading_and_nothing_is_lost(scene: Scene) -> None:
    """Nothing beyond what was handed over is acknowledged; once there is room, everything comes, in order (R2-9)."""
    async with scene.connect(inbox_limit=InboxLimit(events=8)) as client:
        await client.wait_ready()
        await scene.until(scene.peer.acked)
        for number in range(200):
            scene.peer.message(f"text {number}", number)
        await scene.adapter.sleep(0.2)
        assert scene.peer.acked() == 1
        got: list[str] = []
        while len(got) < 200:
            event = await scene.event(client, MessageReceived)
            got.append(event.message.message_id)
            acked = scene.peer.acked()
            assert acked <= len(got), "acknowledged before it was handed over"
    assert got == [f"msg-{number}" for number in range(200)]
    await scene.until(lambda: scene.peer.acked() == 201)


async def check_a_full_inbox_does_not_hold_up_the_end(scene: Scene) -> None:
    """Nobody iterates, inbox and socket are full: leaving is still quick, and nothing unread is acknowledged."""

    async def hold() -> None:
        async with scene.connect(inbox_limit=InboxLimit(events=2)) as client:
            await client.wait_ready()
            for number in range(200):
                scene.peer.message(f"text {number}", number)
            await scene.adapter.sleep(0.1)

    await scene.adapter.within(3.0, hold)
    assert scene.peer.acked() <= 1


async def check_the_end_of_the_stream_at_every_stage_of_the_handshake(scene: Scene) -> None:
    """Each is a failed attempt like any other; the session comes through in the end
    (HS-19, CLOSE-9, AUTH-7)."""
    scene.peer.stages.extend(["drop-upgrade", "redirect", "drop", "drop-after-challenge", "drop-after-connect"])
    async with scene.connect() as client:
        await client.wait_ready()
    assert len(scene.peer.upgrades) == 6
    assert len(scene.peer.presented) == 2


async def check_a_silent_peer_is_given_up(scene: Scene) -> None:
    """The upgrade succeeds and nothing follows: the handshake deadline drops the socket
    (HS-4)."""
    scene.peer.stages.append("silent")
    async with scene.connect(changes={"handshake_timeout_ms": 200}) as client:
        await client.wait_ready()
    assert len(scene.peer.upgrades) == 2


async def check_takeover(scene: Scene) -> None:
    """4001 is told, and the way back keeps its distance (CLOSE-5)."""
    async with scene.connect() as client:
        await client.wait_ready()
        scene.peer.closes(4001, "takeover")
        event = await scene.event(client, TakenOver)
        assert event.code == 4001 and event.retry_in_ms >= 100
        await scene.event(client, Ready)
    assert len(scene.peer.presented) == 2


async def check_close_codes_arrive(scene: Scene) -> None:
    """The code of the CLOSE frame, and 1006 where there was none (CLOSE-2)."""
    async with scene.connect() as client:
        await client.wait_ready()
        scene.peer.closes(4321, "why")
        event = await scene.event(client, Disconnected)
        assert (event.code, event.reason) == (4321, "why")
        await scene.event(client, Ready)
        scene.peer.cuts()
        event = await scene.event(client, Disconnected)
        assert event.code == 1006


async def check_the_upgrade_carries_no_token(scene: Scene) -> None:
    """Neither in the address nor in a header, and no subprotocol (AUTH-2); the operator's headers go along."""
    async with scene.connect(headers=[("X-Route", "blue")]) as client:
        await client.wait_ready()
    path, headers = scene.peer.upgrades[0]
    assert path == "/ws"
    assert headers["x-route"] == "blue"
    assert not {"authorization", "sec-websocket-protocol"} & set(headers)
    assert scene.peer.pair[0] not in repr(scene.peer.upgrades)


async def check_pings_are_answered_below(scene: Scene) -> None:
    """The library answers control pings; the session never hears of them (HB-2)."""
    seen: list[object] = []

    def observe(_now: object, event: object, _effects: object, _state: object) -> None:
        seen.append(event)

    async with scene.connect(observer=observe) as client:
        await client.wait_ready()
        await scene.until(scene.peer.acked)
        count = len(seen)
        answers: list[bool] = []
        thread = threading.Thread(target=lambda: answers.append(scene.peer.pings()))
        thread.start()
        await scene.until(lambda: not thread.is_alive())
        assert answers == [True]
        assert len(seen) == count


async def check_bytes_that_are_no_text_close_nothing(scene: Scene) -> None:
    """A text frame that is not UTF-8 is set aside like any other that cannot be read (ENV-12)."""
    async with scene.connect() as client:
        await client.wait_ready()
        scene.peer.garbles()
        await scene.event(client, FrameRejected)
        scene.peer.message("hi", 1)
        await scene.event(client, MessageReceived)
    assert len(scene.peer.presented) == 1


async def check_an_oversized_downlink_costs_its_socket(scene: Scene) -> None:
    """It is not read into memory, and the code that the driver itself sent is not taken for the hub's."""
    async with scene.connect(changes={"downlink_limit": 20_000}) as client:
        await client.wait_ready()
        scene.peer.message(noise(60_000), 1)
        event = await scene.event(client, Disconnected)
        assert event.code == 1006, event
        await scene.event(client, Ready)
