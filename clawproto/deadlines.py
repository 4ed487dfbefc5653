"""When there is something to do next, and whether a step can have changed it for more than the traffic.

Rules: TOK-17, TOK-21.
"""

from clawproto import drafts, history, inbox, indicator, link, outbox, pairing, signals, streams, tokens
from clawproto.link_state import Online
from clawproto.state import State
from clawproto.timing import earliest
from clawproto.turn import Turn


def is_traffic(before: State, after: State, turn: Turn) -> bool:
    """Whether the step has changed nothing but link, inbox and sends of a live connection, so nobody else is asked:
    what they wait for is in their deadlines, or shows on the wall clock, which may jump (TOK-21)."""
    return (
        after.tokens is before.tokens
        and after.signals is before.signals
        and after.streams is before.streams
        and after.drafts is before.drafts
        and after.typing is before.typing
        and after.reset is before.reset
        and after.pairing is before.pairing
        and isinstance(after.link.phase, Online)
        and isinstance(before.link.phase, Online)
        and after.outbox.gates is before.outbox.gates
        and not after.tokens.stopped
        and not tokens.is_due_by_wall(after.tokens, turn)
        and not len(after.signals.cards)
    )


def of_traffic(state: State, turn: Turn) -> int | None:
    """Monotonic ms at which link, inbox or outbox has something to do."""
    return earliest(
        link.deadline(state.link, state.tokens, turn), inbox.deadline(state.inbox), outbox.deadline(state.outbox)
    )


def of_others(state: State, turn: Turn) -> int | None:
    """The same of all other machines; for a wall-clock instant at most a minute ahead (TOK-21)."""
    return earliest(
        indicator.deadline(state.typing),
        signals.deadline(state.signals, state.tokens.offset, turn),
        streams.deadline(state.streams),
        drafts.deadline(state.drafts) if len(state.drafts) else None,
        history.deadline(state.reset),
        tokens.deadline(state.tokens, turn),
        pairing.deadline(state.pairing),
    )
