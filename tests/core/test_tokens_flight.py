"""One refresh: the call, its single flight, the guards before it, the backoff after it."""

import json

import pytest

from clawproto.app_events import LoggedOut, RefreshDelayed, TokensRotated
from clawproto.credentials import Guard
from clawproto.effects import Open, Persist, RecordIntent, RequestRefresh, Resolve
from clawproto.events import Closed
from clawproto.http import HttpAnswer
from clawproto.policy import DAY_MS, HOUR_MS, Policy
from clawproto.rest_format import Refused, Rotated, Unusable, classify_refresh
from clawproto.results import RefreshFailed, RefreshSkipped, RefreshSucceeded
from tests.core.harness import (
    INTERNAL,
    QUIET,
    REFUSED,
    T0,
    Bench,
    answer,
    credentials,
    heart,
    jwt,
    names,
    of,
    pair,
    rotated,
    verdict,
)

NO_FLOOR = Policy(refresh_floor_ms=0)


# --- the call ------------------------------------------------------------------------------------------------------


@pytest.mark.rule("REF-1", "REF-2", "REF-3", "REF-50", "REF-36")
def test_the_request() -> None:
    bench = Bench(credentials())
    bench.refresh()
    request = bench.sole_refresh()
    assert (request.http.method, request.http.url) == ("POST", "https://api.example/v1/auth/refresh")
    assert dict(request.http.headers) == {"content-type": "application/json", "x-device-id": "lab-01"}
    assert json.loads(request.http.body or b"") == {"refresh_token": "refresh-1"}
    assert request.timeout_ms == 30_000


@pytest.mark.rule("REF-1")
def test_a_strange_refresh_token_is_sent_as_it_is() -> None:
    token = 'qu"ote \\ ünï\u2028 \U0001f600'
    bench = Bench(credentials(pair(jwt("a1"), token)))
    bench.refresh()
    assert json.loads(bench.sole_refresh().http.body or b"") == {"refresh_token": token}


PAIR_DATA = {"access_token": "a", "refresh_token": "r"}


@pytest.mark.rule("REF-4", "REF-6", "D-13", "D-14", "D-16")
@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (answer({"code": 0, "msg": "", "data": PAIR_DATA}), Rotated),
        (answer({"code": 0, "data": {**PAIR_DATA, "more": [1]}, "extra": 1}), Rotated),
        (answer({"code": 10003}), Refused),
        (answer({"code": 400, "msg": "device id"}), Refused),
        (answer({"code": 10003, "data": PAIR_DATA}), Refused),
        (answer({"code": 1}), Unusable),
        (answer({"code": 401}), Unusable),
        (answer({"code": 10004}), Unusable),
        (answer({"code": -1}), Unusable),
        (answer({"code": 10003}, 400), Unusable),
        (answer({"code": 10003}, 401), Unusable),
        (answer({"code": 10003}, 403), Unusable),
        (answer({"code": 10003}, 500), Unusable),
        (answer({"code": 0, "data": PAIR_DATA}, 201), Unusable),
        (answer({"code": 0, "data": PAIR_DATA}, 204), Unusable),
        (HttpAnswer(302), Unusable),
        (answer(b""), Unusable),
        (answer(b"<html>"), Unusable),
        (answer(b"\xff\xfe"), Unusable),
        (answer(b"[" * 100_000), Unusable),
        (answer([]), Unusable),
        (answer({}), Unusable),
    ],
)
def test_an_answer_is_judged_by_status_then_code(reply: HttpAnswer, kind: type) -> None:
    assert type(classify_refresh(reply)) is kind


@pytest.mark.rule("REF-5", "ENV-14")
@pytest.mark.parametrize("code", ["0", "10003", False, True, 0.0, 10003.0, None, [0], {"code": 0}])
def test_only_an_integer_is_a_code(code: object) -> None:
    assert type(classify_refresh(answer({"code": code, "data": PAIR_DATA}))) is Unusable


@pytest.mark.rule("REF-7")
@pytest.mark.parametrize(
    "data",
    [
        None,
        [],
        "text",
        {},
        {"access_token": "a"},
        {"refresh_token": "r"},
        {"access_token": "", "refresh_token": "r"},
        {"access_token": "a", "refresh_token": " \t"},
        {"access_token": 1, "refresh_token": "r"},
        {"access_token": "a", "refresh_token": None},
    ],
)
def test_success_needs_both_tokens(data: object) -> None:
    bench = Bench(credentials())
    command = bench.refresh()
    assert heart(bench.reply(answer({"code": 0, "data": data}))) == []
    assert isinstance(bench.results[command], RefreshFailed)
    assert bench.access == jwt("a1")


# --- single flight -------------------------------------------------------------------------------------------------


@pytest.mark.rule("REF-12", "REF-31")
@pytest.mark.parametrize("record_intent", [True, False])
def test_everybody_gets_the_result_of_one_call(record_intent: bool) -> None:
    bench = Bench(credentials(), policy=Policy(record_intent=record_intent))
    commands = [bench.refresh() for _ in range(3)]
    bench.rest()
    bench.reply_call(verdict(1, status=401))
    assert len(bench.all(RequestRefresh)) == 1
    bench.reply(rotated(jwt("a2")))
    assert {bench.results[command] for command in commands} == {RefreshSucceeded(bench.tokens)}  # type: ignore[arg-type]
    assert len(bench.all(RequestRefresh)) == 1 and len(bench.all(Persist)) == 1


@pytest.mark.rule("REF-12", "REF-13")
@pytest.mark.parametrize("phase", ["recording", "requesting", "saving", "rereading", "forgetting"])
def test_a_call_joins_the_flight_in_every_phase(phase: str) -> None:
    bench = Bench(credentials())
    bench.store.held = phase == "recording"
    first = bench.refresh()
    if phase == "recording":
        late = bench.refresh()
        bench.release()
        bench.reply(INTERNAL)
    elif phase == "requesting":
        late = bench.refresh()
        bench.reply(REFUSED)
    else:
        bench.store.held = True
        bench.reply(rotated(jwt("a2")) if phase == "saving" else REFUSED)
        if phase == "forgetting":
            bench.step(bench.store.answer(bench.waiting.pop()))
        late = bench.refresh()
        assert late not in bench.results
        bench.release()
    assert bench.results[late] == bench.results[first]
    assert len(bench.all(RequestRefresh)) == 1


@pytest.mark.rule("REF-48")
def test_a_flight_that_nobody_waits_for_goes_on() -> None:
    """The REST call that began it is answered by the logout of nobody: the flight has no subscriber of its own."""
    bench = Bench(credentials())
    bench.rest()
    bench.reply_call(verdict(1, status=401))
    assert heart(bench.reply(rotated(jwt("a2")))) == ["Persist", "Swap"]
    assert bench.store.record is not None and bench.store.record.tokens == bench.tokens


@pytest.mark.rule("REF-12")
def test_after_one_flight_the_next_is_another() -> None:
    bench = Bench(credentials(), policy=NO_FLOOR)
    for number in range(2, 6):
        command = bench.refresh()
        bench.reply(rotated(jwt(f"a{number}"), f"refresh-{number}"))
        assert bench.results[command] == RefreshSucceeded(bench.tokens)  # type: ignore[arg-type]
    bodies = [json.loads(request.http.body or b"")["refresh_token"] for request in bench.all(RequestRefresh)]
    assert bodies == ["refresh-1", "refresh-2", "refresh-3", "refresh-4"]


# --- the guards ----------------------------------------------------------------------------------------------------


@pytest.mark.rule("REF-16", "D-4", "REF-19")
@pytest.mark.parametrize("outcome", ["success", "transient", "unanswered"])
def test_the_floor_holds_after_every_outcome_and_for_every_token(outcome: str) -> None:
    bench = Bench(credentials())
    bench.refresh()
    began = bench.now.mono_ms
    bench.pass_time(7_000)
    if outcome == "success":
        bench.reply(rotated(jwt("a2")))
    elif outcome == "transient":
        bench.reply(INTERNAL)
    else:
        bench.fail()
    bench.pass_time(22_999)
    assert bench.results[bench.refresh()] == RefreshSkipped("min-interval")
    bench.pass_time(1)
    assert bench.now.mono_ms == began + 30_000, "it counts from the begin of the attempt"
    bench.refresh()
    assert len(bench.refreshes) == 1


@pytest.mark.rule("REF-18")
def test_a_skip_changes_nothing() -> None:
    bench = Bench(credentials())
    bench.refresh()
    bench.reply(INTERNAL)
    bench.run_for(29_000)
    before = bench.state
    command = bench.refresh()
    assert names(bench.effects[-1:]) == ["Resolve"] and bench.results[command] == RefreshSkipped("min-interval")
    assert bench.state == before


@pytest.mark.rule("REF-17")
def test_the_floor_can_be_limited_to_the_same_token() -> None:
    bench = Bench(credentials(), policy=Policy(refresh_floor_scope="same-token"))
    bench.refresh()
    bench.reply(rotated(jwt("a2")))
    bench.refresh()
    bench.reply(INTERNAL)
    assert bench.results[bench.refresh()] == RefreshSkipped("min-interval"), "the same token again"


@pytest.mark.rule("REF-16", "REF-17")
def test_where_the_floor_forbids_nothing_the_clock_may_show_nothing_either() -> None:
    bench = Bench(credentials(), policy=Policy(refresh_floor_scope="same-token"), mono_ms=0)
    bench.refresh()
    bench.reply(rotated(jwt("a2")))
    bench.refresh()
    bench.reply(rotated(jwt("a3"), "refresh-3"))
    assert bench.access == jwt("a3") and bench.now.mono_ms == 0


@pytest.mark.rule("REF-18", "D-47")
def test_never_attempted_is_not_attempted_at_zero() -> None:
    bench = Bench(credentials(pair(jwt("a1", issued_ms=0))), wall_ms=5_000, mono_ms=5_000)
    bench.refresh()
    assert len(bench.refreshes) == 1
    restored = Bench(credentials(pair(jwt("a1", issued_ms=0))), wall_ms=5_000, guard=Guard(None, None, 0))
    assert restored.results[restored.refresh()] == RefreshSkipped("min-interval"), "attempted at zero is attempted"


@pytest.mark.rule("REF-13", "REF-34", "D-48")
@pytest.mark.parametrize("refresh", [None, "", " \t "])
def test_without_a_refresh_token_calls_are_skipped(refresh: str | None) -> None:
    bench = Bench(credentials(pair(jwt("a1"), refresh)))
    for _ in range(3):
        assert bench.results[bench.refresh()] == RefreshSkipped("no-refresh-token")
    assert bench.state.tokens.last_attempt is None


@pytest.mark.rule("REF-13", "OUT-8")
def test_without_any_credentials_calls_are_skipped() -> None:
    bench = Bench(None)
    assert bench.results[bench.refresh()] == RefreshSkipped("no-refresh-token")


@pytest.mark.rule("REF-13", "D-48")
def test_the_first_guard_that_hits_decides() -> None:
    """Floor before the missing token; in flight before everything but stopped."""
    guard = Guard(None, None, T0 - 1_000)
    bench = Bench(credentials(pair(jwt("a1"), None)), guard=guard)
    assert bench.results[bench.refresh()] == RefreshSkipped("min-interval")
    bench.pass_time(30_000)
    assert bench.results[bench.refresh()] == RefreshSkipped("no-refresh-token")


@pytest.mark.rule("REF-14", "REF-13", "OUT-7")
def test_the_latch_outlasts_the_floor() -> None:
    bench = Bench(credentials())
    bench.refresh()
    bench.reply(REFUSED)
    for wait in (0, 30_000, DAY_MS):
        bench.pass_time(wait)
        assert bench.results[bench.refresh()] == RefreshSkipped("rejected-latch")
    assert len(bench.all(RequestRefresh)) == 1


@pytest.mark.rule("REF-14", "D-5")
def test_transient_outcomes_do_not_latch() -> None:
    bench = Bench(credentials(), policy=NO_FLOOR)
    for _ in range(20):
        bench.refresh()
        bench.reply(INTERNAL)
    assert bench.state.tokens.latch is None and len(bench.all(RequestRefresh)) == 20


@pytest.mark.rule("REF-33", "REF-16", "REF-18")
def test_the_guard_survives_a_rebuild() -> None:
    bench = Bench(credentials())
    bench.refresh()
    bench.pass_time(4_000)
    bench.reply(INTERNAL)
    from clawproto.tokens_state import guard

    saved = guard(bench.state.tokens)
    assert saved == Guard(None, None, T0)
    rebuilt = Bench(credentials(), guard=saved, wall_ms=T0 + 10_000, mono_ms=123_000_000)
    assert rebuilt.results[rebuilt.refresh()] == RefreshSkipped("min-interval")
    rebuilt.pass_time(19_999)
    assert rebuilt.results[rebuilt.refresh()] == RefreshSkipped("min-interval")
    rebuilt.pass_time(1)
    rebuilt.refresh()
    assert len(rebuilt.refreshes) == 1


@pytest.mark.rule("REF-33", "TOK-21")
@pytest.mark.parametrize(("back", "wait"), [(DAY_MS, 30_000), (0, 30_000), (-10_000, 20_000), (-DAY_MS, 0)])
def test_a_restored_floor_never_lasts_longer_than_the_floor(back: int, wait: int) -> None:
    """The wall clock was set back between the two lives, or has gone on."""
    bench = Bench(credentials(), guard=Guard(None, None, T0 + back))
    if wait:
        bench.pass_time(wait - 1)
        assert bench.results[bench.refresh()] == RefreshSkipped("min-interval")
        bench.pass_time(1)
    bench.refresh()
    assert len(bench.refreshes) == 1


@pytest.mark.rule("REF-33", "REF-17")
def test_a_restored_floor_holds_in_same_token_mode() -> None:
    policy = Policy(refresh_floor_scope="same-token")
    bench = Bench(credentials(), policy=policy, guard=Guard(None, None, T0 - 1_000))
    assert bench.results[bench.refresh()] == RefreshSkipped("min-interval")


@pytest.mark.rule("REF-33", "REF-14", "OUT-9")
def test_the_latch_survives_a_rebuild() -> None:
    bench = Bench(credentials())
    bench.store.failing = 0
    bench.refresh()
    bench.reply(REFUSED)
    from clawproto.tokens_state import guard

    rebuilt = Bench(credentials(), guard=guard(bench.state.tokens))
    assert rebuilt.all(Open) == [] and rebuilt.all(RecordIntent) == []
    assert rebuilt.results[rebuilt.refresh()] == RefreshSkipped("rejected-latch")


@pytest.mark.rule("REF-33", "REF-23")
def test_a_rejected_token_is_not_presented_after_a_rebuild() -> None:
    bench = Bench(credentials(), greet=False)
    bench.handshake()
    bench.hello_fail(bench.generation, "authentication failed")
    from clawproto.tokens_state import guard

    rebuilt = Bench(credentials(), guard=guard(bench.state.tokens))
    assert rebuilt.all(Open) == []
    rebuilt.run_until(RecordIntent)
    assert heart(rebuilt.reply(rotated(jwt("a2")))) == ["Persist", "Swap", "Open"]


# --- the order on success ------------------------------------------------------------------------------------------


@pytest.mark.rule("REF-9", "REF-11", "TOK-5")
def test_saved_then_swapped_then_reported() -> None:
    bench = Bench(credentials())
    command = bench.refresh()
    bench.store.held = True
    bench.pass_time(1_500)
    new = jwt("a2", issued_ms=T0 + 1_000)
    effects = bench.reply(rotated(new))
    assert names(effects) == ["Persist"]
    assert bench.access == jwt("a1") and command not in bench.results
    (persist,) = of(effects, Persist)
    assert persist.credentials.tokens == pair(new, "refresh-2", T0 + 1_500)
    assert (persist.replaces, persist.credentials.generation) == (1, 2)
    effects = bench.release()
    assert names(effects) == ["Swap", "Emit", "Resolve"]
    assert len(bench.told(TokensRotated)) == 1
    assert bench.access == new


# --- backoff -------------------------------------------------------------------------------------------------------


@pytest.mark.rule("REF-20", "REF-21", "REF-24", "REF-22")
def test_retries_back_off_and_never_end() -> None:
    """The token was rejected: the session wants a refresh as soon as it may, and the server is ill for an hour."""
    bench = Bench(credentials(), policy=NO_FLOOR, greet=False, liveness=False)
    bench.handshake()
    bench.hello_fail(bench.generation, "authentication failed")
    waits: list[int] = []
    for _ in range(60):
        begin = bench.now.mono_ms
        bench.reply(INTERNAL)
        bench.run_until(RecordIntent)
        waits.append(bench.now.mono_ms - begin)
    for index, wait in enumerate(waits):
        base = min(30_000, 1_000 * 2**index)
        assert 0.75 * base <= wait <= min(30_000, 1.25 * base)
    assert len(set(waits[5:])) > 10, "with jitter"
    assert bench.told(LoggedOut) == []
    bench.reply(rotated(jwt("a2")))
    assert bench.state.tokens.failures == 0, "and starts again after success"


@pytest.mark.rule("REF-21", "D-6", "O-1", "REF-22")
def test_the_next_attempt_is_due_at_the_later_of_backoff_and_floor() -> None:
    bench = Bench(credentials(), greet=False, liveness=False)
    bench.handshake()
    bench.hello_fail(bench.generation, "authentication failed")
    for _ in range(10):
        began = bench.now.mono_ms
        bench.pass_time(3_000)
        bench.reply(INTERNAL)
        promised = bench.told(RefreshDelayed)[-1].retry_in_ms
        bench.run_until(RecordIntent)
        assert bench.now.mono_ms == began + 3_000 + (promised or 0)
        assert 30_000 <= bench.now.mono_ms - began <= 33_000


@pytest.mark.rule("REF-24", "OUT-1", "REF-25")
def test_no_number_of_transient_outcomes_ends_the_session() -> None:
    bench = Bench(credentials(), policy=NO_FLOOR, liveness=False)
    replies = [INTERNAL, answer(b"gateway", 502), verdict(10003, status=401), answer({"code": 0}), verdict("10003")]
    for index in range(200):
        bench.run_for(31_000)
        command = bench.refresh()
        if bench.refreshes:
            bench.reply(replies[index % 5]) if index % 6 else bench.fail(sent=index % 4 == 0)
        assert isinstance(bench.results.get(command, RefreshSkipped("min-interval")), RefreshFailed | RefreshSkipped)
    assert bench.told(LoggedOut) == [] and bench.access == jwt("a1")


# --- hello-fail ----------------------------------------------------------------------------------------------------


def refused_handshake(reason: str = "authentication failed", record: object = None) -> Bench:
    bench = Bench(credentials() if record is None else record, greet=False, policy=QUIET)  # type: ignore[arg-type]
    bench.handshake()
    bench.hello_fail(bench.generation, reason)
    return bench


@pytest.mark.rule("REF-22", "HS-15", "REF-23")
def test_a_rejected_token_is_renewed_and_the_new_one_presented_at_once() -> None:
    bench = refused_handshake()
    assert len(bench.refreshes) == 1
    bench.run_for(25_000)
    assert len(bench.all(Open)) == 1, "the rejected token is not presented again"
    assert heart(bench.reply(rotated(jwt("a2")))) == ["Persist", "Swap", "Open"]


@pytest.mark.rule("REF-22", "OUT-1")
def test_a_rejected_token_whose_refresh_is_refused_ends_the_session() -> None:
    bench = refused_handshake()
    bench.reply(REFUSED)
    assert len(bench.told(LoggedOut)) == 1 and len(bench.all(Open)) == 1


@pytest.mark.rule("REF-22", "REF-23", "D-17")
def test_a_rejected_token_whose_refresh_is_transient_stays_offline() -> None:
    bench = refused_handshake()
    for _ in range(10):
        bench.reply(INTERNAL)
        bench.run_until(RecordIntent)
    assert len(bench.all(Open)) == 1


@pytest.mark.rule("REF-22", "REF-16")
def test_rejected_within_the_floor_stays_offline_until_it_ends() -> None:
    bench = Bench(credentials(), greet=False, liveness=False)
    bench.refresh()
    bench.reply(rotated(jwt("a2")))
    bench.handshake()
    bench.hello_fail(bench.generation, "authentication failed")
    opened = len(bench.all(Open))
    assert bench.refreshes == {}
    bench.run_until(RecordIntent)
    assert bench.now.mono_ms == 7_000_000 + 30_000
    assert len(bench.all(Open)) == opened


NEAR = credentials(pair(jwt("near", issued_ms=T0 - 23 * HOUR_MS)))


@pytest.mark.rule("REF-42", "HS-17", "D-3")
@pytest.mark.parametrize("outcome", ["success", "permanent", "transient"])
def test_another_refusal_near_expiry(outcome: str) -> None:
    bench = Bench(NEAR, greet=False, guard=Guard(None, None, T0 - 29_000), policy=QUIET)
    bench.run_for(1_000)  # the floor that kept the startup check from refreshing ends
    bench.handshake()
    bench.hello_fail(bench.generation, "nonce mismatch")
    assert len(bench.refreshes) == 1
    if outcome == "success":
        assert heart(bench.reply(rotated(jwt("a2")))) == ["Persist", "Swap", "Open"]
    elif outcome == "permanent":
        bench.reply(REFUSED)
        assert len(bench.told(LoggedOut)) == 1
    else:
        assert of(bench.reply(INTERNAL), Open) == []
        bench.run_until(Open, within_ms=1_000)
        bench.step(Closed(bench.generation, 1006))


# --- secrets -------------------------------------------------------------------------------------------------------


@pytest.mark.rule("AUTH-9")
def test_no_token_shows_in_any_repr() -> None:
    bench = Bench(credentials(pair(jwt("a1"), "secret-refresh-1")))
    seen = [repr(bench.state)]
    bench.refresh()
    seen.append(repr(bench.state))
    bench.store.failing = 4
    bench.reply(rotated(jwt("a2"), "secret-refresh-2"))
    seen.append(repr(bench.state))
    bench.run_for(20_000)
    bench.rest()
    bench.reply_call(answer({"code": 0, "data": {"token": jwt("a2")}}))
    bench.run_for(30_000)
    bench.refresh()
    seen.append(repr(bench.state))
    bench.reply(verdict(10003, "refused"))
    seen += [repr(bench.state), repr(bench.effects), repr(bench.results), repr(bench.store.record)]
    seen += [f"{effect}" for effect in bench.effects]
    for text in seen:
        for secret in (jwt("a1"), jwt("a2"), "secret-refresh", "sig-a"):
            assert secret not in text
    assert bench.all(Resolve)
