"""What goes over HTTP: media, REST calls, tokens, pairing. On any loop: each method gives a command and awaits it."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, overload

from clawproto import calls
from clawproto.calls import RestAnswer
from clawproto.credentials import Credentials
from clawproto.events import Pair, Refresh
from clawproto.json_types import Json
from clawproto.media import UPLOAD_LIMIT
from clawproto.results import RefreshSkipped, RefreshSucceeded
from clawproto_io.client_base import ClientBase
from clawproto_io.pairing import new_device_id
from clawproto_io.setup import PairMode

if TYPE_CHECKING:
    from clawproto_io.media import Media, Progress


class Services(ClientBase):
    """The part of a client that needs no socket."""

    # --- media ---

    async def upload(
        self,
        content: bytes | str | os.PathLike[str],
        *,
        name: str | None = None,
        mime: str | None = None,
        progress: "Progress | None" = None,
        width: int | None = None,
        height: int | None = None,
        duration: int | None = None,
    ) -> dict[str, Json]:
        """Upload a file, streamed from disk, and get the fragment to send (MEDIA-1). It is kept for 15 days (MEDIA-11).

            picture = await client.upload("cat.png")
            await client.send(chat_id, [{"kind": "text", "text": "look"}, picture])

        Args:
            content: path of a file, or the bytes themselves; at most 100 MiB (MEDIA-8).
            name: file name for others; None: that of the path.
            mime: None: by the name, else the server looks at the content (MEDIA-9).
            progress: called with the bytes sent so far and those in all; begins again at 0 if the tokens had to be
                refreshed (REST-4). What it raises ends the upload.
            width, height: pixels, to be shown before the download (MEDIA-4).
            duration: milliseconds.

        Raises:
            MediaTooLarge: nothing was sent, or the server takes less.
            UploadFailed: the server refused it; see there for its codes.
            OSError: the file cannot be read; nothing was sent.
            RestUnauthorized, RestFailed, NotPaired: see there.
            LoggedOut, SessionClosed, DriverFailed: the session is over.
            ValueError: it is empty, or ``mime`` is none; nothing was sent.
        """
        from clawproto_io import media  # noqa: PLC0415  (few sessions have any)

        return await media.upload(
            self._call,
            self._runner,
            content,
            name=name,
            mime=mime,
            progress=progress,
            width=width,
            height=height,
            duration=duration,
        )

    @overload
    async def download(
        self,
        source: "Media",
        target: None = None,
        *,
        max_size: int = UPLOAD_LIMIT,
        allow_private: bool = False,
        timeout: float = 600.0,
    ) -> bytes: ...
    @overload
    async def download(
        self,
        source: "Media",
        target: str | os.PathLike[str],
        *,
        max_size: int = UPLOAD_LIMIT,
        allow_private: bool = False,
        timeout: float = 600.0,
    ) -> Path: ...
    async def download(
        self,
        source: "Media",
        target: str | os.PathLike[str] | None = None,
        *,
        max_size: int = UPLOAD_LIMIT,
        allow_private: bool = False,
        timeout: float = 600.0,
    ) -> bytes | Path:
        """Fetch what a media fragment refers to. No token goes with it.

        Args:
            source: the fragment, or its address.
            target: file to be written; it appears only when it is complete, with mode 0600. None: into memory.
            max_size: bytes; more is not fetched.
            allow_private: also from hosts in private networks. The host of the REST surface itself is always allowed.
            timeout: seconds for everything.

        Returns:
            The content, or the path of the file.

        Raises:
            DownloadRefused: the address is none that a message may lead to.
            MediaTooLarge: nothing was kept.
            DownloadFailed: nothing was kept. Objects vanish after 15 days (MEDIA-11), signed addresses end after 7.
            OSError: the file cannot be written.
        """
        from clawproto_io import media  # noqa: PLC0415

        return await media.download(
            self._runner,
            self.identity,
            source,
            target,
            max_size=max_size,
            allow_private=allow_private,
            timeout=timeout,
        )

    # --- REST, tokens, pairing ---

    async def request(
        self,
        method: str,
        path: str,
        *,
        json: Json = None,
        body: bytes | None = None,
        content_type: str = "application/json",
        timeout: float | None = None,
    ) -> RestAnswer:
        """An authenticated REST call; a 401 or 403 refreshes the tokens and repeats it once (REST-4).

        Args:
            path: below the base URL, with a leading slash.
            json: encoded as the body.
            body: ready bytes, instead of ``json``.
            timeout: seconds; None means `Policy.rest_timeout_ms`.

        Raises:
            RestUnauthorized, RestRefused, RestFailed, NotPaired: see there.
            LoggedOut, SessionClosed, DriverFailed: the session is over.
            ValueError: the call cannot be made; nothing happened.
        """
        timeout_ms = None if timeout is None else round(timeout * 1000)
        result = await self._call(
            lambda command: calls.build_rest(
                command,
                method,
                path,
                json_body=json,
                body=body,
                content_type=content_type,
                timeout_ms=timeout_ms,
            )
        )
        return calls.answer_of(result)

    async def refresh(self) -> RefreshSucceeded | RefreshSkipped:
        """Ask for new tokens, or join the refresh in flight (REF-12). Cancelling this cancels no refresh (REF-48).

        Raises:
            RefreshFailed: for now; the session tries again by itself.
            LoggedOut, SessionClosed, DriverFailed: the session is over.
        """
        return calls.refreshed_by(await self._call(Refresh))

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
        identity: PairMode = "repair",
    ) -> Credentials:
        """Redeem a pairing code for this session, for instance after a logout; then it connects by itself (OUT-8).

        Args:
            base_url: None: that of the stored identity.
            ws_url: None: that of the stored identity, or derived from ``base_url`` (AUTH-8).
            device_id: None: that of the stored identity, or a new one (DEV-4).
            identity: ``repair`` this agent, ``new``, or ``refuse`` if one is stored (PAIR-2, PAIR-10).

        Raises:
            PairRefused: nothing was stored.
            SessionClosed, DriverFailed: the session is over.
            ValueError: no ``base_url`` is known.
        """
        known = self.identity
        if base_url is None:
            if known is None:
                raise ValueError("base_url is needed for the first pairing")
            base_url, ws_url = known.base_url, ws_url or known.ws_url
        if device_id is None:
            device_id = known.device_id if known is not None else new_device_id()
        address, device = base_url, device_id
        result = await self._call(
            lambda command: Pair(
                command,
                code,
                address,
                device,
                ws_url=ws_url,
                platform=platform,
                kind=kind,
                plugin_version=plugin_version,
                identity=identity,
            )
        )
        return calls.credentials_of(result)
