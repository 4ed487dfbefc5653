"""What a message store is for: sends outlive the process, and what is acknowledged is on the disk."""

from collections.abc import Callable

from clawproto.app_events import AppEvent, MessageReceived, MessagesSaved, MessagesUnsaved, Ready, SendSettled
from clawproto.errors import SessionClosed, SessionTakenOver
from clawproto.keeping import Arrival, Change, KeptSend
from clawproto.mailbox import InboxLimit
from clawproto.testing.client_api import ClientApi
from clawproto.testing.peer import CHAT
from clawproto.testing.stage import Scene, interrupting, raises, sending
from clawproto_io.stores import MemoryMessageStore


def _sent(scene: Scene) -> list[tuple[str, object]]:
    return [(frame["trace_id"], frame["payload"]) for frame in scene.peer.sent("message.send")]


async def check_a_send_is_kept_before_it_is_transmitted(scene: Scene) -> None:
    """Not a byte of it leaves before; when the store has recovered, it goes by itself (SEND-5)."""
    messages = MemoryMessageStore()
    async with scene.connect(messages=messages) as client:
        await client.wait_ready()
        messages.full = True

        async def watch() -> None:
            await scene.event(client, MessagesUnsaved)
            assert scene.peer.sent("message.send") == []
            messages.full = False
            await scene.event(client, MessagesSaved)

        await scene.adapter.together(watch, lambda: sending(client, "hello"))
        await scene.until(lambda: messages.filing.decisions)
    assert len(_sent(scene)) == 1
    assert not messages.filing.sends


async def check_a_restart_sends_the_undecided_ones_again(scene: Scene) -> None:
    """Under the same ids and with the same bytes, in order, before anything new (SEND-5, SEND-15, SEND-17)."""
    messages = MemoryMessageStore()
    scene.peer.answers_sends = False
    async with scene.connect(messages=messages) as client:
        await client.wait_ready()

        async def lost(text: str) -> None:
            error = await raises(SessionClosed, lambda: client.send(CHAT, text))
            assert error.kept and error.transmitted

        async def end() -> None:
            await scene.until(lambda: len(_sent(scene)) == 2)
            await client.aclose()

        await scene.adapter.together(lambda: lost("one"), lambda: lost("two"), end)
    before = _sent(scene)
    scene.peer.answers_sends = True
    async with scene.connect(messages=messages) as client:
        receipt = await client.send(CHAT, "three")
        settled = [await scene.event(client, SendSettled) for _ in range(2)]
    assert all(event.accepted for event in settled)
    after = _sent(scene)[2:]
    assert after[:2] == before
    assert [payload["message_id"] for _, payload in after[2:] if isinstance(payload, dict)] == [receipt.message_id]
    assert not messages.filing.sends


async def check_what_is_acknowledged_is_in_the_store(scene: Scene) -> None:
    """However slow the store is (R2-9, R2-10)."""
    messages = MemoryMessageStore()
    messages.slow = 0.1
    async with scene.connect(messages=messages, settle="explicit") as client:
        await client.wait_ready()
        scene.peer.message("hi", 1)
        await scene.until(lambda: _was_given(messages, Arrival))
        assert scene.peer.acked() < 2
        await scene.until(lambda: scene.peer.acked() == 2)
        assert [event.message_id for event in _received(messages)] == ["msg-1"]
        event = await scene.event(client, MessageReceived)
        await client.settle(event)
        await scene.until(lambda: not _received(messages))


def _received(messages: MemoryMessageStore) -> list[MessageReceived]:
    return [event for event in messages.filing.waiting.values() if isinstance(event, MessageReceived)]


async def check_a_commit_that_fails_loses_nothing(scene: Scene) -> None:
    """Neither acknowledged nor handed out until it is stored, and then without another connection (R2-10, REF-10)."""
    messages = MemoryMessageStore()
    async with scene.connect(messages=messages) as client:
        await client.wait_ready()
        messages.full = True
        for number in range(3):
            scene.peer.message("hi", number)
        await scene.event(client, MessagesUnsaved)
        assert scene.peer.acked() < 2
        messages.full, messages.lost_reports = False, 1
        got = [await scene.event(client, MessageReceived) for _ in range(3)]
        await scene.until(lambda: scene.peer.acked() == 4)
    assert [event.message_id for event in got] == ["msg-0", "msg-1", "msg-2"]
    assert len(scene.peer.presented) == 1


async def check_a_full_inbox_waits_for_the_store(scene: Scene) -> None:
    """While nothing can be stored, reading stops at the limit; afterwards everything comes (R2-10)."""
    messages = MemoryMessageStore()
    async with scene.connect(messages=messages, inbox_limit=InboxLimit(events=4)) as client:
        await client.wait_ready()
        await scene.event(client, Ready)
        messages.full = True
        for number in range(40):
            scene.peer.message("hi", number)
        await scene.until(lambda: len(messages.commits) > 3)
        messages.full = False
        for number in range(40):
            event = await scene.event(client, MessageReceived)
            assert event.message_id == f"msg-{number}"
    assert len(scene.peer.presented) == 1


async def check_the_backlog_is_handed_out_first(scene: Scene) -> None:
    """After a restart what was not settled comes before anything else, and only that (R2-9)."""
    messages = MemoryMessageStore()
    async with scene.connect(messages=messages, settle="explicit") as client:
        await client.wait_ready()
        for number in range(3):
            scene.peer.message("hi", number)
        got = [await scene.event(client, MessageReceived) for _ in range(3)]
        await client.settle(got[1])
        await scene.until(lambda: scene.peer.acked() == 4)
    async with scene.connect(messages=messages) as client:
        first, second = await _next(client), await _next(client)
        assert (first, second) == (got[0], got[2])
        await scene.event(client, Ready)
    assert not _received(messages)


async def check_a_backlog_larger_than_the_inbox(scene: Scene) -> None:
    """It is handed out, and only then is anything read (R2-9)."""
    messages = MemoryMessageStore()
    async with scene.connect(messages=messages, settle="explicit") as client:
        await client.wait_ready()
        for number in range(6):
            scene.peer.message("hi", number)
        await scene.until(lambda: scene.peer.acked() == 7)
    async with scene.connect(messages=messages, inbox_limit=InboxLimit(events=4)) as client:
        got = [await scene.event(client, MessageReceived) for _ in range(6)]
        assert [event.message_id for event in got] == [f"msg-{number}" for number in range(6)]
        await scene.event(client, Ready)
        await client.send(CHAT, "hello")
        scene.peer.message("hi", 6)
        assert (await scene.event(client, MessageReceived)).message_id == "msg-6"


async def _next(client: ClientApi) -> AppEvent:
    return await client.__anext__()


async def check_the_end_waits_for_a_commit_under_way(scene: Scene) -> None:
    """A send that is on its way to the disk at the end is told that it was kept (SEND-15)."""
    messages = MemoryMessageStore()
    async with scene.connect(messages=messages) as client:
        await client.wait_ready()
        messages.slow = 0.3

        async def lost() -> None:
            error = await raises(SessionClosed, lambda: client.send(CHAT, "late"))
            assert error.kept and not error.transmitted

        async def end() -> None:
            await scene.until(lambda: _was_given(messages, KeptSend))
            await client.aclose()

        await scene.adapter.together(lost, end)
    assert len(messages.filing.sends) == 1
    assert _sent(scene) == []


async def check_a_store_that_is_lost_ends_the_session(scene: Scene) -> None:
    """Another process has taken over: nothing more can be stored, and nothing is transmitted (SEND-5)."""
    messages = MemoryMessageStore()

    async def session() -> None:
        async with scene.connect(messages=messages) as client:
            await client.wait_ready()
            messages.taken_over = True
            error = await raises(SessionClosed, lambda: client.send(CHAT, "too late"))
            assert not error.kept
            async for _ in client:
                pass

    await raises(SessionTakenOver, session)
    assert _sent(scene) == []


async def check_cancelled_anywhere_what_left_was_kept(scene: Scene) -> None:
    """Wherever the program is cancelled: whatever the peer has got is in the store (SEND-5)."""
    messages = MemoryMessageStore()

    async def everything() -> None:
        async with scene.connect(messages=messages) as client:
            await client.wait_ready()
            await client.send(CHAT, "one")
            scene.peer.message("hi", len(messages.commits))
            await scene.event(client, MessageReceived)
            await client.send(CHAT, "two")

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
        known = messages.filing.sends.keys() | messages.filing.decisions.keys()
        assert {trace_id for trace_id, _ in _sent(scene)} <= known, f"sent and not kept after cancelling at wait {at}"
        assert scene.adapter.leftovers() == [], f"tasks are left over after cancelling at wait {at}"
    assert at > 4, "the program has waited too seldom for this check to mean anything"


def _was_given(messages: MemoryMessageStore, kind: type[Change]) -> bool:
    """Whether a commit had such a change; the first commit of all says whose the store is."""
    return any(isinstance(change, kind) for commit in messages.commits for change in commit)
