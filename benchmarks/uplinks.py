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
from clawproto.config import Config
from clawproto.effects import Keep, SendFrame
from clawproto.events import Kept, Send, SetTyping
from clawproto.json_types import Json
from clawproto.session import Session

LIMIT = 1.2
DICT = "json.dumps of the same dict"
NOW = moment(1_000)

Fragments: TypeAlias = tuple[Mapping[str, Json], ...]


def _texts(size: int) -> list[Send | SetTyping]:
    """Commands whose frames have ``size`` bytes."""
    _, uplinks = encoding(_sends(lambda number: ({"kind": "text", "text": frames.text(size, number)},)))
    length = 2 * size - len(uplinks[0])
    commands = _sends(lambda number: ({"kind": "text", "text": frames.text(length, number)},))
    assert {len(uplink) for uplink in encoding(commands)[1]} == {size}
    return commands


def _fragments(number: int) -> Fragments:
    return tuple(fragment for fragment in frames.fragments(number, 30) if isinstance(fragment, dict))


def _sends(fragments: Callable[[int], Fragments]) -> list[Send | SetTyping]:
    return [Send(index + 1, frames.chat(index), fragments(index)) for index in range(COUNT)]


def _typings() -> list[Send | SetTyping]:
    return [SetTyping(frames.chat(index // 2), index % 2 == 0) for index in range(COUNT)]


def _tried(encode: Callable[[Callable[[str], object]], None], count: int) -> tuple[Work, list[str]]:
    """The work without the frames, and the ``count`` frames that come of it."""
    texts: list[str] = []
    encode(texts.append)
    assert len(texts) == count, "one frame a command"
    return lambda: encode(len), texts


def encoding(commands: Sequence[Send | SetTyping]) -> tuple[Work, list[str]]:
    """Each command through a session, and the frames that come of it, one a command."""
    state, _ = ready()

    def encode(note: Callable[[str], object]) -> None:
        session = Session.of(state)
        for command in commands:
            for effect in session.handle(command, NOW):
                if isinstance(effect, SendFrame):
                    note(effect.text)

    return _tried(encode, len(commands))


def _kept(commands: Sequence[Send | SetTyping]) -> tuple[Work, list[str]]:
    """The same with a message store that is ready at once: each send is written down before it may leave."""
    state, _ = ready(config=Config(seed=bytes(16), keep_sends=True))

    def encode(note: Callable[[str], object]) -> None:
        session = Session.of(state)
        for command in commands:
            effects = session.handle(command, NOW)
            kept = [effect.operation for effect in effects if isinstance(effect, Keep)]
            for effect in session.handle(Kept(*kept), NOW):
                if isinstance(effect, SendFrame):
                    note(effect.text)

    return _tried(encode, len(commands))


def dumping(texts: Sequence[str]) -> Work:
    values = [json.loads(text) for text in texts]

    def work() -> None:
        dumps = json.dumps
        for value in values:
            dumps(value)

    return work


def samples() -> Iterator[tuple[str, list[Send | SetTyping]]]:
    yield "message.send, 700 bytes", _texts(700)
    yield "message.send, 8 kB", _texts(8_000)
    yield "message.send, 30 fragments", _sends(_fragments)
    yield "typing.update", _typings()


def encode(rounds: int) -> Iterator[Row]:
    """Microseconds per command."""
    for name, commands in samples():
        work, texts = encoding(commands)
        row = compare("encode", name, work, DICT, dumping(texts), operations=COUNT, rounds=rounds)
        yield row.held_to("encode", LIMIT)
    work, texts = _kept(_texts(700))
    name = "message.send, 700 bytes, handed to a message store first"
    yield compare("encode", name, work, DICT, dumping(texts), operations=COUNT, rounds=rounds)
