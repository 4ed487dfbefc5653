"""One IO effect in, one report out, whatever the store or the server does."""

import logging

import pytest

from clawproto.credentials import Credentials, Identity, Intent, TokenPair
from clawproto.effects import Logout, Persist, RecordIntent, Reload, RememberDevice, RequestRefresh
from clawproto.engine import StoreJob
from clawproto.events import HttpFailed, Reloaded, StoreConflicted, Stored, StoreFailed
from clawproto.http import HttpRequest
from clawproto.policy import Policy
from clawproto.secret import Secret
from clawproto_io.http import HttpRunner
from clawproto_io.jobs import interrupted_request, interrupted_save, run_http_job, run_store_job
from clawproto_io.setup import assemble
from clawproto_io.stores import FaultyStore, MemoryStore

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
