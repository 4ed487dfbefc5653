"""Before the first connect: what is near expiry is renewed first; what is wrong is said."""

import json

import pytest

from clawproto.app_events import LoggedOut, Misconfigured
from clawproto.effects import Open, RecordIntent, RequestHttp, RequestRefresh, SendFrame
from clawproto.policy import DAY_MS, HOUR_MS, MINUTE_MS
from clawproto.results import RefreshFailed
from tests.core.harness import INTERNAL, QUIET, REFUSED, T0, Bench, credentials, heart, jwt, of, pair, rotated

AGING = credentials(pair(jwt("old", issued_ms=T0 - 22 * HOUR_MS)))


def connects(bench: Bench) -> list[dict[str, object]]:
    return [json.loads(sent.text)["payload"] for sent in bench.all(SendFrame) if sent.event == "connect"]


@pytest.mark.rule("TOK-14")
@pytest.mark.parametrize(("age", "near"), [(22 * HOUR_MS - 1000, False), (22 * HOUR_MS, True), (30 * HOUR_MS, True)])
def test_refresh_first_only_near_expiry(age: int, near: bool) -> None:
    bench = Bench(credentials(pair(jwt("old", issued_ms=T0 - age))), greet=False)
    assert bool(bench.refreshes) == near
    assert bool(bench.all(Open)) != near


@pytest.mark.rule("TOK-14", "REF-29")
def test_success_then_connect_with_the_new_token() -> None:
    bench = Bench(AGING)
    assert heart(bench.effects) == ["RecordIntent", "RequestRefresh"]
    assert heart(bench.reply(rotated(jwt("new")))) == ["Persist", "Swap", "Open"]
    assert [sent["token"] for sent in connects(bench)] == [jwt("new")]


@pytest.mark.rule("TOK-12")
def test_success_arms_the_timer_even_if_no_connection_follows() -> None:
    bench = Bench(AGING, greet=False, policy=QUIET, liveness=False)
    bench.reply(rotated(jwt("new")))
    bench.pass_time(23 * HOUR_MS)
    assert of(bench.tick(), RecordIntent)


@pytest.mark.rule("TOK-14", "OUT-7")
def test_permanent_then_logout_and_no_connect() -> None:
    bench = Bench(AGING)
    assert heart(bench.reply(REFUSED)) == ["Reload", "Logout"]
    bench.run_for(HOUR_MS)
    assert bench.all(Open) == [] and len(bench.told(LoggedOut)) == 1


@pytest.mark.rule("TOK-14", "REF-27")
def test_transient_then_connect_with_the_current_token_and_try_again() -> None:
    bench = Bench(AGING)
    assert heart(bench.reply(INTERNAL)) == ["Open"]
    assert [sent["token"] for sent in connects(bench)] == [jwt("old", issued_ms=T0 - 22 * HOUR_MS)]
    bench.run_until(RecordIntent, within_ms=2 * 5 * MINUTE_MS)


@pytest.mark.rule("TOK-14", "REF-34")
@pytest.mark.parametrize("refresh", [None, "", "  \n"])
def test_without_a_refresh_token_connect_with_what_there_is(refresh: str | None) -> None:
    bench = Bench(credentials(pair(jwt("old", issued_ms=T0 - 2 * DAY_MS), refresh)), policy=QUIET, liveness=False)
    assert len(bench.all(Open)) == 1
    bench.run_for(25 * HOUR_MS)
    assert bench.all(RecordIntent) == [] and bench.all(RequestRefresh) == []


@pytest.mark.rule("TOK-14")
def test_skipped_for_the_floor_then_connect_and_refresh_when_it_ends() -> None:
    from clawproto.credentials import Guard

    bench = Bench(credentials(pair(jwt("old", issued_ms=T0 - 30 * HOUR_MS))), guard=Guard(None, None, T0 - 12_000))
    assert len(bench.all(Open)) == 1 and bench.refreshes == {}
    bench.run_until(RecordIntent, within_ms=60_000)
    assert bench.now.wall_ms == T0 + 18_000


# --- configuration -------------------------------------------------------------------------------------------------


@pytest.mark.rule("REF-37", "DEV-3", "D-15", "REF-3", "LIM-5")
@pytest.mark.parametrize("device", ["", "   ", "d" * 129, "é" * 65, "a\nb", " lab"])
def test_a_device_id_that_cannot_be_sent_is_reported_and_never_ends_the_session(device: str) -> None:
    bench = Bench(credentials(device_id=device), policy=QUIET, liveness=False)
    first = bench.refresh()
    assert len(bench.told(Misconfigured)) == 1, "at once"
    second = bench.refresh()
    bench.run_for(25 * HOUR_MS)
    assert bench.all(RequestRefresh) == [] and bench.all(RecordIntent) == []
    assert [told.code for told in bench.told(Misconfigured)] == ["blank-device-id"], "once"
    problem = bench.state.tokens.last_error
    assert problem and bench.results[first] == bench.results[second] == RefreshFailed(problem, sent=False)
    assert bench.told(LoggedOut) == []
    assert len(bench.all(Open)) >= 1, "the session goes on as well as it can"


@pytest.mark.rule("REF-3", "DEV-3", "LIM-5")
@pytest.mark.parametrize("device", ["d" * 128, "a.B_c:9-z"])
def test_up_to_128_bytes_are_sent_as_they_are(device: str) -> None:
    bench = Bench(credentials(device_id=device))
    bench.refresh()
    assert dict(bench.sole_refresh().http.headers)["x-device-id"] == device


@pytest.mark.rule("DEV-6")
@pytest.mark.parametrize("volatile", [True, False])
def test_a_volatile_device_id_is_warned_of_at_start_and_once(volatile: bool) -> None:
    bench = Bench(credentials(), volatile_device_id=volatile)
    bench.refresh()
    bench.reply(rotated(jwt("a2")))
    bench.load(credentials(pair(jwt("b1"), "other"), generation=5))
    assert [told.code for told in bench.told(Misconfigured)] == ["volatile-device-id"] * volatile


@pytest.mark.rule("AUTH-11")
def test_another_subject_is_reported_and_overrides_nothing() -> None:
    bench = Bench(credentials(pair(jwt("a1", sub="u-9"))))
    assert [told.code for told in bench.told(Misconfigured)] == ["subject-mismatch"]
    assert bench.state.tokens.credentials is not None
    assert bench.state.tokens.credentials.identity.user_id == "u-1"
    bench.load(credentials(pair(jwt("a1", sub="u-9"))))
    assert len(bench.told(Misconfigured)) == 1, "once per token"
    bench.refresh()
    bench.reply(rotated(jwt("a2", sub="u-8")))
    assert len(bench.told(Misconfigured)) == 2, "a rotated token is compared as well"
    assert bench.state.tokens.credentials.identity.user_id == "u-1"


@pytest.mark.rule("AUTH-11")
@pytest.mark.parametrize("token", ["opaque", jwt("a1"), jwt("a1", sub="u-1"), jwt("a1", sub=7), jwt("a1", sub=None)])
def test_the_own_subject_or_none_is_in_order(token: str) -> None:
    assert Bench(credentials(pair(token))).told(Misconfigured) == []


@pytest.mark.rule("AUTH-10", "AUTH-3")
def test_without_an_own_user_id_this_is_said() -> None:
    bench = Bench(credentials(user_id=" "))
    assert [told.code for told in bench.told(Misconfigured)] == ["no-user-id"]


@pytest.mark.rule("TOK-1", "AUTH-1", "AUTH-3", "DEV-10", "D-8")
def test_no_claim_says_who_or_which_device_this_is() -> None:
    token = jwt("a1", user_id="u-9", sub="u-9", device_id="other", did="other", agent_id="x", owner_id="y", aud="z")
    bench = Bench(credentials(pair(token)))
    (connect,) = connects(bench)
    assert (connect["token"], connect["device_id"]) == (token, "lab-01"), "forwarded unchanged"
    assert bench.state.tokens.credentials is not None
    assert bench.state.tokens.credentials.identity == credentials().identity
    bench.refresh()
    assert dict(bench.sole_refresh().http.headers)["x-device-id"] == "lab-01"
    bench.rest()
    (call,) = bench.all(RequestHttp)
    assert dict(call.http.headers)["authorization"] == f"Bearer {token}"


@pytest.mark.rule("AUTH-1", "TOK-1")
@pytest.mark.parametrize("token", ["opaque", "Ü nicode", "a.b.c", jwt("expired", issued_ms=T0 - 9 * DAY_MS)])
def test_any_token_goes_out_as_it_is(token: str) -> None:
    bench = Bench(credentials(pair(token, None)))
    assert [sent["token"] for sent in connects(bench)] == [token]


@pytest.mark.rule("DEV-1", "DEV-2", "DEV-4", "DEV-7")
def test_one_device_id_for_socket_and_refresh() -> None:
    bench = Bench(credentials(device_id="Lab:01.x"))
    bench.refresh()
    assert connects(bench)[0]["device_id"] == "Lab:01.x"
    assert dict(bench.sole_refresh().http.headers)["x-device-id"] == "Lab:01.x"


@pytest.mark.rule("DEV-8", "CLOSE-11", "DEV-2")
def test_the_socket_id_of_a_parallel_instance_is_neither_stored_nor_used_for_refresh() -> None:
    bench = Bench(credentials(), socket_device_id="lab-01-b")
    assert connects(bench)[0]["device_id"] == "lab-01-b"
    bench.refresh()
    assert dict(bench.sole_refresh().http.headers)["x-device-id"] == "lab-01"
    bench.reply(rotated(jwt("a2")))
    assert bench.store.record is not None
    assert "lab-01-b" not in repr(bench.store.record)
    assert "RememberDevice" not in {type(effect).__name__ for effect in bench.effects}
    assert of(bench.effects, Open)
