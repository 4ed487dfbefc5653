"""The events that make up most of a session's life, messages and acks in both directions, at little cost.

Rules: those of `clawproto.inbox`, which this does once more for the ordinary case: SEND-19, R2-6 to R2-13, DEL-1. What
is ours, and the acks to it, is in `clawproto.traffic_out`.

    State ---- begin ----> Traffic: receive, settle, send, ack, … ---- state ----> State
               live, v2,                                            anything else happens, something
               no gates, …                                          is due, somebody wants to see it

`clawproto.session.step` makes a new state for each event, and copies what changes. Here the few fields that these
events change are kept aside, and put back into the state when it is wanted. Every other event, and every message that
is not ordinary, is left to ``step``: an answer of None means that nothing has been done. Effects and state are those of
``step``; tests compare them event by event.
"""

from clawproto import deadlines, indicator, outbox, signals
from clawproto.app_events import MessageReceived
from clawproto.effects import Effect, Emit
from clawproto.events import Event, FrameReceived, Send, Settle, SetTyping, Tick
from clawproto.evolving import constructor, evolve
from clawproto.fingerprint import fingerprint
from clawproto.ids import Minter
from clawproto.inbox import ORDINARY_MODES, SYSTEM_SENDER, ack, receipt
from clawproto.inbox_state import InboxState, Known, Place, Stream
from clawproto.instant import Instant
from clawproto.link_state import Online
from clawproto.state import State
from clawproto.traffic_out import FAR, SendTraffic
from clawproto.turn import Counters, Turn
from clawproto.wire.traffic import decode_traffic

_LOT = 256  # messages that are put into the memory at once; the more, the less is copied for each

_new_message = constructor(MessageReceived)
_new_emit = constructor(Emit)
_new_known = constructor(Known)


class Traffic:
    """What a live connection changes with every message, kept aside. Private to `clawproto.session.Session`.

    Between two messages nothing is looked at but `_look_at`: before that instant nothing is due. Of the numbers of the
    stream and the delivery numbers one follows from the other, since every delivery here takes up one of each.
    """

    __slots__ = (
        "_ack_debounce",
        "_ack_due",
        "_acked",
        "_before",
        "_calm_until",
        "_counters",
        "_deliveries",
        "_first",
        "_former_sends",
        "_fresh",
        "_generation",
        "_gone",
        "_heard_at",
        "_known",
        "_last",
        "_limit",
        "_look_at",
        "_mark",
        "_minter",
        "_offset",
        "_online",
        "_ping_after",
        "_receipts",
        "_remembered",
        "_repeat_due",
        "_replay_idle",
        "_replay_until",
        "_sends",
        "_sends_due",
        "_stable_at",
        "_stream",
        "_tables",
        "_user_id",
        "_wall_due",
    )

    def __init__(
        self, state: State, online: Online, stream: Stream, user_id: str, former_sends: SendTraffic | None
    ) -> None:
        policy, inbox, tokens = state.config.policy, state.inbox, state.tokens
        self._before = state
        self._online = online
        self._stream = stream
        self._user_id = user_id
        self._generation = online.generation
        self._limit = policy.downlink_limit
        self._ping_after = policy.ping_after_ms
        self._ack_debounce = policy.ack_debounce_ms
        self._replay_idle = policy.replay_idle_ms
        self._remembered = policy.remembered_messages
        self._receipts = state.config.capabilities.delivery_receipt
        self._counters = state.counters
        self._minter: Minter | None = None  # of the ids that are given out here
        self._sends: SendTraffic | None = None  # begun with the first of them
        self._former_sends = former_sends if former_sends is not None and former_sends.is_of(state.outbox) else None
        # what was heard and settled
        self._heard_at = online.heard_at
        self._last = stream.last
        self._mark = stream.mark
        self._acked: int = stream.acked
        self._first = self._deliveries = inbox.deliveries
        self._offset = inbox.deliveries - stream.last
        self._gone: list[int] = []
        self._known = inbox.known
        self._fresh: dict[str, Known] = {}
        self._tables = (*inbox.known.tables(), *inbox.recalled.tables(), self._fresh)
        # what is due
        self._ack_due, self._repeat_due, self._replay_until = inbox.ack_due, inbox.repeat_due, inbox.replay_until
        self._stable_at = online.since + policy.stable_after_ms if state.link.attempts else FAR
        self._calm_until = state.calm_until
        self._wall_due = FAR if tokens.proactive_at is None else tokens.proactive_at
        due = outbox.deadline(state.outbox)
        self._sends_due = FAR if due is None else due
        self._look_at = FAR if state.deadline is None else state.deadline

    @staticmethod
    def begin(state: State, former_sends: SendTraffic | None = None) -> "Traffic | None":
        """Take over, if this is the ordinary case; else None. ``former_sends`` are those of the Traffic before this."""
        phase, stream, credentials = state.link.phase, state.inbox.stream, state.tokens.credentials
        policy = state.config.policy
        spans = policy.ack_timeout_ms, policy.replay_idle_ms, policy.typing_expiry_ms, policy.typing_guard_ms
        if not (
            all(spans)  # what is over as it begins is left to `step`
            and type(phase) is Online
            and state.connected
            and phase.pinged_at is None
            and stream is not None
            and stream.delivery == "v2"
            and stream.generation == phase.generation
            and not len(stream.ahead)
            and state.inbox.repeat_due is not None
            and state.link.paused_since is None
            and credentials is not None
            and credentials.identity.user_id
            and not state.tokens.stopped
            and state.tokens.status not in ("absent", "logged-out")
            and not len(state.outbox.gates.gated.gates)
            and not len(state.outbox.gates.muted.gates)
            and not len(state.streams.due)
            and not len(state.streams.finished)
            and not len(state.signals.cards)
        ):
            return None
        return Traffic(state, phase, stream, credentials.identity.user_id, former_sends)

    # --- what is due ---

    @property
    def deadline(self) -> int | None:
        """As `State.deadline`."""
        due = self._others_due()
        if self._ack_due is not None and self._ack_due < due:
            due = self._ack_due
        return None if due == FAR else due

    def _others_due(self) -> int:
        """When something falls due that is no ack of ours."""
        due = self._heard_at + self._ping_after
        if self._calm_until is not None and self._calm_until < due:
            due = self._calm_until
        if self._repeat_due is not None and self._repeat_due < due:
            due = self._repeat_due
        if self._replay_until is not None and self._replay_until < due:
            due = self._replay_until
        if self._stable_at < due:
            due = self._stable_at
        sends = self._sends_due if self._sends is None else self._sends.due
        return min(sends, due)

    def handle(self, event: Event, now: Instant) -> tuple[Effect, ...] | None:
        """Do what ``step`` would do, if this is ordinary and nothing but an ack is due; else None."""
        mono = now.mono_ms
        if now.wall_ms >= self._wall_due or (mono >= self._look_at and mono >= self._others_due()):
            return None
        if isinstance(event, FrameReceived):
            done = self._receive(event, now)
        elif isinstance(event, Settle):
            done = self._settle(event.delivery, mono)
        elif isinstance(event, Send):
            done = self._send(event, now)
        elif isinstance(event, SetTyping):
            done = self._indicate(event, now)
        else:
            return self._look(now) if isinstance(event, Tick) else None
        if done is None or mono < self._look_at:
            return done
        if self._ack_due is None or mono < self._ack_due:  # what was due is no more: a message has been answered
            self._look_at = FAR if (deadline := self.deadline) is None else deadline
            return done
        return done + self._look(now)

    def _look(self, now: Instant) -> tuple[Effect, ...]:
        """What `clawproto.session.step` does where something is due, which is an ack at most: send it, and ask the
        other machines again when they want to be asked."""
        before, due, acks = self._before, self._ack_due, tuple[Effect, ...]()
        if due is not None and now.mono_ms >= due:
            self._ack_due = None
            if self._mark != self._acked:
                turn = self._turn(now)
                acks = (ack(evolve(self._stream, mark=self._mark), turn),)
                self._acked, self._repeat_due = self._mark, now.mono_ms + before.config.policy.ack_repeat_ms
        self._calm_until = deadlines.of_others(before, Turn(before.config, self._counters, now))
        self._look_at = FAR if (deadline := self.deadline) is None else deadline
        return acks

    def _minting(self) -> Minter:
        if self._minter is None:
            self._minter = Minter(self._counters.ids, self._before.config.seed)
        return self._minter

    def _turn(self, now: Instant) -> Turn:
        """For whoever does a part of it as in ``step``, and mints ids."""
        return Turn(self._before.config, self._counters, now, self._minter or self._minting())

    def _numbers(self) -> Counters:
        """All that were given out so far."""
        return self._counters if self._minter is None else evolve(self._counters, ids=self._minter.state)

    # --- what arrives ---

    def _receive(self, event: FrameReceived, now: Instant) -> tuple[Effect, ...] | None:
        """A frame, if it is a message that was never seen before and came in turn, or an ack."""
        found = decode_traffic(event.data, self._limit) if event.generation == self._generation else None
        if found is None:
            return None
        if len(found) == 3:
            sends = self._sends or self._outgoing()
            done = None if sends is None else sends.acknowledged(*found)
            if done is not None:
                self._heard(now.mono_ms)
            return done
        if len(found) == 2:
            self._heard(now.mono_ms)
            (chat_id, user_id), is_typing = found
            ours = not user_id or not chat_id or user_id == self._user_id  # nobody, nowhere, or ourselves
            return () if ours else self._typing(chat_id, user_id, is_typing, now)
        name, chat_id, chat_type, sender, message, emitted_at, ciphertext, dseq = found
        number, sender_id, message_id = self._last + 1, sender.id, message.message_id
        if dseq != number or sender_id == self._user_id or sender_id == SYSTEM_SENDER:
            return None
        for table in self._tables:
            if message_id in table:
                return None
        delivery = self._deliveries + 1
        conversational = message.message_mode in ORDINARY_MODES
        told = _new_message(
            name,
            chat_id,
            chat_type,
            sender,
            message,
            False,
            False,
            False,
            conversational,
            emitted_at,
            False,
            ciphertext,
        )
        if self._receipts and sender_id:
            turn, receipted = self._turn(now), self._generation
            receipt(receipted, chat_id, sender_id, message_id, turn)
            done = (*turn.effects, _new_emit(told, delivery))
        else:
            done, receipted = (_new_emit(told, delivery),), 0
        fresh = self._fresh
        fresh[message_id] = _new_known(fingerprint(message), not message.stream_merged, delivery, receipted)
        self._deliveries, self._last, self._heard_at = delivery, number, now.mono_ms
        if self._replay_until is not None:
            self._replay_until = now.mono_ms + self._replay_idle
        if len(fresh) == _LOT:
            self._remember()
        return done

    def _heard(self, mono: int) -> None:
        self._heard_at = mono
        if self._replay_until is not None:
            self._replay_until = mono + self._replay_idle

    def _typing(self, chat_id: str, user_id: str, is_typing: bool, now: Instant) -> tuple[Effect, ...]:
        """Somebody writes, or has stopped writing: when that is over belongs to what is due."""
        before, turn = self._before, self._turn(now)
        changed, event = signals.typing_received(before.signals, chat_id, user_id, is_typing=is_typing, turn=turn)
        if changed is before.signals:
            return ()
        if event is not None:
            turn.emit(event)
        self._before = evolve(before, signals=changed)
        return (*turn.effects, *self._look(now))  # as in `step`, the other machines are asked again

    def _remember(self) -> None:
        """Put what is fresh into the memory, which is bounded."""
        self._known = self._known.put_all(self._fresh, self._remembered)
        self._fresh = {}
        self._tables = (*self._known.tables(), *self._before.inbox.recalled.tables(), self._fresh)

    def _settle(self, delivery: int, mono: int) -> tuple[Effect, ...] | None:
        """The application is done with the event that comes next in the stream."""
        number = self._mark + 1
        if not (self._first < delivery <= self._deliveries):
            place = self._before.inbox.places.get(delivery)
            if place is None or place.number != number or place.generation != self._generation:
                return None
            self._gone.append(delivery)
        elif delivery - self._offset != number:
            return None
        self._mark = number
        if self._ack_due is None:
            self._ack_due = due = mono + self._ack_debounce
            if due < self._look_at:
                self._look_at = due
        return ()

    # --- what is ours ---

    def _outgoing(self) -> SendTraffic | None:
        if self._sends is None:
            before, former = self._before, self._former_sends
            self._sends = SendTraffic.begin(before.outbox, before.config, self._generation, self._minting(), former)
        return self._sends

    @property
    def sends(self) -> SendTraffic | None:
        """What the next Traffic may go on with."""
        sends = self._sends or self._former_sends
        return None if sends is None or sends.is_empty else sends

    def _send(self, command: Send, now: Instant) -> tuple[Effect, ...] | None:
        """A message of ours."""
        sends = self._sends or self._outgoing()
        done = None if sends is None else sends.send(command, now)
        if sends is not None and done is not None and (due := now.mono_ms + sends.ack_timeout) < self._look_at:
            self._look_at = due
        return done

    def _indicate(self, command: SetTyping, now: Instant) -> tuple[Effect, ...]:
        """We begin or cease to write in a chat. All others wait for what they waited for, seen from now."""
        before, turn = self._before, self._turn(now)
        way, generation = before.outbox.gates, self._generation
        typing = indicator.set_typing(before.typing, command.chat_id, command.is_typing, way, generation, turn)
        if typing is not before.typing:
            self._before = evolve(before, typing=typing)
            self._calm_until = calm = deadlines.of_others(self._before, turn)
            if calm is not None and calm < self._look_at:
                self._look_at = calm
        return tuple(turn.effects)

    # --- the state ---

    def state(self) -> State:
        """The state as ``step`` would have it."""
        before, link = self._before, self._before.link
        if self._heard_at != self._online.heard_at:
            link = evolve(link, phase=evolve(self._online, heard_at=self._heard_at))
        return evolve(
            before,
            counters=self._numbers(),
            deadline=self.deadline,
            calm_until=self._calm_until,
            link=link,
            inbox=self._inbox(),
            outbox=before.outbox if self._sends is None else self._sends.state(),
        )

    def _inbox(self) -> InboxState:
        before, stream, offset, generation = self._before.inbox, self._stream, self._offset, self._generation
        if self._last != stream.last or self._mark != stream.mark or self._acked != stream.acked:
            stream = evolve(stream, last=self._last, mark=self._mark, acked=self._acked)
        held = range(max(self._first, self._mark + offset) + 1, self._deliveries + 1)
        places = {delivery: Place(generation, delivery - offset) for delivery in held}
        if self._fresh:
            self._remember()
        return evolve(
            before,
            stream=stream,
            deliveries=self._deliveries,
            places=before.places.changed(set(self._gone), places),
            known=self._known,
            ack_due=self._ack_due,
            repeat_due=self._repeat_due,
            replay_until=self._replay_until,
        )
