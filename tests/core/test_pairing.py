"""Pairing: a code is spent once, and what it brought is not lost."""

import json
from typing import Any

import pytest
from attrs import evolve

from clawproto.app_events import AppEvent, Misconfigured, Ready, SaveAlarm, SaveRecovered
from clawproto.credentials import Credentials, Identity, TokenPair
from clawproto.effects import Open, Persist, Reconnect, RequestHttp, RequestRefresh
from clawproto.events import Pair, StoreConflicted, Stored, StoreFailed
from clawproto.http import HttpAnswer
from clawproto.results import Paired as PairedResult, PairRefused, RefreshSkipped, StoppedResult
from clawproto.secret import Secret
from clawproto.session import is_finished
from tests.core.harness import (
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
    rotated,
    verdict,
)

ACCESS = jwt("p1")


def granted(**changes: Any) -> HttpAnswer:
    data: dict[str, Any] = {
        "access_token": ACCESS,
        "refresh_token": "refresh-p1",
        "agent": {"id": "agent-1", "user_id": "u-1", "owner_id": "u-owner", "nickname": "x"},
        "conversation": {"id": "cnv_1"},
    }
    data.update(changes)
    return answer({"code": 0, "msg": "ok", "data": {key: value for key, value in data.items() if value is not ...}})


def pairing(bench: Bench, **changes: Any) -> int:
    """Ask to pair; returns the command number."""
    command = bench.command()
    wanted: dict[str, Any] = {"code": "AB12", "base_url": "https://api.example", "device_id": "lab-01", **changes}
    bench.step(Pair(command, **wanted))
    return command


def fresh() -> Bench:
    return Bench(None, policy=evolve(QUIET, credential_poll_ms=None), liveness=False)


def body(bench: Bench) -> dict[str, Any]:
    call = bench.all(RequestHttp)[-1]
    decoded: dict[str, Any] = json.loads(call.http.body or b"")
    return decoded


# --- the call ------------------------------------------------------------------------------------------------------


@pytest.mark.rule("PAIR-1", "D-36", "PAIR-7", "DEV-4")
def test_the_request() -> None:
    bench = fresh()
    pairing(bench, code="  AB12 \n", base_url="https://api.example//")
    (call,) = bench.all(RequestHttp)
    assert (call.http.method, call.http.url) == ("POST", "https://api.example/v1/agents/connect")
    assert dict(call.http.headers) == {"content-type": "application/json", "x-device-id": "lab-01"}
    assert body(bench) == {"code": "AB12", "platform": "clawproto", "type": "clawbot"}
    assert call.timeout_ms == 15_000 and call.purpose == "pairing"


@pytest.mark.rule("PAIR-1")
def test_only_slashes_are_taken_off_the_address() -> None:
    bench = fresh()
    pairing(bench, base_url="https://api.example/X/")
    assert bench.all(RequestHttp)[0].http.url == "https://api.example/X/v1/agents/connect"


@pytest.mark.rule("PAIR-1")
def test_what_can_be_configured() -> None:
    bench = fresh()
    pairing(bench, platform="hermes", kind="robot", plugin_version="1.2")
    assert body(bench) == {"code": "AB12", "platform": "hermes", "type": "robot", "plugin_version": "1.2"}


@pytest.mark.rule("PAIR-9", "DEV-4", "AUTH-3", "AUTH-8", "TOK-5")
def test_everything_is_stored_before_it_is_reported() -> None:
    bench = fresh()
    command = pairing(bench)
    bench.store.held = True
    bench.pass_time(2_000)
    assert names(bench.reply_call(granted())) == ["Persist"]
    assert command not in bench.results and bench.all(Open) == []
    expected = Credentials(
        Identity(
            user_id="u-1",
            device_id="lab-01",
            base_url="https://api.example",
            ws_url="wss://api.example/ws",
            owner_id="u-owner",
            agent_id="agent-1",
            conversation_id="cnv_1",
        ),
        TokenPair(Secret(ACCESS), Secret("refresh-p1"), T0 + 2_000),
        generation=1,
    )
    (persist,) = bench.all(Persist)
    assert persist.credentials == expected and persist.replaces is None
    bench.release()
    assert bench.results[command] == PairedResult(expected)
    assert bench.store.record == expected
    assert len(bench.told(Ready)) == 1, "and the session connects"


@pytest.mark.rule("AUTH-7", "AUTH-8")
@pytest.mark.parametrize(
    ("base", "given", "expected"),
    [
        ("https://api.example", None, "wss://api.example/ws"),
        ("http://127.0.0.1:8080/", None, "ws://127.0.0.1:8080/ws"),
        ("https://api.example/prefix", None, "wss://api.example/ws"),
        ("https://api.example", "wss://elsewhere.example/socket", "wss://elsewhere.example/socket"),
    ],
)
def test_the_address_of_the_socket(base: str, given: str | None, expected: str) -> None:
    bench = fresh()
    pairing(bench, base_url=base, ws_url=given)
    bench.reply_call(granted())
    assert bench.all(Open)[0].url == expected


@pytest.mark.rule("PAIR-8")
@pytest.mark.parametrize(
    ("changes", "missing"),
    [
        ({"access_token": ...}, "access_token"),
        ({"access_token": " "}, "access_token"),
        ({"access_token": 7}, "access_token"),
        ({"agent": ...}, "agent.user_id"),
        ({"agent": {"user_id": "u-1"}}, "agent.owner_id"),
        ({"agent": {"owner_id": "u-o"}}, "agent.user_id"),
        ({"agent": []}, "agent.user_id"),
        ({"conversation": ...}, "conversation.id"),
        ({"conversation": {"id": ""}}, "conversation.id"),
    ],
)
def test_a_lacking_field_is_refused_and_nothing_stored(changes: dict[str, Any], missing: str) -> None:
    bench = fresh()
    command = pairing(bench)
    bench.reply_call(granted(**changes))
    assert bench.results[command] == PairRefused(0, "yes", f"the answer lacks {missing}")
    assert bench.all(Persist) == [] and bench.store.record is None


@pytest.mark.rule("PAIR-8")
@pytest.mark.parametrize("data", [None, [], "text", 7])
def test_success_without_an_object_lacks_everything(data: object) -> None:
    bench = fresh()
    command = pairing(bench)
    bench.reply_call(answer({"code": 0, "data": data}))
    assert bench.results[command] == PairRefused(0, "yes", "the answer lacks access_token")


@pytest.mark.rule("PAIR-11", "REF-34")
@pytest.mark.parametrize("refresh", [..., None, "", 7])
def test_without_a_refresh_token_it_works_and_refresh_is_skipped(refresh: object) -> None:
    bench = fresh()
    pairing(bench)
    bench.reply_call(granted(refresh_token=refresh))
    assert bench.store.record is not None and bench.store.record.tokens is not None
    assert bench.store.record.tokens.refresh is None
    assert len(bench.told(Ready)) == 1
    assert bench.results[bench.refresh()] == RefreshSkipped("no-refresh-token")


@pytest.mark.rule("PAIR-9")
def test_the_agent_id_is_optional() -> None:
    bench = fresh()
    pairing(bench)
    bench.reply_call(granted(agent={"user_id": "u-1", "owner_id": "u-o"}))
    assert bench.store.record is not None and bench.store.record.identity.agent_id is None


# --- refused before sending ----------------------------------------------------------------------------------------


@pytest.mark.rule("DEV-3", "PAIR-1", "LIM-5", "REF-37")
@pytest.mark.parametrize(
    "changes",
    [
        {"code": "  "},
        {"device_id": ""},
        {"device_id": "d" * 129},
        {"device_id": "é" * 65},
        {"base_url": "ftp://x"},
        {"base_url": "https://"},
        {"base_url": ""},
    ],
)
def test_what_cannot_work_is_refused_before_the_code_is_spent(changes: dict[str, str]) -> None:
    bench = fresh()
    found = bench.results[pairing(bench, **changes)]
    assert isinstance(found, PairRefused) and found.spent == "no" and found.code is None
    assert bench.all(RequestHttp) == []


@pytest.mark.rule("PAIR-10")
def test_with_an_identity_stored_a_choice_is_needed() -> None:
    bench = Bench(credentials(), policy=QUIET)
    found = bench.results[pairing(bench)]
    assert isinstance(found, PairRefused) and found.spent == "no"
    assert bench.all(RequestHttp) == []
    bench.refresh()
    bench.reply(REFUSED)
    assert isinstance(bench.results[pairing(bench)], PairRefused), "a logout keeps the identity"


@pytest.mark.rule("PAIR-2", "PAIR-10")
@pytest.mark.parametrize(
    ("identity", "known", "base", "sent"),
    [
        ("repair", "https://api.example", "https://api.example", True),
        ("repair", "https://api.example", "https://api.example///", True),
        ("repair", "https://api.example//", "https://api.example", True),
        ("repair", "https://api.example", "https://other.example", False),
        ("repair", "https://api.example/X", "https://api.example", False),
        ("new", "https://api.example", "https://api.example", False),
    ],
)
def test_the_user_id_goes_along_only_to_repair_an_own_identity_on_the_same_server(
    identity: str, known: str, base: str, sent: bool
) -> None:
    bench = Bench(credentials(base_url=known), policy=QUIET)
    pairing(bench, identity=identity, base_url=base)
    assert body(bench).get("user_id") == ("u-1" if sent else None)
    assert ("user_id" in body(bench)) == sent


def test_one_pairing_at_a_time() -> None:
    bench = fresh()
    first = pairing(bench)
    for changes, named in (({}, "another pairing"), ({"base_url": "ftp://x"}, "ftp://x"), ({"code": ""}, "code")):
        found = bench.results[pairing(bench, **changes)]
        assert isinstance(found, PairRefused) and found.spent == "no" and named in found.text
    bench.reply_call(granted())
    assert isinstance(bench.results[first], PairedResult)


# --- repetitions ---------------------------------------------------------------------------------------------------


@pytest.mark.rule("PAIR-3", "PAIR-5")
@pytest.mark.parametrize("status", [200, 404])
def test_no_such_agent_drops_the_user_id_and_repeats_once(status: int) -> None:
    bench = Bench(credentials(), policy=QUIET)
    command = pairing(bench, identity="repair")
    bench.reply_call(verdict(16001, "no agent", status))
    assert body(bench) == {"code": "AB12", "platform": "clawproto", "type": "clawbot"}
    bench.reply_call(verdict(16001, "no agent", status))
    assert bench.results[command] == PairRefused(16001, "no", "no agent")
    assert len(bench.all(RequestHttp)) == 2


@pytest.mark.rule("PAIR-3")
def test_no_such_agent_without_a_user_id_fails_at_once() -> None:
    bench = fresh()
    command = pairing(bench)
    bench.reply_call(verdict(16001))
    assert isinstance(bench.results[command], PairRefused) and len(bench.all(RequestHttp)) == 1


@pytest.mark.rule("PAIR-4", "REST-7")
@pytest.mark.parametrize(
    ("code", "status"), [(16014, 200), (1, 200), (400, 400), (10003, 200), (0, 400), (0, 401), (5, 403)]
)
def test_no_other_code_is_repeated(code: int, status: int) -> None:
    bench = Bench(credentials(), policy=QUIET)
    command = pairing(bench, identity="repair")
    bench.reply_call(verdict(code, "no", status))
    bench.run_for(60_000)
    assert bench.results[command] == PairRefused(code, "no", "no")
    assert len(bench.all(RequestHttp)) == 1 and bench.all(RequestRefresh) == []


@pytest.mark.rule("PAIR-6")
def test_what_certainly_never_arrived_is_repeated_twice() -> None:
    bench = fresh()
    command = pairing(bench)
    began: list[int] = []
    for _ in range(3):
        began.append(bench.now.mono_ms)
        bench.fail_call(sent=False)
        if command not in bench.results:
            bench.run_until(RequestHttp)
    assert [after - began[0] for after in began] == [0, 1_000, 3_000]
    found = bench.results[command]
    assert isinstance(found, PairRefused) and found.spent == "no"
    assert len(bench.all(RequestHttp)) == 3


@pytest.mark.rule("PAIR-7")
@pytest.mark.parametrize(
    "reply", [None, answer(b"<html>", 502), answer(b""), verdict(0, "", 500), answer({"data": {}})]
)
def test_what_may_have_arrived_is_never_repeated(reply: HttpAnswer | None) -> None:
    bench = fresh()
    command = pairing(bench)
    bench.fail_call(sent=True) if reply is None else bench.reply_call(reply)
    bench.run_for(60_000)
    found = bench.results[command]
    assert isinstance(found, PairRefused) and found.spent == "unknown"
    assert len(bench.all(RequestHttp)) == 1


# --- keeping what it brought ---------------------------------------------------------------------------------------


@pytest.mark.rule("PAIR-9", "REF-10")
def test_a_failing_disk_does_not_lose_the_pair() -> None:
    bench = fresh()
    command = pairing(bench)
    bench.store.failing = 7
    bench.reply_call(granted())
    assert command not in bench.results and bench.all(Open) == []
    bench.run_for(60_000)
    assert len(bench.all(Persist)) == 8
    assert [alarm.attempts for alarm in bench.told(SaveAlarm)] == [3] and bench.told(SaveRecovered) == [
        SaveRecovered(7)
    ]
    assert isinstance(bench.results[command], PairedResult)


@pytest.mark.rule("REF-10")
@pytest.mark.parametrize(("failures", "news"), [(2, []), (3, [SaveAlarm(3, "disk full"), SaveRecovered(3)])])
def test_the_third_failure_in_a_row_raises_an_alarm(failures: int, news: list[AppEvent]) -> None:
    bench = fresh()
    pairing(bench)
    bench.store.failing = failures
    bench.reply_call(granted())
    bench.run_for(60_000)
    assert [*bench.told(SaveAlarm), *bench.told(SaveRecovered)] == news


@pytest.mark.rule("PAIR-9", "REF-10", "REF-49")
def test_a_store_that_refuses_without_a_reason_is_asked_again() -> None:
    bench = Bench(credentials(), policy=QUIET)
    pairing(bench, identity="new")
    bench.store.held = True
    bench.reply_call(granted())
    for _ in range(3):
        refused = bench.waiting.pop()
        bench.step(StoreConflicted(refused.operation, bench.store.record))
        bench.run_for(1_000)
    assert bench.told(SaveAlarm) == [SaveAlarm(3, "the store refuses")]
    bench.release()
    assert bench.access == ACCESS


@pytest.mark.rule("PAIR-9", "REF-10")
def test_a_failure_that_is_reported_twice_counts_once() -> None:
    bench = fresh()
    pairing(bench)
    bench.store.held = True
    bench.reply_call(granted())
    failed = StoreFailed(bench.waiting.pop().operation, "disk full")
    bench.step(failed)
    before = bench.state
    assert bench.step(failed) == () and bench.state == before


@pytest.mark.rule("PAIR-9", "REF-49")
def test_the_number_that_the_store_has_given_is_the_one_that_counts() -> None:
    bench = fresh()
    command = pairing(bench)
    bench.store.held = True
    bench.reply_call(granted())
    bench.step(Stored(bench.waiting.pop().operation, 77))
    found = bench.results[command]
    assert isinstance(found, PairedResult) and found.credentials.generation == 77


@pytest.mark.rule("PAIR-9", "REF-49")
def test_what_a_person_has_just_paired_needs_nothing_to_replace() -> None:
    bench = Bench(credentials(), policy=QUIET)
    pairing(bench, identity="new")
    bench.store.record = None
    bench.reply_call(granted())
    assert [persist.replaces for persist in bench.all(Persist)] == [1, None]
    assert bench.store.record is not None and bench.store.record.generation == 1 and bench.access == ACCESS


@pytest.mark.rule("PAIR-9", "REF-49")
def test_what_a_person_has_just_paired_replaces_whatever_is_stored() -> None:
    bench = fresh()
    pairing(bench)
    bench.store.record = credentials(generation=41)
    bench.reply_call(granted())
    assert [persist.replaces for persist in bench.all(Persist)] == [None, 41]
    assert bench.store.record.generation == 42 and bench.access == ACCESS


@pytest.mark.rule("OUT-8", "PAIR-10", "REF-15")
def test_pairing_again_after_a_logout_brings_the_session_back() -> None:
    bench = Bench(credentials(), policy=QUIET)
    bench.refresh()
    bench.reply(REFUSED)
    pairing(bench, identity="repair")
    assert heart(bench.reply_call(granted())) == ["Persist", "Open"]
    assert bench.state.tokens.latch is None and bench.access == ACCESS
    bench.run_for(30_000)
    bench.refresh()
    assert len(bench.refreshes) == 1


@pytest.mark.rule("OUT-8", "REF-26")
def test_pairing_again_on_a_live_socket_changes_the_socket() -> None:
    bench = Bench(credentials(), policy=QUIET)
    pairing(bench, identity="repair")
    effects = bench.reply_call(granted())
    assert len(of(effects, Reconnect)) == 1 and bench.access == ACCESS
    assert bench.told(Misconfigured) == []


@pytest.mark.rule("OUT-8", "REF-26")
def test_pairing_again_changes_the_socket_though_nothing_is_new_but_the_tokens() -> None:
    bench = Bench(credentials(), policy=QUIET)
    known = bench.state.tokens.credentials
    pairing(bench, identity="repair", ws_url="wss://hub.example/ws")
    assert heart(bench.reply_call(granted())) == ["Persist", "Reconnect", "Open"]
    now = bench.state.tokens.credentials
    assert known is not None and now is not None and now.identity == known.identity and bench.access == ACCESS


@pytest.mark.rule("REF-49", "PAIR-9")
@pytest.mark.parametrize("first", ["refresh", "pairing"])
def test_a_refresh_and_a_pairing_at_the_same_time(first: str) -> None:
    """Whichever ends first, the pairing's pair is the one that counts."""
    bench = Bench(credentials(), policy=QUIET)
    bench.refresh()
    pairing(bench, identity="new")
    for step in ("refresh", "pairing") if first == "refresh" else ("pairing", "refresh"):
        bench.reply(rotated(jwt("a2"))) if step == "refresh" else bench.reply_call(granted())
    assert bench.access == ACCESS
    assert bench.store.record is not None and bench.store.record.tokens == bench.tokens


@pytest.mark.rule("REF-32", "PAIR-9")
def test_a_stop_brings_a_pairing_home() -> None:
    bench = fresh()
    command = pairing(bench)
    bench.stop()
    assert not is_finished(bench.state)
    bench.reply_call(granted())
    assert isinstance(bench.results[command], PairedResult) and bench.store.record is not None
    assert is_finished(bench.state) and bench.all(Open) == []


@pytest.mark.rule("REF-32")
def test_a_stop_gives_up_a_repetition_and_refuses_the_next() -> None:
    bench = fresh()
    command = pairing(bench)
    bench.fail_call(sent=False)
    bench.stop()
    assert isinstance(bench.results[command], StoppedResult)
    assert isinstance(bench.results[pairing(bench)], StoppedResult)
    assert is_finished(bench.state) and len(bench.all(RequestHttp)) == 1


@pytest.mark.rule("AUTH-9")
def test_no_token_shows_in_any_repr() -> None:
    bench = fresh()
    pairing(bench)
    bench.store.failing = 3
    bench.reply_call(granted())
    texts = [repr(bench.state)]
    bench.run_for(60_000)
    texts += [repr(bench.state), repr(bench.effects), repr(bench.results)]
    assert not any(secret in text for text in texts for secret in (ACCESS, "refresh-p1"))
