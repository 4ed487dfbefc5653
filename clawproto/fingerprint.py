"""The digest that tells a repeated message from a changed one.

Rules: SEND-19, R2-10.

Equal for the live and the replayed copy of a message, in every process and on every Python: it stands in the state, so
in journals. 64 bits are no guard against somebody who looks for two texts with one digest, but nothing is to be had by
that; SHA-1 was chosen because processors have instructions for it.
"""

import marshal
from hashlib import sha1
from struct import Struct
from typing import Any

from clawproto.wire.values import (
    Fragment,
    MediaFragment,
    MentionFragment,
    MessagePayload,
    TextFragment,
    UnknownFragment,
)

_number = Struct(">Q").unpack_from
_MARSHAL_VERSION = 2  # equal bytes for equal values: the later ones write a repeated string as a reference


def fingerprint(message: MessagePayload) -> int:
    """A digest of all that a message says, equal for its live and its replayed copy.

    Only a copy that differs in nothing may be settled without another write (R2-10).
    """
    fragments = message.fragments
    if (  # nearly always
        len(fragments) == 1
        and type(only := fragments[0]) is TextFragment
        and only.delta is None
        and not message.mentions
        and message.reply is None
        and not message.metadata
    ):
        mode = message.message_mode
        said = f"{len(mode)}:{mode}{only.text}".encode("utf-8", "surrogatepass")
    else:
        mentions = [(mention.user_id, mention.display) for mention in message.mentions]
        metadata = None if message.metadata is None else dict(message.metadata)
        quoted, reply = None, message.reply
        if reply is not None:
            quoted = reply.message_id, reply.author_id, reply.author_name, _said(reply.fragments)
        content: Any = (message.message_mode, _said(fragments), mentions, quoted, metadata)
        said = marshal.dumps(content, _MARSHAL_VERSION)
    number: int = _number(sha1(said, usedforsecurity=False).digest())[0]
    return number


def _said(fragments: tuple[Fragment, ...]) -> list[tuple[object, ...]]:
    """What the fragments say, as something that is made into bytes quickly."""
    said: list[tuple[object, ...]] = []
    for one in fragments:
        if type(one) is TextFragment:
            said.append((one.text, one.delta))
        elif type(one) is MentionFragment:
            said.append(("mention", one.user_id, one.display))
        elif type(one) is MediaFragment:
            said.append((one.kind, one.url, one.name, one.mime, one.size, one.width, one.height, one.duration))
        elif type(one) is UnknownFragment:
            said.append(("unknown", one.kind, dict(one.data)))
    return said
