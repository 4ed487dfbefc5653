"""Two message stores that share no statement, and the reference, agree on every history: what is news, what is left,
what is sent again."""

from itertools import count
from pathlib import Path
from typing import Any, TypeAlias

import anyio
import pytest
from attrs import evolve
from hypothesis import HealthCheck, given, settings, strategies as st

from clawproto.app_events import (
    AppEvent,
    FrameRejected,
    MessageDelivered,
    MessageRecalled,
    ReactionChanged,
    ReadMarkMoved,
    TypingChanged,
)
from clawproto.keeping import Arrival, Change, Filed, ForUser, Handled, KeptSend, Quarantined, SendDecision
from clawproto_io import MemoryMessageStore, SqliteStore
from clawproto_io.stores.base import MessageStore
from tests.io.message_samples import message, send
from tests.io.test_message_contract import Midday

_accounts = count(1)
_chats, _ids, _texts = st.sampled_from(["cnv_1", "cnv_2"]), st.sampled_from(["m1", "m2", "m3"]), st.sampled_from("ab")

EVENTS: st.SearchStrategy[AppEvent] = st.one_of(
    st.builds(message, _ids, _texts, merged=st.booleans(), update=st.booleans(), emitted_at_ms=st.none() | st.just(7)),
    st.builds(MessageRecalled, _chats, _ids),
    st.builds(ReactionChanged, _chats, _ids, st.sampled_from(["usr_1", "usr_2"]), st.sampled_from(["👍", "👎", None])),
    st.builds(ReadMarkMoved, _chats, st.integers(0, 3)),
    st.builds(MessageDelivered, _ids, _chats, st.just("usr_2"), st.integers(0, 1)),
    st.builds(TypingChanged, _chats, st.just("usr_2"), st.booleans()),
)
_Made: TypeAlias = Change | int  # a number: the application is done with what was filed as that one of all

CHANGES: st.SearchStrategy[_Made] = st.one_of(
    EVENTS.map(Arrival),
    EVENTS.map(Arrival),
    st.integers(0, 30),
    st.builds(FrameRejected, st.none(), st.just("not-json"), _texts, st.integers(1, 2), _texts).map(Quarantined),
    st.builds(lambda text, trace: send(chat_id=text, trace_id=trace), _texts, _ids),
    st.builds(SendDecision, _ids, st.sampled_from(["accepted", "rejected"]), _texts),
)


class Ranks:
    """Rows by their order; the stores number them in their own ways."""

    def __init__(self) -> None:
        self.rows: list[int] = []

    def of(self, filed: Filed) -> tuple[int, AppEvent | None]:
        if filed.row not in self.rows:
            assert filed.row > max(self.rows, default=0)
            self.rows.append(filed.row)
        return self.rows.index(filed.row), filed.event


_USERS = st.none() | st.sampled_from(["usr_1", "usr_1", "usr_2"])
_Batch: TypeAlias = tuple[list[_Made], str | None]  # a user: a session of theirs begins with it


async def history(store: MessageStore, batches: list[_Batch], archive: Any) -> list[object]:
    """Everything that a session and an application are told."""
    ranks, told = Ranks(), list[object]()
    numbers = count(1)  # of sends: they grow

    def change_of(made: _Made) -> Change:
        if isinstance(made, int):
            return Handled(ranks.rows[made % len(ranks.rows)] if ranks.rows else 0)
        return evolve(made, number=next(numbers)) if isinstance(made, KeptSend) else made

    for made, user_id in batches:
        if user_id is not None:
            await store.commit([ForUser(user_id)])
            backlog = await store.backlog()
            told.append([[ranks.of(one) for one in backlog.arrivals], backlog.sends])
        changes = [change_of(one) for one in made]
        told.append([ranks.of(one) for one in await store.commit(changes)])
    backlog = await store.backlog()
    told.append([[ranks.of(one) for one in backlog.arrivals], backlog.sends])
    if archive is None:
        return told
    for chat in ("cnv_1", "cnv_2"):
        found = await archive.messages(chat)
        told.append([(ranks.of(Filed(one.row, one.event)), one.position[0], one.handled) for one in found])
        told.append(await archive.read_mark(chat))
    for message_id in ("m1", "m2", "m3"):
        told.append(await archive.reactions(message_id))
        found = await archive.message(message_id)
        told.append(found and (ranks.of(Filed(found.row, found.event)), found.handled))
    told.append(sorted(await archive.sends(), key=repr))
    told.append([one.rejection for one in await archive.quarantined()])
    return told


@pytest.mark.rule("R2-10", "R2-28", "SEND-19", "STREAM-14", "RX-3", "READ-4", "RECALL-1", "SEND-15")
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(batches=st.lists(st.tuples(st.lists(CHANGES, max_size=8), _USERS), min_size=1, max_size=6))
def test_sqlite_and_postgresql_agree(batches: list[_Batch], database: str, tmp_path: Path) -> None:
    from clawproto_io.stores.postgres import PostgresStore

    account = f"example-{next(_accounts)}"

    async def main() -> None:
        stores = (
            SqliteStore(tmp_path / "claw.db", account, clock=Midday()),
            PostgresStore(database, account, clock=Midday()),
        )
        told = [await history(store.messages, batches, store.messages) for store in stores]
        for store in stores:
            await store.aclose()
        assert told[0] == told[1]
        reference = await history(MemoryMessageStore(), batches, None)
        assert reference == told[0][: len(reference)]

    anyio.run(main)
