"""What the application is told of its stores. Part of `clawproto.app_events`, from where everything can be imported.

Rules: REF-10, R2-10.
"""

from clawproto.deferred import frozen


@frozen
class SaveAlarm:
    """The new pair could not be saved ``attempts`` times in a row; it is held in memory and saving goes on (REF-10)."""

    attempts: int
    detail: str


@frozen
class SaveRecovered:
    """After a `SaveAlarm`: the pair is saved."""

    attempts: int


@frozen
class MessagesUnsaved:
    """The message store failed ``attempts`` times in a row. Nothing is lost: what arrived is not acknowledged, what is
    to be sent is not transmitted before it is kept, and storing goes on (R2-10, as REF-10)."""

    attempts: int
    detail: str


@frozen
class MessagesSaved:
    """After a `MessagesUnsaved`: the message store works again, and everything that waited is in it."""

    attempts: int
