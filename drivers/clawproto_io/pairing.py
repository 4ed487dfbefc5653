"""Making a record: the device id that a pairing uses, and a pair that another client obtained."""

import secrets
import string

from clawproto.credentials import Credentials, Identity, TokenPair
from clawproto_io.errors import GenerationConflict
from clawproto_io.stores.base import CredentialStore

_ALPHABET = string.ascii_lowercase + string.digits
_LENGTH = 26  # some 134 bits
_DEVICE_ID_LIMIT = 128  # bytes, DEV-3


def new_device_id() -> str:
    """Mint a session device id, letters and digits only (DEV-3).

    Mint one per pairing and keep it: the record stores it, and a refresh under another one ends the session (DEV-4).
    """
    return "claw" + "".join(secrets.choice(_ALPHABET) for _ in range(_LENGTH))


async def adopt(
    store: CredentialStore, identity: Identity, tokens: TokenPair, *, replace_other: bool = False
) -> Credentials:
    """Store a pair that another client obtained, as the next generation of the record.

    The other client must not use the pair any more: its next refresh would end this one. A running session that polls
    the store takes the new record up by itself (OUT-8).

    Args:
        identity: ``device_id`` is the very ``X-Device-Id`` under which the pair was obtained (DEV-4).
        replace_other: allow the record of another user to be replaced (PAIR-10).

    Returns:
        The record as stored.

    Raises:
        ValueError: a blank token or user id, a device id that cannot be sent (DEV-3), another user's record, or the
            very token that the server refused for good (OUT-9); nothing was written.
        GenerationConflict: somebody else wrote at the same moment; try again.
        StoreError: the store cannot do its work.
    """
    _check(identity, tokens)
    stored = await store.load()
    if stored is not None:
        if stored.identity.user_id != identity.user_id and not replace_other:
            raise ValueError(f"the store holds the record of another user, {stored.identity.user_id}")
        if stored.refused == tokens.access.digest:
            raise ValueError("the server has refused this very token; pair again")
    replaces = None if stored is None else stored.generation
    credentials = Credentials(identity, tokens, generation=1 if replaces is None else replaces + 1)
    await store.save(credentials, replaces)
    saved = await store.load()
    if saved is None or saved.generation != credentials.generation or saved.tokens != tokens:
        raise GenerationConflict(saved)
    return saved


def _check(identity: Identity, tokens: TokenPair) -> None:
    device_id = identity.device_id
    if not identity.user_id.strip():
        raise ValueError("the user id is blank")
    if not device_id.strip() or len(device_id.encode()) > _DEVICE_ID_LIMIT or not device_id.isprintable():
        raise ValueError(f"the device id must be printable, not blank and at most {_DEVICE_ID_LIMIT} bytes long")
    if tokens.access.is_blank or (tokens.refresh is not None and tokens.refresh.is_blank):
        raise ValueError("a token is blank")
