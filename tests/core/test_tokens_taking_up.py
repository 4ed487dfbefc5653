"""What is left of before when credentials are taken up, and when an attempt that did not leave is put off."""

from typing import Any

import pytest
from attrs import evolve

from clawproto.app_events import Misconfigured, SaveAlarm, TokenNotNewer, TokensRotated
from clawproto.credentials import Credentials, Intent
from clawproto.effects import Logout, Persist
from clawproto.events import CredentialsLoaded, Reloaded, StoreConflicted, Stored, StoreFailed
from clawproto.instant import Instant
from clawproto.policy import Policy
from clawproto.results import RefreshFailed
from clawproto.session import step
from clawproto.timing import save_backoff_ms
from clawproto.tokens_state import Cleanup, TokenState
from tests.core.harness import IDENTITY, REFUSED, T0, Bench, credentials, emitted, jwt, of, pair, rotated

OTHER = credentials(pair(jwt("b1"), "refresh-b1"), generation=7)
POLICY = Policy()


def loaded(record: Credentials, **before: Any) -> TokenState:
    """The token machine after ``record`` was loaded into a session whose machine was in another condition."""
    bench = Bench(credentials(), start=True)
    state = evolve(bench.state, tokens=evolve(bench.state.tokens, **before))
    return step(state, CredentialsLoaded(record), bench.now)[0].tokens


@pytest.mark.rule("OUT-8", "OUT-9", "REF-15", "REF-20")
def test_new_credentials_wipe_what_was_known_of_the_old_ones() -> None:
    cleanup = Cleanup(IDENTITY, "digest", 1, "refused", operation=98, failures=2, retry_at=10**12)
    tokens = loaded(
        OTHER,
        status="logged-out",
        latch="digest",
        lost_until=10**12,
        unknown=True,
        poll_at=10**12,
        poll_operation=99,
        cleanup=cleanup,
        blank_reported=True,
        last_error="e",
        failures=3,
        backoff_until=10**12,
        not_before=10**12,
        hold_until=10**12,
    )
    assert tokens.credentials == OTHER and tokens.status == "usable"
    assert (tokens.latch, tokens.last_error, tokens.cleanup) == (None, None, None)
    assert (tokens.lost_until, tokens.poll_at, tokens.poll_operation) == (None, None, None)
    assert (tokens.unknown, tokens.blank_reported, tokens.starting) == (False, False, False)
    assert (tokens.failures, tokens.backoff_until, tokens.not_before, tokens.hold_until) == (0, 0, 0, 0)


@pytest.mark.rule("REF-46", "REF-16", "REF-44")
@pytest.mark.parametrize("later", [-1, 0, 1])
def test_a_recorded_attempt_counts_from_when_it_began_unless_a_later_one_is_known(later: int) -> None:
    assert OTHER.tokens is not None and OTHER.tokens.refresh is not None
    bench = Bench(credentials())
    now = bench.now
    began = now.mono_ms - 5_000
    record = evolve(OTHER, intent=Intent(OTHER.tokens.refresh.digest, 7, now.wall_ms - 5_000))
    known = Instant(T0 - 1, began + later)
    tokens = loaded(record, last_attempt=known, last_attempt_token="old")
    if later < 0:
        assert tokens.last_attempt == Instant(now.wall_ms - 5_000, began)
        assert tokens.last_attempt_token == OTHER.tokens.access.digest
    else:
        assert (tokens.last_attempt, tokens.last_attempt_token) == (known, "old")
    assert tokens.unknown and tokens.lost_until == began + POLICY.grace_ms
    assert tokens.not_before == began + POLICY.unknown_answer_wait_ms


@pytest.mark.rule("OUT-9", "OUT-2")
def test_of_a_record_that_was_logged_out_the_identity_is_kept() -> None:
    record = Credentials(IDENTITY, None, 4, refused="digest")
    bench = Bench(record)
    assert bench.state.tokens.credentials == record and bench.state.tokens.latch == "digest"
    unlucky = evolve(OTHER, refused=OTHER.tokens.access.digest if OTHER.tokens else None)
    again = Bench(unlucky)
    assert again.state.tokens.credentials == evolve(unlucky, tokens=None), "a refused pair is not kept"


@pytest.mark.rule("DEV-6")
def test_a_volatile_device_id_is_warned_of_before_anything_else_is_loaded() -> None:
    bench = Bench(credentials(), volatile_device_id=True)
    assert [told.code for told in bench.told(Misconfigured)] == ["volatile-device-id"]


@pytest.mark.rule("REF-49")
def test_a_pair_that_is_put_back_goes_to_the_store_under_the_next_number() -> None:
    bench = Bench(credentials())
    old = bench.store.record
    bench.refresh()
    bench.reply(rotated(jwt("a2")))
    bench.store.record = evolve(old, generation=40) if old is not None else None
    bench.pass_time(POLICY.refresh_floor_ms)
    command = bench.refresh()
    _, persist = bench.all(Persist)
    assert not bench.state.tokens.unknown
    assert (persist.replaces, persist.credentials.generation) == (40, 41)
    assert bench.state.tokens.credentials == bench.store.record
    outcome = bench.results[command]
    assert isinstance(outcome, RefreshFailed) and not outcome.sent


@pytest.mark.rule("REF-10")
def test_the_number_of_a_record_is_what_the_store_says() -> None:
    bench = Bench(credentials())
    bench.refresh()
    bench.store.held = True
    (persist,) = of(bench.reply(rotated(jwt("a2"))), Persist)
    bench.step(Stored(persist.operation, 9))
    assert bench.state.tokens.credentials is not None and bench.state.tokens.credentials.generation == 9


@pytest.mark.rule("REF-10")
def test_an_alarm_says_what_the_store_said() -> None:
    bench = Bench(credentials())
    bench.refresh()
    bench.store.failing = 3
    bench.reply(rotated(jwt("a2")))
    assert bench.state.tokens.last_error == "disk full"
    bench.run_for(60_000)
    assert [alarm.detail for alarm in bench.told(SaveAlarm)] == ["disk full"]


@pytest.mark.rule("REF-46", "REF-49")
@pytest.mark.parametrize("stored", [None, Credentials(IDENTITY, None, 5)])
def test_without_a_record_the_request_does_not_leave(stored: Credentials | None) -> None:
    bench = Bench(credentials())
    bench.store.held = True
    command = bench.refresh()
    (recording,) = bench.waiting
    effects = bench.step(StoreConflicted(recording.operation, stored))
    assert [told.code for told in emitted(effects, Misconfigured)] == ["store-unwritable"]
    outcome = bench.results[command]
    assert isinstance(outcome, RefreshFailed) and outcome.text and not outcome.sent
    assert bench.refreshes == {} and not bench.state.tokens.unknown


@pytest.mark.rule("REF-45", "OUT-2")
def test_a_logout_replaces_the_number_that_the_store_has_given_meanwhile() -> None:
    bench = Bench(credentials())
    bench.refresh()
    bench.store.record = credentials(generation=7)
    assert [logout.replaces for logout in of(bench.reply(REFUSED), Logout)] == [7]


@pytest.mark.rule("REF-45", "REF-43")
@pytest.mark.parametrize("readable", [True, False])
def test_a_refusal_that_does_not_end_the_session_was_an_answer(readable: bool) -> None:
    bench = Bench(credentials())
    command = bench.refresh()
    bench.store.held = True
    bench.reply(REFUSED)
    (reload,) = bench.waiting
    if readable:
        bench.load(OTHER)
        bench.step(Reloaded(reload.operation, credentials()))
    else:
        bench.step(StoreFailed(reload.operation, "locked"))
    outcome = bench.results[command]
    assert isinstance(outcome, RefreshFailed) and outcome.sent
    assert not bench.state.tokens.unknown and bench.state.tokens.lost_until is None


@pytest.mark.rule("OUT-1", "OUT-2", "OUT-5")
def test_after_a_logout_nothing_is_left_but_who_this_was() -> None:
    bench = Bench(credentials())
    bench.refresh()
    bench.fail(sent=True)  # leaves doubts, and a failure
    bench.pass_time(POLICY.refresh_floor_ms)
    bench.refresh()
    bench.store.held = True
    bench.reply(REFUSED)
    bench.release()
    tokens = bench.state.tokens
    assert tokens.status == "logged-out" and tokens.last_error is not None and not tokens.armed
    assert (tokens.times, tokens.lost_until, tokens.unknown, tokens.failures, tokens.cleanup) == (
        None,
        None,
        False,
        0,
        None,
    )
    assert tokens.credentials is not None and tokens.credentials.tokens is None


@pytest.mark.rule("OUT-6", "OUT-2")
def test_the_cleaning_up_is_repeated_with_the_backoff_of_saves() -> None:
    bench = Bench(credentials())
    bench.refresh()
    bench.store.held = True
    bench.reply(REFUSED)
    bench.step(Reloaded(bench.waiting.pop().operation, credentials()))
    bench.step(StoreFailed(bench.waiting.pop().operation, "disk full"))
    for failures in range(1, 6):
        cleanup = bench.state.tokens.cleanup
        assert cleanup is not None and (cleanup.failures, cleanup.operation) == (failures, None)
        assert cleanup.retry_at == bench.now.mono_ms + save_backoff_ms(failures, POLICY)
        bench.pass_time(save_backoff_ms(failures, POLICY))
        (logout,) = of(bench.tick(), Logout)
        bench.waiting.clear()
        bench.step(StoreFailed(logout.operation, "disk full"))
    cleanup = bench.state.tokens.cleanup
    assert cleanup is not None and cleanup.retry_at is not None
    bench.pass_time(cleanup.retry_at - bench.now.mono_ms)
    (logout,) = of(bench.tick(), Logout)
    bench.step(Stored(logout.operation, 2))
    assert bench.state.tokens.cleanup is None


@pytest.mark.rule("TOK-10", "REF-9")
def test_a_rotation_is_told_with_its_instants() -> None:
    bench = Bench(credentials())
    bench.refresh()
    told = emitted(bench.reply(rotated(jwt("a2", issued_ms=T0 + 1_000))), TokensRotated)
    times = bench.state.tokens.times
    assert times is not None and told == [TokensRotated(times.expires_at_ms, times.refresh_at_ms, adopted=False)]
    opaque = Bench(credentials())
    opaque.refresh()
    told = emitted(opaque.reply(rotated("no-claims-at-all")), TokensRotated)
    times = opaque.state.tokens.times
    assert told == [
        TokensRotated(times.expires_at_ms if times else None, times.refresh_at_ms if times else None, False)
    ]


@pytest.mark.rule("TOK-6", "TOK-22", "REF-49")
def test_a_rotation_from_or_to_a_pair_whose_expiry_nobody_knows() -> None:
    bench = Bench(credentials(pair("no-claims", obtained_ms=None)))
    bench.refresh()
    bench.reply(rotated(jwt("a2")))
    assert bench.access == jwt("a2") and bench.told(TokenNotNewer) == []
    bench.store.rotate(pair("no-claims-either", "refresh-3", None))
    bench.pass_time(POLICY.refresh_floor_ms)
    bench.refresh()
    assert bench.told(TokensRotated)[1:] == [TokensRotated(None, None, adopted=True)]


@pytest.mark.rule("OUT-10", "OUT-8")
def test_a_session_that_needs_credentials_waits_for_nothing_else() -> None:
    bench = Bench(credentials(pair(jwt("lone"), None)), greet=False)
    bench.handshake()
    bench.hello_fail(bench.generation, "authentication failed")
    tokens = bench.state.tokens
    assert tokens.status == "needed" and tokens.last_error and not tokens.armed and not tokens.starting
    assert tokens.lost_until is None and tokens.poll_at == bench.now.mono_ms + (POLICY.credential_poll_ms or 0)


@pytest.mark.rule("OUT-7", "OUT-11", "OUT-5")
@pytest.mark.parametrize("stopped", [False, True])
def test_a_logout_elsewhere_leaves_nothing_but_what_the_store_holds(stopped: bool) -> None:
    bench = Bench(credentials())
    bench.refresh()
    bench.fail(sent=True)
    bench.pass_time(POLICY.refresh_floor_ms)
    bench.store.held = True
    bench.refresh()
    if stopped:
        bench.stop()
    (recording,) = bench.waiting
    stored = Credentials(IDENTITY, None, 5, refused="digest")
    bench.step(StoreConflicted(recording.operation, stored))
    tokens = bench.state.tokens
    assert (tokens.status, tokens.credentials, tokens.latch) == ("logged-out", stored, "digest")
    assert (tokens.times, tokens.unknown, tokens.failures, tokens.lost_until) == (None, False, 0, None)
    assert (tokens.poll_at is None) is stopped
