"""Carries out the IO effects of the core: one effect in, one report out. Written once, since a store or an HTTP call is
awaited in the same way on every loop; when, and shielded by what, is each driver's own business."""

import logging
from typing import Protocol, assert_never

import anyio

from clawproto.effects import Logout, Persist, RecordIntent, Reload, RememberDevice, RequestRefresh
from clawproto.engine import HttpJob, StoreJob
from clawproto.events import (
    HttpAnswered,
    HttpFailed,
    HttpReport,
    Reloaded,
    StoreConflicted,
    Stored,
    StoreFailed,
    StoreReport,
)
from clawproto.http import HttpAnswer, HttpRequest
from clawproto.keeper import Commit, CommitFailed, CommitReport, Committed
from clawproto.keeping import Arrival
from clawproto_io.errors import GenerationConflict, HttpFailure, LeaseLost, StoreError, Unstorable
from clawproto_io.stores.base import CredentialStore, MessageStore
from clawproto_io.throttle import Crowded, Gate, turn_of


class Sender(Protocol):
    """What sends requests: an `HttpRunner`, or another with this method."""

    async def send(self, http: HttpRequest, timeout_ms: int) -> HttpAnswer:
        """See `HttpRunner.send`."""
        ...


async def run_http_job(runner: Sender, job: HttpJob, refreshes: Gate | None = None) -> HttpReport:
    """Send the request. Never raises, but for cancellation.

    Args:
        refreshes: where a refresh waits for its turn; the waiting is part of its time.
    """
    began = anyio.current_time()
    try:
        async with turn_of(refreshes if isinstance(job, RequestRefresh) else None, job.timeout_ms / 2000):
            waited_ms = round((anyio.current_time() - began) * 1000)
            return HttpAnswered(job.request, await runner.send(job.http, job.timeout_ms - waited_ms))
    except HttpFailure as failure:
        return HttpFailed(job.request, failure.sent, failure.detail)
    except Crowded:
        return HttpFailed(job.request, sent=False, detail="no turn to refresh, too many sessions are at it")


async def run_store_job(store: CredentialStore, job: StoreJob, log: logging.Logger) -> StoreReport | None:
    """Do the store operation. Never raises, but for cancellation; None: nobody waits for an answer.

    A store that raises something else than it should has failed like any other (REF-10), but the text of a foreign
    exception may quote what was to be stored, so only its type is told (AUTH-9).
    """
    if isinstance(job, RememberDevice):
        try:
            await store.remember_device(job.device_id)
        except Exception as error:
            log.warning("the device id was not stored: %s", _describe(error))
        return None
    try:
        match job:
            case RecordIntent(operation, intent):
                return Stored(operation, await store.record_intent(intent))
            case Persist(operation, credentials, replaces):
                return Stored(operation, await store.save(credentials, replaces))
            case Logout(operation, refused=refused, replaces=replaces):
                return Stored(operation, await store.forget(refused, replaces))
            case Reload(operation):
                return Reloaded(operation, await store.load())
            case _:
                assert_never(job)
    except GenerationConflict as conflict:
        return StoreConflicted(job.operation, conflict.stored)
    except Exception as error:
        return StoreFailed(job.operation, _describe(error))


async def run_commit(store: MessageStore, commit: Commit) -> CommitReport:
    """Give the changes to the message store. Never raises, but for cancellation. Of a foreign exception only the type
    is told, since its text may quote a message."""
    try:
        filed = tuple(await store.commit(commit.changes))
    except LeaseLost as error:
        return CommitFailed(commit.number, str(error), lost=True)
    except Unstorable as error:
        return CommitFailed(commit.number, str(error), unstorable=error.index)
    except Exception as error:
        return CommitFailed(commit.number, _describe(error))
    arrivals = sum(isinstance(change, Arrival) for change in commit.changes)
    if len(filed) != arrivals:
        return CommitFailed(commit.number, f"the message store answered for {len(filed)} of {arrivals} arrivals")
    return Committed(commit.number, filed)


def interrupted_commit(commit: Commit) -> CommitFailed:
    """The report of a commit that was torn down half-way: it may have been done, and may be repeated."""
    return CommitFailed(commit.number, "interrupted")


def interrupted_request(job: HttpJob) -> HttpFailed:
    """The report of a request that was torn down half-way."""
    return HttpFailed(job.request, sent=True, detail="interrupted")


def interrupted_save(job: StoreJob) -> StoreFailed | None:
    """The report of a store operation that was torn down half-way: it may have been done, and may be repeated."""
    return None if isinstance(job, RememberDevice) else StoreFailed(job.operation, "interrupted")


def _describe(error: Exception) -> str:
    return str(error) if isinstance(error, StoreError) else f"failed with {type(error).__name__}"
