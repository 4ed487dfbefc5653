"""The tokens of one session, as the rules have them: who may refresh when, and what must follow on what.

Written from docs/protocol.md alone. It knows nothing of the session's own state: it is told what the session was told
and did, and says what was not allowed, or is missing. Times are monotonic milliseconds unless named otherwise.
"""

import json

from attrs import define, field

from clawproto.credentials import Credentials, TokenPair
from clawproto.effects import Effect, Emit, Logout, Persist, RecordIntent, Reload, RequestRefresh, Resolve, Swap
from clawproto.events import HttpAnswered, HttpFailed, Refresh, Reloaded, Stop, StoreConflicted, Stored, StoreFailed
from clawproto.jwt import read_claims

SECOND, MINUTE, HOUR = 1_000, 60_000, 3_600_000
FLOOR = 30 * SECOND  # REF-16
UNKNOWN_WAIT, GRACE = 2 * SECOND, 90 * SECOND  # REF-44


def due_window(pair: TokenPair) -> tuple[int, int, int]:
    """Wall clock: earliest and latest proactive refresh, and from when the token is near expiry (TOK-7 to 11, 19)."""
    claims = read_claims(pair.access.reveal())
    assert claims.exp_ms is not None and claims.iat_ms is not None
    life = claims.exp_ms - claims.iat_ms
    lead = min(max(life // 4, 30 * MINUTE), 2 * HOUR)
    clipped = min(lead, life // 2)
    earlier, later = min(5 * MINUTE, life // 2 - clipped), min(5 * MINUTE, clipped // 2)
    near = claims.exp_ms - clipped
    return near - earlier, near + later, near


def backoff_range(failures: int) -> tuple[int, int]:
    """REF-20."""
    base = min(30 * SECOND, SECOND * 2 ** min(failures - 1, 10))
    return base * 3 // 4, min(30 * SECOND, base * 5 // 4)


@define
class TokenModel:
    """What is known of the pair in force and of the attempt under way.

    Attributes:
        pair: in force; None after a logout.
        stage: of the attempt: idle, intent (being recorded), request, save, reread, clear.
        held: the new pair that is not saved yet.
        rejected: the hub has refused this very token (REF-23).
        armed: the proactive timer runs: since a connection became ready or a refresh succeeded, until a connection was
            lost (TOK-12).
        earliest, latest: when the session may, and must, try again after a transient outcome.
        not_before: no attempt at all before (REF-44, REF-47).
        callers: commands that get the outcome (REF-12).
    """

    pair: TokenPair | None
    generation: int
    stage: str = "idle"
    operation: int = 0
    request: int = 0
    held: Credentials | None = None
    saves_failed: int = 0
    save_at: int | None = None
    last_attempt: int | None = None
    failures: int = 0
    earliest: int = 0
    latest: int = 0
    not_before: int = 0
    lost_until: int = 0
    rejected: bool = False
    armed: bool = False
    stopped: bool = False
    logged_out: bool = False
    callers: list[int] = field(factory=list[int])
    decided: dict[int, str] = field(factory=dict[int, str])

    # --- questions of the others ---

    @property
    def blocks_sockets(self) -> bool:
        """REF-29; a pair that could not be saved at once holds no socket up (REF-10)."""
        return self.stage not in ("idle", "save") or (self.stage == "save" and self.saves_failed == 0)

    @property
    def usable(self) -> bool:
        """There is a token that may be shown to a hub (REF-23, OUT-7)."""
        return self.pair is not None and not self.rejected and not self.stopped

    def is_near(self, wall: int) -> bool:
        return self.pair is not None and wall >= due_window(self.pair)[2]

    def has_refresh(self) -> bool:
        return self.pair is not None and self.pair.refresh is not None

    # --- what happens ---

    def told(self, event: object, mono: int) -> list[type]:
        """The session is told something; returns the effects that must follow at once."""
        match event:
            case Refresh(command):
                return self._asked(command, mono)
            case Stop():
                self.stopped = True
            case Stored(operation, generation) if operation == self.operation:
                return self._stored(generation)
            case StoreFailed(operation) if operation == self.operation:
                return self._store_failed(mono)
            case StoreConflicted(operation, stored) if operation == self.operation:
                if self.stage == "save" and self._holds_the_newer(stored):
                    assert stored is not None
                    self.generation = stored.generation
                    return [Persist]
                return self._sibling(stored)
            case Reloaded(operation, stored) if operation == self.operation and self.stage == "reread":
                return self._sibling(stored) if self._is_newer(stored) else self._refused()
            case HttpAnswered(request, answer) if request == self.request and self.stage == "request":
                return self._answered(answer.status, answer.body, answer.header("retry-after"), mono)
            case HttpFailed(request, sent) if request == self.request and self.stage == "request":
                return self._transient(mono, unknown=sent)
            case _:
                pass
        return []

    def _asked(self, command: int, mono: int) -> list[type]:
        """REF-12, REF-13: the first check that hits decides."""
        self.decided[command] = "pending"
        if self.stopped:
            self.decided[command] = "RefreshSkipped"
        elif self.stage != "idle" and not (self.stage == "save" and self.saves_failed):
            self.callers.append(command)
        elif self.stage != "idle" or self.logged_out or not self.may_attempt(mono) or not self.has_refresh():
            self.decided[command] = "RefreshSkipped"
        else:
            self.callers.append(command)
            return [RecordIntent]
        return []

    def may_attempt(self, mono: int) -> bool:
        """REF-16, REF-44, REF-47."""
        return mono >= self.not_before and (self.last_attempt is None or mono >= self.last_attempt + FLOOR)

    def _stored(self, generation: int) -> list[type]:
        if self.stage == "intent" and self.stopped:  # nothing is on its way yet, and nothing goes out any more
            self._end("RefreshSkipped")
        elif self.stage == "intent":
            return [RequestRefresh]
        if self.stage == "save":
            assert self.held is not None
            self._in_force(self.held.tokens, generation)
            return [Swap]
        if self.stage == "clear":
            self._end("RefreshRefused")
        return []

    def _store_failed(self, mono: int) -> list[type]:
        match self.stage:
            case "save":
                self.saves_failed += 1
                self.save_at = mono + min(5 * SECOND, 100 * 2 ** (self.saves_failed - 1))  # REF-10
                self._callers_get("RefreshFailed")
            case "intent" | "reread":
                return self._transient(mono, unknown=False)
            case "clear":
                self._end("RefreshRefused")
            case _:
                pass
        return []

    def _is_newer(self, stored: Credentials | None) -> bool:
        return stored is not None and stored.tokens is not None and stored.tokens != self.pair

    def _holds_the_newer(self, stored: Credentials | None) -> bool:
        """Of two pairs the one that was issued later counts: it is saved over the other (REF-49)."""
        if self.held is None or self.held.tokens is None or stored is None or stored.tokens is None:
            return False
        ours, theirs = (read_claims(one.access.reveal()).iat_ms for one in (self.held.tokens, stored.tokens))
        return ours is not None and theirs is not None and ours > theirs

    def _sibling(self, stored: Credentials | None) -> list[type]:
        """Another process has rotated: its pair is taken up (REF-45, REF-49)."""
        assert stored is not None and stored.tokens is not None
        self._in_force(stored.tokens, stored.generation)
        return [Swap]

    def _in_force(self, pair: TokenPair | None, generation: int) -> None:
        self.pair, self.generation, self.held, self.rejected = pair, generation, None, False
        self.failures = self.earliest = self.latest = self.saves_failed = self.lost_until = 0
        self.save_at, self.armed = None, True
        self._end("RefreshSucceeded")

    def _refused(self) -> list[type]:
        self.stage, self.pair, self.logged_out = "clear", None, True
        return [Logout]

    def _answered(self, status: int, body: bytes, retry_after: str | None, mono: int) -> list[type]:
        """REF-4, REF table."""
        if status != 200:
            if retry_after is not None and status in (429, 503):
                self.not_before = mono + min(HOUR, int(retry_after) * SECOND)
            return self._transient(mono, unknown=status not in (429, 503))
        envelope = json.loads(body)
        if envelope["code"] == 0:
            self.stage = "save"
            return [Persist]
        if envelope["code"] in (400, 10003):
            self.stage = "reread"
            return [Reload]
        return self._transient(mono, unknown=False)

    def _transient(self, mono: int, *, unknown: bool) -> list[type]:
        self.failures += 1
        least, most = backoff_range(self.failures)
        self.earliest, self.latest = mono + least, mono + most
        if unknown:
            self.not_before = max(self.not_before, mono + UNKNOWN_WAIT)
            self.lost_until = mono + GRACE
        self._end("RefreshFailed")
        return []

    def _end(self, outcome: str) -> None:
        self.stage = "idle"
        self._callers_get(outcome)

    def _callers_get(self, outcome: str) -> None:
        for command in self.callers:
            self.decided[command] = outcome
        self.callers.clear()

    # --- what it does ---

    def did(self, effect: Effect, mono: int, wall: int, *, online: bool, reason: str) -> None:
        """Check one effect. ``reason`` is what else may start a refresh in this step (REF-31)."""
        match effect:
            case RecordIntent(operation, intent):
                self._begins(mono, wall, online=online, reason=reason)
                assert self.pair is not None and self.pair.refresh is not None
                assert intent.refresh_digest == self.pair.refresh.digest and intent.generation == self.generation
                self.stage, self.operation, self.last_attempt = "intent", operation, mono
            case RequestRefresh(request, http):
                assert self.stage == "intent", "a request without its record (REF-46)"
                assert self.pair is not None and self.pair.refresh is not None and http.body is not None
                assert json.loads(http.body) == {"refresh_token": self.pair.refresh.reveal()}
                self.stage, self.request = "request", request
            case Persist(operation, credentials, replaces):
                assert self.stage == "save", "a save without a rotation"
                assert replaces == self.generation and credentials.generation == self.generation + 1, "REF-49"
                assert self.held is None or self.held.tokens == credentials.tokens, "the held pair has changed"
                assert self.save_at is None or mono >= self.save_at, "saved again too early (REF-10)"
                self.held, self.operation, self.save_at = credentials, operation, None
            case Swap(tokens):
                assert tokens == self.pair, "another pair than the one that was saved (REF-9)"
            case Reload(operation):
                if self.stage == "reread":
                    self.operation = operation
            case Logout(operation, refused=_, replaces=replaces):
                assert self.stage == "clear" and replaces == self.generation, "OUT-1"
                self.operation = operation
            case Resolve(command, result) if command in self.decided:
                name = type(result).__name__
                assert self.decided.pop(command) == name, f"{command} got {name}"
            case Emit():
                pass
            case _:
                pass

    def _begins(self, mono: int, wall: int, *, online: bool, reason: str) -> None:
        assert self.stage == "idle", "two at a time (REF-12)"
        assert not self.stopped and not self.logged_out, "REF-32, OUT-7"
        assert self.has_refresh(), "REF-34"
        assert self.may_attempt(mono), "before the floor (REF-16), or too soon after an unknown answer"
        if reason:
            return
        assert self.pair is not None
        due = (online or self.armed) and wall >= due_window(self.pair)[0]
        again = self.failures > 0 and (self.rejected or mono < self.lost_until or wall >= due_window(self.pair)[0])
        assert due or again or self.rejected, "nobody wanted it (REF-31)"
        assert mono >= self.earliest, "before the end of the backoff (REF-20)"

    def check(self, mono: int, wall: int, *, online: bool) -> None:
        """After a Tick: nothing that was due is left undone."""
        assert self.save_at is None or mono < self.save_at, "the save was not repeated (REF-10)"
        assert not [command for command in self.decided if self.decided[command] != "pending"], "a caller hangs"
        if self.stage != "idle" or self.stopped or self.logged_out or not self.has_refresh():
            return
        assert self.pair is not None
        wanted = self.rejected or (online and wall >= due_window(self.pair)[1])
        if wanted and self.may_attempt(mono) and mono >= self.latest:
            raise AssertionError("a refresh is overdue (TOK-12, REF-21)")
