"""The control endpoint as a function, settings, provisioning and the small parts."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from clawproto.hub import Hub, HubSettings, control, provision
from clawproto.hub.control import SWITCHES
from clawproto.hub.entropy import Entropy
from clawproto.hub.inbox import Inbox, Row
from clawproto.hub.timers import Timers
from clawproto.instant import Instant
from tests.hub.harness import World


@pytest.fixture
def world() -> World:
    return World()


def post(world: World, name: str, **arguments: object) -> tuple[int, Any]:
    return control(world.hub, "POST", f"/{name}", {}, json.dumps(arguments).encode())


@pytest.mark.rule("HUB-5", "HUB-6")
def test_every_switch_is_a_method_with_a_readable_signature(world: World) -> None:
    status, listing = control(world.hub, "GET", "", {}, b"")
    assert status == 200
    result: Any = listing["result"]
    assert set(result) == set(SWITCHES)
    assert all(callable(getattr(world.hub, name)) for name in SWITCHES)
    public = {name for name in dir(Hub) if not name.startswith("_") and callable(getattr(Hub, name))}
    machine = {"handle", "advance", "take_effects", "next_deadline", "state", "uplinks"}
    assert public - set(SWITCHES) - machine == {"set_stored_chat_type"}


def test_switches_take_their_arguments_from_the_body(world: World) -> None:
    owner = post(world, "create_user", nick_name="Dora")[1]["result"]
    status, made = post(world, "create_agent", owner_id=owner)
    assert status == 200
    agent = made["result"]
    client = world.connect(agent["access_token"])
    assert post(world, "close", code=4000, user_id=agent["user_id"]) == (200, {"ok": True, "result": 1})
    world.do()
    assert client.ended is not None
    assert post(world, "configure", changes={"grant_v2": False})[0] == 200
    assert world.hub.settings.grant_v2 is False
    assert control(world.hub, "POST", "/clear", {}, b"") == (200, {"ok": True, "result": None})
    conversation = post(world, "create_conversation", members=[owner, agent["user_id"]])[1]["result"]
    assert post(world, "post", chat_id=conversation, sender_id=owner, text="x")[0] == 200


@pytest.mark.parametrize(
    ("name", "arguments", "status"),
    [
        ("nonsense", {}, 404),
        ("__init__", {}, 404),
        ("handle", {}, 404),
        ("kick", {"nobody": 1}, 400),
        ("kick", {"user_id": 5}, 400),
        ("close", {}, 400),
        ("close", {"code": True}, 400),
        ("dseq_fault", {"fault": "sideways"}, 400),
        ("create_agent", {"owner_id": "usr_gone"}, 404),
        ("create_conversation", {"members": [1]}, 400),
        ("configure", {"changes": {"nothing": 1}}, 400),
        ("configure", {"changes": {"grant_v2": 1}}, 400),
        ("configure", {"changes": {"frame_limit": 0}}, 400),
        ("configure", {"changes": {"refresh_mode": "kind"}}, 400),
        ("lose_acks", {"times": 0}, 400),
    ],
)
def test_bad_control_requests_change_nothing(world: World, name: str, arguments: Any, status: int) -> None:
    before = world.hub.settings
    answer = post(world, name, **arguments)
    assert answer[0] == status
    assert answer[1]["ok"] is False
    assert world.hub.settings is before


def test_bodies_and_methods_are_checked(world: World) -> None:
    assert control(world.hub, "POST", "/kick", {}, b"[")[0] == 400
    assert control(world.hub, "PUT", "/kick", {}, b"{}")[0] == 405
    assert control(world.hub, "GET", "/kick", {}, b"")[0] == 404
    assert control(world.hub, "GET", "/uplinks", {"user_id": "x"}, b"") == (200, {"ok": True, "result": []})


@pytest.mark.rule("HUB-8")
def test_defaults_are_the_protocols_numbers() -> None:
    settings = HubSettings()
    assert (settings.connect_timeout_ms, settings.connect_limit, settings.frame_limit) == (10_000, 65_536, 8_388_608)
    assert (settings.downlink_limit, settings.message_id_limit, settings.emoji_limit) == (1_000_000, 512, 64)
    assert (settings.takeovers_free, settings.takeover_window_ms, settings.takeover_delay_ms) == (3, 10_000, 2_000)
    assert (settings.access_token_life_ms, settings.refresh_token_life_ms) == (86_400_000, 60 * 86_400_000)
    assert (settings.grace_from_ms, settings.grace_until_ms, settings.grace_redemptions) == (2_000, 90_000, 2)
    assert (settings.ping_interval_ms, settings.pong_timeout_ms) == (30_000, 70_000)
    assert (settings.ack_silence_ms, settings.sweep_interval_ms) == (120_000, 30_000)
    assert (settings.kicks_before_backoff, settings.kick_memory_ms, settings.kick_backoff_max_ms) == (
        3,
        3_600_000,
        1_800_000,
    )
    assert (settings.window_limit, settings.replay_pause, settings.presence_limit) == (4096, 3500, 16)
    assert (settings.read_mark_age_ms, settings.read_mark_chats) == (30 * 86_400_000, 500)
    assert (settings.device_id_limit, settings.upload_limit) == (128, 104_857_600)
    with pytest.raises(ValueError, match="frame_limit"):
        HubSettings(frame_limit=0)


def test_provisioned_agents_work_and_share_a_group(world: World) -> None:
    made: Any = provision(world.hub, agents=3)
    assert made.keys() == {"agents", "shared_conversation_id"}
    fields = {
        "user_id",
        "owner_id",
        "agent_id",
        "device_id",
        "conversation_id",
        "access_token",
        "refresh_token",
        "pairing_code",
    }
    for agent in made["agents"]:
        assert agent.keys() == fields
        listed = world.call("GET", "/v1/conversations", token=agent["access_token"])[1]["data"]["conversations"]
        assert {item["id"]: item["type"] for item in listed} == {
            agent["conversation_id"]: "direct",
            made["shared_conversation_id"]: "group",
        }
        assert world.refresh(agent["refresh_token"], agent["device_id"])["code"] == 0
        body = {"code": agent["pairing_code"], "platform": "p", "type": "t"}
        paired = world.call("POST", "/v1/agents/connect", body)[1]["data"]
        assert paired["agent"]["user_id"] == agent["user_id"]
    with pytest.raises(ValueError, match="at least one"):
        provision(world.hub, agents=0)


def test_a_dissolved_chat_and_a_removed_member_are_refused(world: World) -> None:
    ann, bob, chat = world.pair_of_users()
    cid = world.hub.create_user("Cid")
    world.hub.add_member(chat, cid)
    assert len(world.call("GET", "/v1/conversations", token=world.token(cid))[1]["data"]["conversations"]) == 1
    world.hub.remove_member(chat, cid)
    assert world.call("GET", "/v1/conversations", token=world.token(cid))[1]["data"]["conversations"] == []
    world.hub.dissolve(chat)
    for user in (ann, bob):
        assert world.call("GET", f"/v1/conversations/{chat}", token=world.token(user))[0] == 404
    with pytest.raises(KeyError):
        world.hub.dissolve(chat)


def test_group_silence_hangs_http_too(world: World) -> None:
    world.hub.silence()
    client = world.open()
    assert client.take() == []
    outcome = world.http("GET", "/v1/users/me")
    assert type(outcome).__name__ == "HttpDrop"


def test_unknown_sockets_are_ignored(world: World) -> None:
    from clawproto.hub import PongSeen, SocketClosed, SocketText, SocketWritten

    for event in (SocketText(99, "x"), SocketWritten(99, 1), PongSeen(99), SocketClosed(99)):
        assert world.hub.handle(event, world.now) == []


@pytest.mark.rule("HUB-1")
def test_entropy_is_fixed_by_its_seed() -> None:
    first, second = Entropy(b"x"), Entropy(b"x")
    assert [first.take(5) for _ in range(3)] == [second.take(5) for _ in range(3)]
    ulids = [first.ulid(5) for _ in range(50)] + [first.ulid(4)]
    assert ulids == sorted(set(ulids))
    for seed in (b"", b"x" * 65):
        with pytest.raises(ValueError, match="seed"):
            Hub(HubSettings(), seed, Instant(0, 0))


def test_timers_replace_and_clear() -> None:
    timers = Timers()
    assert timers.next_due() is None
    timers.set(1, "a", 10)
    timers.set(1, "a", 30)
    timers.set(2, "a", 20)
    timers.set(3, "a", 5)
    timers.clear(3, "a")
    assert timers.next_due() == 20
    assert list(timers.expired(30)) == [(2, "a"), (1, "a")]
    assert timers.next_due() is None


def test_inbox_order_survives_many_rewrites() -> None:
    inbox = Inbox()
    for seq in range(1, 1_001):
        inbox.put(Row(seq, f"m{seq % 7}", "", "a"))
    assert [row.seq for row in inbox] == list(range(994, 1_001))
    assert [row.seq for row in inbox.after(997)] == [998, 999, 1_000]
    assert inbox.prune(2) == 5
    assert (inbox.pruned_to, inbox.oldest_seq(), len(inbox)) == (998, 999, 2)
    inbox.advance("d", 5)
    inbox.advance("d", 3)
    assert inbox.cursor("d") == 5


def test_every_switch_has_an_example_in_the_docs() -> None:
    text = (Path(__file__).parents[2] / "docs" / "hub.md").read_text("utf-8")
    examples = dict(re.findall(r"^ctl (\w+)(?: '(.*?)')?", text, re.MULTILINE))
    assert set(examples) == {*SWITCHES, "cut_all", "refuse_connections"}
    for name, arguments in re.findall(r"^ctl (\w+) '(.*?)'", text, re.MULTILINE):
        world = World()
        if name == "refuse_connections":
            continue
        status, answer = control(world.hub, "POST", name, {}, arguments.encode())
        assert status == 200 or "unknown id" in str(answer["error"]), (name, answer)
