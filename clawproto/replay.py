"""Running a journal through the core again: where does it first do something else?

    lines ──► header: a state ──► event ──► step ──► effects, state ══ those in the journal?
                                   ▲                    │ yes                │ no
                                   └────────────────────┘                    └─► Difference

A journal that was written by another version of the library is compared by its effects; if the state has another shape
since then, its digests say nothing and are left out.
"""

import json
from collections.abc import Iterable, Iterator
from typing import Any, Final, cast

from attrs import field

from clawproto.config import Config
from clawproto.deferred import frozen
from clawproto.errors import Misuse
from clawproto.events import Event
from clawproto.instant import Instant
from clawproto.journal import NAME, VERSION, changes
from clawproto.journal_encoding import Encoder, JournalError, decode
from clawproto.json_types import Json
from clawproto.redaction import Redactor
from clawproto.session import step
from clawproto.state import State
from clawproto.state_hash import StateHasher, schema

Object = dict[str, Json]
LONGEST_LINE: Final = 256 * 1024 * 1024  # characters


@frozen
class Difference:
    """The first step at which the core did not do what the journal says.

    Attributes:
        number: of the step, from 1.
        at: its instant.
        event: as in the journal.
        expected, actual: the effects, in the journal and now.
        fields: path, value before the step, value in the journal, value now; only what differs.
        state: the states differ, whether or not a field shows it.
    """

    number: int
    at: Instant
    event: Json
    expected: tuple[Json, ...]
    actual: tuple[Json, ...]
    fields: tuple[tuple[str, Json, Json, Json], ...]
    state: bool


@frozen
class Report:
    """What came of a replay.

    Attributes:
        steps: that were run.
        lost: steps that the journal itself does not have.
        unlike: steps of a journal without contents that were other than those of the real session.
        library: version that wrote it.
        states_compared: False if the state has had another shape then.
        cut: the last line ends in the middle: the process died while writing it.
        difference: None if there is none.
    """

    steps: int
    lost: int
    unlike: int
    library: str
    states_compared: bool
    cut: bool
    difference: Difference | None = None


@frozen
class Line:
    """One line of a journal, after the header.

    Attributes:
        source: the object as it is.
    """

    number: int
    at: Instant
    source: Object = field(repr=False)

    @property
    def is_gap(self) -> bool:
        """It stands for lines that are lost."""
        return "gap" in self.source


@frozen
class Journal:
    """A journal, read.

    Attributes:
        header: its first line.
        lines: all others.
        cut: the last line was incomplete.
    """

    header: Object
    lines: tuple[Line, ...] = field(repr=False)
    cut: bool


def read(texts: Iterable[str]) -> Journal:
    """Read the lines of a journal.

    Raises:
        JournalError: it is none, or is damaged, or of a later version.
    """
    header: Object | None = None
    lines: list[Line] = []
    cut = False
    for number, text in enumerate(texts, 1):
        if cut:
            raise JournalError(f"line {number - 1} is damaged")
        if len(text) > LONGEST_LINE:
            raise JournalError(f"line {number} is too long")
        try:
            value: Json = json.loads(text)
        except (ValueError, RecursionError):
            value = None
        if not isinstance(value, dict):
            if header is None:
                raise JournalError("this is no journal")
            cut = True  # fine at the very end
        elif header is None:
            header = _checked(value)
        else:
            lines.append(_line(value, number))
    if header is None:
        raise JournalError("the file is empty")
    return Journal(header, tuple(lines), cut)


def _checked(header: Object) -> Object:
    if header.get("journal") != NAME:
        raise JournalError("this is no journal")
    if header.get("version") != VERSION:
        raise JournalError(f"version {header.get('version')} of journals is not known to this version of the library")
    return header


def _line(value: Object, number: int) -> Line:
    at, count = value.get("at"), value.get("n", value.get("next"))
    if not isinstance(at, list) or len(at) != 2 or not all(type(item) is int for item in at) or type(count) is not int:
        raise JournalError(f"line {number} is no step")
    return Line(count, Instant(cast(int, at[0]), cast(int, at[1])), value)


class Replayer:
    """Steps a session through the lines of a journal."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self.comparable = journal.header.get("schema") == schema()
        redactor = Redactor()
        self._encode, self._hasher = Encoder(redactor), StateHasher(redactor)
        whole = journal.header.get("whole")
        self.state = self._whole(whole) if whole is not None else State(_config(journal.header))

    def _whole(self, value: Json) -> State:
        state = decode(value)
        if not isinstance(state, State):
            raise JournalError("the state is none")
        return state

    def steps(self) -> Iterator[tuple[Line, State, Difference | None]]:
        """Each line with the state after it; ends with the first difference."""
        for line in self.journal.lines:
            if line.is_gap:
                self.state = self._whole(line.source.get("whole"))
                yield line, self.state, None
                continue
            difference = self._step(line)
            yield line, self.state, difference
            if difference is not None:
                return

    def _step(self, line: Line) -> Difference | None:
        event = decode(line.source.get("event"))
        before = self.state
        try:
            self.state, effects = step(before, cast(Event, event), line.at)
        except (Misuse, AttributeError, TypeError) as error:
            raise JournalError(f"step {line.number} cannot be run: {error}") from None
        expected = tuple(cast("list[Json]", line.source.get("effects", [])))
        actual = tuple(self._encode(effect) for effect in effects)
        same = not self.comparable or line.source.get("state") == self._hasher.state(self.state)
        if expected == actual and same:
            return None
        return Difference(
            line.number,
            line.at,
            line.source.get("event"),
            expected,
            actual,
            tuple(self._fields(before, cast(Object, line.source.get("changed", {})))) if self.comparable else (),
            not same,
        )

    def _fields(self, before: State, recorded: Object) -> Iterator[tuple[str, Json, Json, Json]]:
        now = changes(before, self.state, self._encode, self._hasher)
        for path in sorted({*recorded, *now}):
            was = self._encode(_at(before, path))
            if recorded.get(path, was) != now.get(path, was):
                yield path, was, recorded.get(path, was), now.get(path, was)


def _at(state: State, path: str) -> Any:
    found: Any = state
    for name in path.split("."):
        found = getattr(found, name, None)
    return found


def _config(header: Object) -> Config:
    config = decode(header.get("config"))
    if not isinstance(config, Config):
        raise JournalError("the header has no configuration")
    return config


def replay(journal: Journal) -> Report:
    """Run a journal through the core, up to the first difference.

    Raises:
        JournalError: a line cannot be decoded: the journal is damaged, or of a version with other events.
    """
    replayer = Replayer(journal)
    steps = lost = unlike = 0
    difference: Difference | None = None
    for line, _, found in replayer.steps():
        gap = line.source.get("gap")
        if isinstance(gap, int):
            lost += gap
        else:
            steps += 1
        unlike += line.source.get("unlike") is True
        difference = found
    library = journal.header.get("library")
    text = library if isinstance(library, str) else ""
    return Report(steps, lost, unlike, text, replayer.comparable, journal.cut, difference)
