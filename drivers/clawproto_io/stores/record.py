"""The changes that a store makes to its record, as pure functions; all stores share them.

Rules: REF-9, REF-46, REF-49, OUT-2, OUT-3, OUT-9, DEV-8, HS-23.

    (empty) --save--> pair --save--> pair, generation + 1 --forget--> no pair, generation + 1 --save--> pair …
                      pair --record_intent--> pair with intent, same generation
"""

from attrs import evolve

from clawproto.credentials import Credentials, Identity, Intent
from clawproto_io.errors import GenerationConflict


def saved(stored: Credentials | None, credentials: Credentials, replaces: int | None) -> Credentials:
    """The record after a save.

    Raises:
        GenerationConflict: ``stored`` is not what ``replaces`` says.
        ValueError: ``credentials`` without a pair, or with a generation that does not grow.
    """
    if credentials.tokens is None:
        raise ValueError("only a pair can be saved; use forget() to drop one")
    if replaces is not None and credentials.generation <= replaces:
        raise ValueError(f"generation {credentials.generation} cannot replace generation {replaces}")
    record = evolve(credentials, identity=_with_stored_device(stored, credentials.identity), intent=None, refused=None)
    if stored is not None and evolve(stored, intent=None) == record:
        return record  # the save had been done, only its report was lost
    if (None if stored is None else stored.generation) != replaces:
        raise GenerationConflict(stored)
    return record


def _with_stored_device(stored: Credentials | None, identity: Identity) -> Identity:
    """The hub may have resolved a device id after the writer read the record; it is not to be lost to a rotation."""
    if stored is None or identity.socket_device_id is not None:
        return identity
    known = stored.identity
    same = (known.user_id, known.device_id) == (identity.user_id, identity.device_id)
    return evolve(identity, socket_device_id=known.socket_device_id) if same else identity


def intended(stored: Credentials | None, intent: Intent) -> Credentials:
    """The record with ``intent``.

    Raises:
        GenerationConflict: ``stored`` holds no pair of that generation.
    """
    if stored is None or stored.tokens is None or stored.generation != intent.generation:
        raise GenerationConflict(stored)
    return evolve(stored, intent=intent)


def forgotten(stored: Credentials | None, refused: str, replaces: int) -> Credentials:
    """The record without its pair.

    Raises:
        GenerationConflict: ``stored`` is not of generation ``replaces``.
    """
    if stored is not None:
        if stored.generation == replaces:
            return evolve(stored, tokens=None, intent=None, refused=refused, generation=replaces + 1)
        if stored.generation == replaces + 1 and stored.tokens is None and stored.refused == refused:
            return stored  # done already, only the report was lost
    raise GenerationConflict(stored)


def with_device(stored: Credentials, device_id: str) -> Credentials:
    """The record with the device id that the hub resolved; None where it is the session device id anyway."""
    socket_device_id = None if device_id == stored.identity.device_id else device_id
    return evolve(stored, identity=evolve(stored.identity, socket_device_id=socket_device_id))
