"""The hub's HTTP side: tokens, refresh, pairing and the companion API."""

import base64
import json
import re

import pytest

from clawproto.hub import HttpDrop, HttpRespond, HubSettings
from tests.hub.harness import START_MS, Frame, World, answered

DAY_MS = 86_400_000


@pytest.fixture
def world() -> World:
    return World()


def pairing(code: str, **more: object) -> Frame:
    return {"code": code, "platform": "hermes", "type": "clawbot", **more}


# --- tokens --------------------------------------------------------------------------------------------------------


@pytest.mark.rule("TOK-18")
def test_jwt_shaped_tokens_live_a_day(world: World) -> None:
    agent = world.agent()
    segments = agent.access_token.split(".")
    assert len(segments) == 3
    assert all(re.fullmatch(r"[A-Za-z0-9_-]+", segment) for segment in segments)
    claims = json.loads(base64.urlsafe_b64decode(segments[1] + "=="))
    assert claims == {"iat": START_MS // 1000, "exp": (START_MS + DAY_MS) // 1000, "sub": agent.user_id}
    world.sleep(DAY_MS - 1)
    assert world.call("GET", "/v1/users/me", token=agent.access_token)[0] == 200
    world.sleep(1)
    assert world.call("GET", "/v1/users/me", token=agent.access_token)[0] == 401


@pytest.mark.rule("TOK-18")
def test_opaque_tokens_have_no_structure() -> None:
    agent = World(HubSettings(token_flavour="opaque")).agent()
    assert "." not in agent.access_token


@pytest.mark.rule("TOK-18")
def test_refresh_tokens_slide_sixty_days(world: World) -> None:
    agent = world.agent()
    assert re.fullmatch(r"[0-9a-f]{64}", agent.refresh_token)
    world.sleep(60 * DAY_MS - 1)
    rotated = world.refresh(agent.refresh_token)
    assert rotated["code"] == 0
    world.sleep(60 * DAY_MS - 1)
    again = world.refresh(rotated["data"]["refresh_token"])
    assert again["code"] == 0
    world.sleep(60 * DAY_MS)
    assert world.refresh(again["data"]["refresh_token"])["code"] == 10003


# --- refresh -------------------------------------------------------------------------------------------------------


@pytest.mark.rule("REF-8")
def test_strict_rotation_kills_the_token_at_once(world: World) -> None:
    agent = world.agent()
    rotated = world.refresh(agent.refresh_token)
    assert rotated["code"] == 0
    assert rotated["data"].keys() == {"access_token", "refresh_token"}
    assert rotated["data"]["access_token"] != agent.access_token
    assert rotated["data"]["refresh_token"] != agent.refresh_token
    for wait in (0, 5_000):
        world.sleep(wait)
        assert world.refresh(agent.refresh_token)["code"] == 10003
    assert world.refresh(rotated["data"]["refresh_token"])["code"] == 0
    assert world.hub.state()["rotations"] == {agent.user_id: 2}


@pytest.mark.rule("REF-8")
def test_grace_redeems_a_spent_token_twice_between_2_and_90_seconds() -> None:
    world = World(HubSettings(refresh_mode="grace"))
    agent = world.agent()
    first = world.refresh(agent.refresh_token)["data"]
    world.sleep(1_999)
    assert world.refresh(agent.refresh_token)["code"] == 10003
    world.sleep(1)
    assert world.refresh(agent.refresh_token, "other")["code"] == 10003
    second = world.refresh(agent.refresh_token)
    assert second["code"] == 0
    assert world.refresh(first["refresh_token"])["code"] == 10003
    world.sleep(88_000)
    third = world.refresh(agent.refresh_token)
    assert third["code"] == 0
    assert world.refresh(second["data"]["refresh_token"])["code"] == 10003
    assert world.refresh(agent.refresh_token)["code"] == 10003
    assert world.refresh(third["data"]["refresh_token"])["code"] == 0


@pytest.mark.rule("REF-8")
def test_grace_ends_after_90_seconds_or_with_the_successors_use() -> None:
    world = World(HubSettings(refresh_mode="grace"))
    late, used = world.agent(), world.agent()
    world.refresh(late.refresh_token)
    successor = world.refresh(used.refresh_token)["data"]["refresh_token"]
    world.sleep(2_000)
    assert world.refresh(successor)["code"] == 0
    assert world.refresh(used.refresh_token)["code"] == 10003
    world.sleep(88_001)
    assert world.refresh(late.refresh_token)["code"] == 10003


@pytest.mark.rule("REF-38")
@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"\xff", b'{"refresh_token": 5}', b"{}", b'{"refresh_token": null}']
)
def test_an_undecodable_body_is_400_in_http_200(world: World, body: bytes) -> None:
    status, envelope = answered(world.http("POST", "/v1/auth/refresh", body))
    assert (status, envelope["code"]) == (200, 400)
    assert "data" not in envelope


@pytest.mark.rule("REF-38", "LIM-5")
def test_device_ids_of_the_refresh_call(world: World) -> None:
    agent = world.agent()
    for device_id, code in ((None, 400), ("", 400), ("x" * 129, 400), ("ü" * 65, 400), ("x" * 128, 10003)):
        assert world.refresh(agent.refresh_token, device_id)["code"] == code
    assert world.refresh("0" * 64)["code"] == 10003
    assert world.refresh(agent.refresh_token, "d1")["code"] == 0


@pytest.mark.rule("REF-39", "HUB-6", "HUB-7")
def test_scripted_refresh_calls(world: World) -> None:
    agent, other = world.agent(), world.agent()
    body = {"refresh_token": agent.refresh_token}
    world.hub.fail_refresh("code", 1, user_id=agent.user_id)
    world.hub.fail_refresh("status", 502, retry_after="3", user_id=agent.user_id)
    world.hub.fail_refresh("timeout", 4_000, user_id=agent.user_id)
    assert world.refresh(other.refresh_token)["code"] == 0
    assert world.refresh(agent.refresh_token)["code"] == 1
    failed = world.http("POST", "/v1/auth/refresh", body)
    assert isinstance(failed, HttpRespond)
    assert (failed.status, dict(failed.headers)["retry-after"]) == (502, "3")
    assert world.http("POST", "/v1/auth/refresh", body) == HttpDrop(1, 4_000)
    assert agent.user_id not in world.hub.state()["rotations"]  # type: ignore[operator]
    world.hub.fail_refresh("delay", 700)
    world.hub.fail_refresh("garbage")
    world.hub.fail_refresh("lost")
    late = world.http("POST", "/v1/auth/refresh", body)
    assert isinstance(late, HttpRespond)
    assert late.delay_ms == 700
    token = json.loads(late.body)["data"]["refresh_token"]
    unreadable = world.http("POST", "/v1/auth/refresh", {"refresh_token": other.refresh_token})
    assert isinstance(unreadable, HttpRespond)
    assert unreadable.body.startswith(b"<")
    assert world.http("POST", "/v1/auth/refresh", {"refresh_token": token}) == HttpDrop(1, 0)
    assert world.refresh(token)["code"] == 10003
    assert world.hub.state()["rotations"] == {agent.user_id: 2, other.user_id: 1}


@pytest.mark.rule("REF-40", "REF-41")
def test_the_old_access_token_lives_on_and_the_new_one_is_the_same_user(world: World) -> None:
    agent = world.agent()
    rotated = world.refresh(agent.refresh_token)["data"]
    for token in (agent.access_token, rotated["access_token"]):
        status, envelope = world.call("GET", "/v1/users/me", token=token)
        assert (status, envelope["data"]["user_id"]) == (200, agent.user_id)
    world.hub.configure({"rotation_kills_access": True})
    newest = world.refresh(rotated["refresh_token"])["data"]
    assert world.call("GET", "/v1/users/me", token=rotated["access_token"])[0] == 401
    assert world.call("GET", "/v1/users/me", token=newest["access_token"])[0] == 200


def test_revocation_and_rejection_of_access(world: World) -> None:
    revoked, rejected = world.agent(), world.agent()
    world.hub.revoke(revoked.user_id)
    world.hub.reject_access(rejected.user_id)
    assert world.refresh(revoked.refresh_token)["code"] == 10003
    assert world.call("GET", "/v1/users/me", token=rejected.access_token)[0] == 401
    fresh = world.refresh(rejected.refresh_token)["data"]["access_token"]
    assert world.call("GET", "/v1/users/me", token=fresh)[0] == 200


def test_an_outage_refuses_without_rotating(world: World) -> None:
    agent = world.agent()
    world.hub.outage()
    assert world.refresh(agent.refresh_token)["code"] == 1
    assert world.call("GET", "/v1/users/me", token=agent.access_token)[0] == 503
    world.hub.clear()
    assert world.refresh(agent.refresh_token)["code"] == 0


def test_no_token_in_reprs_and_state(world: World) -> None:
    agent = world.agent()
    world.hub.verdict(agent.access_token, "accept")
    outcome = world.http("POST", "/v1/auth/refresh", {"refresh_token": agent.refresh_token})
    assert isinstance(outcome, HttpRespond)
    fresh = json.loads(outcome.body)["data"]
    shown = repr(agent) + repr(outcome) + json.dumps(world.hub.state()) + repr(vars(world.hub))
    for secret in (agent.access_token, agent.refresh_token, agent.pairing_code, *fresh.values()):
        assert secret not in shown


# --- pairing -------------------------------------------------------------------------------------------------------


@pytest.mark.rule("PAIR-5", "PAIR-12", "HUB-7")
def test_pairing_spends_the_code_and_binds_the_device(world: World) -> None:
    agent = world.agent()
    outcome = world.http("POST", "/v1/agents/connect", pairing(agent.pairing_code), device_id="lab")
    status, envelope = answered(outcome)
    assert (status, envelope["code"]) == (200, 0)
    data = envelope["data"]
    assert data["agent"]["user_id"] == agent.user_id
    assert data["agent"]["owner_id"] == agent.owner_id
    assert data["agent"]["id"] == agent.agent_id
    assert data["conversation"] == {"id": agent.conversation_id}
    assert world.call("POST", "/v1/agents/connect", pairing(agent.pairing_code))[1]["code"] != 0
    assert world.refresh(data["refresh_token"], "d1")["code"] == 10003
    assert world.refresh(data["refresh_token"], "lab")["code"] == 0


def test_a_code_without_agent_makes_one(world: World) -> None:
    owner = world.hub.create_user("Dora")
    _, envelope = world.call("POST", "/v1/agents/connect", pairing(world.hub.create_pairing_code(owner)))
    data = envelope["data"]
    assert data["agent"]["owner_id"] == owner
    _, seen = world.call("GET", f"/v1/conversations/{data['conversation']['id']}", token=data["access_token"])
    members = [participant["id"] for participant in seen["data"]["conversation"]["participants"]]
    assert members == [owner, data["agent"]["user_id"]]


@pytest.mark.rule("PAIR-5", "PAIR-12")
def test_an_unknown_user_id_is_16001_and_leaves_the_code_unspent(world: World) -> None:
    agent, stranger = world.agent(), world.agent()
    code = world.hub.create_pairing_code(agent.owner_id)
    for user_id, expected in (("usr_gone", 16001), (stranger.user_id, 16014), (agent.user_id, 0)):
        _, envelope = world.call("POST", "/v1/agents/connect", pairing(code, user_id=user_id))
        assert envelope["code"] == expected
    assert envelope["data"]["agent"]["user_id"] == agent.user_id


@pytest.mark.rule("PAIR-12")
def test_recent_servers_pair_afresh_instead() -> None:
    world = World(HubSettings(unknown_agent="fresh"))
    code = world.hub.create_pairing_code(world.hub.create_user("Dora"))
    _, envelope = world.call("POST", "/v1/agents/connect", pairing(code, user_id="usr_gone"))
    assert envelope["code"] == 0
    assert envelope["data"]["agent"]["user_id"] != "usr_gone"


@pytest.mark.rule("PAIR-13")
def test_the_pre_check_reports_and_never_spends(world: World) -> None:
    agent, stranger = world.agent(), world.agent()
    code = agent.pairing_code

    def check(**body: object) -> object:
        status, envelope = world.call("POST", "/v1/agents/connect/check", body)
        assert (status, envelope["code"]) == (200, 0)
        return envelope["data"]

    pending = {"pairable": True, "status": "pending"}
    assert check(code=code, platform="p") == pending
    for user_id, status in (
        (agent.user_id, "live"),
        (stranger.user_id, "owner_mismatch"),
        ("usr_gone", "unknown"),
        ("", "invalid"),
    ):
        assert check(code=code, platform="p", user_id=user_id) == {**pending, "user_id_status": status}
    assert check(code="NOPE", platform="p") == {"pairable": False, "status": "invalid"}
    assert world.call("POST", "/v1/agents/connect", pairing(code))[1]["code"] == 0
    assert check(code=code, platform="p") == {"pairable": False, "status": "paired"}
    world.sleep(DAY_MS)
    assert check(code=stranger.pairing_code, platform="p") == {"pairable": False, "status": "expired"}
    assert world.call("POST", "/v1/agents/connect", pairing(stranger.pairing_code))[1]["code"] != 0


@pytest.mark.rule("PAIR-14")
def test_a_spent_code_recovers_lost_tokens_by_switch() -> None:
    world = World(HubSettings(repair_spent_codes=True))
    code = world.hub.create_pairing_code(world.hub.create_user("Dora"))
    first = world.call("POST", "/v1/agents/connect", pairing(code))[1]["data"]
    second = world.call("POST", "/v1/agents/connect", pairing(code))[1]["data"]
    assert first["agent"] == second["agent"]
    assert first["refresh_token"] != second["refresh_token"]


@pytest.mark.parametrize("body", [b"{", {}, {"code": "x"}, {"code": "x", "platform": "p", "type": 5}])
def test_pairing_refuses_an_incomplete_body(world: World, body: object) -> None:
    assert world.call("POST", "/v1/agents/connect", body)[0] == 400


def test_pairing_needs_a_device_id(world: World) -> None:
    agent = world.agent()
    for device_id in (None, "x" * 129):
        outcome = world.http("POST", "/v1/agents/connect", pairing(agent.pairing_code), device_id=device_id)
        assert answered(outcome)[0] == 400


# --- companion API -------------------------------------------------------------------------------------------------


@pytest.mark.rule("HUB-7")
def test_resources_answer_in_the_envelope(world: World) -> None:
    agent = world.agent()
    shared = world.hub.create_conversation([agent.owner_id, agent.user_id, world.hub.create_user("Eve")], "Team")
    expected: list[tuple[str, str, object]] = [
        ("/v1/users/me", "user_id", agent.user_id),
        (f"/v1/users/{agent.owner_id}", "user", None),
        ("/v1/agents/me/owner", "user", None),
        (f"/v1/agents/{agent.agent_id}", "agent", None),
        ("/v1/agents/me/group-settings", "settings", []),
        ("/v1/conversations", "conversations", None),
        (f"/v1/conversations/{shared}", "conversation", None),
    ]
    for path, key, value in expected:
        status, envelope = world.call("GET", path, token=agent.access_token)
        assert (status, envelope["code"]) == (200, 0), path
        assert value is None or envelope["data"][key] == value
        assert envelope["data"][key] is not None
    group = world.call("GET", f"/v1/conversations/{shared}", token=agent.access_token)[1]["data"]["conversation"]
    assert (group["type"], group["title"], len(group["participants"])) == ("group", "Team", 3)


def test_bearer_path_and_method_are_checked(world: World) -> None:
    agent = world.agent()
    assert world.call("GET", "/v1/users/me")[0] == 401
    assert world.call("GET", "/v1/users/me", token="nonsense")[0] == 401
    assert world.call("GET", "/v1/nowhere", token=agent.access_token)[0] == 404
    assert world.call("DELETE", "/v1/users/me", token=agent.access_token)[0] == 405
    assert world.call("GET", f"/v1/conversations/{world.agent().conversation_id}", token=agent.access_token)[0] == 404


def test_answers_carry_the_hubs_date(world: World) -> None:
    outcome = world.http("GET", "/v1/users/me")
    assert isinstance(outcome, HttpRespond)
    assert dict(outcome.headers)["date"] == "Mon, 21 Sep 2026 14:13:20 GMT"
    world.hub.configure({"clock_offset_ms": 3_600_000})
    outcome = world.http("GET", "/v1/users/me")
    assert isinstance(outcome, HttpRespond)
    assert dict(outcome.headers)["date"] == "Mon, 21 Sep 2026 15:13:20 GMT"
