"""``python -m tools.mutation.judging``, in a copy of the repository whose modules were mutated: judge the mutants.

One process imports and collects all tests. Children of it run them once, and note how long each takes and which
statements it runs into; what fails is left out. Then each mutant gets a child of its own, which switches it on and runs
the tests that run into its statement, until the first fails: those first that noticed another mutant of that function,
then the quick ones of all files in turn. A test that takes five times as long as it should, or waits in vain, has
noticed the mutant too. Verdicts go to `VERDICTS`, a line for each.
"""

import functools
import gc
import importlib
import json
import os
import resource
import signal
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, TextIO

import pytest
from attrs import Factory, define, frozen

from tools.mutation import switch

WANTED: Final = Path("wanted.json")
VERDICTS: Final = Path("verdicts.jsonl")

_CACHED: Final = type(functools.cache(len))
_LONGEST: Final = 2.0  # seconds of CPU; tests that take longer judge nothing
_QUICK: Final = 0.2  # seconds of CPU
_LEAST: Final = 0.3  # seconds of CPU that every test may take
_WALL: Final = 120  # seconds for all of them, waiting included
_IDLE: Final = 10  # seconds in which a test does nothing at all but wait
_MEMORY: Final = 3 << 30  # bytes


@frozen
class Verdict:
    """What became of a mutant.

    Attributes:
        word: ``failed`` or ``stopped`` (it took too long, or died) when it was noticed, or ``survived`` or ``not run``.
        test: who noticed it.
    """

    mutant: str
    word: str
    test: str | None

    @property
    def noticed(self) -> bool:
        """Did some test fail because of it?"""
        return self.word in ("failed", "stopped")


def read_verdicts(path: Path) -> Iterator[Verdict]:
    """What was written by `Judge`."""
    for line in path.read_text(encoding="utf-8").splitlines():
        yield Verdict(*json.loads(line))


def write_verdict(verdict: Verdict, file: TextIO) -> None:
    """Write a line."""
    file.write(json.dumps([verdict.mutant, verdict.word, verdict.test]) + "\n")


@define
class Clean:
    """How a test does without a mutant: seconds of CPU, and the places (see `making.noting`) that it runs into."""

    item: pytest.Item
    seconds: float
    reached: frozenset[str]


@define
class Child:
    """A process that judges a mutant, and the end of the pipe where it says which test it has come to."""

    mutant: str
    tests: list[Clean]
    pipe: int


@define
class Judge:
    """The pytest plugin that runs mutants in place of tests.

    Attributes:
        jobs: how many at a time.
        enough: seconds of CPU that the tests of one mutant may take together, when they pass.
    """

    jobs: int
    enough: float
    failed: bool = False
    judging: bool = False
    children: dict[int, Child] = Factory(dict[int, Child])
    successes: defaultdict[str, Counter[str]] = Factory(lambda: defaultdict(Counter))

    @pytest.hookimpl(tryfirst=True)
    def pytest_configure(self) -> None:
        """Few examples, always the same, and no time for making a failing one simpler."""
        import hypothesis

        hypothesis.settings.register_profile(
            "mutation",
            deadline=None,
            derandomize=True,
            max_examples=10,
            database=None,
            phases=(hypothesis.Phase.explicit, hypothesis.Phase.generate),
            suppress_health_check=list(hypothesis.HealthCheck),
        )

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_makereport(self, call: pytest.CallInfo[None]) -> None:
        """Has a test failed? Why it has is never printed: that would take most of the time."""
        if call.excinfo is not None and not call.excinfo.errisinstance(pytest.skip.Exception):
            self.failed = True
            if self.judging:
                os._exit(1)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Judge all mutants that are wanted."""
        if session.testsfailed:
            raise session.Interrupted(f"{session.testsfailed} files of tests cannot be collected")
        wanted: dict[str, str] = json.loads(WANTED.read_text(encoding="utf-8"))
        for module in {mutant.rpartition(".")[0] for mutant in wanted}:
            importlib.import_module(module)  # some are loaded when they are first needed, and could not take notes then
        _forget()  # finds the caches while the collector still tells of them
        gc.freeze()
        clean = self._without_mutants(session.items)
        switch.take_no_notes()
        self._warm_up(clean)
        by_place: defaultdict[str, list[Clean]] = defaultdict(list)
        for one in clean:
            for place in one.reached:
                by_place[place].append(one)
        with VERDICTS.open("w", encoding="utf-8", buffering=1) as verdicts:
            for number, (mutant, place) in enumerate(wanted.items(), 1):
                tests = self._in_order(mutant, by_place[place])
                if not tests:
                    write_verdict(Verdict(mutant, "not run", None), verdicts)
                    continue
                if len(self.children) == self.jobs:
                    write_verdict(self._wait(), verdicts)
                self._start(mutant, tests)
                if number % 200 == 0:
                    print(f"{number} of {len(wanted)} mutants", file=sys.stderr, flush=True)
            while self.children:
                write_verdict(self._wait(), verdicts)
        return True

    def _without_mutants(self, items: Sequence[pytest.Item]) -> list[Clean]:
        files = {item.path: number for number, item in enumerate({item.path: item for item in items}.values())}
        shares = [[item for item in items if files[item.path] % self.jobs == job] for job in range(self.jobs)]
        pids: list[int] = []
        for number, some in enumerate(shares):
            if (pid := os.fork()) == 0:
                _silence()
                self._run_clean(some, _clean_file(number))
            pids.append(pid)
        for pid in pids:
            if os.waitpid(pid, 0)[1]:
                raise RuntimeError("the tests do not come to an end without mutants either")
        found: list[Clean] = []
        for number, some in enumerate(shares):
            rows = json.loads(_clean_file(number).read_text(encoding="utf-8"))
            for item, (passed, seconds, reached) in zip(some, rows, strict=True):
                if passed:
                    found.append(Clean(item, seconds, frozenset(reached)))
                else:
                    print(f"left out, as it fails without a mutant or takes too long: {item.nodeid}", file=sys.stderr)
        return found

    def _warm_up(self, clean: Sequence[Clean]) -> None:
        """Run a test of each file: what the core generates when it is first needed is there for all children then."""
        by_file = {one.item.path: one.item for one in clean if one.seconds < _QUICK}
        for item in by_file.values():
            self._passes(item, None)
        _forget()
        gc.collect()
        gc.freeze()

    def _run_clean(self, items: Sequence[pytest.Item], target: Path) -> None:
        reached: set[str] = set()
        switch.take_notes(reached)
        signal.signal(signal.SIGVTALRM, _too_long)
        found: list[tuple[bool, float, list[str]]] = []
        for index, item in enumerate(items):
            reached.clear()
            _forget()
            begin = _cpu_seconds()
            signal.setitimer(signal.ITIMER_VIRTUAL, _LONGEST)
            passed = self._passes(item, items[index + 1] if index + 1 < len(items) else None)
            found.append((passed, _cpu_seconds() - begin, sorted(reached)))
        target.write_text(json.dumps(found), encoding="utf-8")
        os._exit(0)

    def _passes(self, item: pytest.Item, following: pytest.Item | None) -> bool:
        self.failed = False
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        return not self.failed

    def _in_order(self, mutant: str, tests: Sequence[Clean]) -> list[Clean]:
        """The quickest of every file in turn; a file that has noticed more mutants of the module has more turns."""
        of_function, of_module = (self.successes[name] for name in _places(mutant))
        seen: Counter[str] = Counter()
        turns: list[tuple[int, float, float, Clean]] = []
        for one in sorted(tests, key=lambda one: one.seconds):
            file = _file(one.item.nodeid)
            turns.append((-of_function[one.item.nodeid], seen[file] / (1 + of_module[file]), one.seconds, one))
            seen[file] += 1
        chosen: list[Clean] = []
        seconds = 0.0
        for *_, one in sorted(turns, key=lambda turn: turn[:3]):
            chosen.append(one)
            seconds += one.seconds
            if seconds > self.enough:
                break
        return chosen

    def _start(self, mutant: str, tests: list[Clean]) -> None:
        out, into = os.pipe()
        if (pid := os.fork()) == 0:
            os.close(out)
            try:
                self._judge(mutant, tests, into)
            finally:
                os._exit(2)
        os.close(into)
        self.children[pid] = Child(mutant, tests, out)

    def _judge(self, mutant: str, tests: Sequence[Clean], pipe: int) -> None:
        _silence()
        resource.setrlimit(resource.RLIMIT_DATA, (_MEMORY, _MEMORY))
        signal.signal(signal.SIGPROF, signal.SIG_DFL)
        _end_when_idle(_WALL)
        switch.switch_on(mutant)
        self.judging = True
        for index, one in enumerate(tests):
            os.write(pipe, index.to_bytes(4))
            signal.setitimer(signal.ITIMER_PROF, _LEAST + 5 * one.seconds)
            if not self._passes(one.item, tests[index + 1].item if index + 1 < len(tests) else None):
                os._exit(1)
        os._exit(0)

    def _wait(self) -> Verdict:
        pid, status = os.waitpid(-1, 0)
        child = self.children.pop(pid)
        with open(child.pipe, "rb") as pipe:
            last = int.from_bytes(pipe.read()[-4:])
        code = os.waitstatus_to_exitcode(status)
        if code == 0:
            return Verdict(child.mutant, "survived", None)
        test = child.tests[last].item.nodeid
        function, module = _places(child.mutant)
        self.successes[function][test] += 1
        self.successes[module][_file(test)] += 1
        return Verdict(child.mutant, "failed" if code == 1 else "stopped", test)


def _places(mutant: str) -> tuple[str, str]:
    function = switch.function_of(mutant)
    return function, function.rpartition(".")[0]


def _file(test: str) -> str:
    return test.partition("::")[0]


def _forget() -> None:
    """Empty the caches of the core: a mutant may give another answer, and a test must run into what it asks for."""
    for value in _caches():
        value.cache_clear()


@functools.cache
def _caches() -> list[Any]:
    return [one for one in gc.get_objects() if isinstance(one, _CACHED) and one.__module__.startswith("clawproto.")]


def _cpu_seconds() -> float:
    """Of this process, and of those that it has started and waited for."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _clean_file(number: int) -> Path:
    return Path(f"clean-{number}.json")


def _too_long(*_: object) -> None:
    raise TimeoutError(f"{_LONGEST} s are over")


def _end_when_idle(wall: int) -> None:
    """End this process when it waits for something that does not come, or for longer than ``wall`` seconds in all."""
    last, end = _cpu_seconds(), time.monotonic() + wall

    def look(*_: object) -> None:
        nonlocal last
        before, last = last, _cpu_seconds()
        if last - before < 0.02 or time.monotonic() > end:
            os._exit(3)

    signal.signal(signal.SIGALRM, look)
    signal.setitimer(signal.ITIMER_REAL, _IDLE, _IDLE)


def _silence() -> None:
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    os.dup2(nothing, 2)


def main(arguments: Sequence[str]) -> int:
    """Judge with so many jobs, so many seconds for each mutant, and these tests."""
    jobs, seconds, *tests = arguments
    options = ["-q", "-s", "--no-header", "--hypothesis-profile=mutation"]
    options += [f"-pno:{plugin}" for plugin in ("randomly", "xdist", "cacheprovider", "faulthandler")]
    return int(pytest.main([*options, *tests], plugins=[Judge(int(jobs), float(seconds))]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
