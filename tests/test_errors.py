"""What an exception says, and what it carries for the program that catches it."""

from collections.abc import Callable
from typing import Any

import pytest

from clawproto import app_events, errors
from clawproto.credentials import Identity
from clawproto.errors import ClawProtoError, RestError, SendError

EVENT = app_events.LoggedOut("refused", 10003, "gone", Identity("u", "d", "http://h", "ws://h/ws"), cleared=True)


@pytest.mark.parametrize(
    ("make", "text", "carried"),
    [
        (
            errors.SessionClosed,
            "the session is closed",
            {"message_id": None, "transmitted": False, "kept": False},
        ),
        (
            lambda: errors.SessionClosed("m1"),
            "the session is closed; m1 was not transmitted",
            {"message_id": "m1", "transmitted": False, "kept": False},
        ),
        (
            lambda: errors.SessionClosed("m1", True, True),
            "the session is closed; m1 may have arrived and goes out at the next start",
            {"message_id": "m1", "transmitted": True, "kept": True},
        ),
        (lambda: errors.SessionClosed(None, True, True), "the session is closed", {"transmitted": True, "kept": True}),
        (lambda: errors.LoggedOut(EVENT), "logged out; pair the agent again", {"event": EVENT}),
        (errors.LoggedOut, "logged out; pair the agent again", {"event": None}),
        (errors.NotPaired, "there are no usable tokens; pair the agent first", {}),
        (lambda: errors.NotPaired("why"), "why", {}),
        (errors.SessionTakenOver, "another process owns this session now", {}),
        (errors.DriverFailed, "the driver failed; this is a defect", {}),
        (
            lambda: errors.SendRejected("c", "m1", "not_member", "no"),
            "m1 rejected: not_member (no)",
            {"chat_id": "c", "message_id": "m1", "code": "not_member", "reason": "no"},
        ),
        (lambda: errors.SendRejected("c", "m1", "x", None), "m1 rejected: x", {"chat_id": "c", "reason": None}),
        (lambda: errors.SendUndecided("c", "m1"), "m1 is undecided", {"chat_id": "c", "message_id": "m1"}),
        (
            lambda: errors.SendGated("c", "not_member", 5),
            "chat is gated: not_member",
            {"chat_id": "c", "code": "not_member", "retry_after_ms": 5},
        ),
        (
            lambda: errors.SendDropped("c", "m1"),
            "m1 was dropped from the offline queue",
            {"chat_id": "c", "message_id": "m1"},
        ),
        (lambda: errors.NotDone("offline", "why"), "why", {"code": "offline"}),
        (lambda: errors.RefreshFailed("why", True), "why", {"sent": True}),
        (lambda: errors.RestUnauthorized(403, "why"), "HTTP 403: why", {"status": 403}),
        (
            lambda: errors.RestRefused(400, 7, "why", {"a": 1}),
            "HTTP 400, code 7: why",
            {"status": 400, "code": 7, "data": {"a": 1}},
        ),
        (lambda: errors.RestFailed("why", False), "why", {"sent": False}),
        (lambda: errors.MediaTooLarge(None, 9), "more than 9 bytes", {"size": None, "limit": 9}),
        (lambda: errors.MediaTooLarge(10, 9), "10 bytes, the limit is 9", {"size": 10, "limit": 9}),
        (lambda: errors.UploadFailed(None, "why"), "why", {"code": None}),
        (lambda: errors.UploadFailed(7, "why"), "code 7: why", {"code": 7}),
        (lambda: errors.DownloadFailed(404, "why"), "why", {"status": 404}),
        (lambda: errors.PairRefused(7, "unknown", "why"), "why", {"code": 7, "spent": "unknown"}),
    ],
)
def test_an_error_says_what_happened_and_carries_it(
    make: Callable[[], ClawProtoError], text: str, carried: dict[str, Any]
) -> None:
    error = make()
    assert str(error) == text
    assert {name: getattr(error, name) for name in carried} == carried


def test_errors_of_one_kind_can_be_caught_together() -> None:
    sends = (errors.SendRejected, errors.SendUndecided, errors.SendGated, errors.SendDropped)
    assert all(issubclass(one, SendError) for one in sends)
    assert all(issubclass(one, RestError) for one in (errors.RestUnauthorized, errors.RestRefused, errors.RestFailed))
