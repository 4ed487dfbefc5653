"""JSON in and out: reading uplinks, building downlinks, relaying content."""

import json
import math
from typing import NoReturn, TypeAlias

from clawproto.json_types import Json

JsonObject: TypeAlias = dict[str, Json]

_DEEPEST = 100
_FRAGMENT_FIELDS = (  # FRAG table; ``delta`` travels on ``message.add`` only
    "text",
    "user_id",
    "display",
    "url",
    "name",
    "mime",
    "size",
    "width",
    "height",
    "duration",
)


def _refuse_constant(_name: str) -> NoReturn:
    raise ValueError("no JSON value")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("not representable")
    return number


def _is_too_deep(value: Json) -> bool:
    """Whether copying or encoding it might exhaust the stack."""
    level, depth = [value], 0
    while level and depth <= _DEEPEST:
        nested: list[Json] = []
        for item in level:
            if isinstance(item, dict):
                nested.extend(item.values())
            elif isinstance(item, list):
                nested.extend(item)
        level, depth = nested, depth + 1
    return depth > _DEEPEST


def decode(data: str | bytes) -> JsonObject | None:
    """The JSON object in a message, or None if it is anything else or nested absurdly deep (ENV-1)."""
    try:
        value: Json = json.loads(data, parse_constant=_refuse_constant, parse_float=_finite)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) and not _is_too_deep(value) else None


def encode(value: JsonObject) -> str:
    """Compact JSON that can always be written as UTF-8."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:  # a lone surrogate came in as an escape and goes out as one
        return json.dumps(value, separators=(",", ":"))
    return text


def size(text: str) -> int:
    """Length in UTF-8 bytes."""
    return len(text.encode("utf-8", "surrogatepass"))


def without_nul(value: Json) -> Json:
    """A copy without any U+0000 (ENV-9)."""
    if isinstance(value, str):
        return value.replace("\0", "")
    if isinstance(value, list):
        return [without_nul(item) for item in value]
    if isinstance(value, dict):
        return {key.replace("\0", ""): without_nul(item) for key, item in value.items()}
    return value


def text_of(value: Json) -> str:
    """A string field; anything else counts as absent."""
    return value if isinstance(value, str) else ""


def object_of(value: Json) -> JsonObject:
    """An object field; anything else counts as absent."""
    return value if isinstance(value, dict) else {}


def int_of(value: Json) -> int | None:
    """An integer field; a boolean is none (ENV-14)."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def envelope(event: str, trace_id: str, emitted_at: int, payload: JsonObject) -> JsonObject:
    """A frame without routing."""
    return {"version": "2", "event": event, "trace_id": trace_id, "emitted_at": emitted_at, "payload": payload}


def with_stamps(text: str, seq: int | None, dseq: int | str | None) -> str:
    """An encoded frame with ``seq`` and ``dseq`` appended at the top level."""
    stamps = "" if seq is None else f',"seq":{seq}'
    if dseq is not None:
        stamps += f',"dseq":{json.dumps(dseq)}'
    return f"{text[:-1]}{stamps}}}" if stamps else text


def relay_fragments(value: Json, *, delta: bool = False) -> list[Json]:
    """Fragments with the fields that the hub knows; every other field vanishes (FRAG-2)."""
    if not isinstance(value, list):
        return []
    relayed: list[Json] = []
    for fragment in value:
        if not isinstance(fragment, dict):
            continue
        kept: JsonObject = {"kind": text_of(fragment.get("kind"))}
        kept.update({name: fragment[name] for name in _FRAGMENT_FIELDS if name in fragment})
        if delta and "delta" in fragment:
            kept["delta"] = fragment["delta"]
        relayed.append(kept)
    return relayed
