"""Credentials from outside: another pairing, another process. At any moment, also in the middle of a flight."""

import json

import pytest
from attrs import evolve

from clawproto.app_events import CredentialsNeeded, LoggedOut, Misconfigured, SaveAlarm, SaveRecovered, TokensRotated
from clawproto.credentials import Credentials, Guard
from clawproto.effects import Close, Logout, Open, Persist, Reconnect, RecordIntent, Reload, RequestRefresh, SendFrame
from clawproto.events import Reloaded, StoreConflicted, Stored
from clawproto.policy import DAY_MS, Policy
from clawproto.results import (
    LoggedOutResult,
    NotPaired,
    RefreshFailed,
    RefreshRefused,
    RefreshSkipped,
    RefreshSucceeded,
    RestSucceeded,
)
from clawproto.tokens_state import guard
from tests.core.harness import (
    REFUSED,
    T0,
    Bench,
    answer,
    credentials,
    emitted,
    heart,
    jwt,
    last,
    of,
    pair,
    rotated,
    verdict,
)

OTHER = pair(jwt("b1"), "refresh-b1")


def presented(bench: Bench) -> str:
    """The token in the last ``connect``."""
    connect = last(bench.all(SendFrame), lambda sent: sent.event == "connect")
    token: str = json.loads(connect.text)["payload"]["token"]
    return token


# --- in the middle of a flight -------------------------------------------------------------------------------------


@pytest.mark.rule("REF-49", "REF-15")
def test_loaded_while_the_intent_is_recorded_no_request_leaves() -> None:
    bench = Bench(credentials())
    bench.store.held = True
    command = bench.refresh()
    bench.load(credentials(OTHER, generation=1, base_url="https://elsewhere.example"))
    bench.release()
    assert bench.all(RequestRefresh) == [], "the old refresh token would have gone to another server"
    outcome = bench.results[command]
    assert isinstance(outcome, RefreshFailed) and not outcome.sent
    assert bench.access == jwt("b1")


@pytest.mark.rule("REF-49")
def test_loaded_while_the_request_is_under_way_the_newer_pair_wins() -> None:
    bench = Bench(credentials())
    command = bench.refresh()
    newer = bench.store.rotate(OTHER)
    bench.load(newer)
    persist = of(bench.reply(rotated(jwt("a2"))), Persist)[0]
    assert persist.replaces == 1 and persist.credentials.generation == 2
    assert bench.store.record == newer
    assert bench.tokens == OTHER
    assert bench.results[command] == RefreshSucceeded(OTHER)


@pytest.mark.rule("REF-49")
def test_what_a_flight_brings_is_saved_under_the_identity_that_it_began_with() -> None:
    bench = Bench(credentials())
    bench.refresh()
    bench.load(credentials(OTHER, generation=2, user_id="u-2", base_url="https://elsewhere.example"))
    persist = of(bench.reply(rotated(jwt("a2"))), Persist)[0]
    assert persist.credentials.identity == credentials().identity


@pytest.mark.rule("REF-45", "OUT-1")
def test_a_refusal_of_a_pair_that_has_been_replaced_is_transient() -> None:
    bench = Bench(credentials())
    command = bench.refresh()
    bench.load(bench.store.rotate(OTHER))
    effects = bench.reply(REFUSED)
    assert of(effects, Reload) == [] and bench.all(Logout) == []
    outcome = bench.results[command]
    assert isinstance(outcome, RefreshFailed) and outcome.sent, "it has been answered"
    assert bench.tokens == OTHER


@pytest.mark.rule("REF-44")
def test_a_lost_answer_about_a_replaced_pair_does_not_touch_the_new_one() -> None:
    bench = Bench(credentials())
    bench.refresh()
    bench.load(bench.store.rotate(OTHER))
    bench.fail(sent=True)
    bench.run_for(120_000)
    assert bench.refreshes == {}, "there is nothing to recover for the new pair"


@pytest.mark.rule("REF-45")
@pytest.mark.parametrize("report", ["Reload", "Logout"])
def test_loaded_while_the_session_is_about_to_log_out_they_stay_in_force(report: str) -> None:
    """The store's answers were on their way already, and tell of the old record."""
    bench = Bench(credentials())
    command = bench.refresh()
    bench.store.held = True
    bench.reply(REFUSED)
    reload = bench.waiting.pop()
    operation = 0
    if report == "Logout":
        bench.step(Reloaded(reload.operation, bench.store.record))
        assert of(bench.effects, Logout), "the store is forgetting the old pair"
        operation = bench.waiting.pop().operation
    bench.load(credentials(OTHER, generation=2))
    bench.step(Reloaded(reload.operation, bench.store.record) if report == "Reload" else Stored(operation, 2))
    assert bench.tokens == OTHER
    assert isinstance(bench.results[command], RefreshFailed)
    assert bench.told(LoggedOut) == []
    if report == "Logout":
        assert presented(bench) == jwt("b1"), "the socket that was closed for the logout is back"


# --- another process -----------------------------------------------------------------------------------------------


@pytest.mark.rule("REF-49")
def test_another_process_was_faster_no_request_and_its_pair_is_adopted() -> None:
    bench = Bench(credentials())
    bench.store.rotate(OTHER)
    command = bench.refresh()
    assert heart(bench.effects[-8:])[-2:] == ["RecordIntent", "Swap"]
    assert bench.all(RequestRefresh) == [] and bench.all(Persist) == []
    assert bench.results[command] == RefreshSucceeded(OTHER)
    assert bench.told(TokensRotated)[-1].adopted


@pytest.mark.rule("REF-49")
def test_a_save_that_meets_a_newer_pair_adopts_it() -> None:
    bench = Bench(credentials())
    command = bench.refresh()
    bench.store.rotate(OTHER)
    effects = bench.reply(rotated(jwt("a2")))
    assert heart(effects) == ["Persist", "Swap"]
    assert bench.tokens == OTHER and bench.results[command] == RefreshSucceeded(OTHER)
    assert bench.store.record is not None and bench.store.record.tokens == OTHER


@pytest.mark.rule("REF-49", "REF-8")
def test_a_sibling_that_saves_what_the_grace_has_killed_is_overruled() -> None:
    """Both spent the same token: the sibling first, we after it, within the grace. Its pair is dead, and saved late."""
    bench = Bench(credentials())
    command = bench.refresh()
    bench.store.rotate(pair(jwt("b1", issued_ms=T0 + 1_000), "refresh-b1"))
    effects = bench.reply(rotated(jwt("a2", issued_ms=T0 + 4_000)))
    assert heart(effects)[:3] == ["Persist", "Persist", "Swap"]
    assert bench.access == jwt("a2", issued_ms=T0 + 4_000) and isinstance(bench.results[command], RefreshSucceeded)
    assert bench.store.record is not None and bench.store.record.tokens == bench.tokens


@pytest.mark.rule("REF-49")
@pytest.mark.parametrize("changes", [{"user_id": "u-2"}, {"device_id": "lab-02"}])
def test_a_newer_pair_does_not_overrule_another_agent(changes: dict[str, str]) -> None:
    bench = Bench(credentials())
    bench.refresh()
    bench.store.record = credentials(pair(jwt("b1", issued_ms=T0 - 1_000), "refresh-b1"), generation=2, **changes)
    bench.reply(rotated(jwt("a2", issued_ms=T0 + 4_000)))
    assert bench.tokens == bench.store.record.tokens and bench.access == jwt("b1", issued_ms=T0 - 1_000)


@pytest.mark.rule("REF-45", "REF-30", "REF-25")
def test_refused_but_another_process_has_rotated_its_pair_is_adopted() -> None:
    bench = Bench(credentials())
    command = bench.refresh()
    bench.store.rotate(OTHER)
    effects = bench.reply(REFUSED)
    assert heart(effects) == ["Reload", "Swap"]
    assert bench.results[command] == RefreshSucceeded(OTHER)
    assert bench.told(LoggedOut) == [] and bench.state.tokens.latch is None


@pytest.mark.rule("REF-45", "REF-49")
def test_a_sibling_faster_by_a_hair_than_the_logout() -> None:
    bench = Bench(credentials())
    command = bench.refresh()
    bench.store.held = True
    bench.reply(REFUSED)
    bench.step(bench.store.answer(bench.waiting.pop()))
    bench.store.rotate(OTHER)
    bench.release()
    assert bench.told(LoggedOut) == []
    assert bench.results[command] == RefreshSucceeded(OTHER)
    assert bench.store.record is not None and bench.store.record.tokens == OTHER
    assert presented(bench) == jwt("b1"), "the socket that was closed for the logout is back"
    assert guard(bench.state.tokens).refused is None, "nothing is left of the latch"


@pytest.mark.rule("REF-45")
def test_an_unreadable_store_is_no_reason_to_log_out() -> None:
    bench = Bench(credentials())
    command = bench.refresh()
    bench.store.failing = 1
    bench.reply(REFUSED)
    assert isinstance(bench.results[command], RefreshFailed)
    assert bench.all(Logout) == [] and bench.access == jwt("a1")


@pytest.mark.rule("REF-45", "OUT-2")
def test_a_store_emptied_by_another_process_does_not_stop_the_logout() -> None:
    bench = Bench(credentials())
    bench.refresh()
    bench.store.record = None
    bench.reply(REFUSED)
    (told,) = bench.told(LoggedOut)
    assert told.cleared


@pytest.mark.rule("OUT-2", "OUT-4")
@pytest.mark.parametrize("cleared", [True, False])
def test_the_notice_says_whether_a_store_that_refuses_the_logout_still_holds_the_pair(cleared: bool) -> None:
    bench = Bench(credentials())
    bench.refresh()
    bench.store.held = True
    bench.reply(REFUSED)
    bench.step(Reloaded(bench.waiting.pop().operation, credentials()))
    logout = bench.waiting.pop()
    stored = credentials()
    bench.step(StoreConflicted(logout.operation, evolve(stored, tokens=None) if cleared else stored))
    assert [told.cleared for told in bench.told(LoggedOut)] == [cleared]
    bench.run_for(60_000)
    assert bool(of(bench.waiting, Logout)) is not cleared, "it is asked again as long as it does"


@pytest.mark.rule("REF-26", "REF-28")
def test_an_adopted_pair_of_another_user_changes_the_live_socket() -> None:
    for user, changes in (("u-1", 0), ("u-2", 1)):
        bench = Bench(credentials())
        bench.store.record = credentials(OTHER, generation=2, user_id=user)
        bench.refresh()
        assert len(bench.all(Reconnect)) == changes


# --- conflicts that are none ---------------------------------------------------------------------------------------


@pytest.mark.rule("REF-49")
def test_the_same_pair_under_another_number_is_not_another_pair() -> None:
    bench = Bench(credentials())
    bench.store.record = credentials(generation=9)
    command = bench.refresh()
    assert [effect.intent.generation for effect in bench.all(RecordIntent)] == [1, 9]
    bench.store.record = credentials(generation=12)
    bench.reply(rotated(jwt("a2")))
    assert [effect.replaces for effect in bench.all(Persist)] == [9, 12]
    assert isinstance(bench.results[command], RefreshSucceeded)
    assert bench.access == jwt("a2"), "the pair in the store is spent; adopting it would lose the new one"
    assert bench.store.record.tokens == bench.tokens and bench.store.record.generation == 13


@pytest.mark.rule("REF-49", "OUT-2")
def test_the_same_pair_under_another_number_is_forgotten_all_the_same() -> None:
    bench = Bench(credentials())
    bench.refresh()
    bench.store.held = True
    bench.reply(REFUSED)
    bench.step(bench.store.answer(bench.waiting.pop()))
    bench.store.record = credentials(generation=5)
    bench.release()
    assert [effect.replaces for effect in bench.all(Logout)] == [1, 5]
    assert bench.told(LoggedOut)[0].cleared
    assert bench.store.record.tokens is None


@pytest.mark.rule("REF-10", "REF-49")
def test_a_save_whose_report_was_lost_counts_as_saved() -> None:
    bench = Bench(credentials())
    bench.refresh()
    bench.store.failing = 3
    bench.store.held = True
    bench.reply(rotated(jwt("a2")))
    first = bench.waiting[0]
    assert isinstance(first, Persist)
    bench.release()
    assert len(bench.run_for(300)) > 0
    assert len(bench.told(SaveAlarm)) == 1
    bench.store.record = evolve(first.credentials)  # it had been written after all
    effects = bench.run_for(10_000)
    assert heart(effects) == ["Persist", "Swap"]
    assert not bench.told(TokensRotated)[-1].adopted
    assert bench.told(SaveRecovered) == [SaveRecovered(3)]


@pytest.mark.rule("REF-10", "REF-49")
def test_where_no_save_has_failed_there_is_no_all_clear_for_an_adopted_pair() -> None:
    bench = Bench(credentials(), policy=Policy(save_alarm_after=1))
    bench.store.rotate(OTHER)
    bench.refresh()
    assert bench.tokens == OTHER and bench.told(SaveRecovered) == []


@pytest.mark.rule("REF-10", "REF-49")
def test_the_alarm_ends_when_a_newer_pair_is_adopted_instead() -> None:
    bench = Bench(credentials())
    bench.refresh()
    bench.store.failing = 3
    bench.reply(rotated(jwt("a2")))
    bench.run_for(300)
    bench.store.rotate(OTHER)
    bench.run_for(10_000)
    assert bench.tokens == OTHER
    assert bench.told(SaveRecovered) == [SaveRecovered(3)]


@pytest.mark.rule("REF-10", "REF-49")
@pytest.mark.parametrize("removed", [True, False])
def test_a_pair_whose_record_was_cleared_meanwhile_is_kept(removed: bool) -> None:
    bench = Bench(credentials())
    bench.refresh()
    bench.store.record = None if removed else evolve(credentials(generation=4), tokens=None)
    bench.reply(rotated(jwt("a2")))
    assert bench.store.record is not None and bench.store.record.tokens == bench.tokens
    assert bench.access == jwt("a2")


@pytest.mark.rule("REF-10")
def test_a_store_that_refuses_whatever_is_offered_is_not_asked_without_pause() -> None:
    bench = Bench(credentials())
    bench.refresh()
    bench.store.held = True
    bench.reply(rotated(jwt("a2")))
    for _ in range(3):
        bench.step(StoreConflicted(bench.waiting.pop().operation, credentials(generation=1)))
        if not bench.waiting:
            break
    assert bench.waiting == [], "the next try waits"
    assert bench.deadline == bench.now.mono_ms + 100


# --- a store that goes back in time ---------------------------------------------------------------------------------


def rotate(bench: Bench, number: int) -> None:
    bench.refresh()
    bench.reply(rotated(jwt(f"a{number}"), f"refresh-{number}"))
    bench.run_for(40_000)


@pytest.mark.rule("REF-49", "REF-10")
@pytest.mark.parametrize("rotations", [1, 2, 5])
def test_a_restored_copy_does_not_replace_the_pair_in_force(rotations: int) -> None:
    bench = Bench(credentials())
    old = bench.store.record
    for number in range(2, 2 + rotations):
        rotate(bench, number)
    bench.store.record = old  # a copy was restored, or the disk that it was on came back
    in_force = bench.tokens
    command = bench.refresh()
    assert len(bench.all(RequestRefresh)) == rotations, "nothing is asked for before the store is right again"
    assert bench.tokens == in_force
    assert bench.store.record is not None and bench.store.record.tokens == in_force
    assert isinstance(bench.results[command], RefreshFailed)
    bench.run_for(40_000)
    rotate(bench, 99)
    assert bench.access == jwt("a99")
    assert bench.store.record.tokens == bench.tokens
    assert bench.told(LoggedOut) == []


@pytest.mark.rule("REF-49", "REF-10")
def test_a_copy_that_is_restored_during_the_request_does_not_replace_what_it_brings() -> None:
    bench = Bench(credentials())
    old = bench.store.record
    rotate(bench, 2)
    command = bench.refresh()
    bench.store.record = old
    bench.reply(rotated(jwt("a3"), "refresh-3"))
    assert isinstance(bench.results[command], RefreshSucceeded)
    assert bench.access == jwt("a3")
    assert bench.store.record is not None and bench.store.record.tokens == bench.tokens


# --- what is loaded ------------------------------------------------------------------------------------------------


@pytest.mark.rule("OUT-8", "REF-15", "REF-20")
def test_new_credentials_after_a_logout_start_afresh() -> None:
    bench = Bench(credentials())
    bench.refresh()
    bench.reply(REFUSED)
    assert bench.state.tokens.latch is not None
    bench.store.record = credentials(OTHER, generation=3)
    bench.load(bench.store.record)
    assert presented(bench) == jwt("b1")
    assert bench.state.tokens.latch is None and bench.state.tokens.failures == 0
    bench.run_for(30_000)
    bench.refresh()
    assert len(bench.refreshes) == 1


@pytest.mark.rule("OUT-8")
def test_a_running_backoff_ends_with_new_credentials() -> None:
    bench = Bench(credentials(), greet=False)
    bench.hello_fail(bench.generation, "authentication failed")
    assert bench.refreshes == {}, "no connect was sent, so no token was refused"


@pytest.mark.rule("OUT-9")
def test_a_refused_token_is_not_taken_back() -> None:
    bench = Bench(credentials())
    bench.refresh()
    bench.reply(REFUSED)
    opened = len(bench.all(Open))
    for record in (credentials(generation=8), evolve(credentials(pair(jwt("a1"), "another")), generation=9)):
        bench.load(record)
        bench.store.record = record
        bench.run_for(10_000)
    marked = evolve(credentials(OTHER, generation=9), refused=OTHER.access.digest)
    bench.load(marked)
    bench.store.record = marked
    bench.run_for(10_000)
    assert len(bench.all(Open)) == opened
    assert bench.told(CredentialsNeeded) == [], "and nobody is told again and again"
    assert bench.state.tokens.status == "logged-out"
    assert isinstance(bench.results[bench.refresh()], RefreshSkipped)


@pytest.mark.rule("OUT-9")
def test_a_refused_record_does_not_disturb_a_running_session() -> None:
    """The socket waits for the challenge while the host hands in a record that says of itself that it is refused."""
    bench = Bench(credentials(), greet=False)
    bench.step(bench.opened())
    bench.load(evolve(credentials(OTHER, generation=9), refused=OTHER.access.digest))
    bench.step(bench.challenge(bench.generation))
    assert presented(bench) == jwt("a1")


@pytest.mark.rule("TOK-10", "REF-20", "REF-47")
def test_the_pair_in_force_is_no_news() -> None:
    bench = Bench(credentials())
    bench.refresh()
    bench.reply(verdict(1, status=503, retry_after="600"))
    before = bench.state
    assert bench.load(credentials()) == ()
    assert bench.state == before, "neither Retry-After nor jitter nor backoff start anew"


@pytest.mark.rule("OUT-8")
def test_the_same_pair_under_another_number_is_taken_up_silently() -> None:
    bench = Bench(credentials())
    renumbered = credentials(generation=7)
    assert bench.load(renumbered) == ()
    assert bench.state.tokens.credentials == renumbered
    bench.store.record = renumbered
    bench.refresh()
    assert bench.all(RecordIntent)[-1].intent.generation == 7


@pytest.mark.rule("OUT-8")
def test_a_record_without_tokens_is_not_loaded() -> None:
    bench = Bench(credentials())
    before = bench.state
    assert bench.load(evolve(credentials(generation=7), tokens=None)) == ()
    assert bench.state == before


@pytest.mark.rule("TOK-10")
def test_the_same_access_token_keeps_its_instant() -> None:
    bench = Bench(credentials())
    times = bench.state.tokens.times
    bench.load(credentials(pair(jwt("a1"), "another-refresh"), generation=2))
    assert bench.state.tokens.times == times


@pytest.mark.rule("REF-8", "REF-15")
@pytest.mark.parametrize("record_intent", [True, False])
def test_a_stale_record_does_not_bring_back_a_spent_token(record_intent: bool) -> None:
    """A host reads the store, the session rotates, then the host hands in what it had read."""
    bench = Bench(credentials(), policy=Policy(record_intent=record_intent))
    stale = credentials()
    bench.refresh()
    bench.reply(rotated(jwt("a2")))
    assert bench.load(stale) == ()
    assert bench.access == jwt("a2")


@pytest.mark.rule("OUT-8")
@pytest.mark.parametrize("user", ["u-1", "u-2"])
def test_a_live_socket_of_another_identity_is_changed(user: str) -> None:
    bench = Bench(credentials())
    bench.load(credentials(OTHER, generation=2, user_id=user))
    assert len(bench.all(Reconnect)) == (user == "u-2")


# --- looking for credentials ---------------------------------------------------------------------------------------


@pytest.mark.rule("OUT-8", "OUT-7")
def test_after_a_logout_the_store_is_looked_at_every_two_seconds() -> None:
    bench = Bench(credentials())
    bench.refresh()
    bench.reply(REFUSED)
    before = len(bench.all(Reload))
    effects = bench.run_for(10_000)
    assert len(bench.all(Reload)) - before == 5
    assert heart(effects) == ["Reload"] * 5, "and nothing else happens"
    bench.store.record = credentials(OTHER, generation=7)
    bench.run_for(2_000)
    assert presented(bench) == jwt("b1")
    assert of(bench.run_for(60_000), Reload) == [], "the looking ends"


@pytest.mark.rule("OUT-8")
def test_a_look_for_credentials_has_one_answer() -> None:
    bench = Bench(None)
    bench.store.held = True
    bench.run_for(2_000)
    (reload,) = bench.waiting
    bench.step(Reloaded(reload.operation, None))
    bench.step(Reloaded(reload.operation, credentials()))
    assert bench.state.tokens.credentials is None and bench.all(Open) == []


@pytest.mark.rule("OUT-8")
def test_never_paired_waits_for_credentials() -> None:
    bench = Bench(None)
    assert len(bench.told(CredentialsNeeded)) == 1
    bench.run_for(6_000)
    assert len(bench.told(CredentialsNeeded)) == 1 and bench.all(Open) == []
    bench.store.record = credentials()
    bench.run_for(2_000)
    assert presented(bench) == jwt("a1")


@pytest.mark.rule("OUT-8")
def test_a_host_may_look_by_itself() -> None:
    bench = Bench(None, policy=Policy(credential_poll_ms=None), liveness=False)
    assert bench.deadline is None
    bench.pass_time(DAY_MS)
    bench.load(credentials(pair(jwt("n", issued_ms=T0 + DAY_MS))))
    assert len(bench.all(Open)) == 1


@pytest.mark.rule("OUT-8")
def test_an_unreadable_store_is_looked_at_again() -> None:
    bench = Bench(None)
    bench.store.failing = 2
    bench.store.record = credentials()
    bench.run_for(4_000)
    assert bench.all(Open) == []
    bench.run_for(2_000)
    assert len(bench.all(Open)) == 1


# --- without a refresh token ---------------------------------------------------------------------------------------

LONE = credentials(pair(jwt("lone"), None))


@pytest.mark.rule("OUT-10", "REF-22", "REF-34")
def test_rejected_without_a_refresh_token_nothing_is_cleared() -> None:
    bench = Bench(LONE, greet=False)
    bench.handshake()
    bench.hello_fail(bench.generation, "authentication failed")
    assert len(bench.told(CredentialsNeeded)) == 1
    assert bench.all(Logout) == [] and bench.all(RequestRefresh) == [] and bench.told(LoggedOut) == []
    assert bench.store.record == LONE and bench.state.tokens.credentials == LONE
    assert bench.results[bench.refresh()] == RefreshSkipped("no-refresh-token")
    assert isinstance(bench.results[bench.rest()], NotPaired) and bench.calls == {}
    opened = len(bench.all(Open))
    bench.run_for(600_000)
    assert len(bench.all(Open)) == opened
    assert len(bench.told(CredentialsNeeded)) == 1


@pytest.mark.rule("OUT-10", "REF-23")
def test_the_rejection_of_a_token_that_was_replaced_meanwhile_asks_for_nothing() -> None:
    bench = Bench(LONE, greet=False)
    bench.handshake()
    socket = bench.generation
    bench.load(credentials(pair(jwt("lone-2"), None), generation=2))
    bench.hello_fail(socket, "authentication failed")
    assert bench.told(CredentialsNeeded) == [] and bench.state.tokens.status == "usable"


@pytest.mark.rule("OUT-10", "REF-23")
@pytest.mark.parametrize("how", ["loaded", "polled", "restarted"])
def test_the_rejected_token_comes_back_without_a_refresh_token(how: str) -> None:
    bench = Bench(LONE, greet=False)
    bench.handshake()
    bench.hello_fail(bench.generation, "authentication failed")
    if how == "restarted":
        digest = LONE.tokens.access.digest if LONE.tokens else None
        bench = Bench(LONE, guard=Guard(rejected=digest), greet=False)
        assert bench.all(Open) == []
    elif how == "loaded":
        bench.load(LONE)
    bench.run_for(10_000)
    assert bench.state.tokens.status == "needed"
    bench.greet = True
    bench.store.record = credentials(OTHER, generation=2)
    bench.run_for(2_000)
    assert presented(bench) == jwt("b1"), "looking for credentials goes on"


@pytest.mark.rule("OUT-10", "REF-9")
def test_what_a_flight_brings_ends_the_need_for_credentials() -> None:
    bench = Bench(credentials(), guard=Guard(rejected=pair(jwt("a1")).access.digest))
    bench.load(credentials(pair(jwt("a1"), None)))  # while the refresh token is being spent
    assert len(bench.told(CredentialsNeeded)) == 1 and bench.all(Open) == []
    bench.reply(rotated(jwt("a2")))
    assert presented(bench) == jwt("a2")
    assert of(bench.run_for(60_000), Reload) == [], "nobody looks for others any more"


@pytest.mark.rule("OUT-8", "REF-9")
def test_what_a_look_finds_does_not_replace_what_a_flight_has_brought_meanwhile() -> None:
    bench = Bench(credentials(), guard=Guard(rejected=pair(jwt("a1")).access.digest))
    bench.load(credentials(pair(jwt("a1"), None)))
    bench.store.held = True
    bench.run_for(2_000)
    (reload,) = bench.waiting
    found = bench.store.record
    bench.reply(rotated(jwt("a2")))
    bench.step(bench.store.answer(bench.waiting.pop()))
    bench.step(Reloaded(reload.operation, found))
    assert bench.access == jwt("a2"), "the refresh token of what was found is spent"


@pytest.mark.rule("REST-4", "OUT-8")
def test_a_rest_call_is_repeated_with_loaded_credentials_that_a_hub_has_rejected() -> None:
    bench = Bench(credentials(), guard=Guard(rejected=OTHER.access.digest))
    command = bench.rest()
    bench.reply_call(answer({}, 401))
    bench.load(credentials(OTHER, generation=2))
    (again,) = bench.calls.values()
    assert ("authorization", f"Bearer {jwt('b1')}") in again.http.headers
    bench.reply_call(answer({"code": 0, "msg": "", "data": {}}))
    assert isinstance(bench.results[command], RestSucceeded)


@pytest.mark.rule("OUT-10", "REF-22")
def test_the_rejected_token_comes_back_with_a_refresh_token() -> None:
    bench = Bench(LONE, greet=False)
    bench.handshake()
    bench.hello_fail(bench.generation, "authentication failed")
    bench.store.record = credentials(pair(jwt("lone"), "now-there-is-one"), generation=2)
    bench.run_for(2_000)
    assert len(bench.refreshes) == 1, "it can be rotated now"


@pytest.mark.rule("OUT-1", "REF-45")
def test_the_code_alone_decides_not_the_text() -> None:
    bench = Bench(credentials())
    command = bench.refresh()
    bench.reply(verdict(1, "refresh token revoked, log out"))
    assert isinstance(bench.results[command], RefreshFailed)
    bench.run_for(30_000)
    command = bench.refresh()
    bench.reply(verdict(10003, ""))
    assert isinstance(bench.results[command], RefreshRefused)
    assert emitted(bench.effects, LoggedOut)[0].text


# --- another process has logged the agent out ----------------------------------------------------------------------


def logged_out_by_a_sibling(bench: Bench, refused: str) -> None:
    record = bench.store.record
    assert record is not None
    bench.store.record = Credentials(record.identity, None, record.generation + 1, refused=refused)


@pytest.mark.rule("OUT-1", "OUT-7", "OUT-11", "REF-49")
def test_a_logout_by_another_process_ends_this_session_as_well() -> None:
    bench = Bench(credentials())
    waiting = bench.rest()
    logged_out_by_a_sibling(bench, pair(jwt("a1")).access.digest)
    command = bench.refresh()
    assert bench.all(RequestRefresh) == [], "nothing is spent for a session that is over"
    assert bench.results[command] == RefreshFailed(
        "another process has logged the agent out; it must be paired again", sent=False
    )
    assert isinstance(bench.results[waiting], LoggedOutResult)
    assert len(bench.told(CredentialsNeeded)) == 1
    assert bench.told(LoggedOut) == [] and bench.all(Logout) == [], "there is nothing left to clear"
    assert len(bench.all(Close)) == 1
    assert bench.state.tokens.status == "logged-out"


@pytest.mark.rule("HS-15", "REF-22", "OUT-8")
def test_a_rejected_token_and_a_logout_by_another_process_do_not_retry_for_ever() -> None:
    bench = Bench(credentials(), greet=False)
    bench.handshake()
    logged_out_by_a_sibling(bench, "d" * 16)  # it had rotated before, so it was refused with another token
    bench.hello_fail(bench.generation, "authentication failed")
    assert len(bench.told(CredentialsNeeded)) == 1
    bench.run_for(60_000)
    assert len(bench.all(RecordIntent)) == 1, "asked once"
    assert bench.told(Misconfigured) == []
    assert bench.store.record is not None
    bench.store.record = bench.store.record.with_tokens(OTHER, 5)
    bench.run_for(3_000)
    assert bench.tokens == OTHER, "paired again: it goes on"
    bench.handshake()
    assert presented(bench) == jwt("b1")


@pytest.mark.rule("OUT-1", "OUT-8")
def test_what_was_loaded_meanwhile_outlives_a_logout_by_another_process() -> None:
    bench = Bench(credentials())
    bench.store.held = True
    bench.refresh()
    bench.load(credentials(OTHER, generation=7))
    logged_out_by_a_sibling(bench, pair(jwt("a1")).access.digest)
    bench.release()
    assert bench.tokens == OTHER
    assert bench.told(CredentialsNeeded) == []


@pytest.mark.rule("REF-32")
def test_a_logout_by_another_process_after_a_stop_starts_nothing() -> None:
    bench = Bench(credentials())
    bench.store.held = True
    bench.refresh()
    logged_out_by_a_sibling(bench, pair(jwt("a1")).access.digest)
    bench.stop()
    bench.release()
    assert bench.deadline is None and bench.all(Reload) == [], "it does not wait for credentials"
