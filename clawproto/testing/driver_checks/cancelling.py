"""What a cancellation leaves behind."""

import threading
from collections.abc import Callable

from clawproto import results
from clawproto.app_events import (
    TokensRotated,
)
from clawproto.testing.peer import CHAT
from clawproto.testing.stage import Scene, interrupting, sending


async def check_cancel_at_every_await(scene: Scene) -> None:
    """Wherever the caller is cancelled, nothing is left over and no rotation is lost (REF-48, REF-32)."""

    async def everything() -> None:
        async with scene.connect() as client:
            await client.wait_ready()
            await client.send(CHAT, "one")
            await client.refresh()
            await client.request("GET", "/v1/users/me")
            await scene.event(client, TokensRotated)
            await client.aclose()

    at, reached = 0, True
    while reached:
        at, reached = at + 1, False

        async def once(cancel: Callable[[], None], at: int = at) -> None:
            def interrupt() -> None:
                nonlocal reached
                reached = True
                cancel()

            await interrupting(everything(), at, interrupt)

        await scene.adapter.cancelled(once)
        assert await scene.stored_refresh() == scene.peer.pair[1], f"a rotation was lost by cancelling at wait {at}"
        assert scene.adapter.leftovers() == [], f"tasks are left over after cancelling at wait {at}"
    assert at > 5, "the program has waited too seldom for this check to mean anything"


async def check_a_cancelled_send_is_sent(scene: Scene) -> None:
    """Giving up the wait does not take the message back, and the session goes on."""
    async with scene.connect() as client:
        await client.wait_ready()
        scene.peer.answers_sends = False

        async def send(cancel: Callable[[], None]) -> None:
            await interrupting(sending(client, "given up"), 1, cancel)

        await scene.adapter.cancelled(send)
        scene.peer.answers_sends = True
        receipt = await client.send(CHAT, "kept")
    messages = scene.peer.sent("message.send")
    texts = [frame["payload"]["message"]["body"]["fragments"][0]["text"] for frame in messages]
    assert texts in (["kept"], ["given up", "kept"]), texts
    assert messages[-1]["payload"]["message_id"] == receipt.message_id


async def check_a_cancelled_refresh_goes_on(scene: Scene) -> None:
    """The flight belongs to the session: a caller that leaves changes nothing, and the next one joins it
    (REF-48, REF-12)."""
    async with scene.connect() as client:
        await client.wait_ready()
        scene.peer.refresh_gate.clear()

        async def leave(cancel: Callable[[], None]) -> None:
            async def refresh() -> None:
                await client.refresh()

            async def interrupt() -> None:
                await scene.until(lambda: scene.peer.redeemed)
                cancel()

            await scene.adapter.together(refresh, interrupt)

        assert await scene.adapter.cancelled(leave)
        threading.Timer(0.05, scene.peer.refresh_gate.set).start()
        outcome = await client.refresh()
        assert isinstance(outcome, results.RefreshSucceeded)
    assert len(scene.peer.redeemed) == 1
    assert await scene.stored_refresh() == scene.peer.pair[1]
