"""The inbox machine's branch of the state: what arrived, what the application is done with, what was acknowledged."""

from clawproto.app_events import Delivery
from clawproto.config import Capabilities
from clawproto.deferred import frozen
from clawproto.persistent import IntMap
from clawproto.recent import Recent
from clawproto.wire.values import HelloOk

ACK_MODE_V2 = "dseq"


def delivery_mode(hello: HelloOk, capabilities: Capabilities) -> Delivery:
    """Which generation of reliable delivery ``hello-ok`` put in force (R2-2, R1-7, CAP-3)."""
    if hello.ack_mode == ACK_MODE_V2 and capabilities.reliable_delivery_v2:
        return "v2"
    return "v1" if capabilities.reliable_delivery else "legacy"


@frozen
class Stream:
    """The stamped frames of one connection, numbered from 1 in the order of their arrival.

    Under v2 that number is the ``dseq`` itself; under v1 it stands for a ``seq``, which is sparse (R1-2).

    Attributes:
        generation: of the socket.
        epoch: copy of ``ack_epoch``, which every ack of v2 names (R2-3).
        last: number of the last stamped frame read (R2-6).
        mark: all frames 1…mark are settled (R2-9); only this is ever acknowledged.
        ahead: settled frames above the mark, with their ``seq``.
        mark_seq: v1: the highest ``seq`` up to the mark (R1-1).
        acked: the mark that was acknowledged last.
        seqs: v1: the ``seq`` of each unsettled frame.
    """

    generation: int
    delivery: Delivery
    epoch: str | None = None
    last: int = 0
    mark: int = 0
    ahead: IntMap[int] = IntMap()
    mark_seq: int = 0
    acked: int = 0
    seqs: IntMap[int] = IntMap()


@frozen
class Place:
    """Where an event that the application holds stands in the stream.

    Attributes:
        generation: of the socket that brought it last; places of earlier sockets need no ack any more.
        number: in that socket's `Stream`; 0 if the frame bore no stamp.
    """

    generation: int
    number: int


@frozen
class Known:
    """A message, or the content of a slot, that has been handed over before.

    Attributes:
        fingerprint: of its content; another one makes the repeat an update (SEND-19).
        final: it did not carry ``stream_merged`` (STREAM-14).
        delivery: number under which it was handed over; None if it bore none.
        receipted: generation of the socket on which its receipt went out; 0 if none did (DEL-4).
    """

    fingerprint: int
    final: bool
    delivery: int | None
    receipted: int = 0


@frozen
class InboxState:
    """Everything that the inbox machine knows.

    Attributes:
        stream: of the current connection; None before the first ``hello-ok``.
        deliveries: how many delivery numbers were given out; none is ever used again.
        places: what the application holds, by delivery number.
        known: messages handed over; bounded by `Policy.remembered_messages`.
        slots: reactions handed over, by slot id (RX-3).
        signals: notify signals handed over, by event id (NOTIFY-2).
        recalled: ids of messages that were withdrawn (RECALL-1).
        ack_due: monotonic ms of the debounced ack (R2-13); None while the mark is the one that was acknowledged last.
        repeat_due: monotonic ms of the regular ack (R2-15).
        replay_until: monotonic ms at which the replay counts as over for want of frames; None if it is over (RPL-7).
    """

    stream: Stream | None = None
    deliveries: int = 0
    places: IntMap[Place] = IntMap()
    known: Recent[Known] = Recent()
    slots: Recent[Known] = Recent()
    signals: Recent[Known] = Recent()
    recalled: Recent[Known] = Recent()
    ack_due: int | None = None
    repeat_due: int | None = None
    replay_until: int | None = None
