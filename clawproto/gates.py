"""Chat gates: after a refusal, uplinks to that chat are stopped locally for a while.

Rules: ERR-9 to ERR-18, ROUTE-7.

              message.error: chat_not_found, not_member
    open way ------------------------------------------> gated (every uplink)
       ^  '------ conversation.dissolved --------------> muted (typing only)
       '--- sign of life, conversation.… signal, or the window has passed (gated) ---'
"""

from clawproto.app_events import ChatGated, ChatUngated
from clawproto.deferred import frozen
from clawproto.evolving import evolve
from clawproto.persistent import IntMap, StrMap
from clawproto.turn import Turn

GATING_CODES = ("chat_not_found", "not_member")
CHAT_PREFIX = "cnv_"
DISSOLVED = "conversation.dissolved"


@frozen
class Gate:
    """One closed way.

    Attributes:
        code: what closed it.
        until: monotonic ms at which it is open again; None for no such time (ERR-17).
        slot: place in the order of closing.
    """

    code: str
    until: int | None
    slot: int


@frozen
class GateTable:
    """Gates of one strength, bounded by `Policy.gate_table`: the oldest goes first (ERR-18)."""

    gates: StrMap[Gate] = StrMap()
    order: IntMap[str] = IntMap()
    next_slot: int = 1

    def put(self, chat_id: str, code: str, until: int | None, limit: int) -> "GateTable":
        """The table with a fresh gate for this chat."""
        table = self.drop(chat_id)
        gates = table.gates.set(chat_id, Gate(code, until, table.next_slot))
        order = table.order.set(table.next_slot, chat_id)
        if len(order) > limit and (oldest := order.first()) is not None:
            order, gates = order.remove(oldest[0]), gates.remove(oldest[1])
        return GateTable(gates, order, table.next_slot + 1)

    def drop(self, chat_id: str) -> "GateTable":
        """The table without this chat."""
        gate = self.gates.get(chat_id)
        if gate is None:
            return self
        return evolve(self, gates=self.gates.remove(chat_id), order=self.order.remove(gate.slot))

    def oldest(self) -> tuple[str, Gate] | None:
        """The gate that was closed first."""
        first = self.order.first()
        gate = None if first is None else self.gates.get(first[1])
        return None if first is None or gate is None else (first[1], gate)


@frozen
class Gates:
    """The two tables: ``gated`` stops every uplink (ERR-10), ``muted`` typing only (ERR-17)."""

    gated: GateTable = GateTable()
    muted: GateTable = GateTable()


def is_valid_chat(chat_id: str, turn: Turn) -> bool:
    """Whether an uplink may carry this ``chat_id`` at all (ROUTE-7)."""
    return bool(chat_id) and (chat_id.startswith(CHAT_PREFIX) or not turn.policy.require_chat_prefix)


def blocking(gates: Gates, chat_id: str, turn: Turn, *, typing: bool = False) -> Gate | None:
    """The gate that stops an uplink to this chat now, or None (ERR-10, ERR-14, ERR-17)."""
    gate = gates.gated.gates.get(chat_id)
    if gate is not None and (gate.until is None or turn.mono < gate.until):
        return gate
    return gates.muted.gates.get(chat_id) if typing else None


def close_way(gates: Gates, chat_id: str | None, code: str, exempt: str | None, turn: Turn) -> Gates:
    """A refusal has come: gate the chat for a full window (ERR-9, ERR-14, ERR-15)."""
    if code not in GATING_CODES or not chat_id or chat_id == exempt or not is_valid_chat(chat_id, turn):
        return gates
    turn.emit(ChatGated(chat_id, code, turn.policy.gate_ms))
    until = turn.mono + turn.policy.gate_ms
    return evolve(gates, gated=gates.gated.put(chat_id, code, until, turn.policy.gate_table))


def sign_of_life(gates: Gates, chat_id: str | None, turn: Turn) -> Gates:
    """A downlink other than ``message.error`` came from this chat: it exists and we belong to it (ERR-12, ERR-17)."""
    if chat_id is None or not (chat_id in gates.gated.gates or chat_id in gates.muted.gates):
        return gates
    turn.emit(ChatUngated(chat_id))
    return Gates(gates.gated.drop(chat_id), gates.muted.drop(chat_id))


def notified(gates: Gates, kind: str | None, entity_id: str | None, turn: Turn) -> Gates:
    """A ``notify.signal``: a dissolved conversation is muted, any other conversation signal ungates (ERR-13, 17)."""
    if kind is None or not kind.startswith("conversation.") or not entity_id:
        return gates
    if kind != DISSOLVED:
        return sign_of_life(gates, entity_id, turn)
    if not is_valid_chat(entity_id, turn):
        return gates
    return evolve(gates, muted=gates.muted.put(entity_id, DISSOLVED, None, turn.policy.gate_table))


def advance(gates: Gates, turn: Turn) -> Gates:
    """Forget gates whose window has passed, oldest first (ERR-14)."""
    while (
        (oldest := gates.gated.oldest()) is not None and (until := oldest[1].until) is not None and turn.mono >= until
    ):
        gates = evolve(gates, gated=gates.gated.drop(oldest[0]))
        turn.emit(ChatUngated(oldest[0]))
    return gates


def deadline(gates: Gates) -> int | None:
    """Monotonic ms at which the oldest gate falls."""
    oldest = gates.gated.oldest()
    return None if oldest is None else oldest[1].until
