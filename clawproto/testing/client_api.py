"""The shape that the clients of all drivers share, for code that works with any of them.

The methods are documented at the drivers' own classes.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, Protocol

from clawproto.app_events import AppEvent, MessageReceived
from clawproto.calls import RestAnswer
from clawproto.credentials import Credentials, Guard, Identity
from clawproto.json_types import Json
from clawproto.results import Receipt, RefreshSkipped, RefreshSucceeded


class ClientApi(Protocol):
    """One session, as the application holds it."""

    @property
    def state(self) -> object: ...
    @property
    def is_ready(self) -> bool: ...
    @property
    def credentials(self) -> Credentials | None: ...
    @property
    def identity(self) -> Identity | None: ...
    @property
    def guard(self) -> Guard: ...
    def __aiter__(self) -> "ClientApi": ...
    async def __anext__(self) -> AppEvent: ...
    async def settle(self, event: AppEvent) -> None: ...
    async def wait_ready(self) -> None: ...
    async def send(
        self,
        chat_id: str,
        content: str | Iterable[Mapping[str, Json]],
        *,
        mentions: Sequence[Json] = (),
        reply_to: MessageReceived | Mapping[str, Json] | None = None,
        mode: str = "normal",
        message_id: str | None = None,
        to: Mapping[str, Json] | None = None,
    ) -> Receipt: ...
    def set_typing(self, chat_id: str, is_typing: bool) -> None: ...
    async def request(
        self,
        method: str,
        path: str,
        *,
        json: Json = None,
        body: bytes | None = None,
        content_type: str = "application/json",
        timeout: float | None = None,
    ) -> RestAnswer: ...
    async def refresh(self) -> RefreshSucceeded | RefreshSkipped: ...
    async def pair(
        self,
        code: str,
        *,
        base_url: str | None = None,
        ws_url: str | None = None,
        device_id: str | None = None,
        platform: str = "clawproto",
        kind: str = "clawbot",
        plugin_version: str | None = None,
        identity: Literal["refuse", "repair", "new"] = "repair",
    ) -> Credentials: ...
    async def aclose(self) -> None: ...
