"""What the application's side of a driver promises."""

from clawproto.app_events import (
    MessageReceived,
    Ready,
)
from clawproto.testing.peer import CHAT
from clawproto.testing.stage import Scene, raises, sending


async def check_sends_wait_for_room(scene: Scene) -> None:
    """No more than ``send_limit`` sends are under way; the others go when there is room."""
    async with scene.connect(send_limit=2) as client:
        await client.wait_ready()
        scene.peer.answers_sends = False

        async def watch() -> None:
            await scene.until(lambda: len(scene.peer.sent("message.send")) == 2)
            await scene.adapter.sleep(0.1)
            assert len(scene.peer.sent("message.send")) == 2
            scene.peer.answers_sends = True
            for frame in scene.peer.sent("message.send"):
                payload = {"message_id": frame["payload"]["message_id"], "accepted_at": 1}
                scene.peer.says("message.ack", payload, trace_id=frame["trace_id"], chat_id=CHAT)

        await scene.adapter.together(watch, *[lambda: sending(client, "hello")] * 5)
    assert len(scene.peer.sent("message.send")) == 5


async def check_explicit_settlement(scene: Scene) -> None:
    """Only what the application names is acknowledged, and only up to the first gap (R2-9)."""
    async with scene.connect(settle="explicit") as client:
        await client.wait_ready()
        for number in range(3):
            scene.peer.message("hi", number)
        first, second, third = [await scene.event(client, MessageReceived) for _ in range(3)]
        await client.settle(first)
        await client.settle(third)
        await scene.until(lambda: scene.peer.acked() == 2)
        await client.settle(second)
        await scene.until(lambda: scene.peer.acked() == 4)


async def check_one_iteration_at_a_time(scene: Scene) -> None:
    """A second task that iterates is told so, and the first one goes on."""
    async with scene.connect() as client:
        await client.wait_ready()
        await scene.event(client, Ready)
        got: list[object] = []

        async def first() -> None:
            got.append(await scene.event(client, MessageReceived))

        async def second() -> None:
            await scene.adapter.sleep(0.05)
            await raises(RuntimeError, client.__anext__)
            scene.peer.message("hi", 1)

        await scene.adapter.together(first, second)
        assert len(got) == 1


async def check_a_failing_observer_breaks_nothing(scene: Scene) -> None:
    """It is logged, and the session goes on."""

    def observe(*_: object) -> None:
        raise ZeroDivisionError

    async with scene.connect(observer=observe) as client:
        await client.wait_ready()
        await client.send(CHAT, "hello")


async def check_notices_come_at_once(scene: Scene) -> None:
    """Everything but messages is told whoever iterates; a listener that fails breaks nothing."""
    told: list[str] = []

    def listen(event: object) -> None:
        told.append(type(event).__name__)
        raise ZeroDivisionError

    async with scene.connect(on_notice=listen) as client:
        await client.wait_ready()
        scene.peer.message("hi", 1)
        await scene.event(client, MessageReceived)
        assert "Ready" in told and "MessageReceived" not in told
        await client.send(CHAT, "hello")
