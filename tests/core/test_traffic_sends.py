"""The short way of sends and acks is taken, and hands over to ``step``, exactly where it should."""

import pytest

from clawproto import traffic_out
from clawproto.app_events import SendSettled
from clawproto.effects import Emit
from clawproto.events import Refresh, SetTyping
from clawproto.evolving import evolve
from clawproto.json_types import Json
from clawproto.policy import Policy
from clawproto.session import step
from clawproto.traffic import Traffic
from tests.core.both_ways import SENDING, Both
from tests.core.link_harness import OTHER_CHAT, LinkBench, v2
from tests.core.test_traffic_out import uplinks


@pytest.mark.rule("SEND-6", "ROUTE-7", "HS-9")
@pytest.mark.parametrize("looks", [False, True])
def test_sends_in_every_form_take_the_short_way(looks: bool) -> None:
    for policy in (Policy(), Policy(require_chat_prefix=False)):
        both = Both(LinkBench(grant="v2", policy=policy), looks=looks)
        for event, ordinary in (
            (SENDING, True),
            (evolve(SENDING, command=2, to={"id": "u-2", "type": "direct"}), True),
            (evolve(SENDING, command=3, reply={"reply_to_msg_id": "m", "reply_preview": {"id": "u-2"}}), True),
            (evolve(SENDING, command=4, to={"id": "\u00e9"}, mode="think"), True),
            (evolve(SENDING, command=5, chat_id="elsewhere"), not policy.require_chat_prefix),
            (evolve(SENDING, command=6, chat_id=""), False),
            (evolve(SENDING, command=7, message_id="own"), False),
            (evolve(SENDING, command=8, fragments=({"kind": "text", "text": float("nan")},)), False),
            (SetTyping("cnv_1", True), True),
            (SetTyping("cnv_1", False), True),
            (Refresh(9), False),
        ):
            assert both.takes(event, 1) == ordinary, event
        both.look()


@pytest.mark.rule("SEND-4")
def test_with_a_message_store_sends_are_left_to_step() -> None:
    both = Both(LinkBench(grant="v2", keep_sends=True))
    assert not both.takes(SENDING)


@pytest.mark.rule("LIM-3")
@pytest.mark.parametrize("to", [None, {"id": "u-2", "type": "direct"}])
def test_what_might_be_too_large_is_left_to_step(to: dict[str, Json] | None) -> None:
    """As long as no character can make it so: each may take up four bytes."""
    event = evolve(SENDING, to=to)
    both = Both(v2())
    assert both.takes(event)
    (entry,) = both.state.outbox.entries.values()
    for limit, ordinary in ((4 * entry.size, True), (4 * entry.size - 1, False)):
        assert Both(LinkBench(grant="v2", policy=Policy(frame_limit=limit))).takes(event) == ordinary


# --- acks ----------------------------------------------------------------------------------------------------------


@pytest.mark.rule("SEND-8", "SEND-11", "SEND-12", "SEND-15")
@pytest.mark.parametrize("looks", [False, True])
@pytest.mark.parametrize("former", [0, 1, 2, 3])
@pytest.mark.parametrize("few", [0, 1, 2, 3])
def test_every_ack_takes_the_short_way(monkeypatch: pytest.MonkeyPatch, former: int, few: int, looks: bool) -> None:
    """Whether it names trace, message or both, for what was sent before the Traffic began and after, twice and late."""
    monkeypatch.setattr(traffic_out, "_FEW", few)
    bench = LinkBench(grant="v2", policy=Policy(ack_timeout_ms=1_000))  # this is what is due first
    before = len(bench.effects)
    for _ in range(former):
        bench.send("cnv_1")
    sent = uplinks(bench.effects[before:])
    for word in ("", "by trace", "by id", "other id", "odd"):
        for first in range(2):
            both = Both(bench, looks=looks)
            ours = list(sent)
            for number in range(4 - len(sent)):
                assert both.takes(evolve(SENDING, command=100 + number), 1)
                ours += uplinks(both.effects)
            for _ in range(3):
                one = ours.pop(first % len(ours))
                assert both.takes(both.ack(one, word), 1)
                assert len(both.effects) == 1 + (word == "other id")
                assert both.takes(both.ack(one, word), 1)
                assert not both.effects, "again"
                assert both.takes(both.ack(("s-none", "msg-none"), word), 1)
                assert both.takes(both.ack(("", one[1])), 1)
                assert both.takes(both.ack((one[0], ours[0][1]), "by trace"), 1)
                assert not both.effects
            both.look()


@pytest.mark.rule("SEND-13", "SEND-15")
@pytest.mark.parametrize("few", [0, 256])
@pytest.mark.parametrize("looks", [False, True])
def test_late_acks_of_some_leave_the_others_undecided(monkeypatch: pytest.MonkeyPatch, few: int, looks: bool) -> None:
    monkeypatch.setattr(traffic_out, "_FEW", few)
    bench = LinkBench(grant="v2", policy=Policy(ack_timeout_ms=1_000))
    for _ in range(3):
        bench.send("cnv_1")
    sent = uplinks(bench.effects)[-3:]
    bench.run_for(1_000)
    assert len(bench.state.outbox.told) == 3
    both = Both(bench, looks=looks)
    for one in sent[:2]:
        assert both.takes(both.ack(one), 1)
        assert both.effects == (Emit(SendSettled("cnv_1", one[1], accepted=True)),)
    assert both.takes(SENDING, 1)
    both.look()
    assert len(both.state.outbox.told) == 1


@pytest.mark.rule("ERR-12", "ERR-18")
def test_a_gate_that_was_opened_again_leaves_sends_as_step_has_them() -> None:
    bench = v2()
    bench.send(OTHER_CHAT)
    bench.refuse(bench.uplinks("message.send")[-1], "not_member")
    bench.message("msg-1", chat_id=OTHER_CHAT)
    both = Both(bench)
    assert both.takes(SENDING)
    both.look()
    assert both.takes(both.ack(uplinks(both.effects)[0]))
    both.look()


def test_what_is_known_of_sends_is_taken_on_while_nobody_else_changes_them() -> None:
    """Else those that wait would be learnt anew after every look at the state."""
    bench = v2()
    first = Traffic.begin(bench.state)
    assert first is not None and first.sends is None
    assert first.handle(SENDING, bench.now)
    state, sends = first.state(), first.sends
    assert sends is not None
    second = Traffic.begin(state, sends)
    assert second is not None and second.sends is sends
    assert second.handle(evolve(SENDING, command=2), bench.now)
    assert second.sends is sends
    changed, _ = step(second.state(), evolve(SENDING, command=3), bench.now)
    third = Traffic.begin(changed, sends)
    assert third is not None and third.sends is None
