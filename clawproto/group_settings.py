"""How an agent is to behave in each group, as its owner has set it (REST-9).

    answer = await client.request("GET", GROUP_SETTINGS_PATH)
    settings = read_group_settings(answer.data)

Only a success tells anything: it is the full set, even if it is empty. After an error, keep what was known before.
"""

from clawproto.deferred import frozen
from clawproto.json_types import Json

GROUP_SETTINGS_PATH = "/v1/agents/me/group-settings"


@frozen
class GroupSettings:
    """One row.

    Attributes:
        reply_mode: as the server spells it, for instance ``all`` or ``mention``; None if absent.
        batch_delay_seconds: how long to collect messages before answering; None if absent.
        version: grows with every change; None if absent.
    """

    conversation_id: str
    muted: bool = False
    reply_mode: str | None = None
    batch_delay_seconds: float | None = None
    version: int | None = None


def read_group_settings(data: Json) -> dict[str, GroupSettings] | None:
    """The full set by conversation id, from ``data`` of a successful answer (REST-9).

    Rows without a conversation id are left out, and fields of a wrong type count as absent; of two rows for one
    conversation the one with the higher version stands.

    Returns:
        None if ``data`` is no such answer: it says nothing, and what was known before stays.
    """
    rows = data.get("settings") if isinstance(data, dict) else None
    if not isinstance(rows, list):
        return None
    found: dict[str, GroupSettings] = {}
    for row in rows:
        settings = _read_row(row)
        if settings is None:
            continue
        known = found.get(settings.conversation_id)
        if known is None or (settings.version or 0) >= (known.version or 0):
            found[settings.conversation_id] = settings
    return found


def _read_row(row: Json) -> GroupSettings | None:
    if not isinstance(row, dict):
        return None
    conversation_id, reply_mode = row.get("conversation_id"), row.get("reply_mode")
    delay, version = row.get("batch_delay_seconds"), row.get("version")
    if not isinstance(conversation_id, str) or not conversation_id:
        return None
    return GroupSettings(
        conversation_id,
        row.get("muted") is True,
        reply_mode if isinstance(reply_mode, str) else None,
        delay if isinstance(delay, int | float) and not isinstance(delay, bool) else None,
        version if isinstance(version, int) and not isinstance(version, bool) else None,
    )
