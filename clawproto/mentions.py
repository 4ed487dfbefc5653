"""Mentions stand in two places: as fragments in the body, and as a list in the context. Here they are kept equal.

Rules: MENT-1 to MENT-7, LEGACY-7.
"""

from clawproto.json_types import Json
from clawproto.wire.values import Mention, MentionFragment, MessagePayload

EVERYONE = "all"
"""The user id that addresses every member, the reader included; nobody expands it (MENT-3)."""


def compose(*parts: str | Mention) -> tuple[tuple[dict[str, Json], ...], tuple[dict[str, Json], ...]]:
    """Fragments and ``mentions`` for `clawproto.events.Send`, or for a client's ``send``, from texts and mentions.

        fragments, mentions = compose("Ask ", Mention("usr_dora", "Dora"), ", please.")
        await client.send(chat_id, fragments, mentions=mentions)

    Both carriers get the same users in the same order, each user once in the list, names without a leading ``@``
    (MENT-1, MENT-6).

    Raises:
        ValueError: a mention without a user id.
    """
    fragments: list[dict[str, Json]] = []
    mentions: dict[str, dict[str, Json]] = {}
    for part in parts:
        if isinstance(part, str):
            if part:
                fragments.append({"kind": "text", "text": part})
            continue
        if not part.user_id:
            raise ValueError("a mention needs a user id")
        element: dict[str, Json] = {"kind": "mention", "user_id": part.user_id}
        if part.display is not None:
            element["display"] = part.display.removeprefix("@")
        fragments.append(element)
        mentions.setdefault(part.user_id, element)
    return tuple(fragments), tuple(mentions.values())


def mentioned_users(message: MessagePayload) -> frozenset[str]:
    """The user ids that a message mentions in either place; `EVERYONE` counts as one (MENT-4).

    A mention fragment with a display name only names nobody (MENT-7).
    """
    in_body = {part.user_id for part in message.fragments if isinstance(part, MentionFragment) and part.user_id}
    return frozenset(in_body | {mention.user_id for mention in message.mentions})


def is_mentioned(message: MessagePayload, user_id: str) -> bool:
    """Whether a message addresses this user, by name or as one of all (MENT-3, MENT-4)."""
    users = mentioned_users(message)
    return EVERYONE in users or user_id in users
