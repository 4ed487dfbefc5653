"""How a session ends."""

import threading
from collections.abc import Callable
from contextlib import suppress

from clawproto import errors
from clawproto.app_events import (
    SaveAlarm,
)
from clawproto.testing.peer import CHAT
from clawproto.testing.stage import Scene, raises, refreshing


async def check_leaving_waits_for_a_rotation(scene: Scene) -> None:
    """The server has rotated, the answer is still to come: the block ends after the new pair is saved (REF-32)."""
    scene.peer.refresh_gate.clear()
    async with scene.connect() as client:
        await client.wait_ready()

        async def ask(cancel: Callable[[], None]) -> None:
            async def give_up() -> None:
                await scene.until(lambda: scene.peer.redeemed)
                cancel()

            await scene.adapter.together(lambda: refreshing(client), give_up)

        await scene.adapter.cancelled(ask)
        threading.Timer(0.2, scene.peer.refresh_gate.set).start()
    assert scene.peer.refresh_gate.is_set(), "the block ended before the answer came"
    assert await scene.stored_refresh() == scene.peer.pair[1]


async def check_a_cancelled_block_waits_for_a_rotation(scene: Scene) -> None:
    """The same when the block is cancelled, and cancelled again while it ends (REF-48)."""
    scene.peer.refresh_gate.clear()
    cancels: list[Callable[[], None]] = []

    async def hold(cancel: Callable[[], None]) -> None:
        cancels.append(cancel)
        async with scene.connect() as client:
            await client.wait_ready()
            await client.refresh()

    async def held() -> None:
        assert await scene.adapter.cancelled(hold)
        assert scene.peer.refresh_gate.is_set(), "the block ended before the answer came"

    async def interrupt() -> None:
        await scene.until(lambda: scene.peer.redeemed)
        threading.Timer(0.3, scene.peer.refresh_gate.set).start()
        for _ in range(3):
            cancels[0]()
            await scene.adapter.sleep(0.03)

    await scene.adapter.together(held, interrupt)
    assert await scene.stored_refresh() == scene.peer.pair[1]


async def check_leaving_waits_for_a_save(scene: Scene) -> None:
    """The disk is full when the pair arrives and has room a little later: the pair is saved before the block ends
    (REF-10, REF-32)."""
    async with scene.connect() as client:
        await client.wait_ready()
        scene.fill_disk_at_next_refresh()
        with suppress(errors.RefreshFailed):
            await client.refresh()
        threading.Timer(0.2, lambda: setattr(scene.store, "full", False)).start()
    assert await scene.stored_refresh() == scene.peer.pair[1]


async def check_a_pair_that_cannot_be_saved_is_reported(scene: Scene) -> None:
    """The end is bounded; the loss is an exception, without a token in its text (REF-10, AUTH-9)."""

    async def hold() -> None:
        async with scene.connect(shutdown_timeout=0.3) as client:
            await client.wait_ready()
            scene.fill_disk_at_next_refresh()
            failed = await raises(errors.RefreshFailed, client.refresh)
            assert scene.peer.pair[1] not in repr(failed)
            await scene.event(client, SaveAlarm)

    unsaved = await raises(errors.RotationUnsaved, hold)
    assert scene.peer.pair[0] not in str(unsaved)
    assert scene.peer.pair[1] not in str(unsaved)


async def check_the_error_of_the_block_comes_out(scene: Scene) -> None:
    """As it is: no group around it, and its cause intact."""
    cause = KeyError("cause")
    error = ValueError("mine")

    async def hold() -> None:
        async with scene.connect() as client:
            await client.wait_ready()
            raise error from cause

    assert await raises(ValueError, hold) is error
    assert error.__cause__ is cause


async def check_closing_from_another_task_ends_everything(scene: Scene) -> None:
    """Iteration ends, waiting calls fail, later ones as well, and closing twice is harmless."""
    async with scene.connect() as client:
        await client.wait_ready()
        scene.peer.answers_sends = False
        ended: list[str] = []

        async def iterate() -> None:
            async for _ in client:
                pass
            ended.append("iteration")

        async def send() -> None:
            closed = await raises(errors.SessionClosed, lambda: client.send(CHAT, "hello"))
            assert closed.transmitted
            ended.append("send")

        async def close() -> None:
            await scene.until(lambda: scene.peer.sent("message.send"))
            await client.aclose()
            await client.aclose()

        await scene.adapter.together(iterate, send, close)
        assert sorted(ended) == ["iteration", "send"]
        for call in (lambda: client.send(CHAT, "late"), client.wait_ready, client.refresh):
            await raises(errors.SessionClosed, call)
        client.set_typing(CHAT, True)
        assert [event async for event in client] == []


async def check_leaving_at_once_ends_at_once(scene: Scene) -> None:
    """A socket that is dropped before it was begun holds nothing up (CLOSE-12)."""
    for _ in range(3):

        async def leave() -> None:
            async with scene.connect():
                pass

        await scene.adapter.within(3, leave)
