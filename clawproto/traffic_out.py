"""Messages of ours and the acks that answer them, at little cost: the outbound half of `clawproto.traffic`.

Rules: those of `clawproto.outbox` and `clawproto.outbox_answers`, which this does once more for the ordinary case:
SEND-1, SEND-5, SEND-6, SEND-8, SEND-11, SEND-12, SEND-13, SEND-15, ROUTE-7, LIM-3.

    OutboxState ---- begin ----> SendTraffic: send, acknowledged, … ---- state ----> OutboxState
                 no store,         entries: taken up since; the former ones            less what is gone,
                 no queue                   too, once one of them is answered          and what is new
                                   gone:    of the former ones, decided since

What came and went in between leaves no trace in the maps, so a send that is answered soon costs the same however many
others are under way. An answer of None means that nothing has been done.
"""

from collections.abc import Iterator

from clawproto.app_events import AckAnomaly, SendSettled
from clawproto.config import Config
from clawproto.effects import Effect, Emit, Resolve, SendFrame
from clawproto.events import Send
from clawproto.evolving import constructor, evolve
from clawproto.gates import CHAT_PREFIX
from clawproto.ids import Minter
from clawproto.instant import Instant
from clawproto.outbox_state import EVENT_REACTION, EVENT_REPLY, EVENT_SEND, Entry, OutboxState
from clawproto.persistent import IntMap, StrMap
from clawproto.results import Receipt
from clawproto.wire.codec import encode_content, encode_minted
from clawproto.wire.json_text import write

FAR = 1 << 62  # no deadline
_HEAD = len('{"message_id":"msg-01K5Z3NDEKTSV4RRFFQ69G5FAV",')
_WIDEST = 4  # bytes of a character
_FEW = 256  # so many former entries are taken into the dicts when the first of them is answered

_new_entry = constructor(Entry)
_new_frame = constructor(SendFrame)
_new_receipt = constructor(Receipt)
_new_resolve = constructor(Resolve)


class SendTraffic:
    """What sends and acks change, kept aside. Private to `clawproto.traffic`.

    Attributes:
        ack_timeout: milliseconds that a message waits for its ack.
    """

    __slots__ = (
        "_any_chat",
        "_before",
        "_by_message",
        "_by_trace",
        "_dues",
        "_ended",
        "_entries",
        "_former_due",
        "_former_dues",
        "_generation",
        "_gone",
        "_knows_all",
        "_knows_former",
        "_limit",
        "_minter",
        "_next_due",
        "_next_number",
        "_slot",
        "ack_timeout",
    )

    def __init__(self, before: OutboxState, config: Config) -> None:
        policy = config.policy
        self.ack_timeout = policy.ack_timeout_ms
        self._limit = policy.frame_limit
        self._any_chat = not policy.require_chat_prefix
        self._entries: dict[int, Entry] = {}
        self._by_trace: dict[str, int] = {}
        self._by_message: dict[str, int] = {}
        self._knows_all = self._knows_former = False
        self._rebase(before)

    def _rebase(self, before: OutboxState) -> None:
        """From here on, what is in ``before`` is former."""
        self._before = before
        self._knows_all = self._knows_all or not len(before.entries)
        self._dues: dict[int, tuple[int, int]] = {}
        self._gone: dict[int, Entry] = {}
        self._ended: set[int] = set()
        self._next_number = before.next_number
        self._slot = self._next_due = before.next_due
        self._former_dues: Iterator[tuple[int, tuple[int, int]]] = before.due.items()
        self._former_due = next(self._former_dues, None)

    @staticmethod
    def begin(
        before: OutboxState, config: Config, generation: int, minter: Minter, again: "SendTraffic | None"
    ) -> "SendTraffic | None":
        """Take over, unless each message is to be in the message store first, or some wait to be transmitted. What an
        earlier one knows is taken on, if nothing else has changed the sends since."""
        if config.keep_sends or len(before.queued):
            return None
        traffic = again if again is not None and again.is_of(before) else SendTraffic(before, config)
        traffic._resume(generation, minter)
        return traffic

    @property
    def is_empty(self) -> bool:
        """Whether it knows of no sends, so that a new one would do as well."""
        return not self._entries

    def is_of(self, sends: OutboxState) -> bool:
        """Whether this is where the last `state` has left them."""
        return self._before is sends

    def _resume(self, generation: int, minter: Minter) -> None:
        self._generation = generation
        self._minter = minter

    def send(self, command: Send, now: Instant) -> tuple[Effect, ...] | None:
        """Transmit a message under an id of its own."""
        chat_id, reply = command.chat_id, command.reply
        if command.message_id is not None or not (chat_id.startswith(CHAT_PREFIX) or (chat_id and self._any_chat)):
            return None
        try:
            content = encode_content(command.mode, command.fragments, command.mentions, reply)
            to = None if command.to is None else write(command.to)
        except ValueError:
            return None
        length = len(content) + len(chat_id) + _HEAD if to is None else len(content) + len(chat_id) + _HEAD + len(to)
        if length * _WIDEST > self._limit:
            return None
        minter, number, slot = self._minter, self._next_number, self._next_due
        place = minter.place
        message_id = f"msg-{minter.mint(now.wall_ms)}"
        if message_id in self._by_message or (not self._knows_all and self._before.by_message.get(message_id)):
            minter.place = place
            return None  # somebody has foreseen it
        trace_id = f"s-{minter.mint(now.wall_ms)}"
        payload, event = f'{{"message_id":"{message_id}",{content}', EVENT_SEND if reply is None else EVENT_REPLY
        if not (content.isascii() and chat_id.isascii()):
            length = len(f"{payload}{to or ''}{chat_id}".encode("utf-8", "surrogatepass"))
        text = encode_minted(event, trace_id, now.wall_ms, payload, chat_id, to)
        self._entries[number] = _new_entry(
            command.command,
            chat_id,
            message_id,
            event,
            payload,
            to,
            length,
            trace_id,
            self._generation,
            False,
            slot,
        )
        self._by_trace[trace_id] = self._by_message[message_id] = number
        self._dues[slot] = now.mono_ms + self.ack_timeout, number
        self._next_number, self._next_due = number + 1, slot + 1
        return (_new_frame(self._generation, text, event),)

    def acknowledged(self, trace_id: str, message_id: str | None, accepted_at: int | None) -> tuple[Effect, ...] | None:
        """``message.ack`` without a stamp: for a message of ours, or a stray (SEND-11)."""
        number = self._by_trace.get(trace_id)
        if number is None and (number := self._elsewhere(trace_id, message_id)) is None:
            return ()
        entries, former = self._entries, self._before
        entry = entries.get(number) or former.entries.get(number)
        assert entry is not None
        if entry.event == EVENT_REACTION:
            return None
        if number >= former.next_number:
            del self._dues[entry.due]
        else:
            self._gone[number] = entry
            self._ended.add(entry.due)
        if number in entries:
            del entries[number], self._by_trace[entry.trace_id], self._by_message[entry.message_id]
        minted, command = entry.message_id, entry.command
        final = message_id or minted
        if command is not None:
            done: Effect = _new_resolve(command, _new_receipt(entry.chat_id, final, accepted_at, minted))
        else:
            done = Emit(SendSettled(entry.chat_id, final, accepted=True))
        return (done,) if final == minted else (Emit(AckAnomaly(minted, final)), done)

    def _elsewhere(self, trace_id: str, message_id: str | None) -> int | None:
        """The number of what is answered, if it is not a trace known here that tells (SEND-11)."""
        before = self._before
        if not self._knows_all and len(before.entries) <= _FEW:
            self._learn()
            return self._by_trace.get(trace_id) or self._by_message.get(message_id or "")
        number = None
        if not self._knows_all:
            number = before.by_trace.get(trace_id) if trace_id else None
        if (number is None or number in self._gone) and message_id is not None:
            number = self._by_message.get(message_id)
            if number is None and not self._knows_all:
                number = before.by_message.get(message_id)
        return None if number is None or number in self._gone else number

    def _learn(self) -> None:
        """Take the former ones into the dicts, none of which is gone yet."""
        self._knows_all = self._knows_former = True
        for number, entry in self._before.entries.items():
            self._entries[number] = entry
            self._by_trace[entry.trace_id] = number
            if entry.event != EVENT_REACTION:
                self._by_message[entry.message_id] = number

    @property
    def due(self) -> int:
        """Monotonic ms of the next ack deadline, `FAR` if there is none: that of the first slot which is undecided."""
        former, ended = self._former_due, self._ended
        while former is not None:
            if former[0] not in ended:
                return former[1][0]
            former = self._former_due = next(self._former_dues, None)
        slot, end, dues = self._slot, self._next_due, self._dues
        while slot < end and slot not in dues:
            slot += 1
        self._slot = slot
        return dues[slot][0] if slot < end else FAR

    def state(self) -> OutboxState:
        """The outbox as ``step`` would have it; with the next Traffic this goes on from there."""
        before = self._before
        if self._next_number == before.next_number and not self._gone:
            return before
        self._rebase(self._after())
        self._knows_former = bool(self._entries)
        return self._before

    def _after(self) -> OutboxState:
        before, gone, first = self._before, self._gone, self._before.next_number
        fresh, traces, messages = self._entries, self._by_trace, self._by_message
        if self._knows_former:
            fresh = {number: entry for number in range(first, self._next_number) if (entry := fresh.get(number))}
            traces = {entry.trace_id: number for number, entry in fresh.items()}
            messages = {entry.message_id: number for number, entry in fresh.items()}
        if len(gone) == len(before.entries):  # nothing is left of the former ones, nor of what points to them
            number, slot = self._next_number, self._next_due
            rest = OutboxState(gates=before.gates, keeping=before.keeping, next_number=number, next_due=slot)
            if not fresh:
                return rest
            return evolve(
                rest,
                entries=IntMap.of(fresh.items()),
                by_trace=StrMap.of(traces.items()),
                by_message=StrMap.of(messages.items()),
                due=IntMap.of(self._dues.items()),
            )
        return evolve(
            before,
            entries=before.entries.changed(gone.keys(), fresh),
            by_trace=before.by_trace.changed({entry.trace_id for entry in gone.values()}, traces),
            by_message=before.by_message.changed({entry.message_id for entry in gone.values()}, messages),
            due=before.due.changed(self._ended, self._dues),
            told=before.told.changed(gone.keys(), {}) if len(before.told) else before.told,
            next_number=self._next_number,
            next_due=self._next_due,
        )
