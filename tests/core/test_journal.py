"""Journals: what was recorded replays without a difference, and every difference is found."""

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from clawproto.config import Capabilities, Config
from clawproto.effects import Effect, Emit
from clawproto.events import AppendStream, Event, FinishStream, OpenStream, React, Send, Start, Tick
from clawproto.inbox_state import Known
from clawproto.instant import Instant
from clawproto.journal import Recorder
from clawproto.journal_encoding import Encoder, JournalError, classes, decode
from clawproto.keeping import KeptSend
from clawproto.persistent import IntMap, StrMap
from clawproto.policy import DAY_MS
from clawproto.recent import Block
from clawproto.redaction import Redactor
from clawproto.replay import Difference, Journal, read, replay
from clawproto.secret import Secret
from clawproto.session import step
from clawproto.state import State
from clawproto.state_hash import StateHasher, schema
from clawproto.timeline import timeline
from tests.core.harness import SEED, Bench, answer, credentials, jwt, pair, rotated
from tests.core.messaging import CHAT, ack, message, online, says, uplinks

ROOT = Path(__file__).parents[2]
SALT = bytes(range(16))
Steps = list[tuple[Instant, Event, tuple[Effect, ...], State]]


class Recorded(Bench):
    """A bench that remembers its steps."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        self.taken: Steps = []
        super().__init__(*arguments, **settings)

    def step(self, event: Event) -> tuple[Effect, ...]:
        begin = len(self.effects)
        queue: list[Event] = [event]
        while queue:
            following = queue.pop(0)
            self.state, effects = step(self.state, following, self.now)
            self.taken.append((self.now, following, effects, self.state))
            self.effects += effects
            for effect in effects:
                queue += self._carry_out(effect)
        return tuple(self.effects[begin:])


def eventful() -> Recorded:
    """A session with rotations, messages, a stream, REST, a full disk and a logout."""
    bench = Recorded(credentials(pair(jwt("a1", sub="u-1"))), capabilities=Capabilities(delivery_receipt=True))
    bench.step(Send(bench.command(), CHAT, ({"kind": "text", "text": "Very private words"},)))
    ack(bench, uplinks(bench)[-1])
    sender = {"id": "usr_9", "type": "direct", "nick_name": "Private Ann"}
    for text in ("Dear John", "Dear John", "Dear Jane"):
        says(bench, "message.send", message(text, "msg-7"), chat_id=CHAT, sender=sender, seq=3)
    bench.step(React(bench.command(), CHAT, "msg-7", "👍"))
    bench.step(OpenStream(bench.command(), CHAT, message_id="msg-s"))
    for piece in ("Once ", "upon ", "a time"):
        bench.step(AppendStream(bench.command(), "msg-s", piece))
        bench.run_for(150)
    closing = Send(0, CHAT, ({"kind": "text", "text": "Once upon a time"},))
    bench.step(FinishStream(bench.command(), "msg-s", closing))
    bench.rest("POST", "/v1/notes", b'{"note":"Private note","token":"abcdefgh"}')
    bench.reply_call(answer({"code": 0, "msg": "", "data": {"text": "Private answer"}}))
    bench.pass_time(DAY_MS)
    bench.tick()
    bench.store.failing = 2
    bench.reply(rotated(jwt("a2", issued_ms=bench.now.wall_ms, sub="u-1"), "refresh-token-number-two"))
    bench.run_for(20_000)
    bench.refresh()
    bench.run_for(60_000)
    return bench


def journal_of(taken: Steps, *, contents: bool = True) -> list[str]:
    recorder = Recorder(contents=contents, salt=SALT, library="test")
    lines = [recorder.header(taken[0][3].config)]
    return lines + [recorder.step(*one) for one in taken]


@pytest.mark.parametrize("contents", [True, False])
def test_a_journal_replays_without_a_difference(contents: bool) -> None:
    bench = eventful()
    report = replay(read(journal_of(bench.taken, contents=contents)))
    assert report.difference is None and report.steps == len(bench.taken) > 30
    assert (report.lost, report.unlike, report.cut, report.states_compared) == (0, 0, False, True)


@pytest.mark.rule("AUTH-9")
@pytest.mark.parametrize("contents", [True, False])
def test_no_token_is_in_it(contents: bool) -> None:
    text = "".join(journal_of(eventful().taken, contents=contents))
    for token in (jwt("a1", sub="u-1"), "refresh-1", "refresh-token-number-two", "sig-a2", "abcdefgh"):
        assert token not in text


def test_without_contents_nothing_that_people_wrote_is_in_it() -> None:
    taken = eventful().taken
    words = ("rivate", "Dear", "John", "Jane", "Once", "upon", "👍", "\\ud83d")
    text = "".join(journal_of(taken, contents=False))
    assert not any(word in text for word in words)
    assert CHAT in text and "msg-7" in text and "usr_9" in text
    assert all(word in "".join(journal_of(taken)) for word in words if word != "👍")


def test_nothing_of_what_an_earlier_session_kept_is_in_a_masked_journal() -> None:
    payload = '{"message_id":"msg-9","message":{"body":{"fragments":[{"kind":"text","text":"Private words"}]}}}'
    kept = KeptSend("s-1", 1, "msg-9", CHAT, "message.send", payload, '{"id":"usr_9","nick_name":"Private Ann"}', 5)
    config = Config(seed=SEED, keep_sends=True)
    event = Start(credentials(), None, (kept,), 1)
    state, effects = step(State(config), event, Instant(1, 2))
    for contents in (True, False):
        recorder = Recorder(contents=contents, salt=SALT, library="test")
        lines = [recorder.header(config), recorder.step(Instant(1, 2), event, effects, state)]
        assert ("Private" in lines[1]) is contents and "msg-9" in lines[1] and "usr_9" in lines[1]
        assert replay(read(lines)).difference is None


def test_a_masked_journal_still_tells_a_repeat_from_an_update() -> None:
    """ "Dear John" twice and then "Dear Jane", which has the same shape: a message, nothing, an update."""
    lines = journal_of(eventful().taken, contents=False)
    emitted = [
        effect["event"].get("update", False)
        for line in lines[1:]
        for effect in json.loads(line)["effects"]
        if effect["is"] == "Emit" and effect["event"]["is"] == "MessageReceived"
    ]
    assert emitted == [False, True]


# --- differences ---------------------------------------------------------------------------------------------------


def changed(lines: list[str], number: int, change: Callable[[dict[str, Any]], None]) -> Difference | None:
    """The journal with one line changed, replayed."""
    value = json.loads(lines[number])
    change(value)
    return replay(read([*lines[:number], json.dumps(value) + "\n", *lines[number + 1 :]])).difference


def test_another_effect_is_found_at_its_step() -> None:
    lines = journal_of(eventful().taken)
    number = next(index for index, line in enumerate(lines) if '"RequestRefresh"' in line)

    def later(line: dict[str, Any]) -> None:
        line["effects"][-1]["timeout_ms"] = 1

    found = changed(lines, number, later)
    assert found is not None and found.number == number and not found.state
    assert found.expected != found.actual and found.fields == ()


def test_another_state_is_found_with_the_field() -> None:
    lines = journal_of(eventful().taken)

    def elsewhere(line: dict[str, Any]) -> None:
        line["changed"]["link.device_id"] = "another"
        line["state"] = "0" * 32

    found = changed(lines, 4, elsewhere)
    assert found is not None and found.state and found.expected == found.actual
    assert found.fields == (("link.device_id", None, "another", "lab-01"),)


def test_another_input_leads_to_the_first_step_that_it_changes() -> None:
    lines = journal_of(eventful().taken)
    number = next(index for index, line in enumerate(lines) if '"HttpAnswered"' in line)

    def failed(line: dict[str, Any]) -> None:
        line["event"]["answer"]["status"] = 503

    found = changed(lines, number, failed)
    assert found is not None and found.number == number


def test_states_of_another_shape_are_not_compared() -> None:
    lines = journal_of(eventful().taken)
    header = json.loads(lines[0])
    header["schema"] = "0" * 16
    step = json.loads(lines[5])
    step["state"] = "1" * 32
    report = replay(read([json.dumps(header), *lines[1:5], json.dumps(step), *lines[6:]]))
    assert report.difference is None and not report.states_compared


# --- damaged journals ----------------------------------------------------------------------------------------------


def test_a_process_may_die_in_the_middle_of_the_last_line() -> None:
    lines = journal_of(eventful().taken)
    report = replay(read([*lines[:-1], lines[-1][:40]]))
    assert report.cut and report.difference is None and report.steps == len(lines) - 2


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda lines: [], "empty"),
        (lambda lines: ["hello\n"], "no journal"),
        (lambda lines: ["{}\n"], "no journal"),
        (lambda lines: [lines[0].replace('"version":1', '"version":99'), *lines[1:]], "version 99"),
        (lambda lines: [*lines[:3], "nonsense\n", *lines[3:]], "line 4 is damaged"),
        (lambda lines: [*lines[:3], "{}\n"], "line 4 is no step"),
        (lambda lines: [lines[0], lines[1].replace('"is":"Start"', '"is":"Begin"')], "unknown type 'Begin'"),
        (lambda lines: [lines[0], lines[1].replace('"is":"Start"', '"is":"Start","x":1')], "Start"),
        (lambda lines: [lines[0], lines[1].replace('"secret"', '"sacred"', 1)], "unknown mark"),
        (lambda lines: [lines[0], lines[1].replace('"is":"Start"', '"is":"Swap"')], "Swap"),
        (lambda lines: [lines[0], *lines[2:]], "cannot be run"),
        (lambda lines: [lines[0].replace('"is":"Config"', '"is":"Tick"')], "Tick"),
    ],
)
def test_a_journal_that_cannot_be_read_says_why(damage: Callable[[list[str]], list[str]], says: str) -> None:
    with pytest.raises(JournalError, match=says):
        replay(read(damage(journal_of(eventful().taken))))


def test_reading_executes_nothing() -> None:
    values: tuple[Any, ...] = ({"is": "os.system"}, {"is": "Recorder"}, {"foreign": "x"}, {"json": {"type": "Start"}})
    for value in values:
        try:
            found = decode(value)
        except JournalError:
            continue
        assert type(found).__module__ in ("builtins", "clawproto.journal_encoding")


# --- in the middle of a session ------------------------------------------------------------------------------------


def test_after_a_gap_it_goes_on_with_the_state() -> None:
    taken = eventful().taken
    recorder = Recorder(library="test")
    lines = [recorder.header(taken[0][3].config)]
    for number, one in enumerate(taken):
        line = recorder.step(*one)
        if not 10 <= number < 20:
            lines.append(line)
        elif number == 19:
            lines.append(recorder.gap(one[0], 10))
    report = replay(read(lines))
    assert (report.difference, report.lost, report.steps) == (None, 10, len(taken) - 10)


@pytest.mark.parametrize("begin", range(3, 33, 4))
def test_a_later_part_replays_by_itself(begin: int) -> None:
    taken = eventful().taken
    recorder = Recorder(library="test")
    for one in taken[:begin]:
        recorder.step(*one)
    lines = [recorder.header(taken[0][3].config, part=2), *(recorder.step(*one) for one in taken[begin:])]
    report = replay(read(lines))
    assert report.difference is None and report.steps == len(taken) - begin
    whole = decode(json.loads(lines[0])["whole"])
    assert isinstance(whole, State)
    assert StateHasher(Redactor()).state(whole) == StateHasher(Redactor()).state(taken[begin - 1][3])


def test_whatever_an_application_puts_into_a_command_is_recorded() -> None:
    loop: list[Any] = []
    loop.append(loop)
    bench = online()
    before = bench.state
    strange: Any = (loop, {1: 2}, float("nan"), b"\xff")
    fragments: Any = ({"kind": "text", "text": object()},)
    odd = Send(1, CHAT, fragments, mentions=strange)
    bench.step(odd)
    recorder = Recorder(library="test")
    recorder.step(bench.now, Tick(), (), before)
    lines = [recorder.header(before.config)]
    lines.append(recorder.step(bench.now, odd, tuple(bench.effects[-1:]), bench.state))
    report = replay(read(lines))
    assert report.steps == 1 and report.difference is None


# --- the digest of a state -----------------------------------------------------------------------------------------


def test_a_digest_does_not_depend_on_what_was_hashed_before() -> None:
    taken = eventful().taken
    along = StateHasher(Redactor())
    for _, _, _, state in taken:
        assert along.state(state) == StateHasher(Redactor()).state(state)


def test_different_states_have_different_digests() -> None:
    states = list({state for _, _, _, state in eventful().taken})
    hasher = StateHasher(Redactor())
    assert len({hasher.state(state) for state in states}) == len(states) > 20


def test_values_of_different_types_have_different_digests() -> None:
    hasher = StateHasher(Redactor())
    values: list[object] = [
        *(None, True, 1, 1.0, "1", b"1", (), (1,), ("1",), ((1,),), {}, {"a": 1}, {"a": "1"}, {"b": 1}, "", "None"),
        *(IntMap.of([(1, "a")]), IntMap.of([(1, "b")]), IntMap.of([(2, "a")]), StrMap.of([("1", "a")])),
        *(Tick(), Start(), Instant(1, 2), Instant(2, 1), (1, 2), (12,), ("ab", "c"), ("a", "bc")),
    ]
    assert len({hasher.value(value) for value in values}) == len(values)


def test_whatever_is_in_a_state_can_be_hashed() -> None:
    hasher = StateHasher(Redactor())
    halves, secrets = ("a\ud800", "a\ud801", "a"), (Secret("t\ud800"), Secret("t\ud801"), "t")
    strangers: tuple[object, ...] = (object(), range(3), b"\xff", b"\xfe")
    values = (*halves, *secrets, *strangers)
    assert len({hasher.value(value) for value in values}) == len(values)
    assert hasher.value(object()) == hasher.value(object()), "a stranger is known by its type"


def test_a_digest_is_the_same_in_every_version_and_on_every_platform() -> None:
    hasher = StateHasher(Redactor())
    assert hasher.value((None, True, 1, 1.5, "a", b"a", {"b": [1], "a": ()})) == "fb1abc0999fe6c31ee344c1f1d393408"
    assert hasher.value((Instant(1, 2), Secret("token"), range(3))) == "f0d1f220c9a7ec43128682b65624d513"
    parts = (IntMap.of([(1, "a")]), StrMap.of([("a", 1)]), Block({"a": Known(1, True, None)}))
    assert hasher.value(parts) == "58fda0ffb76c55873b6debb7a60a61ee"


def test_maps_of_any_size_are_hashed_by_their_contents() -> None:
    hasher = StateHasher(Redactor())
    pairs = [(number * 7 % 1009, f"v{number}") for number in range(500)]
    forth, back = IntMap.of(pairs), IntMap.of(reversed(pairs))
    assert hasher.value(forth) == StateHasher(Redactor()).value(back)
    assert hasher.value(forth.set(3, "x")) != hasher.value(forth)
    assert hasher.value(forth.set(2000, "x").remove(2000)) == hasher.value(forth)
    names = [(f"k{key}", value) for key, value in pairs]
    assert hasher.value(StrMap.of(names)) == hasher.value(StrMap.of(reversed(names)))


class CountingRedactor(Redactor):
    """Counts the texts that it is asked to look through."""

    texts = 0

    def text(self, text: str) -> str:
        self.texts += 1
        return super().text(text)


def test_after_a_step_only_what_has_changed_is_hashed() -> None:
    redactor = CountingRedactor()
    hasher = StateHasher(redactor)

    def asked(value: object) -> int:
        before = redactor.texts
        hasher.value(value)
        return redactor.texts - before

    names = StrMap.of((f"k{number}", f"v{number}") for number in range(500))
    more = names.set("k7", "another")
    assert asked(names) >= 500 and asked(names) == 0 and 0 < asked(more) < 100
    state = eventful().taken[-1][3]
    digest, before = hasher.state(state), redactor.texts
    assert hasher.state(evolve(state, deadline=state.deadline)) == digest and redactor.texts == before > 500


PROGRAM = """
from tests.core.test_journal import eventful, journal_of
import hashlib
print(hashlib.sha256("".join(journal_of(eventful().taken)).encode()).hexdigest())
"""


def test_the_same_journal_in_every_process() -> None:
    path = os.pathsep.join([str(ROOT), str(ROOT / "drivers")])
    found = {
        subprocess.run(
            [sys.executable, "-c", PROGRAM],
            capture_output=True,
            text=True,
            check=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("0", "1", "4711")
    }
    assert len(found) == 1


def test_every_type_has_a_name_of_its_own() -> None:
    found = classes()
    assert {"State", "Start", "Persist", "wire.Frame", "MessageReceived", "tokens_state.TokenState"} <= set(found)
    assert len(schema()) == 16


# --- timeline ------------------------------------------------------------------------------------------------------


def test_a_timeline_tells_the_story() -> None:
    bench = eventful()
    story = timeline(read(journal_of(bench.taken)))
    told = [mark.text for mark in story.marks]
    for words in ("the session starts", "ready, delivery v1", "saving the new pair", "the store failed: disk full"):
        assert words in told
    assert any(text.startswith("refresh requested") for text in told)
    assert any(text.startswith("new pair in force, expires in") for text in told)
    assert [mark.elapsed_ms for mark in story.marks] == sorted(mark.elapsed_ms for mark in story.marks)
    assert any(mark.failure for mark in story.marks) and not all(mark.failure for mark in story.marks)
    lanes = {span.lane for span in story.spans}
    assert lanes == {"connection", "tokens", "refreshes", "sends"}
    for span in story.spans:
        assert 0 <= span.begin_ms <= span.end_ms <= story.length_ms
    phases = [span for span in story.spans if span.lane == "connection"]
    assert all(one.end_ms == other.begin_ms for one, other in itertools.pairwise(phases))
    assert {"online", "opening"} <= {span.kind for span in phases}


def test_a_timeline_of_nothing() -> None:
    with pytest.raises(JournalError, match="nothing happens"):
        timeline(Journal({}, (), cut=False))


def test_an_encoder_survives_what_is_no_value() -> None:
    encode = Encoder(Redactor())
    shown = encode(Emit(object()))  # type: ignore[arg-type]
    assert shown == {"is": "Emit", "event": {"foreign": "object"}}
    assert Config(seed=SEED) == decode(encode(Config(seed=SEED)))
