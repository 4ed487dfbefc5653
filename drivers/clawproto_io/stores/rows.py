"""A record as a row of the ``credentials`` table, and back with every type checked."""

from collections.abc import Sequence
from typing import TypeAlias

from clawproto.credentials import Credentials, Identity, Intent, TokenPair
from clawproto.secret import Secret
from clawproto_io.errors import StoreError
from clawproto_io.stores.sealing import Sealer, UnsealableError, is_sealed

Value: TypeAlias = str | int | None

COLUMNS = (
    "user_id",
    "device_id",
    "base_url",
    "ws_url",
    "owner_id",
    "agent_id",
    "conversation_id",
    "socket_device_id",
    "access_token",
    "refresh_token",
    "obtained_at_ms",
    "generation",
    "intent_digest",
    "intent_generation",
    "intent_wall_ms",
    "refused",
)


def to_row(credentials: Credentials, sealer: Sealer | None) -> tuple[Value, ...]:
    """The values of `COLUMNS`. The tokens leave their wrapper here: the result goes to SQLite and nowhere else."""
    identity, tokens, intent = credentials.identity, credentials.tokens, credentials.intent

    def stored(token: Secret | None, column: str) -> str | None:
        if token is None or sealer is None:
            return None if token is None else token.reveal()
        return sealer.seal(token.reveal(), _context(column, identity.user_id))

    return (
        identity.user_id,
        identity.device_id,
        identity.base_url,
        identity.ws_url,
        identity.owner_id,
        identity.agent_id,
        identity.conversation_id,
        identity.socket_device_id,
        None if tokens is None else stored(tokens.access, "access_token"),
        None if tokens is None else stored(tokens.refresh, "refresh_token"),
        None if tokens is None else tokens.obtained_at_ms,
        credentials.generation,
        None if intent is None else intent.refresh_digest,
        None if intent is None else intent.generation,
        None if intent is None else intent.wall_ms,
        credentials.refused,
    )


def _context(column: str, user_id: str) -> str:
    """Where a sealed value belongs: it opens nowhere else."""
    return f"{column}\0{user_id}"


def from_row(
    values: Sequence[object], place: str, fallback_device_id: str | None, sealer: Sealer | None
) -> Credentials:
    """The record that `to_row` made.

    Args:
        place: the file, for the error.
        fallback_device_id: stands in for a session device id that is missing (DEV-5).
        sealer: opens tokens that are encrypted; those that are not are taken as they are.

    Raises:
        StoreError: a value has the wrong type or is missing, as after an edit by hand, or it is encrypted and there is
            no key, or another one; the text names the column, not the value.
    """
    row = _Row(dict(zip(COLUMNS, values, strict=True)), place)
    access = row.token("access_token", sealer)
    refresh = row.token("refresh_token", sealer)
    tokens = None
    if access is not None:
        tokens = TokenPair(
            Secret(access), None if refresh is None else Secret(refresh), row.optional_integer("obtained_at_ms")
        )
    digest = row.optional_text("intent_digest")
    intent = None
    if digest is not None:
        intent = Intent(digest, row.integer("intent_generation"), row.integer("intent_wall_ms"))
    identity = Identity(
        user_id=row.text("user_id"),
        device_id=row.device_id(fallback_device_id),
        base_url=row.text("base_url"),
        ws_url=row.text("ws_url"),
        owner_id=row.optional_text("owner_id"),
        agent_id=row.optional_text("agent_id"),
        conversation_id=row.optional_text("conversation_id"),
        socket_device_id=row.optional_text("socket_device_id"),
    )
    return Credentials(identity, tokens, row.integer("generation"), intent, row.optional_text("refused"))


class _Row:
    def __init__(self, values: dict[str, object], place: str) -> None:
        self._values = values
        self._place = place

    def optional_text(self, column: str) -> str | None:
        value = self._values[column]
        if value is None or isinstance(value, str):
            return value
        raise self._error(column, "a text", value)

    def text(self, column: str) -> str:
        value = self.optional_text(column)
        if value is None or not value.strip():
            raise self._error(column, "a text that is not blank", value)
        return value

    def token(self, column: str, sealer: Sealer | None) -> str | None:
        value = self.optional_text(column)
        if value is None or not is_sealed(value):
            return value
        if sealer is None:
            raise StoreError(self._place, f"{column} is encrypted; open the store with its key")
        problem = ""
        try:
            return sealer.unseal(value, _context(column, self.text("user_id")))
        except UnsealableError as error:
            problem = str(error)
        raise StoreError(self._place, f"{column} is encrypted, and {problem}; open the store with the right one")

    def optional_integer(self, column: str) -> int | None:
        value = self._values[column]
        if value is None or isinstance(value, int):
            return value
        raise self._error(column, "an integer", value)

    def integer(self, column: str) -> int:
        value = self.optional_integer(column)
        if value is None:
            raise self._error(column, "an integer", value)
        return value

    def device_id(self, fallback: str | None) -> str:
        value = self.optional_text("device_id")
        if value is not None and value.strip():
            return value
        if fallback is None:
            raise StoreError(
                self._place,
                "the record has no session device id; open it with the fallback_device_id that the pairing used",
            )
        return fallback

    def _error(self, column: str, wanted: str, value: object) -> StoreError:
        return StoreError(
            self._place,
            f"{column} should be {wanted}, not {type(value).__name__}; "
            "restore the store from a copy, or remove the record and pair again",
        )
