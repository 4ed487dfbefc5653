"""Sends in any order of answers, losses and time."""

import pytest
from hypothesis import given, strategies as st

from clawproto.events import Closed
from tests.core.messaging import ack, online, refuse, send, uplinks

MOVES = ["send", "cut", "wait", "ack", "ack-old", "refuse", "long"]


@pytest.mark.rule("SEND-13", "SEND-15", "SEND-17", "SILENT-12")
@given(st.lists(st.sampled_from(MOVES), max_size=25))
def test_every_send_is_decided_exactly_once_whatever_happens(moves: list[str]) -> None:
    bench = online()  # the bench checks the invariants on every step, I9 and I10 among them
    commands: list[int] = []
    for move in moves:
        frames = uplinks(bench)
        match move:
            case "send":
                commands.append(send(bench, f"text {len(commands)}"))
            case "cut" if bench.state.connected:
                bench.step(Closed(bench.generation, 1006))
            case "wait":
                bench.run_for(1_000)
            case "long":
                bench.run_for(30_000)
            case "ack" if frames and bench.state.connected:
                ack(bench, frames[-1])
            case "ack-old" if frames and bench.state.connected:
                ack(bench, frames[0])
            case "refuse" if frames and bench.state.connected:
                refuse(bench, frames[-1], "bad_request")
            case _:
                pass
    bench.run_for(120_000)
    assert set(commands) <= bench.results.keys()
