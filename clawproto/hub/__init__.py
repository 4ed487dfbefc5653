"""The development hub: the server's side of ClawChat Protocol v2, pure (HUB).

`Hub` is the machine, `HubSettings` its numbers; a driver feeds it inputs and carries out effects. It is a tool for
development and tests, no product: it keeps everything in memory and can misbehave on request.
"""

from clawproto.hub.control import control
from clawproto.hub.controls import Controls
from clawproto.hub.effects import CloseSocket, CutSocket, HttpDrop, HttpRespond, HubEffect, SendPing, SendText
from clawproto.hub.inputs import (
    HttpReceived,
    HubInput,
    PongSeen,
    SocketClosed,
    SocketOpened,
    SocketText,
    SocketWritten,
    Tick,
)
from clawproto.hub.machine import Hub
from clawproto.hub.provision import provision
from clawproto.hub.provisioning import HubAgent
from clawproto.hub.settings import HubSettings

__all__ = [
    "CloseSocket",
    "Controls",
    "CutSocket",
    "HttpDrop",
    "HttpReceived",
    "HttpRespond",
    "Hub",
    "HubAgent",
    "HubEffect",
    "HubInput",
    "HubSettings",
    "PongSeen",
    "SendPing",
    "SendText",
    "SocketClosed",
    "SocketOpened",
    "SocketText",
    "SocketWritten",
    "Tick",
    "control",
    "provision",
]
