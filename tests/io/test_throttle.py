"""Turns at a gate, in trio's virtual time."""

from collections.abc import Callable
from contextlib import AsyncExitStack

import anyio
import pytest
import trio
from trio.testing import MockClock

from clawproto.effects import RequestHttp, RequestRefresh
from clawproto.events import HttpAnswered, HttpFailed
from clawproto.http import HttpAnswer, HttpRequest
from clawproto_io.jobs import run_http_job
from clawproto_io.sockets import describe_failure
from clawproto_io.throttle import Crowded, Gate, Throttle, turn_of


def in_virtual_time(work: Callable[[], object]) -> None:
    trio.run(work, clock=MockClock(autojump_threshold=0))  # type: ignore[arg-type]


def test_turns_come_at_the_rate_and_in_order() -> None:
    async def main() -> None:
        gate = Gate(10, 100, trio.current_time)
        begun: list[tuple[int, float]] = []

        async def one(number: int) -> None:
            async with gate.turn(60):
                begun.append((number, round(trio.current_time() - start, 3)))

        start = trio.current_time()
        async with trio.open_nursery() as nursery:
            for number in range(20):
                nursery.start_soon(one, number)
        assert sorted(at for _, at in begun) == [round(number / 10, 3) for number in range(20)]

    in_virtual_time(main)


def test_so_many_at_once() -> None:
    async def main() -> None:
        gate = Gate(1_000, 3, trio.current_time)
        now = most = 0

        async def one() -> None:
            nonlocal now, most
            async with gate.turn(60):
                now += 1
                most = max(most, now)
                await trio.sleep(1)
                now -= 1

        async with trio.open_nursery() as nursery:
            for _ in range(12):
                nursery.start_soon(one)
        assert most == 3
        assert trio.current_time() < 4.1 + start

    start = 0.0

    async def timed() -> None:
        nonlocal start
        start = trio.current_time()
        await main()

    in_virtual_time(timed)


def test_nobody_waits_longer_than_his_patience() -> None:
    async def main() -> None:
        gate = Gate(1, 1, trio.current_time)
        async with AsyncExitStack() as held:
            await held.enter_async_context(gate.turn(0))
            before = trio.current_time()
            with pytest.raises(Crowded):
                async with gate.turn(0.5):
                    pytest.fail("a turn out of order")
            assert trio.current_time() == before, "what can be told is told at once"
            with pytest.raises(Crowded):
                async with gate.turn(5):
                    pytest.fail("two at once")
            assert trio.current_time() == pytest.approx(before + 5)
        async with gate.turn(5):
            pass

    in_virtual_time(main)


def test_a_cancelled_turn_is_free_again() -> None:
    async def main() -> None:
        gate = Gate(1_000, 1, trio.current_time)
        with trio.move_on_after(1):
            async with gate.turn(10):
                await trio.sleep_forever()
        async with gate.turn(0.1):
            pass

    in_virtual_time(main)


class Runner:
    """Remembers how much time each request was given."""

    def __init__(self) -> None:
        self.timeouts: list[int] = []

    async def send(self, http: HttpRequest, timeout_ms: int) -> HttpAnswer:
        self.timeouts.append(timeout_ms)
        await anyio.sleep(0.9)
        return HttpAnswer(200, (), b"")


REQUEST = HttpRequest("GET", "http://127.0.0.1/", (), b"")


@pytest.mark.rule("REF-43", "REF-50")
def test_waiting_is_part_of_the_time_of_a_refresh() -> None:
    async def main() -> None:
        gate, runner = Gate(1, 1, trio.current_time), Runner()
        reports: list[object] = []

        async def one(number: int) -> None:
            reports.append(await run_http_job(runner, RequestRefresh(number, REQUEST, 6_000), gate))

        async with trio.open_nursery() as nursery:
            for number in range(6):
                nursery.start_soon(one, number)
        assert sorted(runner.timeouts) == [3_000, 4_000, 5_000, 6_000]
        unsent = [report for report in reports if isinstance(report, HttpFailed)]
        assert [report.sent for report in unsent] == [False, False], "and nothing was sent without a turn"
        other = await run_http_job(runner, RequestHttp(9, REQUEST, 6_000, "rest"), gate)
        assert isinstance(other, HttpAnswered)
        assert runner.timeouts[-1] == 6_000, "other requests need no turn"

    in_virtual_time(main)


def test_no_gate_no_waiting() -> None:
    async def main() -> None:
        before = trio.current_time()
        async with turn_of(None, 0):
            assert trio.current_time() == before

    in_virtual_time(main)


def test_numbers_that_cannot_be() -> None:
    with pytest.raises(ValueError, match="at least one"):
        Throttle(sockets_per_second=0)
    with pytest.raises(ValueError, match="at least one"):
        Throttle(refreshes_at_once=0)
    with pytest.raises(ValueError, match="at least one"):
        Throttle(refreshes_per_second=-1.0)


def test_the_reason_is_told_in_words() -> None:
    assert "too many sessions" in describe_failure(Crowded())
