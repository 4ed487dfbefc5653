"""Application events as JSON and as lines: both forms are promised in docs/cli.md."""

import json
import re
from pathlib import Path
from typing import get_args

import pytest

from clawproto import app_events
from clawproto.app_events import AppEvent
from clawproto.credentials import Identity
from clawproto.wire.values import (
    Frame,
    MediaFragment,
    Mention,
    MentionFragment,
    MessagePayload,
    OpaquePayload,
    Peer,
    Reply,
    TextFragment,
    UnknownFragment,
)
from clawproto_cli.events import event_form, event_line, name_of
from clawproto_cli.text import date_time, printable, span

DOCS = Path(__file__).parents[2] / "docs" / "cli.md"
IDENTITY = Identity("usr_1", "device-1", "https://h", "wss://h/ws")
MESSAGE = app_events.MessageReceived(
    event="message.reply",
    chat_id="cnv_1",
    chat_type="group",
    sender=Peer("usr_2", "direct", "Olga"),
    message=MessagePayload(
        message_id="msg-1",
        message_mode="normal",
        fragments=(
            TextFragment("look "),
            MentionFragment("usr_1", "Ada"),
            TextFragment(" "),
            MediaFragment("image", "https://h/cat.png", name="cat.png", width=3),
            UnknownFragment("poll", {"kind": "poll", "options": ["a", "b"]}),
        ),
        mentions=(Mention("usr_1", "Ada"),),
        reply=Reply("msg-0", "usr_1"),
    ),
    own=False,
    system=False,
    update=False,
    conversational=True,
    emitted_at_ms=7,
)
EVENTS: list[AppEvent] = [
    app_events.Ready("device-1", "v2"),
    app_events.ReplayFinished(announced=True),
    app_events.Disconnected(1006, "", 500),
    app_events.TakenOver(4001, 5000),
    app_events.HandshakeRefused("authentication failed", "refresh"),
    app_events.TokensRotated(2, 1),
    app_events.RefreshDelayed("HTTP 503", 1000),
    app_events.SaveAlarm(3, "disk full"),
    app_events.SaveRecovered(4),
    app_events.MessagesUnsaved(3, "disk full"),
    app_events.MessagesSaved(4),
    app_events.ClockSkewed(-90_000),
    app_events.TokenNotNewer(30_000),
    app_events.LoggedOut("refused", 10003, "invalid refresh token", IDENTITY, cleared=True),
    app_events.CredentialsNeeded("never paired"),
    app_events.Misconfigured("no-user-id", "what"),
    MESSAGE,
    app_events.SendSettled("cnv_1", "msg-1", accepted=True),
    app_events.AckAnomaly("msg-1", "msg-2"),
    app_events.RefusalReceived("cnv_1", None, "forbidden", None),
    app_events.ChatGated("cnv_1", "forbidden", 600_000),
    app_events.ChatUngated("cnv_1"),
    app_events.StreamStarted("cnv_1", "msg-3", Peer("usr_2", "direct", "Olga")),
    app_events.StreamGrew("cnv_1", "msg-3", Peer("usr_2"), "b", "ab", (TextFragment("ab", "b"),)),
    app_events.StreamFinished("cnv_1", "msg-3", Peer("usr_2"), (TextFragment("ab"),)),
    app_events.StreamDiscarded("cnv_1", "msg-3", Peer("usr_2"), "failed"),
    app_events.MessageDelivered("msg-1", "cnv_1", "usr_2", 5),
    app_events.ReactionChanged("cnv_1", "msg-1", "usr_2", "👍"),
    app_events.ReadMarkMoved("cnv_1", 1_790_000_000_000),
    app_events.MessageRecalled("cnv_1", "msg-1"),
    app_events.TypingChanged("cnv_1", "usr_2", True),
    app_events.PresenceChanged("usr_2", False, "2026-01-01T00:00:00Z", snapshot=True),
    app_events.MetadataInvalidated("cnv_1", "group", ("title",), False, 3, ("/v1/conversations/cnv_1",)),
    app_events.SignalReceived("friend.added", "usr_2", 1, "ev-1", ("/v1/friendships",)),
    app_events.PermissionRequested("cnv_1", "req-1", "agt_1", "send_file", {"label": "a"}, 9),
    app_events.PermissionResolved("cnv_1", "req-1", "allow_once", "owner_allowed"),
    app_events.PermissionDecided("cnv_1", "req-1", "send_file", "approved", "owner_allowed", {"a": [1]}),
    app_events.HistoryReceived("history_sync_request", {"kind": "history_sync_request", "n": [1]}, Peer("usr_1")),
    app_events.HistoryTruncated(7),
    app_events.UnknownEvent(
        Frame("future.thing", OpaquePayload({"a": [1, {"b": None}]}), chat_id="cnv_1"),
        OpaquePayload({"a": [1, {"b": None}]}),
    ),
    app_events.FrameRejected("message.send", "no message_id", '{"access_token": "secret"}', 1),
]


def test_every_kind_of_event_is_here() -> None:
    assert [type(event) for event in EVENTS] == list(get_args(AppEvent))


@pytest.mark.parametrize("event", EVENTS, ids=name_of)
def test_an_event_is_one_json_object_and_one_line(event: AppEvent) -> None:
    form = json.loads(json.dumps(event_form(event, 1_700_000_000_123)))
    assert (form["event"], form["at_ms"]) == (name_of(event), 1_700_000_000_123)
    line, _ = event_line(event, 1_700_000_000_123)
    assert re.match(r"\d\d:\d\d:\d\d  \S", line)
    assert line.isprintable()
    assert "secret" not in json.dumps(form) + line


@pytest.mark.parametrize(
    ("event", "words"),
    [
        (app_events.StreamGrew("cnv_1", "msg-3", None, None, "ab", ()), "cnv_1 somebody has written so far: ab"),
        (app_events.StreamGrew("cnv_1", "msg-3", Peer("usr_2"), "b", "ab", ()), "cnv_1 usr_2 goes on: b"),
        (app_events.StreamFinished("cnv_1", "m", None, (TextFragment("x"),), own=True), "cnv_1 me wrote: x"),
        (app_events.ReactionChanged("cnv_1", "msg-1", "usr_2", None), "cnv_1 usr_2 takes the reaction back from msg-1"),
        (app_events.ReactionChanged("cnv_1", "msg-1", "usr_1", "x", own=True), "cnv_1 me reacts with x to msg-1"),
        (app_events.TypingChanged("cnv_1", "usr_2", False), "cnv_1 usr_2 no longer types"),
        (app_events.PresenceChanged("usr_2", True, "2026", False), "usr_2 is online"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_activities_in_words(event: AppEvent, words: str) -> None:
    assert event_line(event, 0)[0].partition("  ")[2] == words


@pytest.mark.parametrize("event", EVENTS, ids=name_of)
def test_the_documentation_names_every_field(event: AppEvent) -> None:
    text = DOCS.read_text(encoding="utf-8")
    row = next(line for line in text.splitlines() if line.startswith(f"| `{name_of(event)}` |"))
    assert re.findall(r"`(\w+)`", row)[1:] == [key for key in event_form(event, 0) if key not in ("event", "at_ms")]


def test_the_form_of_a_message() -> None:
    form = event_form(MESSAGE, 1)
    assert form["text"] == "look @Ada [image: cat.png https://h/cat.png][unsupported: poll]"
    assert form["sender"] == {"id": "usr_2", "nick_name": "Olga"}
    assert form["reply"] == {"message_id": "msg-0", "author_id": "usr_1"}
    assert form["mentions"] == [{"user_id": "usr_1", "display": "Ada"}]
    fragments = form["fragments"]
    assert isinstance(fragments, list)
    assert fragments[0] == {"kind": "text", "text": "look "}
    assert fragments[4] == {"kind": "poll", "options": ["a", "b"]}


def test_what_others_wrote_cannot_steer_a_terminal() -> None:
    assert printable("a\x1b[31m\n\x9b\u202eb") == "a\\x1b[31m\\n\\x9b\\u202eb"
    assert printable("Grüße 😀 ja") == "Grüße 😀 ja"


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (0, "0 ms"),
        (999, "999 ms"),
        (1_000, "1 s"),
        (61_500, "1 min 1 s"),
        (-90_000, "1 min 30 s"),
        (3_600_000 + 5_000, "1 h"),
        (2 * 86_400_000 + 3_600_000, "2 d 1 h"),
    ],
)
def test_spans(ms: int, text: str) -> None:
    assert span(ms) == text


def test_a_time_that_no_calendar_has_is_told_all_the_same() -> None:
    assert date_time(1 << 60) == f"{1 << 60} ms"
