"""``POST /v1/agents/connect`` and its pre-check (PAIR)."""

from typing import Literal

from clawproto.hub.answers import Answer, bad_request
from clawproto.hub.context import Context
from clawproto.hub.directory import Agent, PairingCode
from clawproto.hub.frames import JsonObject, decode, size, text_of
from clawproto.hub.people import add_agent

NO_SUCH_AGENT, OTHER_OWNER, BAD_CODE = 16001, 16014, 16002

CodeStatus = Literal["pending", "expired", "invalid", "paired"]
UserIdStatus = Literal["live", "owner_mismatch", "unknown", "invalid"]


def pair(context: Context, device_id: str, body: bytes) -> Answer:
    """Spend a connect code on an agent and hand out its first pair of tokens.

    16001 and 16014 leave the code unspent (PAIR-5).
    """
    request = decode(body)
    if request is None or not all(text_of(request.get(name)) for name in ("code", "platform", "type")):
        return bad_request("code, platform and type are required")
    if not device_id or size(device_id) > context.settings.device_id_limit:
        return bad_request("invalid device id")
    code = context.directory.codes.get(text_of(request.get("code")))
    status = code_status(context, code)
    again = status == "paired" and context.settings.repair_spent_codes  # PAIR-14
    if code is None or (status != "pending" and not again):
        return Answer(BAD_CODE, f"connect code is {status}")
    agent = _agent(context, code, text_of(request.get("user_id")).strip())
    if isinstance(agent, Answer):
        return agent
    code.spent = True
    code.user_id = agent.user_id
    tokens = context.tokens.mint(agent.user_id, device_id, context.settings, context.now.wall_ms)
    context.counts["pairings"] += 1
    return Answer(
        data={
            "access_token": tokens.access_token,
            "refresh_token": tokens.refresh_token,
            "agent": {
                "id": agent.agent_id,
                "user_id": agent.user_id,
                "owner_id": agent.owner_id,
                "nickname": context.directory.users[agent.user_id].nick_name,
            },
            "conversation": {"id": agent.conversation_id},
        }
    )


def check(context: Context, body: bytes) -> Answer:
    """The pre-check: never spends a code, and ``pairable`` ignores ``user_id`` (PAIR-13)."""
    request = decode(body)
    if request is None or not text_of(request.get("code")):
        return bad_request("code is required")
    code = context.directory.codes.get(text_of(request.get("code")))
    status = code_status(context, code)
    data: JsonObject = {"pairable": status == "pending", "status": status}
    if "user_id" in request:
        data["user_id_status"] = _user_id_status(context, code, request.get("user_id"))
    return Answer(data=data)


def code_status(context: Context, code: PairingCode | None) -> CodeStatus:
    """What the pre-check says about a code."""
    if code is None:
        return "invalid"
    if code.spent:
        return "paired"
    return "expired" if context.now.wall_ms >= code.expires_ms else "pending"


def _user_id_status(context: Context, code: PairingCode | None, user_id: object) -> UserIdStatus:
    if not isinstance(user_id, str) or not user_id.strip():
        return "invalid"
    agent = context.directory.agents.get(user_id.strip())
    if agent is None:
        return "unknown"
    return "live" if code is None or agent.owner_id == code.owner_id else "owner_mismatch"


def _agent(context: Context, code: PairingCode, user_id: str) -> Agent | Answer:
    """The agent that the code pairs: the one asked for, the code's own, or a new one (PAIR-12)."""
    agents = context.directory.agents
    if user_id:
        agent = agents.get(user_id)
        if agent is not None:
            return agent if agent.owner_id == code.owner_id else Answer(OTHER_OWNER, "agent belongs to another owner")
        if context.settings.unknown_agent == "refuse":
            return Answer(NO_SUCH_AGENT, "agent not found")
    if code.user_id is not None:
        return agents[code.user_id]
    return add_agent(context, code.owner_id, "agent")
