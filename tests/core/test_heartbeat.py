"""The heartbeat: silence is answered with a ping, silence after that with another socket."""

import json

import pytest

from clawproto.app_events import ClockSkewed, Disconnected, UnknownEvent
from clawproto.effects import Abort, Close, SendFrame
from clawproto.json_types import Json
from clawproto.policy import Policy
from tests.core.harness import T0, emitted, of
from tests.core.link_harness import LinkBench, message_payload


def silent_bench(policy: Policy | None = None) -> LinkBench:
    bench = LinkBench(policy=policy)
    bench.answers_pings = False
    return bench


@pytest.mark.rule("HB-6", "ENV-10")
def test_thirty_seconds_of_silence_bring_one_ping() -> None:
    bench = silent_bench()
    bench.run_for(29_999)
    assert not bench.uplinks("ping")
    bench.run_for(1)
    bench.run_for(9_000)
    (ping,) = bench.uplinks("ping")
    assert ping["payload"] == {} and not {"chat_id", "chat_type", "to", "sender"} & ping.keys()


@pytest.mark.rule("HB-6", "CLOSE-7")
def test_ten_seconds_without_a_pong_bring_another_socket_with_the_same_token() -> None:
    bench = silent_bench()
    bench.run_for(39_999)
    assert not bench.all(Close)
    effects = bench.run_for(1)
    assert [one.code for one in of(effects, Close)] == [1011]
    assert 500 <= bench.wait_for_socket() <= 650
    assert not bench.refreshes
    assert len({one["payload"]["token"] for one in bench.uplinks("connect")}) == 1


@pytest.mark.rule("HB-6")
def test_a_dead_peer_that_never_closes_is_aborted() -> None:
    bench = silent_bench()
    bench.answers_close = False
    bench.run_for(44_999)
    assert not bench.all(Abort)
    assert of(bench.run_for(1), Abort) == [Abort(1)]
    bench.wait_for_socket()
    assert bench.online


@pytest.mark.rule("HB-6")
@pytest.mark.parametrize(
    "frame",
    [
        {"version": "2", "event": "pong", "trace_id": "foreign", "emitted_at": 1, "payload": {}},
        {"version": "2", "event": "typing.update", "trace_id": "", "payload": {"is_typing": True}},
        {"version": "2", "event": "message.send", "payload": message_payload("msg-1")},
        {"version": "2", "event": "message.ack", "payload": {"message_id": "msg-1"}},
        {"version": "2", "event": "message.error", "payload": {"code": "bad_request"}},
        {"version": "2", "event": "message.error", "payload": {"code": 7}},
        {"version": "2", "event": "a.later.event", "payload": {}},
        {"version": "1", "event": "pong"},
        [],
        "no object",
    ],
)
def test_any_frame_at_all_is_a_sign_of_life(frame: Json) -> None:
    bench = silent_bench()
    bench.run_for(35_000)
    bench.raw(json.dumps(frame))
    bench.run_for(29_999)
    assert len(bench.uplinks("ping")) == 1 and not bench.all(Close)
    bench.run_for(1)
    assert len(bench.uplinks("ping")) == 2


@pytest.mark.rule("HB-6")
def test_a_chatty_hub_is_never_pinged() -> None:
    bench = silent_bench()
    for _ in range(10):
        bench.run_for(29_000)
        bench.down("message.unknown", {})
    assert not bench.uplinks("ping")


@pytest.mark.rule("HB-6")
def test_our_own_uplinks_are_no_sign_of_life() -> None:
    bench = silent_bench()
    for _ in range(3):
        bench.run_for(10_000)
        bench.send()
    assert len(bench.uplinks("ping")) == 1


@pytest.mark.rule("HB-6", "CLOSE-2")
def test_a_suspended_host_pings_before_it_doubts() -> None:
    bench = silent_bench()
    bench.pass_time(8 * 3_600_000)
    bench.tick()
    assert len(bench.uplinks("ping")) == 1 and not bench.all(Close)
    bench.down("pong", {})
    bench.run_for(25_000)
    assert bench.online


@pytest.mark.rule("HB-6")
def test_both_times_are_settings() -> None:
    bench = silent_bench(Policy(ping_after_ms=5_000, pong_timeout_ms=2_000))
    bench.run_for(6_999)
    assert len(bench.uplinks("ping")) == 1 and not bench.all(Close)
    assert of(bench.run_for(1), Close)


@pytest.mark.rule("HB-5", "LEGACY-5", "D-27", "D-53")
@pytest.mark.parametrize("payload", [{}, {"nonce": 1}])
def test_a_ping_of_the_hub_is_an_unknown_event_and_is_not_answered(payload: dict[str, Json]) -> None:
    bench = LinkBench()
    effects = bench.down("ping", payload, trace_id="hub-ping")
    assert not of(effects, SendFrame)
    assert [one.frame.event for one in emitted(effects, UnknownEvent)] == ["ping"]
    bench.run_for(120_000)
    assert not bench.uplinks("pong") and bench.online


@pytest.mark.rule("HB-7", "ENV-7")
def test_a_pong_sets_no_clock() -> None:
    bench = LinkBench()
    before = bench.state.tokens
    for at_ms in (0, T0 - 86_400_000, T0 + 86_400_000):
        bench.down("pong", {}, at_ms=at_ms)
    assert bench.state.tokens == before
    assert not bench.told(ClockSkewed)


@pytest.mark.rule("HB-8")
def test_the_keepalive_of_the_websocket_library_surfaces_as_1011() -> None:
    bench = LinkBench()
    bench.run_for(10_000)
    bench.closed(1011, "keepalive ping timeout")
    assert bench.told(Disconnected)[0].code == 1011
    assert 5_000 <= bench.wait_for_socket() <= 6_500 and not bench.refreshes


@pytest.mark.rule("HB-2")
def test_the_core_writes_text_messages_only_and_knows_no_control_frame() -> None:
    bench = LinkBench(grant="v2")
    bench.run_for(200_000)
    assert {type(effect.text) for effect in bench.all(SendFrame)} == {str}
    assert {effect.event for effect in bench.all(SendFrame)} == {"connect", "ping"}
