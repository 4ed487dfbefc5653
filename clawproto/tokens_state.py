"""The token machine's branch of the state, and the questions that other machines ask of it."""

from functools import cached_property
from typing import Literal, TypeAlias

from clawproto.app_events import LogoutCause
from clawproto.credentials import Credentials, Guard, Identity, Intent, TokenPair
from clawproto.deferred import frozen
from clawproto.evolving import evolve
from clawproto.instant import Instant
from clawproto.policy import Policy
from clawproto.timing import TokenTimes, earliest
from clawproto.turn import Trigger


@frozen
class Flight:
    """One refresh on its way. It belongs to the machine; callers only subscribe (REF-48).

    Attributes:
        identity: whose pair it is, even if other credentials are loaded meanwhile.
        tokens: the pair that was current when it began; the refresh token is the one being spent.
        generation: of the stored record that the new pair will replace.
        callers: commands that get the outcome (REF-12).
    """

    trigger: Trigger
    identity: Identity
    tokens: TokenPair
    generation: int
    callers: tuple[int, ...] = ()


@frozen
class Idle:
    """Nothing under way."""


@frozen
class Recording:
    """The intent is being saved; the request has not left."""

    flight: Flight
    operation: int
    intent: Intent


@frozen
class Requesting:
    """The request is under way."""

    flight: Flight
    request: int


@frozen
class Saving:
    """The server has rotated; the new pair is held until the store confirms it (REF-10).

    Attributes:
        operation: the save under way, or None while waiting for `retry_at`.
        failures: saves that failed in a row.
        retry_at: monotonic ms of the next try.
    """

    flight: Flight
    held: Credentials
    replaces: int | None
    operation: int | None
    failures: int = 0
    retry_at: int | None = None


@frozen
class Rereading:
    """Refused for good: the store is read again before anything is given up (REF-30, REF-45)."""

    flight: Flight
    operation: int
    code: int
    text: str


@frozen
class LoggingOut:
    """The store is forgetting the pair; then the callers get their outcome."""

    flight: Flight
    operation: int
    code: int
    text: str
    cause: LogoutCause
    replaces: int


TokenPhase: TypeAlias = Idle | Recording | Requesting | Saving | Rereading | LoggingOut


@frozen
class Cleanup:
    """A store that could not forget the pair is asked again until it does (OUT-6)."""

    identity: Identity
    refused: str
    replaces: int
    cause: LogoutCause
    operation: int | None
    failures: int
    retry_at: int | None


SPENT_KEPT = 32  # rotations back to which a stale record is known as such

Status: TypeAlias = Literal["absent", "usable", "needed", "logged-out"]


@frozen
class TokenState:
    """Everything that the token machine knows.

    Attributes:
        status: absent = never paired; usable; needed = rejected and nothing to refresh with (OUT-10); logged-out.
        credentials: identity and the pair in force; None only if absent.
        times: of the access token in force; None if its expiry is unknown (TOK-6).
        latch: digest of the access token whose refresh was refused for good (REF-14).
        rejected: digest of the access token that got ``authentication failed`` (REF-23).
        last_attempt: begin of the last attempt; None means never (REF-18, D-47).
        last_attempt_token: digest of the access token it was made for (REF-17).
        failures: transient outcomes in a row (REF-20).
        backoff_until: end of the backoff after them.
        not_before: no attempt at all before this: unknown answer (REF-44) or Retry-After (REF-47).
        hold_until: no proactive attempt before this (TOK-22).
        armed: the proactive timer runs (TOK-12).
        starting: the check before the first connect is still to be made (TOK-14).
        lost_until: monotonic ms until which a rotation whose answer was lost is worth an attempt of its own: it was
            sent by this session (REF-44), or an intent tells of it (REF-46).
        spent: digests of the refresh tokens that this session's rotations used up, the newest last, a bounded number; a
            stale record that still holds one is not taken up.
        unknown: some attempt to spend the current refresh token ended without an answer.
        offset: server clock minus wall clock, as applied (TOK-20).
        blank_reported: the fault of REF-37 was reported for these credentials.
        last_error: for `status` displays; never holds a token.
    """

    status: Status = "absent"
    credentials: Credentials | None = None
    times: TokenTimes | None = None
    phase: TokenPhase = Idle()
    latch: str | None = None
    rejected: str | None = None
    last_attempt: Instant | None = None
    last_attempt_token: str | None = None
    failures: int = 0
    backoff_until: int = 0
    not_before: int = 0
    hold_until: int = 0
    armed: bool = False
    starting: bool = False
    lost_until: int | None = None
    spent: tuple[str, ...] = ()
    unknown: bool = False
    offset: int = 0
    stopped: bool = False
    cleanup: Cleanup | None = None
    poll_at: int | None = None
    poll_operation: int | None = None
    blank_reported: bool = False
    last_error: str | None = None

    # Asked for in every step, while the state changes once a day.

    @cached_property
    def retry_at(self) -> int | None:
        """Monotonic ms at which the store is to be asked again."""
        phase, cleanup = self.phase, self.cleanup
        return earliest(
            self.poll_at,
            phase.retry_at if isinstance(phase, Saving) else None,
            None if cleanup is None else cleanup.retry_at,
        )

    @cached_property
    def can_refresh(self) -> bool:
        """Whether the session could begin a refresh of its own, were it due."""
        pair = current_tokens(self)
        return isinstance(self.phase, Idle) and not self.stopped and not self.blank_reported and can_rotate(pair)

    @cached_property
    def proactive_at(self) -> int | None:
        """Wall-clock instant of the armed proactive refresh, or None (TOK-12, TOK-13)."""
        times = self.times
        return None if times is None or not self.armed else times.local(times.refresh_at_ms, self.offset)


def current_tokens(tokens: TokenState) -> TokenPair | None:
    """The pair in force."""
    return None if tokens.credentials is None or tokens.status != "usable" else tokens.credentials.tokens


def current_digest(tokens: TokenState) -> str | None:
    """Digest of the access token in force."""
    pair = current_tokens(tokens)
    return None if pair is None else pair.access.digest


def can_rotate(pair: TokenPair | None) -> bool:
    """Whether there is a refresh token to spend (REF-34)."""
    return pair is not None and pair.refresh is not None and not pair.refresh.is_blank


def is_current(tokens: TokenState, flight: Flight) -> bool:
    """Whether the flight is about the pair in force; other credentials may have been loaded since it began."""
    pair = current_tokens(tokens)
    return pair is not None and pair.refresh == flight.tokens.refresh


def remember_spent(tokens: TokenState, flight: Flight) -> TokenState:
    """The server has answered with a successor."""
    assert flight.tokens.refresh is not None
    return evolve(tokens, spent=(*tokens.spent, flight.tokens.refresh.digest)[-SPENT_KEPT:])


def is_pair_of(flight: Flight, stored: Credentials) -> bool:
    """Whether the store holds the pair that the flight began with, under whatever number."""
    return stored.tokens is not None and stored.tokens.refresh == flight.tokens.refresh


def is_spent(tokens: TokenState, stored: Credentials) -> bool:
    """Whether the store holds a pair that this session has replaced since: a copy was restored, or a disk came back."""
    pair = stored.tokens
    return pair is not None and pair.refresh is not None and pair.refresh.digest in tokens.spent


def is_rejected(tokens: TokenState) -> bool:
    """Whether a hub has refused the very token in force (REF-23)."""
    return tokens.rejected is not None and tokens.rejected == current_digest(tokens)


def is_in_flight(tokens: TokenState) -> bool:
    """Whether a refresh runs that no socket may overtake (REF-29).

    A pair that could not be saved at once no longer counts: the old access token stays in use meanwhile (REF-10).
    """
    phase = tokens.phase
    return not isinstance(phase, Idle) and not (isinstance(phase, Saving) and phase.failures > 0)


def may_open(tokens: TokenState) -> bool:
    """Whether a socket may be opened with the token in force (REF-23, REF-29, TOK-14, OUT-7)."""
    return (
        tokens.status == "usable"
        and not tokens.starting
        and not tokens.stopped
        and not is_in_flight(tokens)
        and not is_rejected(tokens)
    )


def is_settled(tokens: TokenState) -> bool:
    """Whether nothing is on its way to the server or to the store."""
    return isinstance(tokens.phase, Idle) and tokens.cleanup is None


def is_near_expiry(tokens: TokenState, now: Instant) -> bool:
    """TOK-11; false if the expiry is unknown (TOK-6)."""
    return tokens.times is not None and tokens.times.is_near_expiry(now.wall_ms, tokens.offset)


def floor_end(tokens: TokenState, policy: Policy) -> int:
    """Monotonic ms before which the floor forbids an attempt (REF-16, REF-17); 0 if it forbids none."""
    if tokens.last_attempt is None:
        return 0
    if policy.refresh_floor_scope == "same-token":
        other = tokens.last_attempt_token not in (None, current_digest(tokens))  # None: restored, hence not known
        if other:
            return 0
    return tokens.last_attempt.mono_ms + policy.refresh_floor_ms


def guard(tokens: TokenState) -> Guard:
    """What must outlive a rebuild of the machine (REF-33)."""
    last = None if tokens.last_attempt is None else tokens.last_attempt.wall_ms
    return Guard(refused=tokens.latch, rejected=tokens.rejected, last_attempt_wall_ms=last)


def restore_guard(tokens: TokenState, saved: Guard, now: Instant) -> TokenState:
    """Take up an exported guard. A clock that has gone back since then counts as no time passed (REF-33)."""
    last = None
    if saved.last_attempt_wall_ms is not None:
        elapsed = max(0, now.wall_ms - saved.last_attempt_wall_ms)
        last = Instant(saved.last_attempt_wall_ms, now.mono_ms - elapsed)
    return evolve(tokens, latch=saved.refused, rejected=saved.rejected, last_attempt=last)
