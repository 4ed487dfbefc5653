"""Rotations on a real loop."""

from contextlib import suppress

from clawproto import errors
from clawproto.app_events import (
    CredentialsNeeded,
    LoggedOut,
    Ready,
    SaveAlarm,
    TokensRotated,
)
from clawproto.testing.peer import CHAT
from clawproto.testing.stage import Scene, access_token, raises
from clawproto_io.stores import MemoryStore


async def check_refresh_while_reconnecting(scene: Scene) -> None:
    """No socket is opened while a refresh is in flight, and the next one presents the new token (REF-29, HS-10)."""
    async with scene.connect() as client:
        await client.wait_ready()
        scene.peer.refresh_gate.clear()
        old, new = scene.peer.pair[0], ""

        async def refresh() -> None:
            await client.refresh()

        async def cut() -> None:
            nonlocal new
            await scene.until(lambda: scene.peer.redeemed)
            scene.peer.cuts()
            await scene.adapter.sleep(0.3)  # several times the backoff
            assert scene.peer.presented == [old]
            new = scene.peer.pair[0]
            scene.peer.refresh_gate.set()

        await scene.adapter.together(refresh, cut)
        await scene.until(lambda: len(scene.peer.presented) > 1)
        await client.wait_ready()
    assert scene.peer.presented == [old, new]


async def check_a_failed_save_is_repeated_alone(scene: Scene) -> None:
    """One refresh call, however often the disk refuses; the new pair is in force once it is saved (REF-9, REF-10)."""
    async with scene.connect() as client:
        await client.wait_ready()
        scene.fill_disk_at_next_refresh()
        with suppress(errors.RefreshFailed):
            await client.refresh()
        await scene.event(client, SaveAlarm)
        assert access_token(client) == scene.peer.presented[0]
        scene.store.full = False
        await scene.event(client, TokensRotated)
        assert access_token(client) == scene.peer.pair[0]
    assert len(scene.peer.redeemed) == 1
    assert await scene.stored_refresh() == scene.peer.pair[1]


async def check_a_late_answer_changes_nothing(scene: Scene) -> None:
    """A call is over when its time is up; what comes later goes nowhere, and the next call is answered (REF-43)."""
    async with scene.connect() as client:
        await client.wait_ready()
        scene.peer.rest_gate.clear()
        error = await raises(errors.RestFailed, lambda: client.request("GET", "/v1/slow", timeout=0.2))
        assert error.sent
        scene.peer.rest_gate.set()
        answer = await client.request("GET", "/v1/fast")
        assert answer.data == {"path": "/v1/fast"}


async def check_a_refresh_that_is_not_answered_is_repeated(scene: Scene) -> None:
    """Its timeout ends the flight as failed for now, and the session asks again (REF-36, REF-43)."""
    scene.peer.verdicts.extend([1] * 100)  # so that no rotation is lost meanwhile
    before = await scene.stored_refresh()
    async with scene.connect(changes={"refresh_timeout_ms": 200}) as client:
        await client.wait_ready()
        scene.peer.refresh_gate.clear()
        error = await raises(errors.RefreshFailed, client.refresh)
        assert error.sent
        scene.peer.refresh_gate.set()
        await scene.until(lambda: len(scene.peer.verdicts) < 100)  # the abandoned request has got its answer
        scene.peer.verdicts.clear()
        while await scene.stored_refresh() == before:
            try:
                await client.refresh()
            except errors.RefreshFailed:
                await scene.adapter.sleep(0.02)
    assert await scene.stored_refresh() == scene.peer.pair[1]


async def check_callers_share_one_flight(scene: Scene) -> None:
    """Ten callers, one HTTP call, one outcome (REF-12)."""
    async with scene.connect() as client:
        await client.wait_ready()
        scene.peer.refresh_gate.clear()
        outcomes: list[object] = []

        async def refresh() -> None:
            outcomes.append(await client.refresh())

        async def answer() -> None:
            await scene.until(lambda: scene.peer.redeemed)
            await scene.adapter.sleep(0.05)
            scene.peer.refresh_gate.set()

        await scene.adapter.together(*[refresh] * 10, answer)
        assert len(scene.peer.redeemed) == 1
        assert len(set(map(id, outcomes))) == 1 or outcomes == [outcomes[0]] * 10


async def check_a_rejected_rest_call_is_repeated_with_new_tokens(scene: Scene) -> None:
    """401, one refresh, once more (REST-4)."""
    async with scene.connect() as client:
        await client.wait_ready()
        scene.peer.pair = ("another-access-token", scene.peer.pair[1])
        answer = await client.request("POST", "/v1/things", json={"a": 1})
        assert answer.data == {"path": "/v1/things"}
    assert len(scene.peer.redeemed) == 1


async def check_logout(scene: Scene) -> None:
    """A refused refresh ends the session: told once, waiting calls fail, the pair is gone and the identity kept (OUT-2,
    OUT-3, OUT-11)."""
    scene.peer.verdicts.append(10003)
    async with scene.connect() as client:
        await client.wait_ready()
        scene.peer.answers_sends = False

        async def send() -> None:
            await raises(errors.LoggedOut, lambda: client.send(CHAT, "hello"))

        async def refresh() -> None:
            await scene.until(lambda: scene.peer.sent("message.send"))
            error = await raises(errors.LoggedOut, client.refresh)
            assert error.event is None or error.event.code == 10003

        await scene.adapter.together(send, refresh)
        events = [event async for event in client]
        assert isinstance(events[-1], LoggedOut)
        assert sum(isinstance(event, LoggedOut) for event in events) == 1
        await raises(errors.LoggedOut, client.wait_ready)
        assert client.identity is not None
    stored = await scene.store.load()
    assert stored is not None and stored.tokens is None
    assert stored.identity.user_id == "usr_agent"


async def check_new_credentials_revive_a_session_that_waits(scene: Scene) -> None:
    """With ``on_logout="wait"`` a pairing by somebody else is noticed, and the session goes on (OUT-8)."""
    scene.peer.verdicts.append(10003)
    async with scene.connect(on_logout="wait") as client:
        await client.wait_ready()
        await raises(errors.LoggedOut, client.refresh)
        await scene.event(client, LoggedOut)
        stored = await scene.store.load()
        assert stored is not None
        scene.peer.pair = ("access-again", "refresh-again")
        tokens = scene.peer.credentials().tokens
        assert tokens is not None
        await scene.store.save(stored.with_tokens(tokens, stored.generation + 1), stored.generation)
        await client.wait_ready()
        await scene.event(client, Ready)
    assert scene.peer.presented[-1] == "access-again"


async def check_an_unpaired_agent_is_told(scene: Scene) -> None:
    """An empty store is no error: the application is told, and calls say why they fail (OUT-10)."""
    scene.store.inner = MemoryStore()
    async with scene.connect() as client:
        await raises(errors.NotPaired, client.wait_ready)
        await scene.event(client, CredentialsNeeded)
        await raises(errors.NotPaired, lambda: client.request("GET", "/v1/users/me"))
        await raises(errors.NotPaired, lambda: client.send(CHAT, "hello"))
