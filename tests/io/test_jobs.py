"""One IO effect in, one report out, whatever the store or the server does."""

import logging
from collections.abc import Sequence

import pytest

from clawproto.app_events import ReplayFinished
from clawproto.credentials import Credentials, Guard, Identity, Intent, TokenPair
from clawproto.effects import Logout, Persist, RecordIntent, Reload, RememberDevice, RequestRefresh
from clawproto.engine import StoreJob
from clawproto.events import HttpFailed, Reloaded, StoreConflicted, Stored, StoreFailed
from clawproto.http import HttpRequest
from clawproto.keeper import Commit, CommitFailed, Committed
from clawproto.keeping import Arrival, Backlog, Change, Filed, Handled, KeptSend
from clawproto.policy import Policy
from clawproto.secret import Secret
from clawproto_io.errors import Unstorable
from clawproto_io.http import HttpRunner
from clawproto_io.jobs import (
    interrupted_commit,
    interrupted_request,
    interrupted_save,
    run_commit,
    run_http_job,
    run_store_job,
)
from clawproto_io.setup import assemble
from clawproto_io.stores import FaultyStore, MemoryMessageStore, MemoryStore
from clawproto_io.stores.base import LeaseRow

LOG = logging.getLogger("clawproto.test")
TOKENS = TokenPair(Secret("the-access-token"), Secret("the-refresh-token"))
OLD = Credentials(Identity("usr_me", "dev", "http://hub", "ws://hub/ws"), TOKENS, 1)
NEW = OLD.with_tokens(TokenPair(Secret("access-2"), Secret("refresh-2")), 2)

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("job", "report"),
    [
        (RecordIntent(1, Intent("digest", 1, 0)), Stored(1, 1)),
        (Persist(2, NEW, 1), Stored(2, 2)),
        (Logout(3, OLD.identity, "digest", 1, "refused"), Stored(3, 2)),
        (Reload(4), Reloaded(4, OLD)),
        (RememberDevice("dev-2"), None),
    ],
)
async def test_each_store_job_is_reported(job: StoreJob, report: object) -> None:
    assert await run_store_job(MemoryStore(OLD), job, LOG) == report


@pytest.mark.rule("REF-49")
async def test_a_conflict_brings_what_is_stored() -> None:
    other = Credentials(OLD.identity, TokenPair(Secret("a"), Secret("b")), 9)
    assert await run_store_job(MemoryStore(other), Persist(2, NEW, 1), LOG) == StoreConflicted(2, other)


@pytest.mark.rule("REF-10")
async def test_a_failing_store_fails_the_job() -> None:
    store = FaultyStore(MemoryStore(OLD))
    store.full = True
    report = await run_store_job(store, Persist(2, NEW, 1), LOG)
    assert isinstance(report, StoreFailed)
    assert "disk is full" in report.detail


@pytest.mark.rule("AUTH-9", "REF-10")
@pytest.mark.parametrize("job", [Persist(2, NEW, 1), Reload(2)])
async def test_a_store_that_raises_anything_has_failed_and_its_text_is_not_told(job: Persist | Reload) -> None:
    class Odd(MemoryStore):
        async def load(self) -> Credentials | None:
            raise RuntimeError("the-access-token")

        async def save(self, credentials: Credentials, replaces: int | None) -> int:
            raise RuntimeError("the-access-token")

    assert await run_store_job(Odd(OLD), job, LOG) == StoreFailed(2, "failed with RuntimeError")


async def test_a_device_id_that_cannot_be_stored_is_only_logged(caplog: pytest.LogCaptureFixture) -> None:
    store = FaultyStore(MemoryStore(OLD))
    store.full = True
    assert await run_store_job(store, RememberDevice("dev-2"), LOG) is None
    assert "device id was not stored" in caplog.text


@pytest.mark.rule("REF-43")
async def test_a_request_that_goes_nowhere_is_reported_as_not_sent() -> None:
    async with HttpRunner(trust_env=False) as runner:
        report = await run_http_job(runner, RequestRefresh(7, HttpRequest("POST", "http://127.0.0.1:1/"), 2_000))
    assert isinstance(report, HttpFailed)
    assert (report.request, report.sent) == (7, False)


@pytest.mark.rule("REF-43")
async def test_what_was_torn_down_may_have_been_done() -> None:
    assert interrupted_request(RequestRefresh(7, HttpRequest("POST", "http://hub/"), 1)) == HttpFailed(
        7, sent=True, detail="interrupted"
    )
    assert interrupted_save(Persist(2, NEW, 1)) == StoreFailed(2, "interrupted")
    assert interrupted_save(RememberDevice("dev")) is None


async def test_impossible_settings_are_refused_before_anything_is_opened() -> None:
    with pytest.raises(ValueError, match="send_limit"):
        assemble(MemoryStore(), LOG, send_limit=0)
    with pytest.raises(ValueError, match="shutdown_timeout"):
        assemble(MemoryStore(), LOG, shutdown_timeout=-1.0)
    with pytest.raises(ValueError, match="seed"):
        assemble(MemoryStore(), LOG, seed=b"short")


async def test_the_bound_on_the_end_leaves_room_for_a_refresh() -> None:
    parts = assemble(MemoryStore(), LOG, policy=Policy(refresh_timeout_ms=30_000))
    assert parts.shutdown_timeout > 30
    await parts.aclose()


ARRIVAL = Arrival(ReplayFinished(announced=True))


@pytest.mark.rule("R2-10")
async def test_a_commit_is_reported() -> None:
    store = MemoryMessageStore()
    assert await run_commit(store, Commit(4, (ARRIVAL, Handled(1)))) == Committed(4, (Filed(1, ARRIVAL.event),))
    store.full = True
    assert await run_commit(store, Commit(5, (ARRIVAL,))) == CommitFailed(5, "memory: the disk is full")
    assert store.filing.last_row == 1
    store.full, store.lost_reports = False, 1
    failed = await run_commit(store, Commit(6, (ARRIVAL,)))
    assert isinstance(failed, CommitFailed) and not failed.lost and store.filing.last_row == 2
    store.taken_over = True
    failed = await run_commit(store, Commit(7, (ARRIVAL,)))
    assert isinstance(failed, CommitFailed) and failed.lost
    assert await store.backlog() == store.filing.backlog()
    await store.aclose()


class Odd:
    """A message store that somebody else wrote."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error

    async def backlog(self) -> Backlog:
        return Backlog()

    async def commit(self, changes: Sequence[Change]) -> tuple[Filed, ...]:
        if self.error is not None:
            raise self.error
        return ()

    async def aclose(self) -> None:
        pass


@pytest.mark.rule("R2-11", "AUTH-9")
async def test_a_message_store_of_the_application_may_be_odd() -> None:
    unstorable = Unstorable("mine", 3, "no such letters")
    assert await run_commit(Odd(unstorable), Commit(1, ())) == CommitFailed(1, "mine: no such letters", unstorable=3)
    told = await run_commit(Odd(ValueError("what somebody wrote")), Commit(1, ()))
    assert told == CommitFailed(1, "failed with ValueError")
    told = await run_commit(Odd(), Commit(1, (ARRIVAL,)))
    assert told == CommitFailed(1, "the message store answered for 0 of 1 arrivals")
    assert interrupted_commit(Commit(2, ())) == CommitFailed(2, "interrupted")


class Both(MemoryStore):
    """Credentials, messages, and a lease."""

    def __init__(self) -> None:
        super().__init__(OLD)
        self.messages = MemoryMessageStore()

    async def read_lease(self) -> LeaseRow | None:
        return None

    async def take_lease(self, owner: str, expected: LeaseRow | None) -> int | None:
        return 1

    async def renew_lease(self, fence: int) -> bool:
        return True

    async def release_lease(self, fence: int) -> None:
        pass


async def test_messages_are_kept_where_the_store_can_and_then_one_process_owns_the_session() -> None:
    both, own = Both(), MemoryMessageStore()
    kept = assemble(both, LOG, messages=None, exclusive=None)
    assert kept.messages is both.messages and kept.lease is not None and kept.engine.keeper is not None
    shared = assemble(both, LOG, messages=None, exclusive=False)
    assert shared.messages is both.messages and shared.lease is None
    forgetful = assemble(both, LOG, messages=False, exclusive=None)
    assert forgetful.messages is None and forgetful.lease is None and forgetful.engine.keeper is None
    assert assemble(both, LOG, messages=False, exclusive=True).lease is not None
    plain = assemble(MemoryStore(OLD), LOG, messages=None, exclusive=None)
    assert plain.messages is None and plain.lease is None
    mine = assemble(MemoryStore(OLD), LOG, messages=own, exclusive=None)
    assert mine.messages is own and mine.lease is None
    for parts in (kept, shared, forgetful, plain, mine):
        await parts.aclose()


async def test_loading_takes_up_what_is_kept() -> None:
    both = Both()
    both.messages.filing.commit([ARRIVAL, KeptSend("s-1", 4, "msg-1", "cnv_1", "message.send", "{}", None, 0)])
    parts = assemble(both, LOG, messages=None)
    start = await parts.load(Guard())
    assert (start.credentials, start.last_number, start.guard) == (OLD, 4, Guard())
    assert [kept.trace_id for kept in start.sends] == ["s-1"]
    assert parts.engine.take() == ARRIVAL.event
    await parts.aclose()
