"""A record as a row of the ``credentials`` table, and back with every type checked."""

from collections.abc import Sequence
from typing import TypeAlias

from clawproto.credentials import Credentials, Identity, Intent, TokenPair
from clawproto.secret import Secret
from clawproto_io.errors import StoreError

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


def to_row(credentials: Credentials) -> tuple[Value, ...]:
    """The values of `COLUMNS`. The tokens leave their wrapper here: the result goes to SQLite and nowhere else."""
    identity, tokens, intent = credentials.identity, credentials.tokens, credentials.intent
    return (
        identity.user_id,
        identity.device_id,
        identity.base_url,
        identity.ws_url,
        identity.owner_id,
        identity.agent_id,
        identity.conversation_id,
        identity.socket_device_id,
        None if tokens is None else tokens.access.reveal(),
        None if tokens is None or tokens.refresh is None else tokens.refresh.reveal(),
        None if tokens is None else tokens.obtained_at_ms,
        credentials.generation,
        None if intent is None else intent.refresh_digest,
        None if intent is None else intent.generation,
        None if intent is None else intent.wall_ms,
        credentials.refused,
    )


def from_row(values: Sequence[object], place: str, fallback_device_id: str | None) -> Credentials:
    """The record that `to_row` made.

    Args:
        place: the file, for the error.
        fallback_device_id: stands in for a session device id that is missing (DEV-5).

    Raises:
        StoreError: a value has the wrong type or is missing, as after an edit by hand; the text names the column, not
            the value.
    """
    row = _Row(dict(zip(COLUMNS, values, strict=True)), place)
    access = row.optional_text("access_token")
    refresh = row.optional_text("refresh_token")
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
            "restore the file from a copy, or move it away and pair again",
        )
