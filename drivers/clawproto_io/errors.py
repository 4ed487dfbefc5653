"""What the stores and the HTTP runner raise. No text here ever carries a token (AUTH-9)."""

from clawproto.credentials import Credentials


class StoreError(Exception):
    """A credential store could not do its work; nothing, or nothing reliable, was written.

    The text names the file and the way out. A driver reports it as `clawproto.events.StoreFailed`; the session keeps
    what it could not save and tries again (REF-10).

    Attributes:
        place: the file, or another name of the store.
    """

    def __init__(self, place: str, problem: str) -> None:
        super().__init__(f"{place}: {problem}")
        self.place = place


class LeaseLost(StoreError):
    """Another process has taken the session over; this one may not begin anything any more.

    What it had begun before is not lost: a pair that the server has just handed out is still saved, as long as nobody
    else has rotated (REF-49).
    """

    def __init__(self, place: str) -> None:
        super().__init__(place, "another process has taken the session over")


class Unstorable(StoreError):
    """One change of a commit can never be stored, however often it is tried (R2-11). Nothing of the commit was written.

    The session puts an event that cannot be stored into quarantine, settles it, and commits the rest.

    Attributes:
        index: of the change in the commit.
    """

    def __init__(self, place: str, index: int, problem: str) -> None:
        super().__init__(place, problem)
        self.index = index


class GenerationConflict(Exception):
    """The store holds another generation than the write would have replaced; nothing was written (REF-49).

    A driver reports it as `clawproto.events.StoreConflicted`; the session adopts what the store holds.

    Attributes:
        stored: what the store holds, or None if it is empty.
    """

    def __init__(self, stored: Credentials | None) -> None:
        super().__init__("the store is empty" if stored is None else f"the store holds generation {stored.generation}")
        self.stored = stored


class HttpFailure(Exception):
    """A request got no usable answer (REF-43). A driver reports it as `clawproto.events.HttpFailed`.

    Attributes:
        sent: False only if not a byte of the request was written.
        detail: what went wrong, without addresses, headers or anything that the peer wrote.
    """

    def __init__(self, sent: bool, detail: str) -> None:
        super().__init__(f"{detail} ({'the request may have arrived' if sent else 'the request was not sent'})")
        self.sent = sent
        self.detail = detail
