"""What a driver expects of a credential store."""

from typing import Protocol, runtime_checkable

from clawproto.credentials import Credentials, Intent


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
