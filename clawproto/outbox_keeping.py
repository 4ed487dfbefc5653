"""Sends that survive the process: each is in the message store before it is transmitted, and so is what became of it.

Rules: SEND-5, SEND-15, SEND-17, REF-10 (its numbers), OUT-11.

    taken up --.
               +--> waiting --> batch under way --Kept--> its sends may be transmitted; the next batch
    decided ---'                 |     ^
                           KeepFailed  |  0.1 s to 5 s later, for ever; alarm at the third
                                 '-----'

One batch is under way at a time; what comes meanwhile goes with the next one. Without `Config.keep_sends` nothing here
does anything. After a stop what waits is still stored, but a store that fails is given up after as many attempts as it
takes to raise the alarm: a send that was not kept is reported as such to its sender, and a decision that was not kept
costs one more transmission, which the hub recognises by its id.
"""

from clawproto.app_events import MessagesSaved, MessagesUnsaved
from clawproto.effects import Keep
from clawproto.events import KeepFailed, Kept
from clawproto.evolving import evolve
from clawproto.keeping import KeptSend, SendChange, SendDecision
from clawproto.outbox_state import Entry, Keeping, OutboxState, remove
from clawproto.timing import save_backoff_ms
from clawproto.turn import Turn


def take_down(outbox: OutboxState, number: int, entry: Entry, turn: Turn) -> OutboxState:
    """Put a new entry down for the next batch; until that is kept it is not transmitted."""
    change = KeptSend(
        entry.trace_id, number, entry.message_id, entry.chat_id, entry.event, entry.payload, entry.to, turn.wall
    )
    return _with(outbox, change)


def end(outbox: OutboxState, number: int, decision: SendDecision, turn: Turn) -> OutboxState:
    """The entry is decided: it goes, and the store will know."""
    outbox = remove(outbox, number)
    return _with(outbox, decision) if turn.config.keep_sends else outbox


def _with(outbox: OutboxState, change: SendChange) -> OutboxState:
    keeping = outbox.keeping
    slot = keeping.next_slot
    return evolve(outbox, keeping=evolve(keeping, waiting=keeping.waiting.set(slot, change), next_slot=slot + 1))


def is_idle(keeping: Keeping) -> bool:
    """Whether the store knows everything."""
    return not keeping.batch and not len(keeping.waiting)


def deadline(keeping: Keeping) -> int | None:
    """Monotonic ms at which `advance` has something to do; 0 for at once, within the step that brought it."""
    if keeping.operation is None and not keeping.batch and len(keeping.waiting):
        return 0
    return keeping.retry_at


def advance(outbox: OutboxState, turn: Turn) -> OutboxState:
    """Give the store what waits, or again what it could not store."""
    keeping = outbox.keeping
    if keeping.operation is not None or is_idle(keeping):
        return outbox
    if keeping.batch:
        if keeping.retry_at is not None and turn.mono < keeping.retry_at:
            return outbox
        batch, waiting = keeping.batch, keeping.waiting
    else:
        taken: list[SendChange] = []
        waiting = keeping.waiting
        while len(taken) < turn.policy.keep_batch and (first := waiting.first()) is not None:
            taken.append(first[1])
            waiting = waiting.remove(first[0])
        batch = tuple(taken)
    operation = turn.next_operation()
    turn.do(Keep(operation, batch))
    under_way = evolve(keeping, waiting=waiting, batch=batch, operation=operation, retry_at=None)
    return evolve(outbox, keeping=under_way)


def kept(outbox: OutboxState, event: Kept, turn: Turn) -> tuple[OutboxState, tuple[int, ...]]:
    """The batch is durable.

    Returns:
        The outbox, and the numbers of those that may be transmitted now, in their order (SEND-17).
    """
    keeping = outbox.keeping
    if event.operation != keeping.operation:
        return outbox, ()
    if keeping.failures >= turn.policy.save_alarm_after:
        turn.emit(MessagesSaved(keeping.failures))
    released: list[int] = []
    for change in keeping.batch:
        entry = outbox.entries.get(change.number) if isinstance(change, KeptSend) else None
        if isinstance(change, KeptSend) and entry is not None and entry.trace_id == change.trace_id:
            outbox = evolve(outbox, entries=outbox.entries.set(change.number, evolve(entry, kept=True)))
            released.append(change.number)
    return evolve(outbox, keeping=evolve(keeping, batch=(), operation=None, failures=0)), tuple(released)


def failed(outbox: OutboxState, event: KeepFailed, turn: Turn) -> OutboxState:
    """The batch is not durable: it is held and tried again, without limit."""
    keeping = outbox.keeping
    if event.operation != keeping.operation:
        return outbox
    failures = keeping.failures + 1
    if failures == turn.policy.save_alarm_after:
        turn.emit(MessagesUnsaved(failures, event.detail))
    retry_at = turn.mono + save_backoff_ms(failures, turn.policy)
    return evolve(outbox, keeping=evolve(keeping, operation=None, failures=failures, retry_at=retry_at))
