"""Instructions instead of time: how many the interpreter executes for one operation of each hot path.

The same program executes the same instructions, however busy the machine is, so a regression of a few per cent shows.
Counted are those of Python code; what happens inside of C functions (reading JSON, hashing) is seen by the clock only.
The counts differ from one minor version of Python to the next, and with the JSON reader; each has a baseline of its own
in ``instructions.json``.
"""

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, TypeAlias

from benchmarks import frames, growth, pure, uplinks
from benchmarks.harness import Work
from benchmarks.sessions import moment, seasoned
from clawproto.events import Tick
from clawproto.session import step
from clawproto.wire import json_backend

BASELINE = Path(__file__).with_name("instructions.json")
TOLERANCE = 0.10

Counts: TypeAlias = dict[str, float]


class Executed:
    """How many instructions, by function."""

    def __init__(self) -> None:
        self._found: dict[int, int] = {}  # by identity: comparing and hashing code looks at all of it
        self._codes: dict[int, CodeType] = {}

    def note(self, code: CodeType) -> None:
        key = id(code)
        if key in self._found:
            self._found[key] += 1
        else:
            self._found[key], self._codes[key] = 1, code

    @property
    def total(self) -> int:
        return sum(self._found.values())

    def most(self, count: int) -> list[tuple[str, int]]:
        """The functions with the most instructions."""
        ranked = sorted(self._found.items(), key=lambda item: -item[1])[:count]
        return [(f"{Path(self._codes[key].co_filename).stem}.{self._codes[key].co_qualname}", n) for key, n in ranked]


def count(work: Work) -> int:
    """Instructions that ``work`` executes, after it has run once."""
    return executed(work).total


def executed(work: Work) -> Executed:
    """The same by function."""
    work()
    return _monitored(work) if sys.version_info >= (3, 12) else _traced(work)


def _monitored(work: Work) -> Executed:
    """By the interpreter's monitoring, which knows the event."""
    assert sys.version_info >= (3, 12)
    monitoring, found = sys.monitoring, Executed()

    def note(code: CodeType, _offset: int) -> None:
        found.note(code)

    monitoring.use_tool_id(monitoring.PROFILER_ID, "clawproto benchmarks")
    monitoring.register_callback(monitoring.PROFILER_ID, monitoring.events.INSTRUCTION, note)
    monitoring.set_events(monitoring.PROFILER_ID, monitoring.events.INSTRUCTION)
    try:
        work()
    finally:
        monitoring.set_events(monitoring.PROFILER_ID, monitoring.events.NO_EVENTS)
        monitoring.register_callback(monitoring.PROFILER_ID, monitoring.events.INSTRUCTION, None)
        monitoring.free_tool_id(monitoring.PROFILER_ID)
    return found


def _traced(work: Work) -> Executed:
    """By a trace function; from Python 3.12 on not every frame would honour ``f_trace_opcodes``."""
    found = Executed()

    def local(frame: FrameType, event: str, _argument: object) -> Any:
        if event == "opcode":
            found.note(frame.f_code)
        return local

    def enter(frame: FrameType, _event: str, _argument: object) -> Any:
        frame.f_trace_opcodes = True
        frame.f_trace_lines = False
        return local

    before = sys.gettrace()
    sys.settrace(enter)
    try:
        work()
    finally:
        sys.settrace(before)
    return found


def hot_paths() -> Iterator[tuple[str, Work, int]]:
    """Each with how many operations it makes."""
    state, generation, first = seasoned()
    samples = {
        "message, 700 bytes": [frames.message(first + index, 700) for index in range(pure.COUNT)],
        "message, 30 fragments": [frames.fragmented_message(first + index, 30) for index in range(pure.COUNT)],
    }
    for name, texts in samples.items():
        yield f"{name}, received and settled", pure.delivered(state, generation, texts, first), pure.COUNT
        yield f"{name}, decoded", pure.decoding(texts), pure.COUNT
    acks, texts = pure.acknowledged()
    yield "ack, received", acks, pure.COUNT
    yield "ack, decoded", pure.decoding(texts), pure.COUNT
    indications, texts = pure.indicated()
    yield "typing, received", indications, pure.COUNT
    yield "typing, decoded", pure.decoding(texts), pure.COUNT
    for name, commands in uplinks.samples():
        if name != "message.send, 8 kB":  # as many instructions as with 700 bytes
            yield f"{name}, sent", uplinks.encoding(commands)[0], pure.COUNT
    busy = growth.Sending(growth.MANY_PENDING)
    yield f"send among {growth.MANY_PENDING:,}", lambda: _ignore(busy.send(busy.commands())), growth.SENDS
    yield "send and ack", pure.round_trip()[0], pure.COUNT
    yield "ping and pong", pure.heartbeat()[0], 1
    yield "rotation", pure.rotation()[0], 1
    later = moment(2_000 + first * 5)
    idle, _ = step(state, Tick(), later)
    yield "idle Tick", pure.chain(idle, [(Tick(), later)] * pure.COUNT), pure.COUNT


def _ignore(_: object) -> None:
    """For a result that nobody wants."""


def measure() -> Counts:
    """Instructions per operation, by hot path."""
    return {name: round(count(work) / operations, 1) for name, work, operations in hot_paths()}


def surrounding() -> str:
    """What a count depends on besides the code."""
    reader = "stdlib" if json_backend.loads is json_backend.stdlib_loads else json_backend.name
    return f"{sys.version_info.major}.{sys.version_info.minor}, {reader}"


def baselines() -> dict[str, Counts]:
    """All that were committed."""
    return json.loads(BASELINE.read_text("utf-8")) if BASELINE.exists() else {}


def grown(counts: Mapping[str, float], baseline: Mapping[str, float]) -> list[str]:
    """The paths that grew by more than the tolerance, and those that are not in both, in words."""
    problems = [f"{name}: there is no baseline" for name in counts if name not in baseline]
    for name, before in baseline.items():
        now = counts.get(name)
        if now is None:
            problems.append(f"{name}: is not measured any more")
        elif now > before * (1 + TOLERANCE):
            problems.append(f"{name}: {now:,.1f} instructions, {now / before - 1:+.0%} on {before:,.1f}")
    return problems


def profile(path: str) -> int:
    """Print which functions the instructions of one hot path are in.

    Returns:
        2 if there is no such path.
    """
    paths = {name: (work, operations) for name, work, operations in hot_paths()}
    if path not in paths:
        print(f"no hot path {path!r}; there are: {'; '.join(paths)}", file=sys.stderr)
        return 2
    work, operations = paths[path]
    found = executed(work)
    print(f"{path}: {found.total / operations:,.1f} instructions, Python {surrounding()}\n")
    for function, number in found.most(25):
        print(f"  {number / operations:10,.1f}  {number / found.total:4.0%}  {function}")
    return 0


def report(*, check: bool, update: bool) -> int:
    """Print the counts with either reader; with ``check`` 1 if something has grown, with ``update`` make them the
    baseline."""
    problems: list[str] = []
    for reader in ("msgspec", "stdlib"):
        with pure.reader(reader) as present:
            if present:
                problems += _report(check=check, update=update)
    for problem in problems:
        print(f"GROWN {problem}")
    return 1 if problems else 0


def _report(*, check: bool, update: bool) -> list[str]:
    counts, known = measure(), baselines()
    baseline = known.get(surrounding(), {})
    print(f"\nInstructions per operation, Python {surrounding()}\n")
    for name, value in counts.items():
        before = baseline.get(name)
        change = "" if not before else f"   {value / before - 1:+7.1%}"
        print(f"  {name.ljust(46)} {value:10,.1f}{change}")
    if update:
        known[surrounding()] = counts
        BASELINE.write_text(json.dumps(dict(sorted(known.items())), indent=1) + "\n", "utf-8")
        return []
    if check and not baseline:
        print("\nno baseline for this Python and reader; make one with --count --update")
    return grown(counts, baseline) if check and baseline else []
