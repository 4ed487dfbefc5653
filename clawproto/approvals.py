"""What a REST call means that was refused because the agent's owner has a say in it.

Rules: PERM-11, PERM-13, PERM-14, REST-8. The decision is made over REST (PERM-2) by the owner; an agent learns of it as
`clawproto.app_events.PermissionDecided`.
"""

from typing import Final

from clawproto.deferred import frozen
from clawproto.errors import RestRefused
from clawproto.json_types import Json

PERMISSIONS_PATH: Final = "/v1/agents/me/permissions"
"""Where an agent reads what it may do, for instance after a signal ``agent.permission.changed`` (PERM-11)."""

_WAITING: Final = 21001
_FORBIDDEN: Final = 21003


@frozen
class WaitingForOwner:
    """The owner was asked; the call was not carried out.

    Attributes:
        request_id: that of the `clawproto.app_events.PermissionDecided` to come.
        expires_at: as the server sent it; whether seconds or milliseconds is not settled (O-9).
        capped: no new question was asked: an older one that is still open is meant (PERM-14).
    """

    request_id: str | None
    operation: str | None
    expires_at: int | None
    capped: bool = False


@frozen
class ForbiddenByOwner:
    """The owner's policy forbids it; asking again is of no use."""

    operation: str | None


def owner_gate(error: RestRefused) -> WaitingForOwner | ForbiddenByOwner | None:
    """What a refused REST call means; None if it has nothing to do with the owner. No other code does (PERM-13)."""
    data = error.data or {}
    operation = _string(data, "operation")
    if error.code == _WAITING:
        expires_at = data.get("expires_at")
        return WaitingForOwner(
            _string(data, "request_id"),
            operation,
            expires_at if type(expires_at) is int else None,
            data.get("capped") is True,
        )
    return ForbiddenByOwner(operation) if error.code == _FORBIDDEN else None


def _string(data: dict[str, Json], name: str) -> str | None:
    value = data.get(name)
    return value if isinstance(value, str) else None
