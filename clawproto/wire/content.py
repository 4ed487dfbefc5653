"""What people write, decoded: who, fragments, mentions, quotes. Plain values; nothing here checks or coerces."""

from collections.abc import Mapping
from typing import TypeAlias

from clawproto.deferred import frozen
from clawproto.json_types import Json


@frozen
class Peer:
    """``to`` or ``sender``: an id with display material (ENV-4, ENV-5).

    Attributes:
        id: a user id in ``sender``; whatever the author wrote in ``to``.
        type: says nothing about human or agent (ENV-4).
    """

    id: str
    type: str | None = None
    nick_name: str | None = None


# --- fragments and mentions ----------------------------------------------------------------------------------------


@frozen
class TextFragment:
    text: str
    delta: str | None = None


@frozen
class MentionFragment:
    """Both fields are optional on the wire (MENT-7)."""

    user_id: str | None = None
    display: str | None = None


@frozen
class MediaFragment:
    """``image``, ``video``, ``audio`` or ``file``: pixels, bytes and milliseconds (FRAG-1)."""

    kind: str
    url: str
    name: str | None = None
    mime: str | None = None
    size: int | None = None
    width: int | None = None
    height: int | None = None
    duration: int | None = None


@frozen
class UnknownFragment:
    """A fragment of a kind that this version does not know (FRAG-3)."""

    kind: str
    data: Mapping[str, Json]


Fragment: TypeAlias = TextFragment | MentionFragment | MediaFragment | UnknownFragment


@frozen
class Mention:
    """One element of ``context.mentions``, whichever way it was written (MENT-2)."""

    user_id: str
    display: str | None = None


@frozen
class Reply:
    """``context.reply``: what the message answers (SEND table)."""

    message_id: str
    author_id: str | None = None
    author_name: str | None = None
    fragments: tuple[Fragment, ...] = ()
