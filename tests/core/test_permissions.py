"""Owner approvals: cards by request id, the lasting record once, and what a refused REST call means."""

import inspect
from typing import Any

import pytest
from attrs import fields
from hypothesis import given, settings, strategies as st

from clawproto import approvals, commands
from clawproto.app_events import (
    MessageReceived,
    PermissionDecided,
    PermissionRequested,
    PermissionResolved,
    TypingChanged,
)
from clawproto.approvals import PERMISSIONS_PATH, ForbiddenByOwner, WaitingForOwner, owner_gate
from clawproto.config import Capabilities
from clawproto.effects import Emit
from clawproto.errors import RestRefused
from clawproto.json_types import Json
from clawproto.policy import Policy
from clawproto.wire import signals as wire
from tests.core.harness import emitted, of
from tests.core.link_harness import CHAT, LinkBench, acks, message_payload, v2

ON = Capabilities(permission_events=True)


def ask(bench: LinkBench, request_id: Json = "req-1", **payload: Json) -> list[PermissionRequested]:
    form: dict[str, Json] = {"request_id": request_id, "agent_id": "agt_1", "operation": "post", **payload}
    return emitted(bench.down("permission.request", form, chat_id=CHAT), PermissionRequested)


def resolve(bench: LinkBench, request_id: str = "req-1", **payload: Json) -> list[PermissionResolved]:
    return emitted(
        bench.down("permission.resolved", {"request_id": request_id, **payload}, chat_id=CHAT), PermissionResolved
    )


def notice(
    bench: LinkBench, message_id: str, request_id: Json = "req-1", sender: str = "system", **metadata: Json
) -> list[Any]:
    form: dict[str, Json] = {
        "kind": "permission_result",
        "operation": "post",
        "outcome": "approved",
        "reason": "owner_allowed",
        "request_id": request_id,
        **metadata,
    }
    payload = message_payload(message_id, metadata=form)
    return [one.event for one in of(bench.stamped("message.send", payload, chat_id=CHAT, sender={"id": sender}), Emit)]


@pytest.mark.rule("PERM-3")
def test_a_card_is_keyed_by_its_request_and_collapsed_by_the_matching_answer() -> None:
    bench = LinkBench(capabilities=ON)
    (card,) = ask(bench, target={"label": "a file"}, expires_at=bench.now.wall_ms + 60_000)
    assert (card.chat_id, card.request_id, card.agent_id, card.operation) == (CHAT, "req-1", "agt_1", "post")
    assert card.target == {"label": "a file"} and card.expires_at_ms == bench.now.wall_ms + 60_000
    assert ask(bench) == [], "the same card"
    assert len(ask(bench, "req-2")) == 1
    assert resolve(bench, decision="allow_once", reason="owner_allowed") == [
        PermissionResolved(CHAT, "req-1", "allow_once", "owner_allowed")
    ]
    assert len(bench.state.signals.cards) == 1
    bench.run_for(120_000)
    assert len(bench.told(PermissionResolved)) == 1, "it does not expire any more"


@pytest.mark.rule("PERM-4")
def test_an_empty_request_id_belongs_to_no_card() -> None:
    bench = LinkBench(capabilities=ON)
    ask(bench)
    assert ask(bench, "") == []
    (event,) = resolve(bench, "", reason="policy_forbidden")
    assert event == PermissionResolved(CHAT, "", None, "policy_forbidden")
    assert len(bench.state.signals.cards) == 1


@pytest.mark.rule("PERM-5", "PERM-6", "PERM-8")
@pytest.mark.parametrize(
    ("decision", "reason"),
    [(None, "owner_timeout"), (None, None), ("allow_always", "owner_allowed"), ("later", "later_too"), (None, "x")],
)
def test_every_vocabulary_may_grow_and_is_passed_on_as_it_is(decision: Json, reason: Json) -> None:
    bench = LinkBench(capabilities=ON)
    ask(bench)
    (event,) = resolve(bench, decision=decision, reason=reason)
    assert (event.decision, event.reason, event.expired) == (decision, reason, False)
    names = {field.name for field in fields(PermissionResolved)}
    assert not {"outcome", "answered_by", "owner"} & names, "an outcome is another thing, and nobody is said to answer"
    assert "decision" not in {field.name for field in fields(PermissionDecided)}


@pytest.mark.rule("PERM-7")
def test_a_card_is_collapsed_when_its_time_is_over() -> None:
    bench = LinkBench(capabilities=ON)
    ask(bench, expires_at=bench.now.wall_ms + 200_000)
    ask(bench, "req-2")
    bench.run_for(199_999)
    assert not bench.told(PermissionResolved)
    bench.run_for(1)
    assert bench.told(PermissionResolved) == [PermissionResolved(CHAT, "req-1", None, None, expired=True)]
    assert len(bench.state.signals.cards) == 1


@pytest.mark.rule("PERM-7", "TOK-21")
def test_a_card_expires_by_the_wall_clock() -> None:
    bench = LinkBench(capabilities=ON)
    ask(bench, expires_at=bench.now.wall_ms + 3_600_000)
    assert bench.deadline is not None and bench.deadline - bench.now.mono_ms <= 60_000
    bench.pass_time(1_000, wall_ms=3_600_000)
    bench.tick()
    assert [event.expired for event in bench.told(PermissionResolved)] == [True]


@pytest.mark.rule("PERM-7", "TOK-20")
@pytest.mark.parametrize("ahead", [3_600_000, -3_600_000])
def test_a_card_expires_by_the_clock_of_the_server(ahead: int) -> None:
    """Our own clock goes wrong by an hour: what counts is what the hub's says."""
    bench = LinkBench(capabilities=ON)
    bench.hub_offset = ahead
    bench.reconnect()
    ask(bench, expires_at=bench.now.wall_ms + ahead + 90_000)
    bench.run_for(89_999)
    assert not bench.told(PermissionResolved)
    bench.run_for(1)
    assert [event.expired for event in bench.told(PermissionResolved)] == [True]


@pytest.mark.rule("PERM-7")
def test_a_card_whose_time_was_over_when_it_came_is_collapsed_at_once() -> None:
    bench = LinkBench(capabilities=ON)
    (card,) = ask(bench, expires_at=bench.now.wall_ms - 1)
    assert card.request_id == "req-1"
    assert [event.expired for event in bench.told(PermissionResolved)] == [True]
    assert not len(bench.state.signals.cards)


@pytest.mark.rule("PERM-7", "TYPE-3")
def test_an_open_card_keeps_no_indicator_up() -> None:
    bench = LinkBench(capabilities=ON)
    bench.liveness = False
    ask(bench, expires_at=bench.now.wall_ms + 30_000)
    bench.down("typing.update", {"is_typing": True}, chat_id=CHAT, sender={"id": "usr_friend"})
    bench.run_for(6_000)
    assert [event.expired for event in bench.told(TypingChanged)] == [False, True]
    assert not bench.told(PermissionResolved)


def test_cards_are_bounded() -> None:
    bench = LinkBench(capabilities=ON, policy=Policy(permission_cards=4))
    for number in range(20):
        ask(bench, f"req-{number}")
    assert len(bench.state.signals.cards) == len(bench.state.signals.card_numbers) == 4


@pytest.mark.rule("PERM-9")
def test_the_lasting_record_is_told_once_for_each_request() -> None:
    bench = v2()
    decided, message = notice(bench, "msg-1", result={"id": [1]})
    assert decided == PermissionDecided(CHAT, "req-1", "post", "approved", "owner_allowed", {"id": [1]})
    assert isinstance(message, MessageReceived) and message.system and not message.conversational
    bench.reconnect()
    assert notice(bench, "msg-1", result={"id": [1]}) == [], "replayed"
    (other,) = notice(bench, "msg-2")
    assert isinstance(other, MessageReceived), "another notice of the same request is a message, and no news"
    assert isinstance(notice(bench, "msg-3", "req-2")[0], PermissionDecided)


@pytest.mark.rule("PERM-9", "R2-10")
def test_the_notice_is_settled_like_any_message() -> None:
    bench = v2()
    notice(bench, "msg-1")
    bench.run_for(60_000)
    assert acks(bench) == []
    bench.settle(bench.delivered()[0][1])
    bench.run_for(200)
    assert acks(bench) == [1]


@pytest.mark.rule("PERM-9", "ROUTE-9")
def test_only_the_platform_keeps_such_records() -> None:
    bench = v2()
    (message,) = notice(bench, "msg-1", sender="usr_friend")
    assert isinstance(message, MessageReceived)
    assert len(notice(bench, "msg-2", request_id=7)) == len(notice(bench, "msg-3", kind="other")) == 1


@pytest.mark.rule("PERM-14", "PERM-5")
def test_only_approved_retry_asks_for_a_repetition() -> None:
    for outcome in (
        "approved",
        "denied",
        "expired",
        "failed",
        "auto_allowed",
        "auto_denied",
        "approved_retry",
        "later",
    ):
        (decided, _) = notice(v2(), "msg-1", outcome=outcome)
        assert decided.outcome == outcome
        assert decided.repeat_call is (outcome == "approved_retry")


@pytest.mark.rule("PERM-2")
def test_there_is_no_uplink_for_a_decision() -> None:
    assert not [name for name, _ in inspect.getmembers(commands, inspect.isclass) if "ermission" in name]
    assert not [name for name, _ in inspect.getmembers(wire, inspect.isfunction) if "permission" in name]


@pytest.mark.rule("PERM-12")
def test_the_record_suffices_if_the_live_pair_is_lost() -> None:
    bench = v2()
    (decided, _) = notice(bench, "msg-1", "req-9")
    assert decided.request_id == "req-9" and len(bench.state.signals.cards) == 0


def test_the_record_collapses_nothing_that_it_does_not_know() -> None:
    bench = LinkBench(capabilities=ON)
    (event,) = resolve(bench, "req-unknown", decision="deny_once")
    assert event.request_id == "req-unknown"


@settings(max_examples=80)
@given(st.lists(st.tuples(st.sampled_from(["ask", "resolve", "wait"]), st.integers(0, 4)), max_size=30))
def test_open_cards_are_those_asked_for_and_neither_answered_nor_over(acts: list[tuple[str, int]]) -> None:
    bench = LinkBench(capabilities=ON)
    bench.liveness = False
    open_until: dict[str, int] = {}
    for act, number in acts:
        request_id = f"req-{number}"
        if act == "ask":
            asked = ask(bench, request_id, expires_at=bench.now.wall_ms + 1_000 * (number + 1))
            assert bool(asked) == (request_id not in open_until)
            open_until.setdefault(request_id, bench.now.wall_ms + 1_000 * (number + 1))
        elif act == "resolve":
            resolve(bench, request_id)
            open_until.pop(request_id, None)
        else:
            bench.run_for(700 * number)
            open_until = {key: until for key, until in open_until.items() if until > bench.now.wall_ms}
        shown = {card.request_id for card in bench.state.signals.cards.values()}
        assert shown == set(open_until) == set(bench.state.signals.card_numbers)


# --- REST ----------------------------------------------------------------------------------------------------------


@pytest.mark.rule("PERM-13", "PERM-14", "REST-8")
def test_two_codes_and_no_other_mean_the_owner() -> None:
    data: dict[str, Json] = {"request_id": "req-1", "operation": "post", "expires_at": 1_790_000_000}
    assert owner_gate(RestRefused(403, 21001, "wait", data)) == WaitingForOwner("req-1", "post", 1_790_000_000)
    capped = owner_gate(RestRefused(200, 21001, "wait", {**data, "capped": True}))
    assert isinstance(capped, WaitingForOwner) and capped.capped
    assert owner_gate(RestRefused(403, 21003, "no", {"operation": "post"})) == ForbiddenByOwner("post")
    assert owner_gate(RestRefused(200, 21001, "wait", None)) == WaitingForOwner(None, None, None)
    assert owner_gate(RestRefused(200, 21001, "", {"expires_at": True, "operation": 7, "capped": 1})) == (
        WaitingForOwner(None, None, None)
    )
    for code in (None, 0, 1, 21000, 21002, 21004, 16001):
        assert owner_gate(RestRefused(403, code, "", data)) is None


@pytest.mark.rule("PERM-11")
def test_where_permissions_are_read() -> None:
    assert PERMISSIONS_PATH == "/v1/agents/me/permissions"
    assert approvals.__doc__ is not None
