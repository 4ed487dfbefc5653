"""The socket of one session, and what goes over it, as the rules have them: backoff, handshake, acks, sends."""

import json
from typing import Any

from attrs import define, field

from clawproto.effects import Abort, Close, Effect, Emit, Open, Reconnect, Resolve, SendFrame
from clawproto.results import Receipt, SendRejected, SendUndecided

SECOND = 1_000
HANDSHAKE, CLOSING, STABLE = 10 * SECOND, 5 * SECOND, 5 * SECOND  # HS-4, CLOSE-12, CLOSE-4
ACK_DEBOUNCE, ACK_REPEAT, ACK_DEADLINE = 200, 30 * SECOND, 15 * SECOND  # R2-13, R2-15, SEND-13
PING_AFTER, PONG_WITHIN = 30 * SECOND, 10 * SECOND  # HB-6


@define
class Sent:
    """A message of ours.

    Attributes:
        deadline: 15 s after the last transmission on the socket that lives; None while none runs.
        told: its caller has been told that it is undecided.
    """

    command: int
    message_id: str = ""
    payload: str = ""
    trace_ids: list[str] = field(factory=list[str])
    deadline: int | None = None
    told: bool = False


@define
class LinkModel:
    """One socket at a time.

    Attributes:
        phase: down, opening, waiting (for the challenge), greeting, online, closing, ended.
        earliest, latest: when the next socket may, and must, be opened.
        planned: the socket is being changed on purpose (REF-26).
    """

    phase: str = "down"
    generation: int = 0
    since: int = 0
    heard: int = 0
    pinged: int | None = None
    attempts: int = 0
    takeovers: int = 0
    taken_over_at: int = 0
    earliest: int = 0
    latest: int = 0
    planned: bool = False
    # acks of this connection
    epoch: str = ""
    last: int = 0
    settled: set[int] = field(factory=set[int])
    acked: int = 0
    ack_due: int | None = None
    acked_at: int = 0
    places: dict[int, int] = field(factory=dict[int, int])
    # sends, in the order of their commands
    sends: list[Sent] = field(factory=list[Sent])

    @property
    def online(self) -> bool:
        return self.phase == "online"

    @property
    def mark(self) -> int:
        """R2-9."""
        number = 0
        while number + 1 in self.settled:
            number += 1
        return number

    # --- the socket ---

    def lost(self, mono: int, *, code: int | None = None, by_us: bool = False) -> None:
        """The socket is gone, or given up ``by_us`` for a known reason: backoff (CLOSE-2 to CLOSE-5, CLOSE-9)."""
        if self.online and mono - self.since >= STABLE:
            self.attempts = 0
        unexplained, floor = self.online and not by_us, 0
        self.attempts += 1
        base = min(30 * SECOND, 500 * 2 ** min(self.attempts - 1, 10))
        if code == 4001:
            again = self.takeovers and mono - self.taken_over_at < 600 * SECOND
            self.takeovers = self.takeovers + 1 if again else 1
            self.taken_over_at = mono
            floor = min(60 * SECOND, 5 * SECOND * 2 ** min(self.takeovers - 1, 10))  # O-10
        elif unexplained:
            floor = 5 * SECOND
        self.earliest = mono + max(base, floor)
        self.latest = mono + max(base * 13 // 10, floor * 13 // 10)
        self._gone()

    def changed_on_purpose(self, mono: int) -> None:
        """The old socket of a planned change is closed: the next one comes at once (REF-26)."""
        self.attempts = 0
        self.earliest = self.latest = mono
        self._gone()

    def hurry(self, mono: int) -> None:
        """Another token is in force: reconnect at once, but for the floor of CLOSE-5 (REF-22, REF-26, REF-42)."""
        if self.phase == "down":
            self.earliest, self.attempts = min(self.earliest, mono), 0

    def _gone(self) -> None:
        self.phase, self.planned, self.pinged, self.ack_due = "down", False, None, None
        for sent in self.sends:
            sent.deadline = None

    def hello(self, mono: int, epoch: str) -> None:
        """R2-3."""
        self.phase, self.since, self.heard, self.acked_at = "online", mono, mono, mono
        self.epoch, self.last, self.acked, self.ack_due = epoch, 0, 0, None
        self.settled, self.places = set(), {}

    def settle(self, number: int, mono: int) -> None:
        """R2-9, R2-13."""
        before = self.mark
        self.settled.add(number)
        if self.mark > before and self.ack_due is None and self.online:
            self.ack_due = mono + ACK_DEBOUNCE

    # --- what it does ---

    def did(self, effect: Effect, mono: int, *, may_open: bool, refreshing: bool) -> None:
        """Check one effect. ``refreshing``: a refresh is under way, for which a handshake makes room (REF-29)."""
        match effect:
            case Open(generation):
                assert self.phase == "down" and generation == self.generation + 1
                assert may_open, "a socket that must not be opened (REF-23, REF-29, OUT-7)"
                assert mono >= self.earliest, f"{self.earliest - mono} ms too early (CLOSE-2 to CLOSE-5)"
                self.phase, self.generation, self.since = "opening", generation, mono
            case SendFrame(generation, text, event):
                assert generation == self.generation
                self._wrote(json.loads(text), event, mono)
            case Reconnect(generation) | Close(generation):
                assert generation == self.generation and self.phase not in ("down", "ended", "closing")
                assert not self.online or self.acked == self.mark, "closed without the ack (R2-16)"
                self.planned = isinstance(effect, Reconnect)
                if not self.planned:
                    self.lost(mono, by_us=True)
                self.phase, self.since = "closing", mono
            case Abort(generation):
                assert generation == self.generation
                if self.planned:
                    self.changed_on_purpose(mono)
                elif self.phase == "closing" or refreshing:
                    self._gone()
                elif self.phase != "down":
                    self.lost(mono, by_us=True)
            case _:
                pass

    def _wrote(self, frame: dict[str, Any], event: str, mono: int) -> None:
        assert event == frame["event"]
        if event == "connect":
            assert self.phase == "waiting", "connect without a challenge (HS-2)"
            self.phase = "greeting"
            return
        assert self.online, f"{event} before hello-ok or after the end (HS-9)"
        match event:
            case "message.sync_ack":
                assert frame["payload"] == {"dseq": self.mark, "epoch": self.epoch}, "R2-9, R2-12"
                assert self.mark > 0, "R2-34"
                self.acked, self.acked_at, self.ack_due = self.mark, mono, None
            case "message.send":
                self._transmitted(frame, mono)
            case "ping":
                assert mono - self.heard >= PING_AFTER and self.pinged is None
                self.pinged = mono
            case _:
                raise AssertionError(f"nobody asked for {event}")

    def _transmitted(self, frame: dict[str, Any], mono: int) -> None:
        message_id, payload = frame["payload"]["message_id"], json.dumps(frame["payload"])
        sent = next((one for one in self.sends if one.message_id == message_id), None)
        if sent is None:
            sent = next(one for one in self.sends if not one.message_id)  # in the order of the commands (SEND-17)
            sent.message_id, sent.payload = message_id, payload
        assert sent.payload == payload, "a retransmission has changed (SEND-5)"
        sent.trace_ids.append(frame["trace_id"])
        sent.deadline = None if sent.told else mono + ACK_DEADLINE

    # --- answers to sends ---

    def resolved(self, effect: Resolve, mono: int) -> None:
        """SEND-13, SEND-14: only the deadline decides by itself; answers are looked at by `answered`."""
        sent = next((one for one in self.sends if one.command == effect.command), None)
        if sent is None or not isinstance(effect.result, SendUndecided):
            return
        assert sent.deadline is not None and mono >= sent.deadline and not sent.told, "told undecided too early"
        sent.told, sent.deadline = True, None

    def answered(self, sent: Sent, effects: tuple[Effect, ...], *, accepted: bool) -> None:
        """The hub has decided: the caller, or the application if the caller was told before, learns it (SEND-15)."""
        self.sends.remove(sent)
        decided = [item.result for item in effects if isinstance(item, Resolve) and item.command == sent.command]
        late = [item.event for item in effects if isinstance(item, Emit) and type(item.event).__name__ == "SendSettled"]
        if sent.told:
            assert decided == [] and [event.accepted for event in late] == [accepted]  # type: ignore[union-attr]
        else:
            assert late == [] and [type(item) for item in decided] == [Receipt if accepted else SendRejected]

    # --- nothing that was due is left undone ---

    def check(self, mono: int, *, may_open: bool) -> None:
        if self.phase == "down" and may_open:
            assert mono < self.latest or mono == self.latest == 0, "no socket although it is time (CLOSE-3)"
        if self.phase in ("waiting", "greeting"):
            assert mono < self.since + HANDSHAKE, "the handshake takes for ever (HS-4)"
        if self.phase == "closing":
            assert mono < self.since + CLOSING, "the closing takes for ever (CLOSE-12)"
        if not self.online:
            return
        assert self.ack_due is None or mono < self.ack_due, "an ack is overdue (R2-13)"
        # A first mark that moves when the 30 s since the connection are just over has never been sent: R2-13 sends it.
        repeats = self.mark and self.ack_due is None
        assert not repeats or mono < self.acked_at + ACK_REPEAT, "the regular ack is overdue (R2-15)"
        if mono >= self.heard + PING_AFTER:
            assert self.pinged is not None and mono < self.pinged + PONG_WITHIN, "a dead peer is not noticed (HB-6)"
        for sent in self.sends:
            assert sent.message_id, "a message waits although the hub is there"
            assert sent.deadline is None or mono < sent.deadline, "a deadline has passed unnoticed (SEND-13)"
