"""What the hub is told. Sockets and requests carry numbers that the caller chooses and never reuses."""

from collections.abc import Mapping
from typing import TypeAlias

from attrs import field

from clawproto.deferred import frozen


@frozen
class SocketOpened:
    """A WebSocket upgrade was accepted."""

    conn: int


@frozen
class SocketText:
    """One complete message arrived."""

    conn: int
    data: str | bytes = field(repr=False)


@frozen
class SocketWritten:
    """All `SendText` of this socket up to ``number`` are written to the transport (RPL-8)."""

    conn: int
    number: int


@frozen
class PongSeen:
    """A Pong control frame arrived (HB-1)."""

    conn: int


@frozen
class SocketClosed:
    """The socket is gone, whoever ended it. Harmless if the hub had ended it."""

    conn: int


@frozen
class HttpReceived:
    """One complete HTTP request.

    Attributes:
        path: decoded, without the query.
        headers: names in lower case.
    """

    request_id: int
    method: str
    path: str
    query: Mapping[str, str] = field(factory=dict[str, str])
    headers: Mapping[str, str] = field(factory=dict[str, str], repr=False)
    body: bytes = field(default=b"", repr=False)


@frozen
class Tick:
    """Time has passed; due at `Hub.next_deadline`."""


HubInput: TypeAlias = SocketOpened | SocketText | SocketWritten | PongSeen | SocketClosed | HttpReceived | Tick
