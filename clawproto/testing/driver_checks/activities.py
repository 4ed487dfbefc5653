"""Typing, streams, marks and settling, as the application uses them."""

from collections.abc import Callable
from typing import Any

from clawproto import errors
from clawproto.app_events import MessageReceived
from clawproto.mailbox import InboxLimit
from clawproto.testing.client_api import ClientApi
from clawproto.testing.peer import CHAT
from clawproto.testing.stage import Scene, interrupting, raises

STREAM = ("message.created", "message.add", "message.done", "message.failed")


class _OnPurposeError(Exception):
    pass


def _typing(scene: Scene) -> list[bool]:
    return [frame["payload"]["is_typing"] for frame in scene.peer.sent("typing.update")]


def _pieces(scene: Scene) -> list[tuple[str, str]]:
    """The frames of streams, as (what, message id)."""
    found: list[dict[str, Any]] = [frame for event in STREAM for frame in scene.peer.sent(event)]
    return [(frame["event"].removeprefix("message."), frame["payload"]["message_id"]) for frame in found]


def _whats(scene: Scene) -> list[str]:
    return [what for what, _ in _pieces(scene)]


# --- typing --------------------------------------------------------------------------------------------------------


async def check_typing_ends_with_its_block(scene: Scene) -> None:
    """It is shown, repeated, and ended once, also if blocks overlap or the block fails (TYPE-1, TYPE-2)."""
    async with scene.connect(changes={"typing_repeat_ms": 50}) as client:
        await client.wait_ready()
        with client.typing(CHAT):
            with client.typing(CHAT):
                await scene.until(lambda: len(_typing(scene)) >= 2)
            await scene.adapter.sleep(0.02)
            assert False not in _typing(scene)
        await scene.until(lambda: _typing(scene)[-1] is False)

        async def fail() -> None:
            with client.typing(CHAT):
                raise _OnPurposeError

        await raises(_OnPurposeError, fail)
        await scene.until(lambda: _typing(scene)[-2:] == [True, False])
        await scene.adapter.sleep(0.1)
    assert _typing(scene).count(False) == 2


async def check_typing_ends_with_a_cancellation_and_with_the_session(scene: Scene) -> None:
    """Whoever is cancelled ceases to be shown, and so does whoever leaves (TYPE-1, CLOSE-12)."""
    async with scene.connect() as client:
        await client.wait_ready()

        async def wait(cancel: Callable[[], None]) -> None:
            with client.typing(CHAT):
                cancel()
                await scene.adapter.sleep(10)

        assert await scene.adapter.cancelled(wait)
        await scene.until(lambda: _typing(scene) == [True, False])
        client.set_typing(CHAT, True)
    await scene.until(lambda: _typing(scene) == [True, False, True, False])
    client.set_typing(CHAT, True)
    with client.typing(CHAT):
        pass
    await scene.adapter.sleep(0.05)
    assert len(_typing(scene)) == 4


# --- streams -------------------------------------------------------------------------------------------------------


async def _write(client: ClientApi) -> str:
    async with client.stream(CHAT) as stream:
        await stream.append("Hello ")
        await stream.append("you")
    return stream.message_id


async def check_a_stream_is_completed_by_its_message(scene: Scene) -> None:
    """The pieces, the end, and a message under the same id, whose receipt is there (STREAM-2, STREAM-12)."""
    async with scene.connect() as client:
        await client.wait_ready()
        async with client.stream(CHAT) as stream:
            await stream.append("Hello ")
            await stream.append("you")
            assert stream.text == "Hello you" and stream.receipt is None
        (message,) = scene.peer.sent("message.send")
        assert message["payload"]["message_id"] == stream.message_id
        assert message["payload"]["message"]["body"]["fragments"] == [{"kind": "text", "text": "Hello you"}]
        assert stream.receipt is not None and stream.receipt.message_id == stream.message_id
        assert _whats(scene)[0] == "created" and _whats(scene).count("done") == 1

        async with client.stream(CHAT, closing=False) as bare:
            await bare.append("x")
        assert bare.receipt is None
        async with client.stream(CHAT) as empty:
            pass
        await scene.until(lambda: ("failed", empty.message_id) in _pieces(scene))
    await scene.until(lambda: ("done", bare.message_id) in _pieces(scene))
    assert len(scene.peer.sent("message.send")) == 1


async def check_a_stream_fails_with_its_block(scene: Scene) -> None:
    """An exception in the block leaves nothing behind but the end (STREAM-2)."""
    async with scene.connect() as client:
        await client.wait_ready()

        async def fail() -> None:
            async with client.stream(CHAT) as stream:
                await stream.append("Hello")
                raise _OnPurposeError

        await raises(_OnPurposeError, fail)
        await scene.until(lambda: "failed" in _whats(scene))
        assert _whats(scene) == ["created", "add", "failed"] and not scene.peer.sent("message.send")


async def check_a_stream_ends_once_wherever_it_is_cancelled(scene: Scene) -> None:
    """Cancelled anywhere in the block, the stream ends exactly once (STREAM-2, STREAM-8)."""
    async with scene.connect(changes={"stream_interval_ms": 0}) as client:
        await client.wait_ready()
        at, reached = 0, True
        while reached:
            at, reached = at + 1, False

            async def once(cancel: Callable[[], None], at: int = at) -> None:
                def interrupt() -> None:
                    nonlocal reached
                    reached = True
                    cancel()

                async def write() -> None:
                    await _write(client)

                await interrupting(write(), at, interrupt)

            await scene.adapter.cancelled(once)
        await client.send(CHAT, "the last")
    await scene.until(lambda: scene.peer.sent("message.send"))
    pieces = _pieces(scene)
    begun = [message_id for what, message_id in pieces if what == "created"]
    ended = [message_id for what, message_id in pieces if what in ("done", "failed")]
    assert sorted(begun) == sorted(ended) and len(begun) >= 2
    assert at > 2, "the block has waited too seldom for this check to mean anything"


async def check_a_refused_stream_tells_its_author(scene: Scene) -> None:
    """The next piece raises what the hub has said (STREAM-8)."""
    async with scene.connect() as client:
        await client.wait_ready()

        async def write() -> None:
            async with client.stream(CHAT) as stream:
                await stream.append("Hello")
                await scene.until(lambda: scene.peer.sent("message.add"))
                payload = {"code": "bad_request", "message_id": stream.message_id}
                scene.peer.says("message.error", payload, chat_id=CHAT)
                while True:
                    await stream.append("!")
                    await scene.adapter.sleep(0.01)

        error = await raises(errors.SendRejected, write)
        assert error.code == "bad_request"
        assert "done" not in _whats(scene) and not scene.peer.sent("message.send")


async def check_a_broken_connection_loses_no_text(scene: Scene) -> None:
    """The pieces end with the connection; the message comes with the next one (STREAM-5, STREAM-8)."""
    async with scene.connect() as client:
        await client.wait_ready()
        async with client.stream(CHAT) as stream:
            await stream.append("before ")
            await scene.until(lambda: scene.peer.sent("message.add"))
            scene.peer.cuts()
            await scene.until(lambda: not client.is_ready)
            await stream.append("after")
        assert stream.receipt is not None
    (message,) = scene.peer.sent("message.send")
    assert message["payload"]["message"]["body"]["fragments"] == [{"kind": "text", "text": "before after"}]
    assert _whats(scene)[-1] == "failed" and len({message_id for _, message_id in _pieces(scene)}) == 1


# --- settling ------------------------------------------------------------------------------------------------------


async def check_a_message_is_settled_by_itself(scene: Scene) -> None:
    """``message.settle()`` is what the client's ``settle`` is, and harmless when repeated (R2-9, R2-10)."""
    async with scene.connect(settle="explicit") as client:
        await client.wait_ready()
        for number in range(2):
            scene.peer.message("hi", number)
        first: MessageReceived = await scene.event(client, MessageReceived)
        second: MessageReceived = await scene.event(client, MessageReceived)
        await second.settle()
        await first.settle()
        await first.settle()
        await scene.until(lambda: scene.peer.acked() == 3)


async def check_a_rejected_message_holds_nothing_up(scene: Scene) -> None:
    """It goes into quarantine with the reason, and its place is settled (R2-11)."""
    async with scene.connect(settle="explicit") as client:
        await client.wait_ready()
        scene.peer.message("poison", 0)
        message: MessageReceived = await scene.event(client, MessageReceived)
        await message.reject("cannot be stored")
        await scene.until(lambda: scene.peer.acked() == 2)
        (rejected,) = client.quarantined
        assert (rejected.event, rejected.problem) == ("message.send", "cannot be stored")
        assert rejected.message is message
        scene.peer.says("message.recall", {"target_message_id": 7})
        await scene.until(lambda: len(client.quarantined) == 2)
        assert client.quarantined[1].frame is not None


async def check_what_is_not_settled_stops_the_reading(scene: Scene) -> None:
    """An application that takes and does not settle gets no more than the limit, so the hub is never owed too many
    acks (R2-25)."""
    async with scene.connect(settle="explicit", inbox_limit=InboxLimit(events=8)) as client:
        await client.wait_ready()
        for number in range(40):
            scene.peer.message("hi", number)
        held: list[MessageReceived] = []

        async def take() -> None:
            while len(held) < 40:
                held.append(await scene.event(client, MessageReceived))

        async def settle() -> None:
            done = 0
            await scene.until(lambda: len(held) >= 4)
            await scene.adapter.sleep(0.1)
            assert len(held) <= 10, "the limit, and what was on its way"
            while done < 40:
                while done < len(held):
                    await held[done].settle()
                    done += 1
                await scene.adapter.sleep(0.005)

        await scene.adapter.together(take, settle)
        await scene.until(lambda: scene.peer.acked() == 41)


# --- across reconnects ---------------------------------------------------------------------------------------------


async def check_what_was_asked_for_survives_a_reconnect(scene: Scene) -> None:
    """Watched users are watched again, marks that are owed are told (PRES-3, READ-1)."""
    async with scene.connect() as client:
        await client.wait_ready()
        await client.watch_presence("usr_1")
        await scene.until(lambda: len(scene.peer.sent("presence.subscribe")) == 1)
        scene.peer.cuts()
        await scene.until(lambda: not client.is_ready)
        client.mark_read(CHAT, 5)
        client.mark_read(CHAT, 4)
        await scene.until(lambda: len(scene.peer.sent("presence.subscribe")) == 2)
        await scene.until(lambda: scene.peer.sent("message.read"))
    marks = [frame["payload"]["last_read_emitted_at"] for frame in scene.peer.sent("message.read")]
    assert marks == [5]
