"""The hub's side of the handshake: challenge, checks in order, hello, takeover."""

import json
import re
from typing import Any, cast

import pytest

from clawproto.hub import CloseSocket, CutSocket, HubSettings, SocketText
from tests.hub.harness import V1, V2, Client, Frame, World, frame


@pytest.fixture
def world() -> World:
    return World()


def attempt(world: World, payload: Any, **head: object) -> tuple[Client, Frame]:
    """Answer a challenge with this payload; ``nonce`` in it is filled in."""
    client = world.open()
    nonce = client.take()[0]["payload"]["nonce"]
    if isinstance(payload, dict):
        payload = {"nonce": nonce, **cast("Frame", payload)}
    sent = {**frame("connect", payload, trace_id="c-9"), **head}
    world.handle(SocketText(client.conn, json.dumps(sent)))
    return client, client.take()[0]


@pytest.mark.rule("HS-1", "ENV-10")
def test_the_hub_speaks_first_with_a_fresh_nonce(world: World) -> None:
    first, second = world.open().take(), world.open().take()
    assert [challenge["event"] for challenge in first] == ["connect.challenge"]
    assert first[0]["trace_id"] == "challenge"
    assert first[0]["version"] == "2"
    assert re.fullmatch(r"[A-Za-z0-9_-]{24}", first[0]["payload"]["nonce"])
    assert first[0]["payload"]["nonce"] != second[0]["payload"]["nonce"]
    assert not {"chat_id", "chat_type", "to", "sender"} & first[0].keys()


@pytest.mark.rule("HS-3")
def test_a_socket_without_connect_ends_after_ten_seconds_without_hello_fail(world: World) -> None:
    client = world.open()
    client.take()
    world.sleep(9_999)
    assert client.ended is None
    world.sleep(1)
    assert client.ended == CutSocket(client.conn, flush=False)
    assert client.take() == []


@pytest.mark.rule("HS-7", "HS-22", "CAP-4", "ENV-6")
def test_hello_ok_names_the_device_and_nobody(world: World) -> None:
    agent = world.agent()
    _, hello = attempt(world, {"token": agent.access_token, "device_id": "lab"})
    assert hello["event"] == "hello-ok"
    assert hello["trace_id"] == "c-9"
    assert hello["payload"] == {"device_id": "lab", "delivery_mode": "device_replay"}
    assert agent.user_id not in json.dumps(hello)


@pytest.mark.rule("HS-5", "DEV-7")
@pytest.mark.parametrize("device", [{}, {"device_id": ""}, {"device_id": None}])
def test_without_a_device_id_the_user_id_serves_and_connections_evict_each_other(world: World, device: Frame) -> None:
    agent = world.agent()
    first, hello = attempt(world, {"token": agent.access_token, **device})
    assert hello["payload"]["device_id"] == agent.user_id
    second, _ = attempt(world, {"token": agent.access_token})
    assert first.ended == CloseSocket(first.conn, 4001, "session taken over")
    assert second.ended is None


@pytest.mark.rule("HS-6")
@pytest.mark.parametrize(
    "extra",
    [{}, {"client_version": "", "protocol_version": 2}, {"client_version": "x/9", "protocol_version": 77}],
)
def test_versions_of_client_and_protocol_decide_nothing(world: World, extra: Frame) -> None:
    agent = world.agent()
    _, hello = attempt(world, {"token": agent.access_token, "device_id": "lab", **extra})
    assert hello["payload"] == {"device_id": "lab", "delivery_mode": "device_replay"}


@pytest.mark.rule("HS-12", "HS-13", "HUB-4")
@pytest.mark.parametrize(
    ("data", "trace_id"),
    [
        ("{", ""),
        ("[1]", ""),
        (b"\xff\xfe", ""),
        (json.dumps(frame("ping", {}, trace_id="p")), "p"),
        (json.dumps({"version": 2, "event": "connect", "trace_id": "c", "payload": {}}), "c"),
    ],
)
def test_a_first_frame_that_is_no_connect(world: World, data: str | bytes, trace_id: str) -> None:
    client = world.open()
    [failed] = client.send(data)
    assert failed["event"] == "hello-fail"
    assert failed["trace_id"] == trace_id
    assert failed["payload"] == {"reason": "invalid connect event"}
    assert client.ended == CutSocket(client.conn, flush=True)


@pytest.mark.rule("HS-12", "ENV-14")
@pytest.mark.parametrize(
    "payload",
    [
        None,
        [],
        "x",
        {"token": 5},
        {"nonce": []},
        {"device_id": 7},
        {"client_version": {}},
        {"protocol_version": "2"},
        {"protocol_version": True},
        {"capabilities": []},
        {"capabilities": {"multi_device": "yes"}},
        {"capabilities": {"multi_device": 1}},
    ],
)
def test_a_connect_payload_that_does_not_decode(world: World, payload: object) -> None:
    _, failed = attempt(world, payload)
    assert failed["payload"] == {"reason": "invalid connect payload"}


@pytest.mark.rule("HS-12")
def test_nonce_before_token_before_outage(world: World) -> None:
    agent = world.agent()
    world.hub.outage()
    reasons = [
        attempt(world, {"token": 5, "nonce": "wrong"})[1]["payload"]["reason"],
        attempt(world, {"token": "bad", "nonce": "wrong"})[1]["payload"]["reason"],
        attempt(world, {"token": agent.access_token})[1]["payload"]["reason"],
    ]
    assert reasons == ["invalid connect payload", "nonce mismatch", "remote auth service unavailable"]
    world.hub.outage(False)
    assert attempt(world, {"token": "bad"})[1]["payload"]["reason"] == "authentication failed"
    assert attempt(world, {})[1]["payload"]["reason"] == "authentication failed"


@pytest.mark.rule("AUTH-6", "HUB-5")
def test_three_verdicts_by_user_and_by_token(world: World) -> None:
    agent = world.agent()
    for verdict, reason in (("reject", "authentication failed"), ("unavailable", "remote auth service unavailable")):
        world.hub.verdict(agent.user_id, verdict)  # type: ignore[arg-type]
        assert attempt(world, {"token": agent.access_token})[1]["payload"]["reason"] == reason
    world.hub.verdict(agent.access_token, "accept")
    assert attempt(world, {"token": agent.access_token})[1]["event"] == "hello-ok"
    world.hub.verdict(agent.access_token, None)
    world.hub.verdict(agent.user_id, None)
    world.sleep(world.hub.settings.access_token_life_ms)
    assert attempt(world, {"token": agent.access_token})[1]["payload"]["reason"] == "authentication failed"


@pytest.mark.rule("AUTH-4", "AUTH-5")
def test_a_live_socket_outlasts_expiry_and_revocation(world: World) -> None:
    agent = world.agent()
    client = world.connect(agent.access_token)
    world.hub.configure({"pong_timeout_ms": 10**12})
    world.hub.revoke(agent.user_id)
    world.sleep(60_000)
    assert client.ended is None
    assert client.send(frame("ping", {}))[0]["event"] == "pong"
    assert attempt(world, {"token": agent.access_token})[1]["payload"]["reason"] == "authentication failed"


@pytest.mark.rule("HS-20", "LIM-1")
def test_a_connect_frame_above_64_kib_is_closed_with_1009(world: World) -> None:
    agent = world.agent()
    for size, code in ((65_536, None), (65_537, 1009)):
        client = world.open()
        nonce = client.take()[0]["payload"]["nonce"]
        text = json.dumps(frame("connect", {"token": agent.access_token, "nonce": nonce, "device_id": "d1"}))
        client.send(text + " " * (size - len(text)))
        assert (client.ended.code if isinstance(client.ended, CloseSocket) else None) == code
        client.hang_up()


@pytest.mark.rule("CAP-3", "CAP-5", "R2-5", "R1-4")
def test_capabilities_belong_to_one_connection(world: World) -> None:
    agent = world.agent()
    peer = agent.owner_id
    epochs: list[str] = []
    for flags, stamps in (
        (V2, {"seq", "dseq"}),
        (V1, {"seq"}),
        (("reliable_delivery_v2",), {"dseq"}),
        ((), set[str]()),
        (V2, {"seq", "dseq"}),
    ):
        client = world.connect(agent.access_token, "d1", *flags)
        hello = json.loads(client.texts[1])["payload"]
        if "dseq" in stamps:
            assert hello["ack_mode"] == "dseq"
            assert re.fullmatch(r"[0-7][0-9A-HJKMNP-TV-Z]{25}", hello["ack_epoch"])
            epochs.append(hello["ack_epoch"])
        else:
            assert not {"ack_mode", "ack_epoch"} & hello.keys()
        client.take()
        world.do(world.hub.post(agent.conversation_id, peer, "x"))
        [received] = client.take()
        assert {"seq", "dseq"} & received.keys() == stamps
        client.hang_up()
    assert len(set(epochs)) == 3


@pytest.mark.rule("HUB-5")
def test_the_v2_grant_can_be_withheld(world: World) -> None:
    agent = world.agent()
    world.hub.configure({"grant_v2": False})
    client = world.connect(agent.access_token, "d1", *V2)
    assert "ack_mode" not in json.loads(client.texts[1])["payload"]


@pytest.mark.rule("CLOSE-8", "CLOSE-1")
def test_takeover_evicts_the_older_socket_only(world: World) -> None:
    agent = world.agent()
    older = world.connect(agent.access_token, "d1")
    other = world.connect(agent.access_token, "d2")
    older.take()
    newer = world.connect(agent.access_token, "d1")
    assert older.ended == CloseSocket(older.conn, 4001, "session taken over")
    assert older.take() == []
    assert other.ended is None
    older.hang_up()
    assert newer.ended is None
    assert world.hub.state()["takeovers"] == 1


@pytest.mark.rule("CLOSE-10")
def test_the_fourth_takeover_within_ten_seconds_waits_two_seconds(world: World) -> None:
    agent = world.agent()
    last = world.connect(agent.access_token)
    for _ in range(3):
        world.sleep(100)
        last = world.connect(agent.access_token)
    world.sleep(100)
    slow = world.open()
    assert world.hello(slow, agent.access_token) is None
    assert slow.send(frame("ping", {})) == []
    world.sleep(1_999)
    assert last.ended is None
    assert slow.take() == []
    world.sleep(1)
    assert isinstance(last.ended, CloseSocket)
    assert slow.events() == ["hello-ok", "replay.done"]
    world.sleep(10_000)
    world.connect(agent.access_token)


def test_refusing_a_duplicate_names_the_wait() -> None:
    world = World(HubSettings(duplicate_session="refuse"))
    agent = world.agent()
    older = world.connect(agent.access_token)
    newer = world.open()
    assert world.hello(newer, agent.access_token) is None
    assert newer.ended == CloseSocket(newer.conn, 4002, "retry_after_ms=5000")
    assert older.ended is None


@pytest.mark.rule("HUB-5")
def test_scripted_handshakes(world: World) -> None:
    agent, other = world.agent(), world.agent()
    world.hub.hello_fail("moon phase", user_id=agent.user_id)
    world.hub.close_before_hello(4777, user_id=agent.user_id)
    world.hub.close_before_hello(user_id=agent.user_id)
    assert attempt(world, {"token": other.access_token})[1]["event"] == "hello-ok"
    assert attempt(world, {"token": agent.access_token})[1]["payload"] == {"reason": "moon phase"}
    for ended in (CloseSocket, CutSocket):
        client = world.open()
        assert world.hello(client, agent.access_token) is None
        assert isinstance(client.ended, ended)
    assert attempt(world, {"token": agent.access_token})[1]["event"] == "hello-ok"


@pytest.mark.rule("HB-1")
def test_control_pings_and_the_limit_without_pong(world: World) -> None:
    from clawproto.hub import PongSeen

    agent = world.agent()
    silent, lively = world.connect(agent.access_token, "d1"), world.connect(agent.access_token, "d2")
    for _ in range(6):
        world.sleep(10_000)
        world.handle(PongSeen(lively.conn))
    assert (silent.pings, lively.pings) == (2, 2)
    world.sleep(9_999)
    assert silent.ended is None
    world.sleep(1)
    assert silent.ended == CutSocket(silent.conn, flush=False)
    assert lively.ended is None


@pytest.mark.rule("HB-3", "HB-4", "ENV-8")
def test_a_json_ping_is_answered_with_its_own_time(world: World) -> None:
    client = world.connect(world.agent().access_token)
    client.take()
    assert client.send(frame("ping", {}, trace_id="p-1")) == [
        {"version": "2", "event": "pong", "trace_id": "p-1", "emitted_at": 1, "payload": {}}
    ]
    world.sleep(60_000)
    assert client.events() == []


@pytest.mark.rule("HUB-1")
def test_same_seed_and_inputs_give_the_same_frames() -> None:
    def run(seed: bytes) -> list[str]:
        world = World(seed=seed)
        agent = world.agent()
        client = world.connect(agent.access_token, "d1", *V2)
        world.do(world.hub.post(agent.conversation_id, agent.owner_id, "hello"))
        return client.texts

    assert run(b"one") == run(b"one")
    assert run(b"one") != run(b"two")
