"""A timeline says what the lines of a journal say, no more: every mark and every span of made-up lines."""

from typing import Any

import pytest

from clawproto.instant import Instant
from clawproto.json_types import Json
from clawproto.replay import Journal, Line
from clawproto.timeline import Mark, Span, Timeline, timeline
from tests.core.harness import jwt

WALL = 1_790_000_000_000
MONO = 5_000


def story(*sources: tuple[int, dict[str, Any]]) -> Timeline:
    """The timeline of lines with these contents, so many milliseconds after the first."""
    lines = [
        Line(number, Instant(WALL + at_ms, MONO + at_ms), source) for number, (at_ms, source) in enumerate(sources, 1)
    ]
    return timeline(Journal({}, tuple(lines), cut=False))


def marks(source: dict[str, Any]) -> list[tuple[str, str, bool]]:
    """Lane, text and failure of each mark that a line makes, after one without anything in it."""
    found = story((0, {}), (70, source)).marks
    assert all((one.at_ms, one.elapsed_ms, one.step) == (WALL + 70, 70, 2) for one in found)
    return [(one.lane, one.text, one.failure) for one in found]


def event(name: str, **fields: Json) -> dict[str, Any]:
    return {"event": {"is": name, **fields}}


def effect(name: str, **fields: Json) -> dict[str, Any]:
    return {"effects": [{"is": name, **fields}]}


def told(name: str, **fields: Json) -> dict[str, Any]:
    return effect("Emit", event={"is": name, **fields})


def phase(name: str) -> dict[str, Any]:
    return {"changed": {"link.phase": {"is": f"link_state.{name}"}}}


TOKENS: dict[str, Json] = {"access": {"secret": jwt("a1", issued_ms=WALL, expires_ms=WALL + 9_000_070)}}


@pytest.mark.parametrize(
    ("source", "mark"),
    [
        (event("Start"), ("connection", "the session starts", False)),
        (event("Stop"), ("connection", "the session is stopped", False)),
        (event("Opened", generation=3), ("connection", "socket 3 is open", False)),
        (event("OpenFailed", generation=3, detail="refused"), ("connection", "socket 3: refused", True)),
        (event("Closed", generation=3, code=1006), ("connection", "socket 3 closed, 1006", False)),
        (event("Closed", generation=3, code=1000, reason="bye"), ("connection", "socket 3 closed, 1000 bye", False)),
        (event("StoreFailed", detail="disk full"), ("tokens", "the store failed: disk full", True)),
        (event("StoreConflicted"), ("tokens", "the store holds another pair", False)),
        (event("CredentialsLoaded"), ("tokens", "credentials come from outside", False)),
        (event("ReceiverPaused"), ("messages", "the application's inbox is full; reading stops", False)),
        (event("ReceiverResumed"), ("messages", "reading goes on", False)),
        (event("Send", chat_id="cnv_1"), ("sends", "Send to cnv_1", False)),
        (event("React", chat_id="cnv_1"), ("sends", "React to cnv_1", False)),
        (event("FinishStream"), ("sends", "FinishStream", False)),
        (effect("Open", generation=3), ("connection", "opening socket 3", False)),
        (effect("Reconnect", reason="token rotated"), ("connection", "changing the socket: token rotated", False)),
        (effect("RequestRefresh", request=8), ("refreshes", "refresh requested, number 8", False)),
        (effect("Persist"), ("tokens", "saving the new pair", False)),
        (effect("Swap", tokens=TOKENS), ("tokens", "new pair in force, expires in 9000 s", False)),
        (effect("Swap", tokens={"access": {"secret": "x"}}), ("tokens", "new pair in force, expiry unknown", False)),
        (effect("Logout", cause="refused"), ("tokens", "logging out: refused", True)),
        (told("Ready", delivery="v2"), ("connection", "ready, delivery v2", False)),
        (told("Disconnected", reason="lost"), ("connection", "disconnected: lost", False)),
        (told("TokensRotated"), ("tokens", "rotated", False)),
        (told("SaveRecovered", attempts=4), ("tokens", "saved after 4 attempts", False)),
        (told("MessageReceived", event="message.send"), ("messages", "message.send handed over", False)),
        (told("TakenOver", code=4001), ("failures", "taken over by another connection, code 4001", True)),
        (
            told("HandshakeRefused", reason="no", action="retry"),
            ("failures", "handshake refused: no, then retry", True),
        ),
        (told("LoggedOut", cause="refused", text="gone"), ("failures", "logged out: refused gone", True)),
        ({"unlike": True}, ("failures", "the real session did something else here", True)),
        ({"gap": 4, "event": {"is": "Stop"}}, ("failures", "4 steps are missing in the journal", True)),
    ],
)
def test_a_line_makes_a_mark(source: dict[str, Any], mark: tuple[str, str, bool]) -> None:
    assert marks(source) == [mark]


@pytest.mark.parametrize(
    "source",
    [
        event("Tick"),
        effect("SendFrame"),
        told("ChatUngated", chat_id="cnv_1"),
        {"unlike": 1},
        {"event": 3, "effects": {}, "changed": []},
        {"effects": [None, "x"]},
        event("HttpAnswered", request=8),
        effect("Resolve", command=5, result={"is": "Receipt"}),
        event("HttpFailed"),
    ],
)
def test_what_belongs_to_no_story_makes_none(source: dict[str, Any]) -> None:
    assert marks(source) == []


def test_a_start_shows_the_pair_that_was_stored() -> None:
    found = marks(event("Start", credentials={"tokens": TOKENS}))
    assert found == [("connection", "the session starts", False), ("tokens", "stored pair, expires in 9000 s", False)]


def test_it_begins_with_the_first_line_and_lasts_to_the_last() -> None:
    found = story((0, {}), (30, {}), (75, {}))
    assert (found.begin_ms, found.length_ms, found.marks, found.spans) == (WALL, 75, (), ())


def test_a_phase_lasts_until_another_begins() -> None:
    found = story((10, phase("Down")), (30, phase("Opening")), (40, phase("Opening")), (90, phase("Online")), (99, {}))
    assert found.spans == (
        Span(0, 20, "connection", "down", "down"),
        Span(20, 80, "connection", "opening", "opening"),
        Span(80, 89, "connection", "online", "online"),
    )
    nameless = story((0, {"changed": {"link.phase": {}}}), (5, {}))
    assert nameless.spans == (Span(0, 5, "connection", "?", "?"),)


def test_a_pair_is_in_force_until_the_next_one() -> None:
    found = story(
        (0, event("Start", credentials={"tokens": TOKENS})), (40, effect("Swap", tokens={"access": {}})), (50, {})
    )
    assert found.spans == (
        Span(0, 40, "tokens", "in-force", "expires in 9000 s"),
        Span(40, 50, "tokens", "in-force", "expiry unknown"),
    )


def test_a_refresh_lasts_from_its_request_to_its_answer() -> None:
    found = story(
        (0, effect("RequestRefresh", request=1)),
        (20, event("HttpAnswered", request=1, answer={"status": 200})),
        (30, effect("RequestRefresh", request=2)),
        (35, event("HttpAnswered", request=1, answer={"status": 200})),
        (90, event("HttpFailed", request=2, detail="connection reset")),
        (95, effect("RequestRefresh", request=3)),
        (99, {}),
    )
    assert found.spans == (
        Span(0, 20, "refreshes", "answered", "HTTP 200"),
        Span(30, 90, "refreshes", "failed", "connection reset"),
        Span(95, 99, "refreshes", "open", "no answer in this journal"),
    )
    assert [(mark.lane, mark.text, mark.failure) for mark in found.marks if mark.text.startswith("answer")] == [
        ("refreshes", "answer after 20 ms: HTTP 200", False),
        ("refreshes", "answer after 60 ms: connection reset", True),
    ]


@pytest.mark.parametrize(
    ("result", "outcome"),
    [
        ({"is": "Receipt", "code": 3}, "accepted"),
        ({"is": "Done"}, "accepted"),
        ({"is": "StreamEnded"}, "accepted"),
        ({"is": "SendRejected", "code": "not_member"}, "SendRejected not_member"),
        ({"is": "SendDropped"}, "SendDropped"),
        ({"code": 7}, "7"),
    ],
)
def test_a_send_lasts_from_its_command_to_its_decision(result: Json, outcome: str) -> None:
    found = story(
        (0, {}),
        (5, event("Send", command=7, chat_id="cnv_1")),
        (25, effect("Resolve", command=8, result=result)),
        (45, effect("Resolve", command=7, result=result)),
        (50, effect("Resolve", command=7, result=result)),
    )
    accepted = outcome == "accepted"
    kind = "accepted" if accepted else "failed"
    assert found.spans == (Span(5, 45, "sends", kind, f"Send to cnv_1: {outcome}"),)
    text = f"Send to cnv_1: {outcome} after 40 ms"
    assert found.marks[1:] == (Mark(WALL + 45, 45, 4, "sends", text, failure=not accepted),)


def test_a_send_without_a_decision_is_open() -> None:
    found = story((0, event("React", command=True)), (15, {}))
    assert found.spans == (Span(0, 15, "sends", "open", "React: undecided in this journal"),)
    resolved = story((0, event("React", command=True)), (15, effect("Resolve", command=0, result={"is": "Done"})))
    assert resolved.spans == (Span(0, 15, "sends", "accepted", "React: accepted"),)
