"""``hello-fail``: what each reason leads to."""

import json

import pytest

from clawproto.app_events import Disconnected, HandshakeRefused
from clawproto.effects import Abort, Open, RequestRefresh
from clawproto.events import Opened
from clawproto.json_types import Json
from clawproto.policy import Policy
from tests.core.harness import T0, Bench, credentials, emitted, jwt, of, pair, rotated
from tests.core.link_harness import LinkBench

HOUR_MS = 3_600_000
LEAD_MS = 2 * HOUR_MS


def near_expiry_bench() -> LinkBench:
    """A bench whose token turns near expiry one second after the start, before any timer is armed."""
    record = credentials(pair(jwt("a1", issued_ms=T0 - 22 * HOUR_MS + 1_000)))
    return LinkBench(record, greet=False, policy=Policy(jitter_ms=0))


# --- hello-fail ----------------------------------------------------------------------------------------------------

OTHER_REASONS: list[Json] = [
    "invalid connect event",
    "invalid connect payload",
    "nonce mismatch",
    "Authentication failed",
    "authentication failed ",
    " authentication failed",
    "authentication failed: token expired",
    "authentication  failed",
    "invalid token",
    "token expired",
    "unauthorized",
    "temporarily unavailable",
    "service unavailable",
    "",
    "a reason of a later hub",
    None,
    401,
    True,
    ["authentication failed"],
]


@pytest.mark.rule("HS-15", "HS-14", "HS-11")
@pytest.mark.parametrize("code", [1006, 1000, 4001])
def test_the_exact_reason_starts_the_reactive_refresh_whatever_the_close_code(code: int) -> None:
    bench = LinkBench(greet=False)
    bench.challenge_now()
    effects = bench.down("hello-fail", {"reason": "authentication failed"}, trace_id="not ours")
    assert emitted(effects, HandshakeRefused) == [HandshakeRefused("authentication failed", "refresh")]
    assert len(bench.refreshes) == 1
    bench.closed(code)
    assert bench.sockets() == 1
    bench.run_for(60_000)
    assert bench.sockets() == 1  # not with a dead token
    bench.reply(rotated(jwt("a2", issued_ms=bench.now.wall_ms)))
    assert bench.sockets() == 2  # at once


@pytest.mark.rule("HS-17", "HS-18", "ERR-4")
@pytest.mark.parametrize("reason", OTHER_REASONS)
def test_every_other_reason_means_backoff_and_never_the_end(reason: Json) -> None:
    bench = LinkBench(greet=False)
    for attempt in range(8):
        bench.challenge_now()
        effects = bench.down("hello-fail", {"reason": reason})
        assert [one.action for one in emitted(effects, HandshakeRefused)] == ["retry"]
        bench.closed(1006)
        base = min(30_000, 500 * 2**attempt)
        assert base <= bench.wait_for_socket() <= base * 1.3
    assert not bench.refreshes
    bench.challenge_now()
    assert {one["payload"]["token"] for one in bench.uplinks("connect")} == {jwt("a1")}
    bench.hello_now()
    assert bench.online


@pytest.mark.rule("HS-17")
def test_a_missing_payload_is_a_reason_too() -> None:
    bench = LinkBench(greet=False)
    bench.challenge_now()
    bench.raw(json.dumps({"version": "2", "event": "hello-fail", "trace_id": "", "emitted_at": T0}))
    assert bench.told(HandshakeRefused) == [HandshakeRefused(None, "retry")]
    assert bench.wait_for_socket() < 1_000


@pytest.mark.rule("HS-17")
@pytest.mark.parametrize(
    ("reason", "told"),
    [(None, "hello-fail: "), ("nonce mismatch", "hello-fail: nonce mismatch"), ("x" * 300, f"hello-fail: {'x' * 188}")],
)
def test_the_reason_is_told_at_no_great_length(reason: str | None, told: str) -> None:
    bench = LinkBench(greet=False, policy=Policy(reconnect_jitter=0.0))
    bench.challenge_now()
    bench.down("hello-fail", {"reason": reason})
    assert bench.told(Disconnected) == [Disconnected(None, told, 500)]
    assert bench.told(HandshakeRefused) == [HandshakeRefused(reason, "retry")]


@pytest.mark.rule("HS-17", "TOK-11")
@pytest.mark.parametrize("reason", ["nonce mismatch", "token expired", None])
def test_near_expiry_every_other_reason_refreshes_first(reason: Json) -> None:
    bench = near_expiry_bench()
    bench.run_for(999)
    bench.challenge_now()
    bench.down("hello-fail", {"reason": reason})
    assert not bench.refreshes  # one millisecond too early
    bench.wait_for_socket()
    bench.challenge_now()
    effects = bench.down("hello-fail", {"reason": reason})
    assert [one.action for one in emitted(effects, HandshakeRefused)] == ["refresh"]
    assert len(bench.refreshes) == 1
    bench.reply(rotated(jwt("a2", issued_ms=bench.now.wall_ms)))
    assert bench.sockets() == 3


@pytest.mark.rule("HS-16")
@pytest.mark.parametrize(
    "reason", ["remote auth service unavailable", "Auth Service Unavailable", "x AUTH SERVICE UNAVAILABLE: 503"]
)
def test_an_outage_of_the_verifier_never_refreshes_not_even_near_expiry(reason: str) -> None:
    bench = near_expiry_bench()
    bench.run_for(2_000)
    for attempt in range(4):
        bench.challenge_now()
        effects = bench.down("hello-fail", {"reason": reason})
        assert [one.action for one in emitted(effects, HandshakeRefused)] == ["retry"]
        base = 500 * 2**attempt
        assert base <= bench.wait_for_socket() <= base * 1.3
    assert not bench.refreshes
    bench.challenge_now()
    assert len({one["payload"]["token"] for one in bench.uplinks("connect")}) == 1


@pytest.mark.rule("HS-15")
def test_a_refusal_before_connect_was_sent_says_nothing_about_the_token() -> None:
    bench = LinkBench(greet=False)
    bench.step(Opened(1))
    bench.down("hello-fail", {"reason": "authentication failed"})
    assert not bench.refreshes
    bench.wait_for_socket()
    bench.challenge_now()
    bench.hello_now()
    assert bench.online


@pytest.mark.rule("HS-11", "HS-14")
def test_the_socket_is_dropped_at_a_refusal_and_its_close_counts_no_more() -> None:
    bench = LinkBench(greet=False)
    bench.challenge_now()
    effects = bench.down("hello-fail", {"reason": "nonce mismatch"})
    assert of(effects, Abort) == [Abort(1)]
    assert bench.closed(4001) == ()
    assert len(bench.told(Disconnected)) == 1


@pytest.mark.rule("REF-23", "REF-16", "HS-15")
def test_while_the_floor_forbids_a_refresh_the_rejected_token_opens_nothing() -> None:
    bench = Bench(credentials(), greet=False)
    bench.refresh()
    bench.fail(sent=False)
    bench.handshake()
    assert of(bench.hello_fail(bench.generation, "authentication failed"), Open) == []
    effects = bench.run_for(29_000)
    assert of(effects, Open) == [] and of(effects, RequestRefresh) == []
    bench.run_until(RequestRefresh, within_ms=2_000)
