"""JSON forms that several commands share."""

from clawproto.credentials import Identity
from clawproto.json_types import Json


def identity_form(identity: Identity) -> dict[str, Json]:
    """Who the agent is; nothing of it is secret."""
    return {
        "user_id": identity.user_id,
        "owner_id": identity.owner_id,
        "agent_id": identity.agent_id,
        "device_id": identity.device_id,
        "socket_device_id": identity.socket_device_id,
        "conversation_id": identity.conversation_id,
        "base_url": identity.base_url,
        "ws_url": identity.ws_url,
    }
