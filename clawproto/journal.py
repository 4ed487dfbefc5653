"""The journal of a session: everything that it was told and what it answered, a line a step, without secrets.

    {"journal": "clawproto", "version": 1, "library": …, "config": …, "next": 1}                 the header
    {"n": 1, "at": [wall_ms, mono_ms], "event": …, "effects": […], "changed": {…}, "state": …}   a step
    {"gap": 12, "next": 31, "at": …, "state": …, "whole": …}                                     lost lines, a new begin

The core is a function, so these lines are the whole truth: `clawproto.replay` runs them through the core again and
finds the first step at which it does anything else. ``state`` is a digest of the state after the step
(`clawproto.state_hash`), ``changed`` has the fields that the step changed, for a reader; a value that is too long is
given by its digest. A header or gap with ``whole`` has the state itself, so that reading may begin there.

Secrets are redacted in all journals (`clawproto.redaction`). With ``contents=False`` so is what people write
(`clawproto.masking`). The journal is then that of a second session, which is told the masked events only; a step at
which it answered in another way than the real one is marked with ``"unlike": true``.
"""

import json
from collections.abc import Iterator, Sized
from typing import Any, Final, cast

from attrs import fields, has

from clawproto.config import Config
from clawproto.effects import Effect
from clawproto.errors import Misuse
from clawproto.events import Event
from clawproto.instant import Instant
from clawproto.journal_encoding import Encoder, class_of
from clawproto.json_types import Json
from clawproto.masking import Masker
from clawproto.persistent import IntMap, StrMap
from clawproto.recent import Recent
from clawproto.redaction import Redactor
from clawproto.session import step
from clawproto.state import State
from clawproto.state_hash import StateHasher, schema

VERSION: Final = 1
NAME: Final = "clawproto"
_LONGEST_VALUE: Final = 400  # characters of a changed value
_LARGEST_MAP: Final = 4


def write_line(value: Json) -> str:
    """One line of a journal, with its end."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=True, allow_nan=False) + "\n"


class Recorder:
    """Makes the lines. It is told of every step, also of those that cannot be kept.

    Args:
        contents: False masks what people write.
        salt: with ``contents=False``, 16 random bytes that are kept nowhere, so that nobody can try texts out.
        library: version of the library, for the header.
    """

    def __init__(self, *, contents: bool = True, salt: bytes = b"", library: str = "") -> None:
        redactor = Redactor()
        self._encode = Encoder(redactor)
        self._hasher = StateHasher(redactor)
        self._masker = None if contents else Masker(salt)
        self._library = library
        self._state: State | None = None
        self._number = 0

    @property
    def started(self) -> bool:
        """Whether a step was recorded."""
        return self._state is not None

    def header(self, config: Config, *, part: int = 1) -> str:
        """The first line of a file. One that continues another has the state itself."""
        header: dict[str, Json] = {
            "journal": NAME,
            "version": VERSION,
            "library": self._library,
            "schema": schema(),
            "contents": self._masker is None,
            "part": part,
            "next": self._number + 1,
        }
        whole = self._state
        header["config"] = self._encode(config)
        if whole is not None:
            header["whole"] = self._encode(whole)
        return write_line(header)

    def step(self, now: Instant, event: Event, effects: tuple[Effect, ...], state: State) -> str:
        """The line of one step; ``state`` is the one after it."""
        before = self._state or State(state.config)
        unlike = False
        if self._masker is not None:
            told = effects
            event = self._masker.event(event)
            try:
                state, effects = step(before, event, now)
            except Misuse:  # the recording began in the middle
                state, effects = before, ()
            unlike = [type(effect) for effect in effects] != [type(effect) for effect in told]
        self._number += 1
        self._state = state
        line: dict[str, Json] = {
            "n": self._number,
            "at": [now.wall_ms, now.mono_ms],
            "event": self._encode(event),
            "effects": [self._encode(effect) for effect in effects],
            "changed": changes(before, state, self._encode, self._hasher),
            "state": self._hasher.state(state),
        }
        if unlike:
            line["unlike"] = True
        return write_line(line)

    def gap(self, now: Instant, lost: int) -> str:
        """Instead of ``lost`` lines: the state after them."""
        assert self._state is not None
        line: dict[str, Json] = {
            "gap": lost,
            "next": self._number + 1,
            "at": [now.wall_ms, now.mono_ms],
            "state": self._hasher.state(self._state),
            "whole": self._encode(self._state),
        }
        return write_line(line)


def changes(before: State, after: State, encode: Encoder, hasher: StateHasher) -> dict[str, Json]:
    """The fields that a step has changed, two levels deep, with their new values."""
    return {
        path: _shown(new, encode, hasher)
        for path, old, new in changed_fields(before, after)
        if hasher.value(old) != hasher.value(new)
    }


def changed_fields(before: State, after: State) -> Iterator[tuple[str, Any, Any]]:
    """Path, old and new value of what is not the very same object, two levels deep."""
    for branch in fields(State):
        old, new = getattr(before, branch.name), getattr(after, branch.name)
        if old is new:
            continue
        class_ = class_of(new)
        if type(old) is not class_ or not has(class_) or class_ in (IntMap, StrMap):
            yield branch.name, old, new
            continue
        for attribute in fields(class_):
            inner_old, inner_new = getattr(old, attribute.name), getattr(new, attribute.name)
            if inner_old is not inner_new:
                yield f"{branch.name}.{attribute.name}", inner_old, inner_new


def _shown(value: object, encode: Encoder, hasher: StateHasher) -> Json:
    if not _is_large(value):
        encoded = encode(value)
        if len(json.dumps(encoded)) <= _LONGEST_VALUE:
            return encoded
    return {"digest": hasher.value(value)[:16]}


def _is_large(value: object) -> bool:
    return class_of(value) in (IntMap, StrMap, Recent) and len(cast(Sized, value)) > _LARGEST_MAP
