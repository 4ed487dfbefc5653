"""Every field of every payload but messages: what it comes to at its bounds, of a wrong type, and if it is missing."""

from typing import Any, cast

import attrs
import pytest

from clawproto.json_types import Json
from clawproto.wire.values import (
    Ack,
    Challenge,
    Delivered,
    HelloFail,
    HelloOk,
    HistoryTransit,
    HistoryTruncated,
    MalformedPayload,
    MetadataInvalidated,
    NotifySignal,
    Payload,
    PermissionRequest,
    PermissionResolved,
    Presence,
    Reaction,
    ReadMark,
    Recall,
    Refusal,
    StreamAdd,
    StreamCreate,
    StreamDone,
    StreamFail,
    SyncMark,
    TextFragment,
    Typing,
)
from tests.decoded import LEAST, MOST, WRONG, Object, backend as backend, payload_of

NAMES = {str: "a string", int: "an integer", bool: "a boolean", list: "a list"}


# --- payloads but for messages -------------------------------------------------------------------------------------

TEXT: Object = {"kind": "text", "text": "x"}
WHOLE: list[tuple[str, Object, Payload, str]] = [  # the last: what cannot be done without
    ("connect.challenge", {"nonce": "n"}, Challenge("n"), "nonce"),
    (
        "hello-ok",
        {"device_id": "d", "delivery_mode": "m", "ack_mode": "a", "ack_epoch": "e"},
        HelloOk("d", "m", "a", "e"),
        "",
    ),
    ("hello-fail", {"reason": "r"}, HelloFail("r"), ""),
    ("message.ack", {"message_id": "m", "accepted_at": 5}, Ack("m", 5), ""),
    (
        "message.error",
        {"code": "c", "message_id": "m", "reason": "r", "rejected_at": 5},
        Refusal("c", "m", "r", 5),
        "code",
    ),
    ("message.created", {"message_id": "m", "message_mode": "normal"}, StreamCreate("m", "normal"), "message_id"),
    (
        "message.add",
        {"message_id": "m", "sequence": 5, "fragments": [TEXT]},
        StreamAdd("m", 5, (TextFragment("x"),)),
        "message_id sequence fragments",
    ),
    (
        "message.done",
        {"message_id": "m", "fragments": [TEXT]},
        StreamDone("m", (TextFragment("x"),)),
        "message_id fragments",
    ),
    ("message.failed", {"message_id": "m"}, StreamFail("m"), "message_id"),
    ("message.delivered", {"message_id": "m", "delivered_at": 5}, Delivered("m", 5), "message_id"),
    (
        "message.reaction",
        {"target_message_id": "t", "reactor_user_id": "u", "emoji": "👍", "removed": False, "message_id": "m"},
        Reaction("t", "u", "👍", False, "m"),
        "target_message_id emoji",
    ),
    ("message.read", {"last_read_emitted_at": 5}, ReadMark(5), "last_read_emitted_at"),
    ("message.recall", {"target_message_id": "t", "message_id": "m"}, Recall("t", "m"), "target_message_id"),
    ("typing.update", {"is_typing": True}, Typing(True), "is_typing"),
    (
        "presence.snapshot",
        {"user_id": "u", "online": True, "last_seen_at": "l"},
        Presence("u", True, "l"),
        "user_id online",
    ),
    (
        "presence.update",
        {"user_id": "u", "online": False, "last_seen_at": "l"},
        Presence("u", False, "l"),
        "user_id online",
    ),
    (
        "chat.metadata.invalidated",
        {"scope": ["title", "members"], "version": 5, "updated_at": 6},
        MetadataInvalidated(("title", "members"), 5, 6),
        "",
    ),
    (
        "permission.request",
        {"request_id": "r", "agent_id": "a", "operation": "o", "target": {"label": "l"}, "expires_at": 5},
        PermissionRequest("r", "a", "o", {"label": "l"}, 5),
        "request_id",
    ),
    (
        "permission.resolved",
        {"request_id": "r", "decision": "d", "reason": "w"},
        PermissionResolved("r", "d", "w"),
        "request_id",
    ),
    ("history.truncated", {"oldest_seq": 5}, HistoryTruncated(5), ""),
    ("sync.mark", {"covers_seq": 5}, SyncMark(5), ""),
    (
        "notify.signal",
        {"type": "t", "entity_id": "e", "version": 5, "event_id": "i", "message_id": "m"},
        NotifySignal("t", "e", 5, "i", "m"),
        "",
    ),
]
BY_HAND = {"message.add", "message.done", "message.reaction", "message.recall", "permission.request"}
every_payload = pytest.mark.parametrize(
    ("event", "whole", "expected", "required"), WHOLE, ids=[row[0] for row in WHOLE]
)


def absent(expected: Payload, field: str) -> Payload:
    """The payload without this field."""
    default: Any = () if field == "scope" else False if field == "removed" else None
    return cast(Payload, attrs.evolve(cast(Any, expected), **{field: default}))


@pytest.mark.rule("EVT-5", "ENV-12", "ENV-13", "ENV-14", "META-2")
@every_payload
def test_every_field_of_a_wrong_type(event: str, whole: Object, expected: Payload, required: str) -> None:
    assert payload_of(event, whole) == expected
    assert payload_of(event, {**whole, "later": {"a": 1}}) == expected
    for field, good in whole.items():
        missing = {name: value for name, value in whole.items() if name != field}
        for bad in [missing, *({**whole, field: wrong} for wrong in WRONG[type(good)])]:
            got = payload_of(event, bad)
            if field not in required.split():
                assert got == absent(expected, field)
                continue
            problem = f"is not {NAMES[type(good)]}" if field in bad or event in BY_HAND else "is missing"
            if field == "emoji":
                problem = "is empty, and the reaction is not removed"
            assert got == MalformedPayload(f"payload.{field} {problem}", bad)


@pytest.mark.rule("ENV-14")
@every_payload
def test_integers_of_64_bits_are_taken(event: str, whole: Object, expected: Payload, required: str) -> None:
    for field in (name for name, value in whole.items() if type(value) is int):
        for value in (LEAST, -1, 0, MOST):
            assert payload_of(event, {**whole, field: value}) == attrs.evolve(cast(Any, expected), **{field: value})


@pytest.mark.rule("ENV-12")
def test_all_that_is_wrong_is_told() -> None:
    assert payload_of("presence.update", {"online": 1}) == MalformedPayload(
        "payload.user_id is missing; payload.online is not a boolean", {"online": 1}
    )


@pytest.mark.rule("RX-2", "RX-3")
def test_a_reaction_that_is_removed_needs_no_emoji_and_has_none() -> None:
    for emoji in ("👍", "", None, 5):
        reaction: Object = {"target_message_id": "t", "emoji": emoji, "removed": True}
        assert payload_of("message.reaction", reaction) == Reaction("t", removed=True)
    empty: Object = {"target_message_id": "t", "emoji": ""}
    problem = "payload.emoji is empty, and the reaction is not removed"
    assert payload_of("message.reaction", empty) == MalformedPayload(problem, empty)


@pytest.mark.parametrize("event", ["message.reaction", "message.recall"])
def test_an_empty_target_is_none(event: str) -> None:
    payload: Object = {"target_message_id": "", "emoji": "👍"}
    assert payload_of(event, payload) == MalformedPayload("payload.target_message_id is empty", payload)


@pytest.mark.rule("META-2")
@pytest.mark.parametrize(
    ("scope", "expected"), [([], ()), (["a"], ("a",)), (["a", 5], ()), ([None], ()), (["a", ["b"]], ())]
)
def test_a_scope_that_is_not_understood_means_everything(scope: Json, expected: tuple[str, ...]) -> None:
    assert payload_of("chat.metadata.invalidated", {"scope": scope}) == MetadataInvalidated(expected)


@pytest.mark.rule("HIST-8")
@pytest.mark.parametrize(("kind", "expected"), [("sync.request", "sync.request"), ("", ""), (5, None), (None, None)])
def test_history_keeps_its_payload_as_it_came(kind: Json, expected: str | None) -> None:
    payload: Object = {"kind": kind, "rows": [{"seq": 1}], "next": None}
    assert payload_of("history.transit", payload) == HistoryTransit(expected, payload)
