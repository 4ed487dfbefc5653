"""A command becomes a frame: ids minted, the send taken into the outbox, encoded; against ``json.dumps`` of the dict.

The baseline writes the very dict that the frame holds, with the defaults of ``json.dumps``: these use the encoder that
``json`` keeps ready, and the frame's own settings would make one for each call. No ack comes in between, so each
pass begins with nothing under way and ends with `pure.COUNT` sends.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeAlias

from benchmarks import frames
from benchmarks.harness import Row, Work, compare
from benchmarks.pure import COUNT
from benchmarks.sessions import moment, ready
from clawproto.effects import SendFrame
from clawproto.events import Send, SetTyping
from clawproto.json_types import Json
from clawproto.session import Session

LIMIT = 1.2
CHAT = "cnv_01HZXJ5Q8YV7W3R2M4K6N8P0T"
NOW = moment(1_000)

Fragments: TypeAlias = tuple[Mapping[str, Json], ...]


def _fragments(text: str) -> Fragments:
    """Those of a message as the hub would send it, to be sent by us."""
    return tuple(json.loads(text)["payload"]["message"]["body"]["fragments"])


def _of_size(size: int) -> list[Send | SetTyping]:
    """Commands whose frames have ``size`` bytes."""
    _, texts = encoding(_sends(_fragments(frames.message(1, size))))
    longer = 2 * size - len(texts[0])
    commands = _sends(_fragments(frames.message(1, longer)))
    assert {len(text) for text in encoding(commands)[1]} == {size}
    return commands


def _sends(fragments: Fragments) -> list[Send | SetTyping]:
    return [Send(index + 1, CHAT, fragments) for index in range(COUNT)]


def _typings() -> list[Send | SetTyping]:
    return [SetTyping(CHAT, index % 2 == 0) for index in range(COUNT)]


def encoding(commands: Sequence[Send | SetTyping]) -> tuple[Work, list[str]]:
    """Each command through a session, and the frames that come of it, one a command."""
    state, _ = ready()

    def encode(note: Callable[[str], object]) -> None:
        session = Session.of(state)
        for command in commands:
            for effect in session.handle(command, NOW):
                if isinstance(effect, SendFrame):
                    note(effect.text)

    texts: list[str] = []
    encode(texts.append)
    assert len(texts) == len(commands), "one frame a command"
    return lambda: encode(len), texts


def dumping(texts: Sequence[str]) -> Work:
    values = [json.loads(text) for text in texts]

    def work() -> None:
        dumps = json.dumps
        for value in values:
            dumps(value)

    return work


def samples() -> Iterator[tuple[str, list[Send | SetTyping]]]:
    yield "message.send, 700 bytes", _of_size(700)
    yield "message.send, 8 kB", _of_size(8_000)
    yield "message.send, 30 fragments", _sends(_fragments(frames.fragmented_message(1, 30)))
    yield "typing.update", _typings()


def encode(rounds: int) -> Iterator[Row]:
    """Microseconds per command."""
    for name, commands in samples():
        work, texts = encoding(commands)
        row = compare(
            "encode", name, work, "json.dumps of the same dict", dumping(texts), operations=COUNT, rounds=rounds
        )
        yield row.held_to("encode", LIMIT)
