"""Refused for good: what is forgotten, what is kept, who is told."""

import pytest
from attrs import evolve

from clawproto.app_events import Disconnected, LoggedOut
from clawproto.effects import Close, Emit, Logout, Open, RequestHttp, SendFrame
from clawproto.events import Closed, Send
from clawproto.policy import DAY_MS
from clawproto.results import (
    LoggedOutResult,
    RefreshFailed,
    RefreshRefused,
    RefreshSkipped,
)
from tests.core.harness import IDENTITY, QUIET, REFUSED, Bench, credentials, heart, jwt, names, pair, rotated, verdict


def refused(failing: int = 0, code: int = 10003) -> tuple[Bench, int]:
    bench = Bench(credentials(), policy=QUIET)
    command = bench.refresh()
    bench.store.held = True
    bench.reply(verdict(code, "revoked"))
    bench.step(bench.store.answer(bench.waiting.pop()))
    bench.store.failing = failing
    bench.release()
    return bench, command


@pytest.mark.rule("REF-30", "OUT-1", "REF-14")
def test_the_order_of_a_logout() -> None:
    """Read the store again, latch, close and forget, tell; the callers last of all."""
    bench = Bench(credentials(), policy=QUIET)
    command = bench.refresh()
    bench.store.held = True
    assert names(bench.reply(REFUSED)) == ["Reload"]
    assert bench.state.tokens.latch is None
    effects = bench.step(bench.store.answer(bench.waiting.pop()))
    assert names(effects, Logout, Close) == ["Logout", "Close"]
    tokens = credentials().tokens
    assert tokens is not None and bench.state.tokens.latch == tokens.access.digest
    assert command not in bench.results and bench.told(LoggedOut) == []
    effects = bench.release()
    assert names(effects) == ["Emit", "Resolve"]
    assert bench.results[command] == RefreshRefused(10003, "refresh token revoked")


@pytest.mark.rule("REF-6", "OUT-1")
@pytest.mark.parametrize(("code", "cause"), [(10003, "refused"), (400, "client-fault")])
def test_a_single_permanent_code_is_enough(code: int, cause: str) -> None:
    bench, command = refused(code=code)
    assert bench.results[command] == RefreshRefused(code, "revoked")
    (told,) = bench.told(LoggedOut)
    assert (told.code, told.cause) == (code, cause)


@pytest.mark.rule("OUT-2", "OUT-3", "OUT-9")
def test_the_tokens_go_in_one_step_and_the_identity_stays() -> None:
    bench, _ = refused()
    (logout,) = bench.all(Logout)
    tokens = credentials().tokens
    assert tokens is not None
    assert (logout.identity, logout.replaces, logout.refused) == (IDENTITY, 1, tokens.access.digest)
    record = bench.store.record
    assert record is not None and record.tokens is None and record.identity == IDENTITY
    assert record == bench.state.tokens.credentials


@pytest.mark.rule("OUT-4", "OUT-5", "OUT-3")
def test_the_user_is_told_once_and_the_state_says_so() -> None:
    bench, _ = refused()
    bench.run_for(DAY_MS // 24)
    (told,) = bench.told(LoggedOut)
    assert told.identity == IDENTITY and told.cleared and told.text == "revoked"
    assert bench.state.tokens.status == "logged-out"
    assert "pairing needed" in (bench.state.tokens.last_error or "")


@pytest.mark.rule("OUT-6", "OUT-2")
def test_a_store_that_cannot_forget_does_not_suppress_the_notice_and_is_asked_until_it_can() -> None:
    bench, command = refused(failing=12)
    assert [told.cleared for told in bench.told(LoggedOut)] == [False]
    assert isinstance(bench.results[command], RefreshRefused)
    assert bench.store.record is not None and bench.store.record.tokens is not None
    bench.run_for(60_000)
    assert bench.store.record.tokens is None
    assert len(bench.told(LoggedOut)) == 1
    assert len(bench.all(Logout)) > 5 and len({logout.operation for logout in bench.all(Logout)}) > 5
    assert len({evolve(logout, operation=0) for logout in bench.all(Logout)}) == 1
    assert len(bench.all(Open)) == 1, "the pair that is still on the disk is not taken up again"


@pytest.mark.rule("OUT-6", "OUT-8")
def test_the_cleaning_up_leaves_a_new_pairing_alone() -> None:
    bench, _ = refused(failing=2)
    bench.store.record = credentials(pair(jwt("b1")), generation=2)
    bench.run_for(60_000)
    assert bench.store.record.tokens is not None
    assert bench.state.tokens.status == "usable"


@pytest.mark.rule("OUT-6", "OUT-2")
def test_the_cleaning_up_follows_the_pair_to_another_number() -> None:
    bench, _ = refused(failing=1)
    bench.store.record = credentials(generation=4)
    bench.run_for(60_000)
    assert bench.store.record.tokens is None
    assert bench.all(Logout)[-1].replaces == 4


@pytest.mark.rule("OUT-7", "CLOSE-12")
def test_the_socket_is_closed_and_nothing_more_goes_out() -> None:
    bench = Bench(credentials(), policy=evolve(QUIET, credential_poll_ms=None))
    bench.refresh()
    bench.reply(REFUSED)
    assert len(bench.all(Close)) == 1
    assert [gone.reason for gone in bench.told(Disconnected)] == ["logged out"]
    begin = len(bench.effects)
    bench.run_for(3 * DAY_MS)
    bench.tick()
    assert bench.effects[begin:] == [] and bench.deadline is None


@pytest.mark.rule("OUT-7", "REF-29")
def test_a_logout_while_offline_stays_offline() -> None:
    bench = Bench(credentials(), policy=QUIET)
    bench.refresh()
    bench.step(Closed(bench.generation, 1006))
    bench.reply(REFUSED)
    bench.run_for(DAY_MS // 24)
    assert len(bench.all(Open)) == 1


@pytest.mark.rule("OUT-11")
def test_whatever_waits_fails_with_the_logout_as_cause() -> None:
    bench = Bench(credentials(), policy=QUIET)
    sent = bench.command()
    bench.step(Send(sent, "cnv_1", ({"kind": "text", "text": "hello"},)))
    waiting = bench.rest()
    under_way = bench.rest()
    bench.reply_call(verdict(1, status=401))
    assert len(bench.refreshes) == 1
    joined = bench.refresh()
    bench.reply(REFUSED)
    assert isinstance(bench.results[sent], LoggedOutResult)
    assert isinstance(bench.results[waiting], LoggedOutResult)
    assert isinstance(bench.results[under_way], LoggedOutResult)
    assert isinstance(bench.results[joined], RefreshRefused)
    assert bench.reply_call(verdict(1, status=401)) == (), "its late answer means nothing"


@pytest.mark.rule("OUT-11", "OUT-7")
def test_what_is_asked_afterwards_fails_at_once() -> None:
    bench, _ = refused()
    begin = len(bench.effects)
    sent = bench.command()
    bench.step(Send(sent, "cnv_1", ({"kind": "text", "text": "hello"},)))
    assert isinstance(bench.results[sent], LoggedOutResult)
    assert isinstance(bench.results[bench.rest()], LoggedOutResult)
    assert bench.results[bench.refresh()] == RefreshSkipped("rejected-latch")
    assert not any(isinstance(effect, SendFrame | RequestHttp | Open) for effect in bench.effects[begin:])


@pytest.mark.rule("OUT-1")
def test_an_expired_access_token_is_no_logout() -> None:
    bench = Bench(credentials(), policy=QUIET, liveness=False)
    bench.pass_time(10 * DAY_MS)
    bench.tick()
    assert bench.told(LoggedOut) == []
    at = bench.now.wall_ms
    assert "Swap" in heart(bench.reply(rotated(jwt("a2", issued_ms=at))))
    assert bench.told(LoggedOut) == []


@pytest.mark.rule("OUT-4", "OUT-9")
def test_a_restart_after_a_logout_waits_for_a_pairing() -> None:
    bench, _ = refused()
    again = Bench(bench.store.record, policy=QUIET)
    again.run_for(60_000)
    assert again.all(Open) == [] and again.told(LoggedOut) == []
    assert again.results[again.refresh()] == RefreshSkipped("rejected-latch")
    assert again.state.tokens.status == "logged-out"


@pytest.mark.rule("OUT-6", "OUT-5")
def test_the_notice_and_the_outcome_come_whatever_the_store_answers() -> None:
    for failing in (0, 1):
        bench, command = refused(failing)
        position = {type(effect).__name__: index for index, effect in enumerate(bench.effects)}
        assert position["Emit"] < position["Resolve"]
        assert not isinstance(bench.results[command], RefreshFailed)
        assert any(isinstance(effect, Emit) and isinstance(effect.event, LoggedOut) for effect in bench.effects)
