"""What the short way takes, and each situation and instant in which it hands over to ``step``."""

from collections.abc import Callable

import pytest

from clawproto import traffic
from clawproto.config import Capabilities
from clawproto.effects import Emit
from clawproto.events import Event, FrameReceived, ReceiverPaused, Settle, SetTyping, Stop, Tick
from clawproto.evolving import evolve
from clawproto.json_types import Json
from clawproto.policy import DAY_MS, Policy
from clawproto.traffic import Traffic
from tests.core.both_ways import SENDING, Both, frames
from tests.core.harness import credentials, frame, pair
from tests.core.link_harness import OTHER_CHAT, SENDER, LinkBench, v2
from tests.core.test_traffic import said
from tests.core.test_traffic_out import uplinks

# --- where it begins -----------------------------------------------------------------------------------------------


def gated(bench: LinkBench) -> None:
    bench.send(OTHER_CHAT)
    bench.refuse(bench.uplinks("message.send")[-1], "not_member")


def muted(bench: LinkBench) -> None:
    bench.down("notify.signal", {"type": "conversation.dissolved", "entity_id": OTHER_CHAT, "event_id": "ev-1"})


def streamed(bench: LinkBench) -> None:
    bench.down("message.created", {"message_id": "msg-1"}, chat_id="cnv_1", sender=SENDER)


def finished(bench: LinkBench) -> None:
    streamed(bench)
    bench.down("message.done", {"message_id": "msg-1", "fragments": []}, chat_id="cnv_1", sender=SENDER)


def settled_ahead(bench: LinkBench) -> None:
    bench.message("msg-1")
    ((_, delivery),) = bench.delivered(bench.message("msg-2"))
    bench.settle(delivery)


def pinged(bench: LinkBench) -> None:
    bench.answers_pings = False
    bench.run_for(30_000)


def stopped(bench: LinkBench) -> None:
    bench.answers_close = False
    bench.step(Stop())


def asked(bench: LinkBench) -> None:
    form: dict[str, Json] = {"request_id": "req-1", "agent_id": "agt_1", "operation": "post"}
    bench.down("permission.request", form, chat_id="cnv_1")


@pytest.mark.parametrize(
    "happens",
    [
        gated,
        muted,
        streamed,
        finished,
        settled_ahead,
        pinged,
        stopped,
        asked,
        lambda bench: bench.closed(),
        lambda bench: bench.step(ReceiverPaused()),
    ],
    ids=["gated", "muted", "streamed", "finished", "ahead", "pinged", "stopped", "asked", "closed", "paused"],
)
@pytest.mark.rule("ERR-10", "ERR-17", "STREAM-14", "R2-9", "HB-6", "PERM-3")
def test_what_is_not_ordinary_is_left_to_step(happens: Callable[[LinkBench], object]) -> None:
    bench = LinkBench(grant="v2", capabilities=Capabilities(permission_events=True))
    assert Traffic.begin(bench.state) is not None
    happens(bench)
    assert Traffic.begin(bench.state) is None


@pytest.mark.rule("R2-30", "AUTH-10")
def test_without_v2_or_a_user_id_it_does_not_begin() -> None:
    for bench in (LinkBench(grant="v1"), LinkBench(credentials(user_id=""), grant="v2")):
        assert bench.online
        assert Traffic.begin(bench.state) is None


@pytest.mark.parametrize("name", ["ack_timeout_ms", "typing_expiry_ms", "typing_guard_ms", "replay_idle_ms"])
def test_it_does_not_begin_where_something_is_over_as_it_begins(name: str) -> None:
    for span, begins in ((0, False), (1, True)):
        bench = LinkBench(grant="v2", policy=Policy(**{name: span}))  # type: ignore[arg-type]
        assert bench.online
        assert (Traffic.begin(bench.state) is not None) == begins


def test_it_does_not_begin_in_a_state_that_contradicts_itself() -> None:
    """``step`` makes none of them; whoever hands one in gets what ``step`` does with it."""
    state = v2().state
    stream = state.inbox.stream
    assert stream is not None
    for branch, changes in (
        ("tokens", {"stopped": True}),
        ("tokens", {"status": "absent"}),
        ("tokens", {"status": "logged-out"}),
        ("tokens", {"credentials": None}),
        ("inbox", {"stream": None}),
        ("inbox", {"stream": evolve(stream, generation=stream.generation + 1)}),
        ("inbox", {"repeat_due": None}),
    ):
        assert Traffic.begin(evolve(state, **{branch: evolve(getattr(state, branch), **changes)})) is None, changes
    assert Traffic.begin(evolve(state, connected=False)) is None
    for status in ("usable", "needed"):
        assert Traffic.begin(evolve(state, tokens=evolve(state.tokens, status=status))) is not None


# --- what is due ---------------------------------------------------------------------------------------------------


@pytest.mark.rule("TOK-10", "TOK-21")
def test_the_wall_clock_calls_for_a_rotation() -> None:
    """It may jump there while a monotonic minute has not passed; to the millisecond."""
    due = v2().state.tokens.proactive_at
    assert due is not None
    for wall, ordinary in ((due - 1, True), (due, False)):
        both = Both(v2())
        assert both.takes(both.message(1), 50, wall=wall - both.now.wall_ms) == ordinary
        assert any(type(effect).__name__ == "RecordIntent" for effect in both.effects) != ordinary


@pytest.mark.rule("TOK-6", "TYPE-2")
def test_without_a_rotation_to_come_the_wall_clock_counts_for_nothing() -> None:
    bench = LinkBench(credentials(pair("opaque", obtained_ms=None)), grant="v2")
    assert bench.state.tokens.proactive_at is None
    both = Both(bench)
    assert both.takes(both.message(1), 50, wall=400 * DAY_MS)
    for is_typing in (True, False):
        assert both.takes(SetTyping("cnv_1", is_typing), 1)
    assert both.state.calm_until is None, "nothing is due but the ping"
    assert both.takes(both.message(2), 50)
    both.look()


@pytest.mark.rule("CLOSE-4")
def test_a_connection_that_has_proved_stable_is_noted_in_time() -> None:
    for before, ordinary in ((1, True), (0, False)):
        bench = v2()
        bench.reconnect()
        assert bench.state.link.attempts == 1
        both = Both(bench)
        assert both.takes(both.message(1), 4_000)
        assert both.takes(both.message(2), 1_000 - before) == ordinary
        assert both.state.link.attempts == (1 if ordinary else 0)
        both.look()


@pytest.mark.parametrize(
    ("policy", "first", "after"),
    [
        (Policy(replay_idle_ms=16_000), [SENDING], 15_000),
        (Policy(ack_timeout_ms=50), [SENDING], 50),
        (Policy(), [SetTyping("cnv_1", True)], 3_000),
        (Policy(typing_guard_ms=100), [SetTyping("cnv_1", True)], 100),
        (Policy(), [SENDING, SetTyping("cnv_1", True)], 3_000),
        (Policy(ack_timeout_ms=50), [SENDING, SetTyping("cnv_1", True)], 50),
        (Policy(ack_timeout_ms=50), [SetTyping("cnv_1", True), SENDING], 50),
        (Policy(replay_idle_ms=40), [SENDING], 40),
        (Policy(ping_after_ms=40), [SENDING], 40),
        (Policy(ping_after_ms=5_000, ack_repeat_ms=4_000, replay_idle_ms=6_000), [], 4_000),
    ],
    ids=["send", "soon", "typing", "guard", "send, typing", "send first", "typing first", "replay", "ping", "repeat"],
)
@pytest.mark.rule("SEND-13", "TYPE-2", "TYPE-6", "RPL-7", "HB-6", "R2-15")
def test_what_is_due_is_done_in_time(policy: Policy, first: list[Event], after: int) -> None:
    """It hands over at that millisecond, and not at the one before."""
    for before, ordinary in ((1, True), (0, False)):
        both = Both(LinkBench(grant="v2", policy=policy))
        for event in first:
            assert both.takes(event)
        assert both.takes(Tick(), after - before) == ordinary
        both.look()


@pytest.mark.rule("R2-13", "HB-6")
@pytest.mark.parametrize("looks", [False, True])
def test_an_ack_is_sent_on_the_way_and_what_is_due_next_is_not_missed(looks: bool) -> None:
    both = Both(v2(), looks=looks)
    for number in range(1, 4):
        assert both.takes(both.message(number))
        assert both.takes(Settle(number))
        assert both.takes(Tick(), 199) and not both.effects
        assert both.takes(SENDING if number == 2 else Tick(), 1)
        assert frames(both.effects)[-1] == "message.sync_ack"
        assert both.takes(Tick()) and not both.effects
    assert not both.takes(Tick(), 30_000)
    assert frames(both.effects) == ["ping", "message.sync_ack"]


@pytest.mark.rule("R2-13", "HB-5")
def test_an_ack_that_is_due_is_left_to_step_with_what_is_not_ordinary() -> None:
    both = Both(v2())
    assert both.takes(both.message(1))
    assert both.takes(Settle(1))
    assert not both.takes(FrameReceived(both.generation, frame("pong", {})), 200)
    assert frames(both.effects) == ["message.sync_ack"]


@pytest.mark.rule("SEND-13", "HB-6")
def test_after_a_deadline_that_came_to_nothing_the_next_one_counts() -> None:
    """The send has been answered when its deadline comes, so nothing is done; the ping after it is due all the same."""
    both = Both(LinkBench(grant="v2", policy=Policy(ack_timeout_ms=1_000)))
    assert not both.takes(Tick(), 6_000)
    assert both.takes(SENDING)
    assert both.takes(both.ack(uplinks(both.effects)[0]), 999)
    assert both.takes(both.message(1), 1)
    assert both.takes(both.message(2), 500)
    assert not both.takes(Tick(), 30_000)
    assert frames(both.effects) == ["ping"]


# --- what arrives --------------------------------------------------------------------------------------------------


@pytest.mark.rule("TYPE-3")
@pytest.mark.parametrize("chat_id", ["cnv_1", ""])
@pytest.mark.parametrize("user_id", ["u-2", "u-1", ""])
@pytest.mark.parametrize("is_typing", [True, False])
def test_nobody_nowhere_and_we_ourselves_do_not_write(chat_id: str, user_id: str, is_typing: bool) -> None:
    both = Both(v2())
    writing = frame("typing.update", {"is_typing": is_typing}, chat_id=chat_id, sender={"id": user_id})
    assert both.takes(FrameReceived(both.generation, writing))
    assert len(both.effects) == (is_typing and chat_id != "" and user_id == "u-2")
    both.look()


@pytest.mark.rule("SEND-19", "R2-6", "RECALL-1", "ROUTE-9")
def test_a_message_that_is_no_news_or_out_of_turn_is_left_to_step() -> None:
    """And so is what another socket has brought."""
    for text in (
        said(1, 1),  # the number was the last one's
        said(2, 3),  # one is left out
        said(1, 2),  # it is known
        said(2, 2, "u-1"),
        said(2, 2, "system"),
        said(7, 2),  # it was recalled
        frame("message.recall", {"target_message_id": "msg-1"}, chat_id="cnv_1", dseq=2),
        frame("pong", {}),
        "{",
    ):
        bench = v2()
        bench.down("message.recall", {"target_message_id": "msg-7"}, chat_id="cnv_1")
        for looks in (False, True):
            both = Both(bench, looks=looks)
            assert both.takes(both.message(1))
            assert not both.takes(FrameReceived(both.generation, text))
    for generation in (bench.generation - 1, bench.generation + 1):
        both = Both(bench)
        assert not both.takes(FrameReceived(generation, said(1, 1)))
        assert not both.effects


@pytest.mark.rule("SEND-19", "DEL-4", "R2-10")
@pytest.mark.parametrize("receipts", [False, True])
@pytest.mark.parametrize("looks", [False, True])
def test_everything_in_a_message_is_told(receipts: bool, looks: bool) -> None:
    """The ciphertext as well, and who has been told that it is here is remembered: the repeat makes no receipt."""
    bench = LinkBench(grant="v2", capabilities=Capabilities(delivery_receipt=receipts))
    bench.reconnect()
    both = Both(bench, looks=looks)
    more: dict[str, object] = {"chat_type": "group", "ciphertext_fragments": [{"kind": "x"}]}
    assert both.takes(both.message(1, **more), 5)
    told = both.effects[-1]
    assert isinstance(told, Emit) and told.event.ciphertext_fragments == [{"kind": "x"}]  # type: ignore[union-attr]
    assert len(both.effects) == 1 + receipts
    assert both.takes(both.message(2, sender=""), 5)
    assert len(both.effects) == 1
    assert not both.takes(FrameReceived(both.generation, said(1, 3, **more)), 5)  # type: ignore[arg-type]
    assert not both.effects


@pytest.mark.rule("SEND-19", "R2-13")
def test_what_is_put_into_the_memory_is_known_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traffic, "_LOT", 3)
    both = Both(v2())
    for number in range(1, 8):
        assert both.takes(both.message(number))
    assert not both.takes(FrameReceived(both.generation, said(2, 8)))


@pytest.mark.rule("R2-9", "R2-13", "R2-28")
@pytest.mark.parametrize("looks", [False, True])
def test_settling_in_turn_takes_the_short_way_and_nothing_else_does(looks: bool) -> None:
    """Also where delivery numbers run ahead of the stream, and of what was delivered before the last look."""
    bench = v2()
    for number in range(3):
        bench.message(f"old-{number}")
    bench.reconnect()
    for settled, ordinary in (
        ([4, 5, 6], [True, True, True]),
        ([5, 4], [False, False]),
        ([4, 4], [True, False]),
        ([4, 6], [True, False]),
        ([1], [False]),  # of the socket before
        ([0, 7, -1], [False, False, False]),  # nothing has these numbers
    ):
        both = Both(bench, looks=looks)
        for number in range(1, 4):
            assert both.takes(both.message(number))
        assert [both.takes(Settle(delivery), 1) for delivery in settled] == ordinary, settled
        both.look()
