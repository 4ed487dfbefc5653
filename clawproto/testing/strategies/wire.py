"""Frames: every event of the catalogue in both directions, whole, damaged, and meant badly (EVT table)."""

import json
from typing import Any, Final, TypeAlias

from hypothesis import strategies as st

from clawproto.json_types import Json
from clawproto.testing.strategies.tokens import EPOCH_MS

Payload: TypeAlias = dict[str, Json]
_Payloads: TypeAlias = st.SearchStrategy[Payload]

_CHATS: Final = st.sampled_from(["cnv_1", "cnv_01K9F40000QRSTVWXYZ0123456", "cnv_01K9F40000QRSTVWXYZ0123457"])
_USERS: Final = st.sampled_from(["usr_1", "usr_2", "usr_owner", "agt_1", "system"])
_MESSAGES: Final = st.sampled_from(["msg-1", "msg-2", "msg-3", "msg-4"])
_MS: Final = st.integers(EPOCH_MS - 10**9, EPOCH_MS + 10**9)
_NUMBERS: Final = st.integers(0, 50)
_TEXTS: Final = st.text(max_size=12) | st.sampled_from(["hello", "👍", "\u202e", "a\u0301", "x" * 200])


def _object(required: dict[str, st.SearchStrategy[Any]], **optional: st.SearchStrategy[Any]) -> _Payloads:
    return st.fixed_dictionaries(required, optional=optional)


def fragments(*, delta: bool = False) -> st.SearchStrategy[Payload]:
    """One fragment of a message (FRAG); with ``delta`` as in ``message.add``."""
    text = _object({"kind": st.just("text"), "text": _TEXTS}, **({"delta": _TEXTS} if delta else {}))
    mention = _object({"kind": st.just("mention"), "user_id": _USERS}, display=_TEXTS)
    media = _object(
        {"kind": st.sampled_from(["image", "video", "audio", "file"]), "url": st.just("https://media.example/o/1")},
        name=_TEXTS,
        mime=st.sampled_from(["image/png", "audio/ogg"]),
        size=_NUMBERS,
        width=_NUMBERS,
        height=_NUMBERS,
        duration=_NUMBERS,
    )
    unknown = _object({"kind": st.sampled_from(["card", "poll"])}, body=_TEXTS)
    return st.one_of(text, text, mention, media, unknown)


def _fragment_lists(*, delta: bool = False) -> st.SearchStrategy[list[Payload]]:
    return st.lists(fragments(delta=delta), max_size=3)


def _message_payloads(*, reply: bool) -> _Payloads:
    preview = _object({"id": _USERS, "nick_name": _TEXTS, "fragments": _fragment_lists()})
    answers = _object({"reply_to_msg_id": _MESSAGES, "reply_preview": preview})
    context = _object(
        {
            "mentions": st.lists(_object({"kind": st.just("mention"), "user_id": _USERS}), max_size=2),
            "reply": answers if reply else st.none(),
        }
    )
    return _object(
        {
            "message_id": _MESSAGES,
            "message_mode": st.sampled_from(["", "normal", "thinking"]),
            "message": _object({"body": _object({"fragments": _fragment_lists()}), "context": context}),
        },
        stream_merged=st.booleans(),
        metadata=_object(
            {"kind": st.sampled_from(["permission_result", "other"])},
            request_id=_MESSAGES,
            operation=_TEXTS,
            outcome=st.sampled_from(["allowed", "denied"]),
        ),
    )


_NOTHING: Final[_Payloads] = st.just({})
_ONE_USER: Final = _object({"user_id": _USERS})
_ADDED: Final = _object(
    {"message_id": _MESSAGES, "sequence": st.integers(0, 4), "fragments": _fragment_lists(delta=True)}
)
_DONE: Final = _object({"message_id": _MESSAGES, "fragments": _fragment_lists()})
_ONE_MESSAGE: Final = _object({"message_id": _MESSAGES})
_PRESENCE: Final = _object({"user_id": _USERS, "online": st.booleans()}, last_seen_at=st.just("2026-11-20T10:00:00Z"))
_TRANSIT: Final = _object({"kind": st.sampled_from(["history_sync_message", "history_sync_done"])}, message=_TEXTS)
_REASONS: Final = st.sampled_from(
    ["authentication failed", "auth service unavailable", "invalid connect event", "temporarily unavailable", ""]
)
_ERROR_CODES: Final = st.sampled_from(
    ["forbidden", "not_found", "chat_not_found", "message_id_too_long", "rate_limited", "internal", "x-new"]
)

DOWNLINKS: Final[dict[str, _Payloads]] = {
    "connect.challenge": _object({"nonce": st.text("abcdefABCDEF0123456789-_", min_size=24, max_size=24)}),
    "hello-ok": _object(
        {"device_id": st.sampled_from(["lab-01", "lab-02"]), "delivery_mode": st.just("device_replay")},
        ack_mode=st.just("dseq"),
        ack_epoch=st.sampled_from(["01K9F4EPOCH1", "01K9F4EPOCH2", ""]),
    ),
    "hello-fail": _object({"reason": _REASONS}),
    "message.send": _message_payloads(reply=False),
    "message.reply": _message_payloads(reply=True),
    "message.ack": _object({"message_id": _MESSAGES, "accepted_at": _MS}),
    "message.error": _object({"code": _ERROR_CODES, "rejected_at": _MS}, message_id=_MESSAGES, reason=_TEXTS),
    "message.created": _object({"message_id": _MESSAGES}, message_mode=st.just("normal")),
    "message.add": _ADDED,
    "message.done": _DONE,
    "message.failed": _ONE_MESSAGE,
    "message.delivered": _object({"message_id": _MESSAGES, "delivered_at": _MS}),
    "message.reaction": _object(
        {"target_message_id": _MESSAGES, "reactor_user_id": _USERS, "message_id": st.just("rxn:msg-1:usr_2")}
        | {"emoji": st.sampled_from(["👍", "❤️"])}
    )
    | _object({"target_message_id": _MESSAGES, "removed": st.just(True)}, reactor_user_id=_USERS),
    "message.read": _object({"last_read_emitted_at": _MS}),
    "message.recall": _object({"target_message_id": _MESSAGES, "message_id": st.just("rcl:msg-1")}),
    "history.transit": _TRANSIT,
    "history.truncated": _object({"oldest_seq": _NUMBERS}),
    "typing.update": _object({"is_typing": st.booleans()}),
    "presence.snapshot": _PRESENCE,
    "presence.update": _PRESENCE,
    "chat.metadata.invalidated": _object(
        {}, scope=st.lists(st.sampled_from(["title", "members", "x-new"]), max_size=2), version=_NUMBERS, updated_at=_MS
    ),
    "notify.signal": _object(
        {
            "type": st.sampled_from(["friend_request", "group", "conversation", "x-new"]),
            "entity_id": _CHATS,
            "version": _NUMBERS,
            "event_id": _MESSAGES,
            "message_id": st.just("notify:x:y"),
        }
    ),
    "permission.request": _object(
        {"request_id": _MESSAGES},
        agent_id=st.just("agt_1"),
        operation=_TEXTS,
        target=_object({}, label=_TEXTS),
        expires_at=_MS,
    ),
    "permission.resolved": _object(
        {"request_id": _MESSAGES | st.just("")}, decision=st.sampled_from(["allow", "deny"]), reason=_TEXTS
    ),
    "replay.done": _NOTHING,
    "sync.mark": _object({"covers_seq": _NUMBERS}),
    "pong": _NOTHING,
    "x.from-a-later-hub": _object({}, anything=_TEXTS),
}
"""Events from hub to client with a strategy for their payloads; the last stands for those that nobody knows yet."""

UPLINKS: Final[dict[str, _Payloads]] = {
    "connect": _object(
        {"token": st.text("abc.", min_size=1, max_size=20), "nonce": st.text(max_size=24)},
        device_id=st.sampled_from(["lab-01", ""]),
        client_version=_TEXTS,
        protocol_version=st.sampled_from([0, 2, 3]),
        capabilities=st.dictionaries(
            st.sampled_from(["reliable_delivery", "reliable_delivery_v2", "multi_device", "x-new"]), st.booleans()
        ),
    ),
    "message.send": _message_payloads(reply=False),
    "message.reply": _message_payloads(reply=True),
    "message.created": DOWNLINKS["message.created"],
    "message.add": _ADDED,
    "message.done": _DONE,
    "message.failed": _ONE_MESSAGE,
    "message.delivered": DOWNLINKS["message.delivered"],
    "message.reaction": _object(
        {"target_message_id": _MESSAGES}, emoji=st.sampled_from(["👍", "", "x" * 65]), removed=st.booleans()
    ),
    "message.read": DOWNLINKS["message.read"],
    "history.transit": _TRANSIT,
    "typing.update": DOWNLINKS["typing.update"],
    "presence.subscribe": _ONE_USER,
    "presence.unsubscribe": _ONE_USER,
    "device.cursor.reset": _NOTHING,
    "message.cursor_ack": _object({"seq": st.integers(-1, 100)}),
    "message.sync_ack": _object({"dseq": st.integers(-1, 100), "epoch": st.sampled_from(["01K9F4EPOCH1", ""])}),
    "ping": _NOTHING,
}
"""Events from client to hub, likewise."""


def payloads(event: str) -> st.SearchStrategy[Payload]:
    """Valid payloads of one event. Raises KeyError for one that is not in the catalogue."""
    return DOWNLINKS[event] if event in DOWNLINKS else UPLINKS[event]


def _enveloped(event: str, content: _Payloads, numbered: bool) -> st.SearchStrategy[Payload]:
    peer = _object({"id": _USERS, "type": st.sampled_from(["direct", "group"])}, nick_name=_TEXTS)
    optional: dict[str, st.SearchStrategy[Any]] = {
        "chat_id": _CHATS,
        "chat_type": st.sampled_from(["direct", "group"]),
        "to": peer,
        "sender": peer,
        "origin_device_id": st.sampled_from(["lab-01", "d-2"]),
    }
    if numbered:
        optional |= {"seq": st.integers(1, 60), "dseq": st.integers(1, 6)}
    required: dict[str, st.SearchStrategy[Any]] = {
        "version": st.just("2"),
        "event": st.just(event),
        "trace_id": st.text("abc-0123", max_size=8),
        "emitted_at": _MS,
        "payload": content,
    }
    return st.fixed_dictionaries(required, optional=optional)


def downlinks(*events: str) -> st.SearchStrategy[Payload]:
    """Valid downlinks as objects; of these events, or of all."""
    chosen = events or tuple(DOWNLINKS)
    return st.sampled_from(chosen).flatmap(lambda event: _enveloped(event, DOWNLINKS[event], numbered=True))


def uplinks(*events: str) -> st.SearchStrategy[Payload]:
    """Valid uplinks as objects; of these events, or of all."""
    chosen = events or tuple(UPLINKS)
    return st.sampled_from(chosen).flatmap(lambda event: _enveloped(event, UPLINKS[event], numbered=False))


_JUNK: Final[list[Json]] = [None, True, -1, 1.5, 2**63, "", "2", [], {}, [{}], {"a": []}]


@st.composite
def damaged_frames(draw: st.DrawFn) -> str:
    """A valid downlink with one thing wrong: a field of another type, or missing, or text cut off or changed."""
    frame = draw(downlinks())
    junk = draw(st.sampled_from(_JUNK))
    how = draw(st.sampled_from(["field", "payload", "missing", "cut", "noise"]))
    content = frame["payload"]
    if how == "field":
        frame[draw(st.sampled_from(sorted(frame)))] = junk
    elif how == "payload" and isinstance(content, dict) and content:
        frame["payload"] = {**content, draw(st.sampled_from(sorted(content))): junk}
    elif how == "missing":
        del frame[draw(st.sampled_from(sorted(frame)))]
    text = json.dumps(frame, ensure_ascii=draw(st.booleans()))
    if how == "cut":
        return text[: draw(st.integers(0, len(text)))]
    if how == "noise":
        at = draw(st.integers(0, len(text) - 1))
        return text[:at] + draw(st.text(max_size=2)) + text[at + 1 :]
    return text


def bad_frames() -> st.SearchStrategy[str | bytes]:
    """What is no frame at all (ENV-12)."""
    return st.one_of(
        st.text(max_size=30),
        st.binary(max_size=30),
        st.sampled_from(["", "[]", "null", "{}", '{"version":2,"event":"pong"}', '{"version":"2"}', b"\xff\xfe"]),
    )


def hostile_frames() -> st.SearchStrategy[str | bytes]:
    """What somebody would send to do harm: deep, long, doubled, half a surrogate, numbers out of all bounds."""
    depth = st.sampled_from([10, 64, 65, 5_000])
    head = '{"version":"2","event":'
    return st.one_of(
        depth.map(lambda levels: f'{head}"message.send","payload":{"[" * levels}{"]" * levels}}}'),
        depth.map(lambda levels: '{"a":' * levels + "1" + "}" * levels),
        st.sampled_from(["1e999", "-1e999", "9" * 5_000, "1" + "0" * 400, "NaN", "Infinity", "0.1e-999"]).map(
            lambda number: f'{head}"pong","emitted_at":{number},"dseq":{number},"payload":{{}}}}'
        ),
        st.just('{"version":"1","version":"2","event":"pong","event":"message.send","payload":{}}'),
        st.just(f'{head}"\\ud800","trace_id":"\\udfff","payload":{{"message_id":"\\u0000"}}}}'),
        st.just(f'{head}"message.send","payload":{{"message_id":"{"x" * 100_000}"}}}}'),
        st.just("\ufeff" + head + '"pong","payload":{}}'),
    )


def frames() -> st.SearchStrategy[str | bytes]:
    """Anything that may arrive: mostly valid, sometimes damaged, no frame at all, or hostile."""
    valid = downlinks().map(json.dumps)
    return st.one_of(valid, valid, damaged_frames(), bad_frames(), hostile_frames(), valid.map(str.encode))
