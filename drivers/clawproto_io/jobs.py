"""Carries out the IO effects of the core: one effect in, one report out. Written once, since a store or an HTTP call is
awaited in the same way on every loop; when, and shielded by what, is each driver's own business."""

import logging
from typing import assert_never

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
from clawproto_io.errors import GenerationConflict, HttpFailure, StoreError
from clawproto_io.http import HttpRunner
from clawproto_io.stores import CredentialStore
from clawproto_io.throttle import Crowded, Gate, turn_of


async def run_http_job(runner: HttpRunner, job: HttpJob, refreshes: Gate | None = None) -> HttpReport:
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


def interrupted_request(job: HttpJob) -> HttpFailed:
    """The report of a request that was torn down half-way."""
    return HttpFailed(job.request, sent=True, detail="interrupted")


def interrupted_save(job: StoreJob) -> StoreFailed | None:
    """The report of a store operation that was torn down half-way: it may have been done, and may be repeated."""
    return None if isinstance(job, RememberDevice) else StoreFailed(job.operation, "interrupted")


def _describe(error: Exception) -> str:
    return str(error) if isinstance(error, StoreError) else f"failed with {type(error).__name__}"
