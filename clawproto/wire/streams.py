"""Streaming messages on the wire (STREAM table): decoded downlinks, and the payloads of the four uplinks.

The fragments of ``message.add`` are cumulative; ``delta`` says what each text has grown by.
"""

from collections.abc import Sequence

from clawproto.deferred import frozen
from clawproto.json_types import Json
from clawproto.wire.content import Fragment
from clawproto.wire.json_text import plain, write

MUTATION_POLICY = "append_text_only"


@frozen
class StreamCreate:
    """``message.created``."""

    message_id: str
    message_mode: str | None = None


@frozen
class StreamAdd:
    """``message.add``.

    Attributes:
        sequence: 0 for the first (STREAM-4).
        fragments: everything so far; text fragments with their ``delta``.
    """

    message_id: str
    sequence: int
    fragments: tuple[Fragment, ...]


@frozen
class StreamDone:
    """``message.done``: the final fragments."""

    message_id: str
    fragments: tuple[Fragment, ...]


@frozen
class StreamFail:
    """``message.failed``: what was streamed is void (STREAM-10)."""

    message_id: str


def _streaming(status: str, sequence: int, started_at: int, completed_at: int | None) -> dict[str, Json]:
    return {
        "status": status,
        "sequence": sequence,
        "mutation_policy": MUTATION_POLICY,
        "started_at": started_at,
        "completed_at": completed_at,
    }


def encode_stream_created(message_id: str, mode: str) -> str:
    """The payload of ``message.created``."""
    return write({"message_id": message_id, "message_mode": mode})


def encode_stream_add(message_id: str, sequence: int, text: str, delta: str, started_at: int, added_at: int) -> str:
    """The payload of ``message.add``: one text fragment, cumulative (STREAM-5).

    Args:
        sequence: 0 for the first, then one more each time (STREAM-4).
        text: everything so far, ``delta`` included.
        started_at, added_at: milliseconds (D-42).
    """
    return write(
        {
            "message_id": message_id,
            "sequence": sequence,
            "mutation": {"type": "append", "target_fragment_index": 0},
            "fragments": [{"kind": "text", "text": text, "delta": delta}],
            "streaming": _streaming("streaming", sequence, started_at, None),
            "added_at": added_at,
        }
    )


def encode_stream_end(
    message_id: str, status: str, sequence: int, fragments: Sequence[Json], started_at: int, completed_at: int
) -> str:
    """The payload of ``message.done`` (status ``done``) and ``message.failed`` (``failed``).

    Args:
        sequence: that of the last ``message.add`` (STREAM-4).
        fragments: final, without ``delta`` (STREAM-6).
    """
    return write(
        {
            "message_id": message_id,
            "fragments": plain(fragments),
            "streaming": _streaming(status, sequence, started_at, completed_at),
            "completed_at": completed_at,
        }
    )
