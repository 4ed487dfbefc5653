"""From ``Open`` to ``hello-ok``: what is sent when, and who is who."""

import json

import pytest

from clawproto.app_events import FrameRejected, HandshakeRefused, Misconfigured, Ready
from clawproto.config import Config
from clawproto.effects import Abort, Open, RememberDevice, SendFrame
from clawproto.events import Closed, Event, FrameReceived, Opened, OpenFailed, Start
from clawproto.json_types import Json
from clawproto.link_state import Down, Waiting
from tests.core.harness import credentials, emitted, frame, jwt, of, pair, rotated
from tests.core.link_harness import LinkBench, closing

HOUR_MS = 3_600_000
LEAD_MS = 2 * HOUR_MS


# --- the order of things -------------------------------------------------------------------------------------------


@pytest.mark.rule("HS-2", "HS-9", "ENV-6")
def test_nothing_is_sent_before_the_challenge_and_only_connect_before_hello_ok() -> None:
    bench = LinkBench(greet=False)
    bench.send()
    bench.type()
    bench.step(Opened(bench.generation))
    bench.type()
    assert bench.uplinks() == []

    bench.step(bench.challenge(bench.generation))
    bench.send()
    bench.type()
    (connect,) = bench.uplinks()
    assert connect["event"] == "connect"
    assert connect["payload"]["nonce"] == "q0Yx3bVtL8mWc2RkZ7dNaP5s"
    assert connect["trace_id"] not in ("", "challenge")

    bench.hello_now()
    assert [one["event"] for one in bench.uplinks()] == ["connect", "message.send", "message.send", "typing.update"]


@pytest.mark.rule("HS-2")
@pytest.mark.parametrize("nonce", ["n", 'ÄÖ\u2028\u0001\\"/', "x" * 5000, " padded ", "\u0000nul"])
def test_the_nonce_is_repeated_byte_for_byte(nonce: str) -> None:
    bench = LinkBench(greet=False)
    bench.step(Opened(1))
    bench.down("connect.challenge", {"nonce": nonce}, trace_id="challenge")
    (connect,) = bench.uplinks("connect")
    assert connect["payload"]["nonce"] == nonce


@pytest.mark.rule("HS-2", "ENV-12")
def test_a_challenge_without_a_usable_nonce_is_not_answered_and_times_out() -> None:
    bench = LinkBench(greet=False)
    bench.step(Opened(1))
    unusable: list[dict[str, Json]] = [{}, {"nonce": 5}, {"data": {"nonce": "older shape"}}]
    for payload in unusable:
        effects = bench.down("connect.challenge", payload)
        assert emitted(effects, FrameRejected) and not of(effects, SendFrame)
    assert [effect.generation for effect in of(bench.run_for(10_000), Abort)] == [1]


@pytest.mark.rule("LEGACY-3")
def test_frames_of_the_older_shape_are_no_challenge() -> None:
    bench = LinkBench(greet=False)
    bench.step(Opened(1))
    bench.raw(json.dumps({"type": "event", "event": "connect.challenge", "payload": {"nonce": "n"}}))
    bench.raw(json.dumps({"type": "res", "id": "1", "ok": True, "payload": {"nonce": "n"}}))
    assert bench.uplinks() == []
    bench.step(bench.challenge(1))
    bench.raw(json.dumps({"type": "res", "id": bench.uplinks()[0]["trace_id"], "ok": True, "payload": {}}))
    assert not bench.online


@pytest.mark.rule("AUTH-1", "AUTH-2", "HS-6")
def test_the_token_goes_into_connect_and_nowhere_else() -> None:
    token = jwt("a1")
    bench = LinkBench(credentials(pair(token)), greet=False, client_version="agent/1.2")
    (opening,) = bench.all(Open)
    assert opening.url == "wss://hub.example/ws"
    bench.challenge_now()
    (connect,) = bench.uplinks("connect")
    assert connect["payload"]["token"] == token
    assert connect["payload"]["client_version"] == "agent/1.2"
    assert connect["payload"]["protocol_version"] == 2
    bench.hello_now()
    bench.send()
    assert not any(token in effect.text for effect in bench.all(SendFrame) if effect.event != "connect")


@pytest.mark.rule("AUTH-1")
@pytest.mark.parametrize("token", ["opaque", " spaced ", "ünïcode", 'a"b\\c', "a.b", "...."])
def test_an_opaque_token_is_forwarded_unchanged(token: str) -> None:
    bench = LinkBench(credentials(pair(token)))
    assert bench.uplinks("connect")[0]["payload"]["token"] == token


@pytest.mark.rule("AUTH-9")
def test_no_repr_of_state_or_effects_shows_the_token() -> None:
    token = jwt("a1")
    bench = LinkBench(credentials(pair(token, "refresh-secret")))
    shown = repr(bench.state) + "".join(repr(effect) for effect in bench.effects)
    assert token not in shown and "refresh-secret" not in shown


@pytest.mark.rule("AUTH-7")
def test_socket_and_rest_go_to_the_hosts_that_the_operator_named() -> None:
    bench = LinkBench(credentials(base_url="https://api.example", ws_url="wss://elsewhere.test:8443/chat"))
    assert bench.all(Open)[0].url == "wss://elsewhere.test:8443/chat"
    bench.rest()
    assert next(iter(bench.calls.values())).http.url == "https://api.example/v1/users/me"


@pytest.mark.rule("AUTH-3")
def test_the_own_user_id_comes_from_the_store_whatever_frames_and_claims_say() -> None:
    bench = LinkBench(credentials(pair(jwt("a1", sub="usr_claimed"))), greet=False)
    bench.challenge_now()
    bench.hello_now(user_id="usr_from_hub")
    bench.message("msg-1", sender={"id": "usr_claimed"}, origin_device_id="lab-01")
    bench.message("msg-2", sender={"id": "usr_from_hub"}, origin_device_id="lab-01")
    bench.message("msg-3", sender={"id": "u-1"}, origin_device_id="other")
    assert [one.own for one, _ in bench.delivered()] == [False, False, True]


@pytest.mark.rule("AUTH-10")
def test_without_an_own_user_id_nothing_is_conversational() -> None:
    bench = LinkBench(credentials(user_id=""))
    bench.message("msg-1")
    bench.message("msg-2", sender={"id": ""})
    assert [one.conversational for one, _ in bench.delivered()] == [False, False]
    assert "no-user-id" in [one.code for one in bench.told(Misconfigured)]


@pytest.mark.rule("HS-10", "AUTH-5")
def test_connect_carries_the_token_that_is_current_when_it_is_written() -> None:
    bench = LinkBench(greet=False)
    bench.step(Opened(1))
    bench.load(credentials(pair(jwt("a2"), "refresh-2"), generation=2))
    bench.step(bench.challenge(1))
    (connect,) = bench.uplinks("connect")
    assert connect["payload"]["token"] == jwt("a2")


@pytest.mark.rule("AUTH-5")
def test_a_rotated_token_takes_effect_through_a_new_socket_only() -> None:
    bench = LinkBench()
    bench.answers_close = False
    bench.run_until_refresh()
    effects = bench.reply(rotated(jwt("a2", issued_ms=bench.now.wall_ms)))
    assert len(closing(effects)) == 1
    assert not bench.uplinks("connect", effects)
    effects = bench.step(Closed(1, 1000))
    assert bench.uplinks("connect", effects)[0]["payload"]["token"] == bench.access
    assert len(bench.uplinks("connect")) == 2


# --- deadlines and stale reports -----------------------------------------------------------------------------------


@pytest.mark.rule("HS-4", "CLOSE-9", "HS-19")
@pytest.mark.parametrize("challenged_after", [None, 0, 9_000])
def test_the_handshake_has_ten_seconds_from_the_opening_on(challenged_after: int | None) -> None:
    bench = LinkBench(greet=False)
    bench.run_for(3_000)  # the upgrade takes a while; it does not count
    bench.step(Opened(1))
    if challenged_after is not None:
        bench.run_for(challenged_after)
        bench.step(bench.challenge(1))
    bench.run_for(9_999 - (challenged_after or 0))
    assert not bench.all(Abort)
    assert [effect.generation for effect in of(bench.run_for(1), Abort)] == [1]
    assert 500 <= bench.wait_for_socket() <= 650
    assert not bench.refreshes


@pytest.mark.rule("HS-19", "CLOSE-7", "CLOSE-9")
@pytest.mark.parametrize("code", [1000, 1005, 1006, 1009, 1011, 1013, 3000, 4000, 4999])
@pytest.mark.parametrize("stage", ["opening", "waiting", "greeting"])
def test_a_close_before_hello_means_backoff_with_the_same_token(stage: str, code: int) -> None:
    bench = LinkBench(greet=False)
    for attempt in range(1, 4):
        if stage != "opening":
            bench.step(Opened(bench.generation))
        if stage == "greeting":
            bench.step(bench.challenge(bench.generation))
        bench.closed(code, "authentication failed")
        (phase,) = [bench.state.link.phase]
        assert isinstance(phase, Down)
        delay = bench.wait_for_socket()
        base = 500 * 2 ** (attempt - 1)
        assert base <= delay <= base * 1.3
    assert not bench.refreshes and not bench.told(HandshakeRefused)
    bench.challenge_now()
    assert bench.uplinks("connect")[-1]["payload"]["token"] == jwt("a1")


@pytest.mark.rule("REF-29", "REF-50")
@pytest.mark.parametrize("stage", ["opening", "waiting", "greeting"])
def test_a_handshake_makes_way_for_a_refresh(stage: str) -> None:
    bench = LinkBench(greet=False)
    if stage != "opening":
        bench.step(Opened(1))
    if stage == "greeting":
        bench.step(bench.challenge(1))
    begin = len(bench.effects)
    bench.refresh()
    assert closing(bench.effects[begin:]) == [Abort(1)]
    bench.run_for(5_000)
    assert bench.sockets() == 1
    assert of(bench.reply(rotated(jwt("a2"))), Open)


@pytest.mark.rule("CLOSE-2")
def test_a_socket_that_cannot_be_opened_is_tried_again_with_backoff() -> None:
    bench = LinkBench(greet=False)
    delays: list[int] = []
    for _ in range(9):
        bench.step(OpenFailed(bench.generation, "connection refused"))
        delays.append(bench.wait_for_socket())
    for attempt, delay in enumerate(delays):
        base = min(30_000, 500 * 2**attempt)
        assert base <= delay <= base * 1.3


@pytest.mark.rule("CLOSE-2")
def test_an_upgrade_that_never_ends_is_given_up() -> None:
    bench = LinkBench(greet=False)
    assert [effect.generation for effect in of(bench.run_for(10_000), Abort)] == [1]
    bench.wait_for_socket()
    assert bench.generation == 2


@pytest.mark.rule("HS-21")
def test_reports_of_earlier_sockets_change_nothing() -> None:
    bench = LinkBench(greet=False)
    bench.step(OpenFailed(1, "refused"))
    bench.wait_for_socket()
    before = bench.state
    stale: list[Event] = [
        Opened(1),
        OpenFailed(1, "late"),
        FrameReceived(1, frame("connect.challenge", {"nonce": "old"})),
        FrameReceived(1, "no json"),
        Closed(1, 4001),
        Opened(7),
        Closed(7, 1006),
    ]
    for event in stale:
        assert bench.step(event) == ()
    assert bench.state == before


@pytest.mark.rule("HS-21")
def test_reports_repeated_or_out_of_turn_change_nothing() -> None:
    bench = LinkBench(greet=False)
    bench.step(FrameReceived(1, frame("connect.challenge", {"nonce": "early"})))  # before Opened
    assert bench.uplinks() == []
    bench.step(Opened(1))
    bench.run_for(4_000)
    bench.step(Opened(1))  # does not start the deadline anew
    bench.step(OpenFailed(1, "late"))
    assert isinstance(bench.state.link.phase, Waiting)
    assert of(bench.run_for(6_000), Abort)


# --- hello-ok ------------------------------------------------------------------------------------------------------


@pytest.mark.rule("HS-8", "ENV-6", "HS-11")
@pytest.mark.parametrize("trace_id", ["", "someone else's"])
@pytest.mark.parametrize("mode", ["device_replay", "a later mode", None, 7, {"x": 1}])
def test_hello_ok_is_taken_whatever_its_trace_id_and_delivery_mode(mode: Json, trace_id: str) -> None:
    bench = LinkBench(greet=False)
    bench.challenge_now()
    bench.down("hello-ok", {"device_id": "lab-01", "delivery_mode": mode}, trace_id=trace_id)
    assert bench.online
    assert bench.told(Ready) == [Ready("lab-01", "v1")]


@pytest.mark.rule("HS-8", "ENV-12")
@pytest.mark.parametrize("device_id", [None, "", 5])
def test_without_a_resolved_device_id_the_one_sent_holds(device_id: Json) -> None:
    bench = LinkBench(greet=False)
    bench.challenge_now()
    bench.hello_now(device_id=device_id)
    assert bench.told(Ready)[0].device_id == "lab-01"
    assert not bench.all(RememberDevice)


@pytest.mark.rule("HS-8", "ROUTE-6")
def test_the_echo_filter_uses_the_device_id_that_the_hub_resolved() -> None:
    bench = LinkBench(greet=False)
    bench.challenge_now()
    bench.hello_now(device_id="resolved-9")
    bench.message("msg-1", sender={"id": "u-1"}, origin_device_id="resolved-9")
    bench.message("msg-2", sender={"id": "u-1"}, origin_device_id="lab-01")
    assert [one.message.message_id for one, _ in bench.delivered()] == ["msg-2"]


@pytest.mark.rule("HS-23", "CLOSE-6", "DEV-1")
def test_a_resolved_device_id_is_kept_and_presented_from_then_on() -> None:
    bench = LinkBench(greet=False)
    bench.challenge_now()
    effects = bench.hello_now(device_id="resolved-9")
    assert of(effects, RememberDevice) == [RememberDevice("resolved-9")]
    bench.closed()
    bench.wait_for_socket()
    bench.challenge_now()
    assert bench.uplinks("connect")[-1]["payload"]["device_id"] == "resolved-9"
    assert not of(bench.hello_now(device_id="resolved-9"), RememberDevice)
    assert bench.state.tokens.credentials is not None
    assert bench.state.tokens.credentials.identity.device_id == "lab-01"  # the session device id stays what it is


@pytest.mark.rule("HS-23")
def test_a_rotation_saves_the_resolved_device_id_too() -> None:
    bench = LinkBench(greet=False)
    bench.challenge_now()
    bench.hello_now(device_id="resolved-9")
    bench.refresh()
    bench.reply(rotated(jwt("a2", issued_ms=bench.now.wall_ms + 1_000)))
    assert bench.store.record is not None
    assert bench.store.record.identity.socket_device_id == "resolved-9"


@pytest.mark.rule("CLOSE-11", "DEV-8")
def test_a_parallel_instance_presents_its_own_socket_device_id_and_stores_nothing() -> None:
    bench = LinkBench(greet=False, socket_device_id="lab-01-b")
    bench.challenge_now()
    assert bench.uplinks("connect")[0]["payload"]["device_id"] == "lab-01-b"
    bench.hello_now(device_id="resolved-9")
    assert not bench.all(RememberDevice)
    bench.closed()
    bench.wait_for_socket()
    bench.challenge_now()
    assert bench.uplinks("connect")[1]["payload"]["device_id"] == "lab-01-b"


@pytest.mark.rule("HS-21")
def test_a_second_challenge_or_hello_changes_nothing() -> None:
    bench = LinkBench(greet=False)
    bench.challenge_now()
    assert not of(bench.step(bench.challenge(1)), SendFrame)
    bench.hello_now()
    phase = bench.state.link.phase
    assert bench.down("connect.challenge", {"nonce": "again"}) == ()
    assert bench.down("hello-ok", {"device_id": "other", "ack_mode": "dseq", "ack_epoch": "e"}) == ()
    assert bench.down("hello-fail", {"reason": "authentication failed"}) == ()
    assert bench.state.link.phase == phase
    assert bench.state.link.device_id == "lab-01"
    assert not bench.refreshes and len(bench.uplinks("connect")) == 1


@pytest.mark.rule("HS-9")
def test_downlinks_before_hello_ok_are_ignored() -> None:
    bench = LinkBench(greet=False)
    bench.challenge_now()
    assert bench.message("msg-1") == ()
    assert bench.down("replay.done", {}) == ()
    bench.hello_now()
    assert bench.online and not bench.delivered()


# --- settings ------------------------------------------------------------------------------------------------------


@pytest.mark.rule("AUTH-2")
def test_without_credentials_no_socket_is_opened() -> None:
    bench = LinkBench(start=False)
    bench.store.record = None
    bench.step(Start(None))
    bench.run_for(120_000)
    assert bench.sockets() == 0


def test_the_seed_has_sixteen_bytes() -> None:
    with pytest.raises(ValueError, match="16 bytes"):
        Config(seed=b"short")
