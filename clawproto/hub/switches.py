"""Misbehaviour on request (HUB-5, HUB-6, REF-39): what the hub has been told to do wrong, and how often."""

from typing import Generic, Literal, TypeVar

from attrs import define, field

from clawproto.deferred import frozen

Verdict = Literal["accept", "reject", "unavailable"]
T = TypeVar("T")


@frozen
class HandshakeFault:
    """Instead of ``hello-ok``: a ``hello-fail`` with a free reason, a close with a code, or a cut (both None)."""

    reason: str | None = None
    code: int | None = None


@frozen
class Rejection:
    """A ``message.error`` instead of the ack."""

    code: str
    reason: str = ""


@frozen
class HttpFault:
    """What happens to one HTTP call.

    Attributes:
        kind: ``code``: refuse with an envelope code and do nothing else; ``status``: answer with a bare HTTP status and
            do nothing else; ``timeout``: do nothing and never answer; ``lost``: do the work, drop the answer;
            ``delay``: do the work, answer late; ``garbage``: do the work, answer something unreadable.
        value: the code, the status, or milliseconds for ``timeout`` (until the cut), ``lost`` and ``delay``.
        retry_after: value of the ``Retry-After`` header of a ``status``.
        code: envelope code in the body of a ``status``; None repeats the status.
    """

    kind: Literal["code", "status", "timeout", "lost", "delay", "garbage"]
    value: int = 0
    retry_after: str | None = None
    code: int | None = None


@define
class _Charge(Generic[T]):
    value: T
    key: str | None
    left: int | None


class Charges(Generic[T]):
    """Faults waiting for their occasion, first in, first out; one charge is used up per occasion."""

    def __init__(self) -> None:
        self._charges: list[_Charge[T]] = []

    def add(self, value: T, *, key: str | None = None, times: int | None = 1) -> None:
        """Load a fault for ``key`` (None: whoever comes) and ``times`` occasions (None: until `clear`).

        Raises:
            ValueError: ``times`` below 1.
        """
        if times is not None and times < 1:
            raise ValueError("times must be at least 1")
        self._charges.append(_Charge(value, key, times))

    def take(self, key: str | None) -> T | None:
        for charge in self._charges:
            if charge.key is None or charge.key == key:
                if charge.left is not None:
                    charge.left -= 1
                    if charge.left == 0:
                        self._charges.remove(charge)
                return charge.value
        return None

    def clear(self) -> None:
        self._charges.clear()

    def __len__(self) -> int:
        return len(self._charges)


@define
class Switches:
    """The state of all switches; keys are user ids, or None for everyone.

    Attributes:
        verdicts: by user id or access token; a token's own verdict wins.
        outage: the token verifier is unavailable (AUTH-6).
        silent: users (None: all) whose sockets are open but dead: nothing is processed, nothing is sent.
        delays: added to every downlink of a user (None: of everyone), milliseconds.
        http: faults by path.
    """

    verdicts: dict[str, Verdict] = field(factory=dict[str, Verdict], repr=False)
    outage: bool = False
    silent: set[str | None] = field(factory=set["str | None"])
    delays: dict[str | None, int] = field(factory=dict["str | None", int])
    handshake: Charges[HandshakeFault] = field(factory=Charges[HandshakeFault])
    rejections: Charges[Rejection] = field(factory=Charges[Rejection])
    lost_acks: Charges[bool] = field(factory=Charges[bool])
    duplicates: Charges[bool] = field(factory=Charges[bool])
    http: dict[str, Charges[HttpFault]] = field(factory=dict[str, "Charges[HttpFault]"])

    def is_silent(self, user_id: str | None) -> bool:
        return None in self.silent or user_id in self.silent

    def delay_of(self, user_id: str) -> int:
        return self.delays.get(user_id, self.delays.get(None, 0))

    def http_fault(self, path: str, user_id: str | None) -> HttpFault | None:
        for name in (path, "*"):
            charges = self.http.get(name)
            fault = charges.take(user_id) if charges is not None else None
            if fault is not None:
                return fault
        return None
