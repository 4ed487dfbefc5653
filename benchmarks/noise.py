"""Equal against equal: what a ratio is worth on this machine, at this moment. Each should be 1."""

import json
from collections.abc import Iterator

from benchmarks import frames
from benchmarks.children import server
from benchmarks.footprint import ATTRS, importing
from benchmarks.harness import Row, alternate, compare, paired
from benchmarks.network import bare_flood, bare_trips, dial_asyncio, on_asyncio

GROUP, ITSELF = "noise", "itself: each ratio should be 1"


def noise(rounds: int) -> Iterator[Row]:
    """One pair of each way of measuring."""
    text = frames.message(1, 700)

    def loads() -> None:
        json.loads(text)

    yield compare(GROUP, "json.loads, processor time", loads, ITSELF, loads, rounds=rounds)
    mine, theirs = alternate(lambda: importing(f"import {ATTRS}"), lambda: importing(f"import {ATTRS}"), rounds)
    yield paired(GROUP, f"import {ATTRS}, processor time", ITSELF, "ms", mine, theirs)
    with server() as url:
        flood, trips = bare_flood(dial_asyncio), bare_trips(dial_asyncio)
        for name, measure in (("receive, by the clock", flood), ("round trip, by the clock", trips)):

            def once() -> float:
                return on_asyncio(measure, url).wall * 1e6  # noqa: B023

            yield paired(GROUP, f"bare websockets, {name}", ITSELF, "µs", *alternate(once, once, rounds))
