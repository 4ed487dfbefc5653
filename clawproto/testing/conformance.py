"""A suite that any driver can be put through: the drivers of this project run it, and a new one should.

Give it a `clawproto.testing.stage.DriverAdapter` for the loop in question, and run every function of `CHECKS`::

    @pytest.mark.parametrize("check", CHECKS)
    def test_conformance(check):
        run_check(MyAdapter(), check)

Each check meets a scripted peer on real sockets and raises AssertionError if the driver does not do what it should.
Rules: AUTH-2, AUTH-9, CLOSE-5, CLOSE-12, ENV-12, HB-2, HB-8, OUT-2, OUT-3, OUT-8, OUT-11, R2-9, REF-9, REF-10, REF-12,
REF-29, REF-32, REF-36, REF-43, REF-48, REST-4, SEND-20.
"""

import threading
from collections.abc import Callable
from typing import Any

from clawproto import errors, results
from clawproto.app_events import (
    CredentialsNeeded,
    Disconnected,
    FrameRejected,
    LoggedOut,
    MessageReceived,
    Ready,
    SaveAlarm,
    TakenOver,
    TokensRotated,
)
from clawproto.client_api import ClientApi
from clawproto.mailbox import InboxLimit
from clawproto.testing.peer import CHAT
from clawproto.testing.stage import Check, Scene, interrupting, noise, run_check
from clawproto_io.stores import MemoryStore

__all__ = ["CHECKS", "run_check"]


# --- cancellation --------------------------------------------------------------------------------------------------


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
            await interrupting(_sending(client, "given up"), 1, cancel)

        await scene.adapter.cancelled(send)
        scene.peer.answers_sends = True
        receipt = await client.send(CHAT, "kept")
    messages = scene.peer.sent("message.send")
    texts = [frame["payload"]["message"]["body"]["fragments"][0]["text"] for frame in messages]
    assert texts in (["kept"], ["given up", "kept"]), texts
    assert messages[-1]["payload"]["message_id"] == receipt.message_id


async def check_a_cancelled_refresh_goes_on(scene: Scene) -> None:
    """The flight belongs to the session: a caller that leaves changes nothing, and the next one joins it."""
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


# --- the end -------------------------------------------------------------------------------------------------------


async def check_leaving_waits_for_a_rotation(scene: Scene) -> None:
    """The server has rotated, the answer is still to come: the block ends after the new pair is saved (REF-32)."""
    scene.peer.refresh_gate.clear()
    async with scene.connect() as client:
        await client.wait_ready()

        async def ask(cancel: Callable[[], None]) -> None:
            async def give_up() -> None:
                await scene.until(lambda: scene.peer.redeemed)
                cancel()

            await scene.adapter.together(lambda: _refreshing(client), give_up)

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
    """The disk is full when the pair arrives and has room a little later: the pair is saved before the block ends."""
    async with scene.connect() as client:
        await client.wait_ready()
        scene.store.full = True
        try:
            await client.refresh()
        except errors.RefreshFailed:
            pass
        threading.Timer(0.2, lambda: setattr(scene.store, "full", False)).start()
    assert await scene.stored_refresh() == scene.peer.pair[1]


async def check_a_pair_that_cannot_be_saved_is_reported(scene: Scene) -> None:
    """The end is bounded; the loss is an exception, without a token in its text (REF-10, AUTH-9)."""
    try:
        async with scene.connect(shutdown_timeout=0.3) as client:
            await client.wait_ready()
            scene.store.full = True
            try:
                await client.refresh()
            except errors.RefreshFailed as error:
                assert scene.peer.pair[1] not in repr(error)
            await scene.event(client, SaveAlarm)
    except errors.RotationUnsaved as error:
        assert scene.peer.pair[0] not in str(error) and scene.peer.pair[1] not in str(error)
    else:
        raise AssertionError("the pair is lost and nobody was told")


async def check_the_error_of_the_block_comes_out(scene: Scene) -> None:
    """As it is: no group around it, and its cause intact."""
    cause = KeyError("cause")
    error = ValueError("mine")
    try:
        async with scene.connect() as client:
            await client.wait_ready()
            raise error from cause
    except ValueError as caught:
        assert caught is error and caught.__cause__ is cause


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
            try:
                await client.send(CHAT, "hello")
            except errors.SessionClosed as error:
                assert error.transmitted
                ended.append("send")

        async def close() -> None:
            await scene.until(lambda: scene.peer.sent("message.send"))
            await client.aclose()
            await client.aclose()

        await scene.adapter.together(iterate, send, close)
        assert sorted(ended) == ["iteration", "send"]
        for call in (lambda: client.send(CHAT, "late"), client.wait_ready, client.refresh):
            await _raises(errors.SessionClosed, call)
        client.set_typing(CHAT, True)
        assert [event async for event in client] == []


# --- sockets -------------------------------------------------------------------------------------------------------


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
            await scene.adapter.together(*[lambda: _sending(client, text)] * 24, clog)

        assert await scene.adapter.cancelled(leave)
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
            await scene.adapter.together(*[lambda: _sending(client, text)] * 24, listen)

        assert await scene.adapter.cancelled(read)
        scene.peer.reading.set()


async def check_a_full_inbox_stops_the_reading_and_nothing_is_lost(scene: Scene) -> None:
    """Nothing beyond what was handed over is acknowledged; once there is room, everything comes, in order (R2-9)."""
    async with scene.connect(inbox_limit=InboxLimit(events=8)) as client:
        await client.wait_ready()
        await scene.until(lambda: scene.peer.sent("message.sync_ack"))
        for number in range(200):
            scene.peer.message(f"text {number}", number)
        await scene.adapter.sleep(0.2)
        assert scene.peer.sent("message.sync_ack")[-1]["payload"]["dseq"] == 1
        got: list[str] = []
        while len(got) < 200:
            event = await scene.event(client, MessageReceived)
            got.append(event.message.message_id)
            acked = scene.peer.sent("message.sync_ack")[-1]["payload"]["dseq"]
            assert acked <= len(got), "acknowledged before it was handed over"
    assert got == [f"msg-{number}" for number in range(200)]
    await scene.until(lambda: scene.peer.sent("message.sync_ack")[-1]["payload"]["dseq"] == 201)


async def check_a_full_inbox_does_not_hold_up_the_end(scene: Scene) -> None:
    """Nobody iterates, the inbox is full, the socket as well: leaving is still quick, and nothing unread is acknowledged."""

    async def hold() -> None:
        async with scene.connect(inbox_limit=InboxLimit(events=2)) as client:
            await client.wait_ready()
            for number in range(200):
                scene.peer.message(f"text {number}", number)
            await scene.adapter.sleep(0.1)

    await scene.adapter.within(3.0, hold)
    assert [frame["payload"]["dseq"] for frame in scene.peer.sent("message.sync_ack")] in ([], [1], [1, 1])


async def check_the_end_of_the_stream_at_every_stage_of_the_handshake(scene: Scene) -> None:
    """Each is a failed attempt like any other; the session comes through in the end."""
    scene.peer.stages.extend(["drop-upgrade", "redirect", "drop", "drop-after-challenge", "drop-after-connect"])
    async with scene.connect() as client:
        await client.wait_ready()
    assert len(scene.peer.upgrades) == 6
    assert len(scene.peer.presented) == 2


async def check_a_silent_peer_is_given_up(scene: Scene) -> None:
    """The upgrade succeeds and nothing follows: the handshake deadline drops the socket."""
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
    """The code of the CLOSE frame, and 1006 where there was none."""
    async with scene.connect() as client:
        for act, code in ((lambda: scene.peer.closes(4321, "why"), 4321), (scene.peer.cuts, 1006)):
            await client.wait_ready()
            act()
            event = await scene.event(client, Disconnected)
            assert event.code == code, event
            await scene.until(lambda: client.is_ready)


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
    async with scene.connect(observer=lambda now, event, effects, state: seen.append(event)) as client:
        await client.wait_ready()
        await scene.until(lambda: scene.peer.sent("message.sync_ack"))
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


# --- tokens --------------------------------------------------------------------------------------------------------


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
    """One refresh call, however often the disk refuses; the new pair is in force only once it is saved (REF-9, REF-10)."""
    async with scene.connect() as client:
        await client.wait_ready()
        scene.store.full = True
        try:
            await client.refresh()
        except errors.RefreshFailed:
            pass
        await scene.event(client, SaveAlarm)
        assert _access(client) == scene.peer.presented[0]
        scene.store.full = False
        await scene.event(client, TokensRotated)
        assert _access(client) == scene.peer.pair[0]
    assert len(scene.peer.redeemed) == 1
    assert await scene.stored_refresh() == scene.peer.pair[1]


async def check_a_late_answer_changes_nothing(scene: Scene) -> None:
    """A call is over when its time is up; what comes afterwards goes nowhere, and the next call is answered (REF-43)."""
    async with scene.connect() as client:
        await client.wait_ready()
        scene.peer.rest_gate.clear()
        error = await _raises(errors.RestFailed, lambda: client.request("GET", "/v1/slow", timeout=0.2))
        assert error.sent
        scene.peer.rest_gate.set()
        answer = await client.request("GET", "/v1/fast")
        assert answer.data == {"path": "/v1/fast"}


async def check_a_refresh_that_is_not_answered_is_repeated(scene: Scene) -> None:
    """Its timeout ends the flight as failed for now, sent or not unknown, and the session asks again (REF-36, REF-43)."""
    scene.peer.verdicts.extend([1] * 100)  # so that no rotation is lost meanwhile
    before = await scene.stored_refresh()
    async with scene.connect(changes={"refresh_timeout_ms": 200}) as client:
        await client.wait_ready()
        scene.peer.refresh_gate.clear()
        error = await _raises(errors.RefreshFailed, client.refresh)
        assert error.sent
        scene.peer.refresh_gate.set()
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
            await _raises(errors.LoggedOut, lambda: client.send(CHAT, "hello"))

        async def refresh() -> None:
            await scene.until(lambda: scene.peer.sent("message.send"))
            error = await _raises(errors.LoggedOut, client.refresh)
            assert error.event is None or error.event.code == 10003

        await scene.adapter.together(send, refresh)
        events = [event async for event in client]
        assert isinstance(events[-1], LoggedOut)
        assert sum(isinstance(event, LoggedOut) for event in events) == 1
        await _raises(errors.LoggedOut, client.wait_ready)
        assert client.identity is not None
    stored = await scene.store.load()
    assert stored is not None and stored.tokens is None
    assert stored.identity.user_id == "usr_agent"


async def check_new_credentials_revive_a_session_that_waits(scene: Scene) -> None:
    """With ``on_logout="wait"`` a pairing by somebody else is noticed, and the session goes on (OUT-8)."""
    scene.peer.verdicts.append(10003)
    async with scene.connect(on_logout="wait") as client:
        await client.wait_ready()
        await _raises(errors.LoggedOut, client.refresh)
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
    """An empty store is no error: the application is told, and calls say why they fail."""
    scene.store.inner = MemoryStore()
    async with scene.connect() as client:
        await _raises(errors.NotPaired, client.wait_ready)
        await scene.event(client, CredentialsNeeded)
        await _raises(errors.NotPaired, lambda: client.request("GET", "/v1/users/me"))
        await _raises(errors.NotPaired, lambda: client.send(CHAT, "hello"))


# --- the application's side ----------------------------------------------------------------------------------------


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

        await scene.adapter.together(watch, *[lambda: _sending(client, "hello")] * 5)
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
        await scene.until(lambda: scene.peer.sent("message.sync_ack")[-1]["payload"]["dseq"] == 2)
        await client.settle(second)
        await scene.until(lambda: scene.peer.sent("message.sync_ack")[-1]["payload"]["dseq"] == 4)


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
            await _raises(RuntimeError, client.__anext__)
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


# --- helpers -------------------------------------------------------------------------------------------------------


async def _sending(client: ClientApi, text: str) -> None:
    await client.send(CHAT, text)


async def _refreshing(client: ClientApi) -> None:
    await client.refresh()


async def _raises(kind: type[Any], call: Callable[[], Any]) -> Any:
    try:
        await call()
    except kind as error:
        return error
    raise AssertionError(f"{kind.__name__} was not raised")


def _access(client: ClientApi) -> str:
    credentials = client.credentials
    assert credentials is not None and credentials.tokens is not None
    return credentials.tokens.access.reveal()


CHECKS: tuple[Check, ...] = tuple(
    function for name, function in sorted(globals().items()) if name.startswith("check_") and callable(function)
)
