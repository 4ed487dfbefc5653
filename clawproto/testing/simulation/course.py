"""What became of one session: the record that both the tables and the pictures are made of."""

from typing import Literal, TypeAlias

from attrs import define, field

from clawproto.deferred import frozen

Excuse: TypeAlias = Literal["revoked", "answer-lost"]


@frozen
class Loss:
    """The session was logged out: somebody has to pair the agent again.

    Attributes:
        at_ms: when.
        cause: as the core reported it.
        excuse: why nothing could save it: it was revoked, or the answer to a rotation never reached a process that
            lived long enough to save it. None: it should not have happened.
    """

    at_ms: int
    cause: str
    excuse: Excuse | None


@define
class Course:
    """One session from its start to the end of the simulation. Instants are milliseconds since its begin.

    Attributes:
        refreshes: when a refresh request left.
        opens: when the opening of a socket began.
        ready: from when until when a socket was ready; the last one may still be at the end.
        broken: when a ready socket was lost without the session wanting it.
        loss: the session is gone.
        violation: what the session did that it must not do; the simulation of it ended there.
        unrecovered: it was not ready although everything had been well for ten minutes.
        steps: of the core.
    """

    number: int
    starts_at: int
    refreshes: list[int] = field(factory=list[int])
    opens: list[int] = field(factory=list[int])
    ready: list[tuple[int, int]] = field(factory=list[tuple[int, int]])
    broken: list[int] = field(factory=list[int])
    loss: Loss | None = None
    violation: str | None = None
    unrecovered: bool = False
    steps: int = 0

    @property
    def trouble(self) -> str | None:
        """What is wrong with it, if anything is."""
        if self.violation is not None:
            return self.violation
        if self.loss is not None and self.loss.excuse is None:
            return f"logged out ({self.loss.cause}) although it could have been kept"
        return "not ready again ten minutes after everything was well" if self.unrecovered else None

    def ready_after(self, at: int) -> int | None:
        """The first instant from ``at`` on at which a socket was ready, or None."""
        return next((max(begin, at) for begin, end in self.ready if end > at), None)
