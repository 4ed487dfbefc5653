"""The authenticated resources of the companion API that clients read at start (REST table)."""

from collections.abc import Callable
from typing import Final, TypeAlias

from clawproto.hub.answers import NOT_FOUND, Answer
from clawproto.hub.context import Context
from clawproto.hub.directory import Agent, Conversation
from clawproto.hub.frames import JsonObject
from clawproto.json_types import Json

Resource: TypeAlias = Callable[[Context, str, str], Answer]
"""Given the caller's user id and the last segment of the path, if it is a variable one."""


def _profile(context: Context, user_id: str) -> JsonObject:
    user = context.directory.users[user_id]
    return {
        "id": user.user_id,
        "user_id": user.user_id,
        "nickname": user.nick_name,
        "avatar_url": user.avatar_url,
        "bio": user.bio,
        "profile_type": "agent" if user_id in context.directory.agents else "user",
    }


def _agent_view(context: Context, agent: Agent) -> JsonObject:
    view: JsonObject = {**_profile(context, agent.user_id), "id": agent.agent_id}
    return {**view, "owner_id": agent.owner_id, "behavior": agent.behavior, "conversation_id": agent.conversation_id}


def _conversation_view(context: Context, conversation: Conversation) -> JsonObject:
    participants: list[Json] = [_profile(context, member) for member in conversation.members]
    return {
        "id": conversation.conversation_id,
        "type": conversation.chat_type,
        "title": conversation.title,
        "description": conversation.description,
        "creator_id": conversation.members[0] if conversation.members else "",
        "created_at": conversation.created_ms,
        "participants": participants,
    }


def _me(context: Context, user_id: str, _: str) -> Answer:
    return Answer(data=_profile(context, user_id))


def _user(context: Context, _: str, wanted: str) -> Answer:
    return Answer(data={"user": _profile(context, wanted)}) if wanted in context.directory.users else NOT_FOUND


def _owner(context: Context, user_id: str, _: str) -> Answer:
    agent = context.directory.agents.get(user_id)
    return NOT_FOUND if agent is None else Answer(data={"user": _profile(context, agent.owner_id)})


def _agent(context: Context, _: str, wanted: str) -> Answer:
    found = context.directory.agent_by_id(wanted)
    return NOT_FOUND if found is None else Answer(data={"agent": _agent_view(context, found)})


def _group_settings(context: Context, user_id: str, _: str) -> Answer:
    found = context.directory.agents.get(user_id)
    if found is None:
        return NOT_FOUND
    settings: list[Json] = list(found.settings)
    return Answer(data={"settings": settings})


def _permissions(context: Context, user_id: str, _: str) -> Answer:
    found = context.directory.agents.get(user_id)
    return NOT_FOUND if found is None else Answer(data={**found.permissions})


def _conversations(context: Context, user_id: str, _: str) -> Answer:
    views: list[Json] = [_conversation_view(context, item) for item in context.directory.conversations_of(user_id)]
    return Answer(data={"conversations": views})


def _conversation(context: Context, user_id: str, wanted: str) -> Answer:
    found = context.directory.conversations.get(wanted)
    if found is None or user_id not in found.members:
        return NOT_FOUND
    return Answer(data={"conversation": _conversation_view(context, found)})


def _nothing(_context: Context, _user_id: str, _: str) -> Answer:
    return Answer(data={})


RESOURCES: Final[dict[tuple[str, str], Resource]] = {
    ("GET", "/v1/users/me"): _me,
    ("GET", "/v1/users/*"): _user,
    ("GET", "/v1/agents/me/owner"): _owner,
    ("GET", "/v1/agents/me/group-settings"): _group_settings,
    ("GET", "/v1/agents/me/permissions"): _permissions,
    ("POST", "/v1/agents/me/plugin-report"): _nothing,
    ("GET", "/v1/agents/*"): _agent,
    ("GET", "/v1/conversations"): _conversations,
    ("GET", "/v1/conversations/*"): _conversation,
}
