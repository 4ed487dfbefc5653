"""The shape that the clients of all drivers share, for code that works with any of them.

The methods are documented at the drivers' own classes.
"""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from pathlib import Path
from typing import Literal, Protocol, overload

from clawproto.app_events import AppEvent, FrameRejected, MessageReceived, MetadataInvalidated, SignalReceived
from clawproto.calls import RestAnswer
from clawproto.credentials import Credentials, Guard, Identity
from clawproto.json_types import Json
from clawproto.media import UPLOAD_LIMIT
from clawproto.results import Receipt, RefreshSkipped, RefreshSucceeded
from clawproto.wire.values import MediaFragment


class StreamApi(Protocol):
    """A message in the making."""

    message_id: str
    receipt: Receipt | None

    @property
    def text(self) -> str: ...
    async def append(self, text: str) -> None: ...
    def finish_with(
        self, content: str | Iterable[Mapping[str, Json]], *, mentions: Sequence[Json] | None = None
    ) -> None: ...


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
    @property
    def quarantined(self) -> tuple[FrameRejected, ...]: ...
    async def settle(self, event: AppEvent) -> None: ...
    async def reject(self, event: MessageReceived, problem: str) -> None: ...
    def applied(self, event: MetadataInvalidated | SignalReceived) -> None: ...
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
    async def react(self, chat_id: str, message_id: str, emoji: str | None) -> Receipt: ...
    def stream(
        self,
        chat_id: str,
        *,
        reply_to: MessageReceived | Mapping[str, Json] | None = None,
        mentions: Sequence[Json] = (),
        mode: str = "normal",
        to: Mapping[str, Json] | None = None,
        message_id: str | None = None,
        closing: bool = True,
    ) -> AbstractAsyncContextManager[StreamApi]: ...
    def set_typing(self, chat_id: str, is_typing: bool) -> None: ...
    def typing(self, chat_id: str) -> AbstractContextManager[None]: ...
    def mark_read(self, chat_id: str, read_up_to_ms: int) -> None: ...
    async def watch_presence(self, user_id: str) -> None: ...
    def unwatch_presence(self, user_id: str) -> None: ...
    async def transfer_history(
        self,
        target_device_id: str,
        kind: str,
        data: Mapping[str, Json],
        *,
        ciphertext_fragments: Sequence[Json] | None = None,
    ) -> None: ...
    async def reset_cursor(self) -> None: ...
    async def upload(
        self,
        content: bytes | str | os.PathLike[str],
        *,
        name: str | None = None,
        mime: str | None = None,
        progress: Callable[[int, int], None] | None = None,
        width: int | None = None,
        height: int | None = None,
        duration: int | None = None,
    ) -> dict[str, Json]: ...
    @overload
    async def download(
        self,
        source: MediaFragment | Mapping[str, Json] | str,
        target: None = None,
        *,
        max_size: int = UPLOAD_LIMIT,
        allow_private: bool = False,
        timeout: float = 600.0,
    ) -> bytes: ...
    @overload
    async def download(
        self,
        source: MediaFragment | Mapping[str, Json] | str,
        target: str | os.PathLike[str],
        *,
        max_size: int = UPLOAD_LIMIT,
        allow_private: bool = False,
        timeout: float = 600.0,
    ) -> Path: ...
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
