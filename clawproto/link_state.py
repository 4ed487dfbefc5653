"""The link machine's branch of the state: one socket at a time, told apart by its generation."""

from typing import TypeAlias

from clawproto.deferred import frozen


@frozen
class Unstarted:
    """The session has not begun."""


@frozen
class Down:
    """No socket; the next one may be opened at ``not_before`` (monotonic ms), if the tokens permit.

    Attributes:
        floor: not even a new token brings ``not_before`` below this instant (CLOSE-5).
    """

    not_before: int
    floor: int = 0


@frozen
class Opening:
    """The upgrade is under way."""

    generation: int
    deadline: int


@frozen
class Waiting:
    """Open, no challenge yet. The deadline runs from the opening to ``hello-*`` (HS-4)."""

    generation: int
    deadline: int


@frozen
class Greeting:
    """``connect`` is out, no answer yet.

    Attributes:
        trace_id: of our ``connect``.
        presented: digest of the access token in it.
    """

    generation: int
    deadline: int
    trace_id: str
    presented: str


@frozen
class Online:
    """``hello-ok`` has arrived at ``since``.

    Attributes:
        heard_at: when the last frame came (HB-6).
        pinged_at: when the unanswered ping went out, or None.
    """

    generation: int
    since: int
    heard_at: int
    pinged_at: int | None = None


@frozen
class Closing:
    """We are closing; frames still count until it is over.

    Attributes:
        deadline: then the transport is dropped (CLOSE-12).
        not_before: for the `Down` that follows; None if something else than time is awaited then.
        online: ``hello-ok`` had been reached.
        planned: a token change or the end of the session, no trouble (REF-26).
    """

    generation: int
    deadline: int
    not_before: int | None
    online: bool
    planned: bool
    reason: str


@frozen
class Ended:
    """Stopped. Nothing is opened any more."""


LinkPhase: TypeAlias = Unstarted | Down | Opening | Waiting | Greeting | Online | Closing | Ended


@frozen
class LinkState:
    """Everything that the link machine knows.

    Attributes:
        attempts: sockets in a row that did not stay ready long enough (CLOSE-4).
        takeovers: evictions within the window (O-10).
        taken_over_at: monotonic ms of the last of them.
        device_id: resolved by the hub in the last ``hello-ok`` (HS-8).
        paused_since: the application inbox is full and the reading has stopped.
        overrun: it stayed full for too long; offline until there is room.
        frames_rejected: unusable frames so far (ENV-12).
    """

    phase: LinkPhase = Unstarted()
    attempts: int = 0
    takeovers: int = 0
    taken_over_at: int = 0
    device_id: str | None = None
    paused_since: int | None = None
    overrun: bool = False
    frames_rejected: int = 0


def generation(link: LinkState) -> int | None:
    """The generation of the socket that counts, or None."""
    phase = link.phase
    return None if isinstance(phase, Unstarted | Down | Ended) else phase.generation


def is_online(link: LinkState) -> bool:
    """Whether uplinks may be sent (HS-9)."""
    return isinstance(link.phase, Online)
