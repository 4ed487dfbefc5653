"""What to fetch over REST when a signal says that something has changed.

Rules: META table, META-2, NOTIFY-1, NOTIFY-3, NOTIFY-9, PERM-11. Paths are below the base URL; none is ever made from
anything but a whole id, escaped.
"""

from typing import Final
from urllib.parse import quote

_CONVERSATION: Final = frozenset({"title", "avatar", "description", "member_add_policy"})
_BEHAVIOR: Final = "behavior"
_ANNOUNCEMENT: Final = "announcement"

_BY_TYPE: Final[dict[str, tuple[str, ...]]] = {
    "agent.config.changed": ("/v1/agents/me/group-settings",),
    "agent.permission.changed": ("/v1/agents/me/permissions",),
    "friend.added": ("/v1/friendships",),
    "friend.removed": ("/v1/friendships",),
}
_REQUESTS: Final = ("/v1/friendships/requests/incoming", "/v1/friendships/requests/outgoing")


def metadata_paths(
    chat_id: str, chat_type: str | None, scope: tuple[str, ...], agent_id: str | None
) -> tuple[tuple[str, ...], bool]:
    """What ``chat.metadata.invalidated`` asks for: all elements of the scope, not the first only (META-2).

    Args:
        agent_id: of the agent in the direct chat, if known.

    Returns:
        The paths, and whether everything is meant: an empty scope, or one with something unknown in it.
    """
    conversation = f"/v1/conversations/{quote(chat_id, safe='')}"
    announcements = f"{conversation}/announcements"
    agent = None if agent_id is None else f"/v1/agents/{quote(agent_id, safe='')}"
    everything = not scope or not set(scope) <= _CONVERSATION | {_BEHAVIOR, _ANNOUNCEMENT}
    paths = [conversation] if everything or set(scope) - {_BEHAVIOR} or agent is None else []
    if _ANNOUNCEMENT in scope or (everything and chat_type != "direct"):
        paths.append(announcements)
    if agent is not None and (_BEHAVIOR in scope or (everything and chat_type != "group")):
        paths.append(agent)
    return tuple(paths), everything


def version_key(kind: str, entity_id: str) -> str:
    """Among which signals versions are compared (NOTIFY-3): those of one type about one entity, since another type asks
    to fetch something else. Blank if it is not known what the signal is about."""
    return f"{kind}:{entity_id}" if entity_id else ""


def signal_paths(kind: str, entity_id: str) -> tuple[str, ...]:
    """What ``notify.signal`` asks for. Empty for a type that is not known here: fetch whatever may have changed
    (NOTIFY-1). The id is read according to the type, never by its prefix (NOTIFY-9)."""
    if kind in _BY_TYPE:
        return _BY_TYPE[kind]
    if kind.startswith("friend.request"):
        return _REQUESTS
    if kind == "friend.profile_updated":
        return (f"/v1/users/{quote(entity_id, safe='')}",) if entity_id else ("/v1/friendships",)
    if kind == "conversation.dissolved":
        return ("/v1/conversations",)
    if kind.startswith("conversation."):
        return (f"/v1/conversations/{quote(entity_id, safe='')}",) if entity_id else ("/v1/conversations",)
    if kind.startswith("moment."):
        return ("/v1/moments",)
    return ()
