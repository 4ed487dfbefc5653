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

from attrs import define

from clawproto import outbox
from clawproto.app_events import MessageReceived
from clawproto.effects import Effect, Emit
from clawproto.events import FrameReceived, Send, Settle
from clawproto.evolving import evolve
from clawproto.ids import Minter
from clawproto.inbox import ORDINARY_MODES, SYSTEM_SENDER, fingerprint, receipt
from clawproto.inbox_state import Known, Place
from clawproto.instant import Instant
from clawproto.link_state import Online
from clawproto.outbox_state import OutboxState
from clawproto.recent import Recent
from clawproto.state import State
from clawproto.timing import earliest
from clawproto.traffic_out import FAR, SendTraffic
from clawproto.turn import Counters, Turn
from clawproto.wire.codec import decode_traffic
from clawproto.wire.values import MessagePayload


@define
class Traffic:
    """What a live connection changes with every message, kept aside. Private to `clawproto.session.Session`."""

    _before: State
    _generation: int
    _user_id: str
    _limit: int
    _fixed_due: int
    _sends_due: int
    _wall_due: int
    _last: int
    _mark: int
    _heard_at: int
    _ack_due: int | None
    _replay_until: int | None
    _deliveries: int
    _known: Recent[Known]
    _taken: dict[int, int]
    _gone: list[int]
    _deadline: int
    _ping_after: int
    _ack_debounce: int
    _replay_idle: int
    _remembered: int
    _receipts: bool
    _counters: Counters
    _sends: SendTraffic | None = None  # begun with the first of them

    @staticmethod
    def begin(state: State) -> "Traffic | None":
        """Take over, if this is the ordinary case; else None."""
        phase, stream, credentials = state.link.phase, state.inbox.stream, state.tokens.credentials
        if not (
            type(phase) is Online
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
        policy, proactive = state.config.policy, state.tokens.proactive_at
        fixed = earliest(
            state.calm_until,
            state.inbox.repeat_due,
            phase.since + policy.stable_after_ms if state.link.attempts else None,
        )
        return Traffic(
            state,
            phase.generation,
            credentials.identity.user_id,
            policy.downlink_limit,
            FAR if fixed is None else fixed,
            _sends_due(state.outbox),
            FAR if proactive is None else proactive,
            stream.last,
            stream.mark,
            phase.heard_at,
            state.inbox.ack_due,
            state.inbox.replay_until,
            state.inbox.deliveries,
            state.inbox.known,
            {},
            [],
            FAR if state.deadline is None else state.deadline,
            policy.ping_after_ms,
            policy.ack_debounce_ms,
            policy.replay_idle_ms,
            policy.remembered_messages,
            state.config.capabilities.delivery_receipt,
            state.counters,
        )

    @property
    def deadline(self) -> int | None:
        """As `State.deadline`."""
        return None if self._deadline == FAR else self._deadline

    def handle(self, event: FrameReceived | Settle | Send, now: Instant) -> tuple[Effect, ...] | None:
        """Do what ``step`` would do, if this is ordinary and nothing else is due; else None."""
        if now.mono_ms >= self._deadline or now.wall_ms >= self._wall_due:
            return None
        if isinstance(event, FrameReceived):
            return self._receive(event, now)
        return self._settle(event.delivery, now) if isinstance(event, Settle) else self._send(event, now)

    def _receive(self, event: FrameReceived, now: Instant) -> tuple[Effect, ...] | None:
        """A frame, if it is a message that was never seen before and came in turn."""
        if event.generation != self._generation:
            return None
        frame = decode_traffic(event.data, self._limit)
        if frame is None:
            return None
        if isinstance(frame, tuple):
            return self._acknowledged(*frame, now)
        message, sender, number = frame.payload, frame.sender, self._last + 1
        if type(message) is not MessagePayload or frame.dseq != number or sender is None:
            return None
        sender_id, message_id, before = sender.id, message.message_id, self._before
        if (
            sender_id == self._user_id
            or sender_id == SYSTEM_SENDER
            or self._known.get(message_id) is not None
            or before.inbox.recalled.get(message_id) is not None
        ):
            return None
        delivery = self._deliveries + 1
        told = MessageReceived(
            frame.event,
            frame.chat_id or "",
            frame.chat_type,
            sender,
            message,
            False,
            False,
            False,
            message.message_mode in ORDINARY_MODES,
            frame.emitted_at,
            False,
            frame.ciphertext_fragments,
        )
        done: tuple[Effect, ...] = (Emit(told, delivery),)
        if self._receipts and sender_id:
            turn = Turn(before.config, self._numbers(), now)
            receipt(self._generation, frame, sender_id, message_id, turn)
            self._counters, done = turn.counters, (*turn.effects, *done)
            if self._sends is not None:
                self._sends.minter = Minter(turn.counters.ids, before.config.seed)
            known = Known(fingerprint(message), not message.stream_merged, delivery, self._generation)
        else:
            known = Known(fingerprint(message), not message.stream_merged, delivery)
        self._known = self._known.put(message_id, known, self._remembered)
        self._deliveries = delivery
        self._taken[delivery] = self._last = number
        self._heard(now.mono_ms)
        self._arm()
        return done

    def _heard(self, mono: int) -> None:
        self._heard_at = mono
        if self._replay_until is not None:
            self._replay_until = mono + self._replay_idle

    def _outgoing(self) -> SendTraffic | None:
        if self._sends is None:
            before = self._before
            self._sends = SendTraffic.begin(before.outbox, before.config, self._generation, self._counters.ids)
        return self._sends

    def _numbers(self) -> Counters:
        """All that were given out so far."""
        return self._counters if self._sends is None else evolve(self._counters, ids=self._sends.minter.state)

    def _acknowledged(
        self, trace_id: str, message_id: str | None, accepted_at: int | None, now: Instant
    ) -> tuple[Effect, ...] | None:
        """An ack of a message; acks bear no stamp."""
        sends = self._sends or self._outgoing()
        done = None if sends is None else sends.acknowledged(trace_id, message_id, accepted_at)
        if sends is None or done is None:
            return None
        self._sends_due = sends.due
        self._heard(now.mono_ms)
        self._arm()
        return done

    def _send(self, command: Send, now: Instant) -> tuple[Effect, ...] | None:
        """A message of ours."""
        sends = self._sends or self._outgoing()
        done = None if sends is None else sends.send(command, now)
        if sends is None or done is None:
            return None
        if sends.due != self._sends_due:
            self._sends_due = sends.due
            self._arm()
        return done

    def _settle(self, delivery: int, now: Instant) -> tuple[Effect, ...] | None:
        """The application is done with the event that comes next in the stream."""
        number = self._mark + 1
        if self._taken.get(delivery) == number:
            del self._taken[delivery]
        else:
            place = self._before.inbox.places.get(delivery)
            if place is None or place.number != number or place.generation != self._generation:
                return None
            self._gone.append(delivery)
        self._mark = number
        if self._ack_due is None:
            self._ack_due = now.mono_ms + self._ack_debounce
            self._arm()
        return ()

    def _arm(self) -> None:
        due = self._heard_at + self._ping_after
        if self._fixed_due < due:
            due = self._fixed_due
        if self._sends_due < due:
            due = self._sends_due
        if self._ack_due is not None and self._ack_due < due:
            due = self._ack_due
        if self._replay_until is not None and self._replay_until < due:
            due = self._replay_until
        self._deadline = due

    def state(self) -> State:
        """The state as ``step`` would have it."""
        before, link, inbox = self._before, self._before.link, self._before.inbox
        phase, stream = link.phase, inbox.stream
        assert type(phase) is Online and stream is not None
        if self._heard_at != phase.heard_at:
            link = evolve(link, phase=Online(phase.generation, phase.since, self._heard_at))
        if self._last != stream.last or self._mark != stream.mark:
            places = inbox.places
            for delivery in self._gone:
                places = places.remove(delivery)
            for delivery, number in self._taken.items():
                places = places.set(delivery, Place(self._generation, number))
            inbox = evolve(
                inbox,
                stream=evolve(stream, last=self._last, mark=self._mark),
                deliveries=self._deliveries,
                places=places,
                known=self._known,
                ack_due=self._ack_due,
            )
        if self._replay_until != inbox.replay_until:
            inbox = evolve(inbox, replay_until=self._replay_until)
        sent = before.outbox if self._sends is None else self._sends.state()
        return evolve(before, counters=self._numbers(), deadline=self.deadline, link=link, inbox=inbox, outbox=sent)


def _sends_due(sends: OutboxState) -> int:
    due = outbox.deadline(sends)
    return FAR if due is None else due
