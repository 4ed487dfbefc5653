"""Rows of the hub's inbox, overwritten, redelivered and settled in any order: all is told, all is acknowledged."""

from collections.abc import Iterable

import pytest
from attrs import define
from hypothesis import given, settings, strategies as st

from clawproto.app_events import MessageReceived, ReactionChanged, SignalReceived
from clawproto.effects import Effect, Emit
from clawproto.json_types import Json
from tests.core.harness import of
from tests.core.link_harness import CHAT, SENDER, message_payload, v2


@define
class Row:
    """What a hub keeps of one slot.

    Attributes:
        dseq: under which it went out on the current connection.
    """

    event: str
    payload: dict[str, Json]
    dseq: int = 0


class Hub:
    """A hub's inbox (R2-10): one row for each slot, the last write wins and moves to the tail, an ack deletes.

    Attributes:
        rows: by slot, in the order of replay.
        told: what the application knows of each slot; ``events`` are the signals that it was told.
        held: delivery numbers that it has not settled.
    """

    def __init__(self) -> None:
        self.bench = v2()
        self.bench.liveness = False
        self.rows: dict[str, Row] = {}
        self.told: dict[str, Json] = {}
        self.events: list[str] = []
        self.held: list[int] = []
        self.fired = 0

    def write(self, slot: str, content: int) -> None:
        """Somebody writes into a slot; the session gets a live copy."""
        self.rows.pop(slot, None)
        match slot[0]:
            case "m":
                row = Row("message.send", message_payload(slot, f"text {content}"))
            case "r":
                emoji: dict[str, Json] = {"emoji": f"emoji {content}"} if content else {"removed": True}
                row = Row("message.reaction", {"target_message_id": slot, "reactor_user_id": "usr_friend", **emoji})
            case _:
                self.fired += 1
                signal: dict[str, Json] = {"type": "friend.added", "entity_id": slot, "version": self.fired}
                row = Row("notify.signal", {**signal, "event_id": f"ev-{self.fired}", "message_id": slot})
        self.rows[slot] = row
        self.deliver(row)

    def deliver(self, row: Row) -> None:
        row.dseq = self.bench.dseq + 1
        self.take(self.bench.stamped(row.event, row.payload, chat_id=CHAT, sender=SENDER))

    def take(self, effects: Iterable[Effect]) -> None:
        """The application looks at what it was told."""
        for emit in of(effects, Emit):
            match emit.event:
                case MessageReceived(message=message):
                    self.told[message.message_id] = message.fragments[0].text  # type: ignore[union-attr]
                case ReactionChanged(target_message_id=slot, emoji=emoji):
                    self.told[slot] = emoji
                case SignalReceived(event_id=event_id):
                    self.events.append(event_id)
                case _:
                    continue
            assert emit.delivery is not None
            self.held.append(emit.delivery)

    def settle(self, index: int) -> None:
        if self.held:
            self.bench.settle(self.held.pop(index % len(self.held)))

    def collect(self) -> None:
        """Time for the acks that are owed; rows that they cover are deleted."""
        self.bench.run_for(200)
        epoch = self.bench.epoch(self.bench.generation)
        acks = [one["payload"] for one in self.bench.uplinks("message.sync_ack")]
        mark = max((one["dseq"] for one in acks if one["epoch"] == epoch), default=0)
        self.rows = {slot: row for slot, row in self.rows.items() if row.dseq > mark}

    def cut(self) -> None:
        """The connection is lost; the next one replays what is left."""
        self.bench.reconnect()
        for row in list(self.rows.values()):
            self.deliver(row)
        self.bench.stamped("replay.done", {})


acts = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.sampled_from(["m1", "m2", "r1", "r2", "s1", "s2"]), st.integers(0, 2)),
        st.tuples(st.just("settle"), st.just(""), st.integers(0, 9)),
        st.tuples(st.sampled_from(["collect", "cut"]), st.just(""), st.just(0)),
    ),
    max_size=40,
)


@pytest.mark.rule("RX-3", "NOTIFY-2", "SEND-19", "R2-8", "R2-9", "R2-10", "R2-28")
@settings(max_examples=150)
@given(acts)
def test_every_slot_converges_and_every_row_is_acknowledged_in_the_end(acts: list[tuple[str, str, int]]) -> None:
    hub = Hub()
    wanted: dict[str, Json] = {}
    for act, slot, number in acts:
        match act:
            case "write":
                hub.write(slot, number)
                if slot[0] == "m":
                    wanted[slot] = f"text {number}"
                elif slot[0] == "r":
                    wanted[slot] = f"emoji {number}" if number else None
            case "settle":
                hub.settle(number)
            case "collect":
                hub.collect()
            case _:
                hub.cut()
        assert hub.told == wanted
        assert hub.events == [f"ev-{number}" for number in range(1, hub.fired + 1)], "each once, in order"
    waiting = bool(hub.held)
    hub.collect()
    assert waiting or not hub.rows, "nothing is kept back without a reason"
    while hub.held:
        hub.settle(0)
    hub.collect()
    assert not hub.rows and not len(hub.bench.state.inbox.places)
    said = hub.told.copy()
    hub.cut()
    assert hub.told == said and not hub.held


def test_the_model_notices_a_row_that_is_acknowledged_too_early() -> None:
    hub = Hub()
    hub.write("m1", 1)
    hub.collect()
    assert list(hub.rows) == ["m1"]
    hub.settle(0)
    hub.collect()
    assert not hub.rows
