"""What a driver expects of its stores: credentials, leases, messages, and many accounts at once."""

from collections.abc import Mapping, Sequence
from typing import Protocol, TypeAlias, runtime_checkable

from clawproto.app_events import FrameRejected, MessageReceived, ReactionChanged
from clawproto.credentials import Credentials, Intent
from clawproto.deferred import frozen
from clawproto.keeping import Backlog, Change, Filed, KeptSend, SendDecision

DEFAULT_ACCOUNT = "default"
_LONGEST_NAME = 128  # characters


@runtime_checkable
class CredentialStore(Protocol):
    """Keeps one agent's `clawproto.credentials.Credentials`.

    Every write that touches the pair names the generation that it replaces, and a store that holds another one refuses
    (REF-49); two processes may therefore share a store. When a method returns, its effect is durable (REF-9, REF-11).
    Shield the writes from cancellation.

    All methods raise `clawproto_io.errors.StoreError` if the store cannot do its work.
    """

    async def load(self) -> Credentials | None:
        """The record as it is now, or None if there never was one."""
        ...

    async def save(self, credentials: Credentials, replaces: int | None) -> int:
        """Make ``credentials`` the record, without intent and refusal, under the generation they name.

        Saving what is stored already succeeds, so a save whose report was lost can be repeated. A socket device id that
        is stored for the same user and device survives a save that names none (HS-23).

        Args:
            replaces: the generation that must be stored now; None if the store must be empty.

        Returns:
            The generation now stored.

        Raises:
            GenerationConflict: another generation is stored; nothing was written.
            ValueError: ``credentials`` without a pair, or with a generation that does not grow.
        """
        ...

    async def record_intent(self, intent: Intent) -> int:
        """Add ``intent`` to the record if it still holds a pair of ``intent.generation`` (REF-46).

        Returns:
            The generation, which does not change.

        Raises:
            GenerationConflict: it does not; nothing was written.
        """
        ...

    async def forget(self, refused: str, replaces: int) -> int:
        """Drop both tokens and the intent in one step, keep the identity, remember ``refused`` (OUT-2, OUT-3, OUT-9).

        Returns:
            The generation now stored, one above ``replaces``.

        Raises:
            GenerationConflict: another generation than ``replaces`` is stored; nothing was written.
        """
        ...

    async def remember_device(self, device_id: str) -> None:
        """Keep the device id that the hub resolved (HS-23); the generation and the session device id stay (DEV-8).

        Does nothing while the store is empty.
        """
        ...

    async def aclose(self) -> None:
        """Let go of files and connections. The store opens them again if it is used again."""
        ...


@frozen
class LeaseRow:
    """Who owns the session, as the store holds it.

    Attributes:
        owner: a name for people; None if nobody does.
        fence: grows with every change of owner.
        beat: grows while the owner lives.
    """

    owner: str | None
    fence: int
    beat: int


@runtime_checkable
class LeaseStore(Protocol):
    """A credential store that can say which one of several processes owns the session."""

    async def read_lease(self) -> LeaseRow | None:
        """The lease as it is now; None if there never was one."""
        ...

    async def take_lease(self, owner: str, expected: LeaseRow | None) -> int | None:
        """Become the owner if the lease is still ``expected``, in one step. From then on the store acts under it: a
        refresh that it is asked to record, and a logout, are refused with `clawproto_io.errors.LeaseLost` once
        somebody else has taken over.

        Returns:
            The new fence, or None if something has changed.
        """
        ...

    async def renew_lease(self, fence: int) -> bool:
        """Show a sign of life. False if somebody else has taken over."""
        ...

    async def release_lease(self, fence: int) -> None:
        """Let the next one in at once. Harmless if somebody else has taken over."""
        ...


# --- messages ------------------------------------------------------------------------------------------------------


class MessageStore(Protocol):
    """Keeps one agent's messages: what arrived, and what was sent and is not answered yet.

    All methods raise `clawproto_io.errors.StoreError` if the store cannot do its work, and
    `clawproto_io.errors.LeaseLost` once somebody else owns the session.
    """

    async def backlog(self) -> Backlog:
        """What an earlier session left behind. Called once, before the session starts."""
        ...

    async def commit(self, changes: Sequence[Change]) -> tuple[Filed, ...]:
        """Make all of these durable, in their order and in one transaction; all or nothing.

        Repeating a commit whose report was lost changes nothing.

        Returns:
            One for each `clawproto.keeping.Arrival`, in order.

        Raises:
            Unstorable: one change can never be stored; the others come again without it. Whatever else is raised, all
                of them come again.
        """
        ...

    async def aclose(self) -> None:
        """Let go of files and connections. The store opens them again if it is used again."""
        ...


Position: TypeAlias = tuple[int, int]
"""Where a message stands in its chat: the hub's clock, then the row."""


@frozen
class StoredMessage:
    """A message as an application finds it again.

    Attributes:
        row: grows with what was filed later, changed content included.
        position: to go on from; a change of content does not move it.
        handled: the application is done with it.
        event: ``update`` says whether the application was done with an earlier content.
    """

    row: int
    position: Position
    handled: bool
    event: MessageReceived


@frozen
class StoredSend:
    """A send with its outcome.

    Attributes:
        decision: None while it is not decided.
        decided_at_ms: this machine's clock.
    """

    send: KeptSend
    decision: SendDecision | None
    decided_at_ms: int | None


@frozen
class StoredRejection:
    """Something in quarantine.

    Attributes:
        filed_at_ms: this machine's clock.
    """

    row: int
    filed_at_ms: int
    rejection: FrameRejected


class MessageArchive(Protocol):
    """What an application may ask a message store, from any process, beside a running session. It reads only.

    Pages have the oldest first. All methods raise `clawproto_io.errors.StoreError` if the store cannot be read, or if
    it holds something that is damaged.
    """

    async def messages(
        self, chat_id: str, *, before: Position | None = None, after: Position | None = None, limit: int = 50
    ) -> tuple[StoredMessage, ...]:
        """The last messages of a chat, or those next to a position. Ordered by the hub's clock, as far as it told it.

        Raises:
            ValueError: both ``before`` and ``after``, or a limit below 1.
        """
        ...

    async def message(self, message_id: str) -> StoredMessage | None:
        """One message; None if there is none, or it was recalled."""
        ...

    async def reactions(self, message_id: str) -> tuple[ReactionChanged, ...]:
        """The slots of a message that hold something (RX-3), in the order of their change."""
        ...

    async def read_mark(self, chat_id: str) -> int | None:
        """Up to which emission this user has read the chat on other devices (READ-4); None if nothing is known."""
        ...

    async def sends(
        self, *, undecided: bool = False, before: int | None = None, limit: int = 50
    ) -> tuple[StoredSend, ...]:
        """The last sends, or only those that wait for their answer.

        Args:
            before: a `KeptSend.number`: those before it.

        Raises:
            ValueError: a limit below 1.
        """
        ...

    async def quarantined(self, *, before: int | None = None, limit: int = 50) -> tuple[StoredRejection, ...]:
        """What could not be taken last (R2-11).

        Args:
            before: a `StoredRejection.row`: those before it.

        Raises:
            ValueError: a limit below 1.
        """
        ...


@runtime_checkable
class HasMessages(Protocol):
    """A credential store that keeps messages as well."""

    @property
    def messages(self) -> MessageStore:
        """Of the same agent, under the same lease."""
        ...


# --- many accounts -------------------------------------------------------------------------------------------------


def check_account(name: str) -> None:
    """Raise ValueError unless ``name`` can be that of an account: 1 to 128 printable characters, not blank outside."""
    if not name.isprintable() or not 1 <= len(name) <= _LONGEST_NAME or name != name.strip():
        raise ValueError(f"an account is named by 1 to {_LONGEST_NAME} printable characters, not blank outside")


@frozen
class AccountRow:
    """One account of a store.

    Attributes:
        name: chosen by whoever paired it; ``default`` if nobody chose.
        user_id: None before the pairing.
        paired: it has a pair of tokens.
        lease: None if nobody ever owned it.
    """

    name: str
    user_id: str | None
    paired: bool
    lease: LeaseRow | None


@runtime_checkable
class AccountStore(Protocol):
    """A store of many accounts, shared by any number of members: processes that own some of them.

    A member shows one sign of life for all that it owns: the beat in the `LeaseRow` of an account is its owner's.
    """

    def account(self, name: str) -> CredentialStore:
        """The store of one account, which is a `LeaseStore` and `HasMessages` as well. Closing it closes nothing that
        others use."""
        ...

    async def accounts(self) -> tuple[AccountRow, ...]:
        """All accounts, by name."""
        ...

    async def beat(self, owner: str) -> Mapping[str, int]:
        """Join the members, or show a sign of life.

        Returns:
            The accounts that ``owner`` owns, each with its fence.
        """
        ...

    async def members(self) -> Mapping[str, int]:
        """Every member with its beat, dead ones included until they are swept out."""
        ...

    async def leave(self, owner: str, beat: int | None = None) -> bool:
        """Take a member out, and give back whatever it owns.

        Args:
            beat: of a dead member: take it out only if its beat still is this one.

        Returns:
            Whether it was taken out.
        """
        ...

    async def aclose(self) -> None:
        """Let go of files and connections, for the stores of all accounts as well. Using it again opens them again."""
        ...
