"""Local servers for the tests of the HTTP runner, and the request that they all get."""

import socket
import ssl
import struct
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress

import pytest

from clawproto.http import HttpRequest
from clawproto_io import HttpFailure, HttpRunner

TOKEN = "very-secret-token"
TLS = ssl.create_default_context()  # loaded once; loading it takes longer than most of these tests
Script = Callable[[socket.socket, bytes], None]


class Server:
    """Reads one request a connection, notes it, and lets ``script`` do what it likes with the socket."""

    def __init__(self, script: Script) -> None:
        self.requests: list[bytes] = []
        self.asked = threading.Event()
        self.script = script
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._released = threading.Event()
        self._connections: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def hold(self, connection: socket.socket, request: bytes) -> None:
        """A script: never answer."""
        self._released.wait(30)

    def close(self) -> None:
        self._released.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(30)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._connections.append(connection)
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            connection.settimeout(30)
            request = b""
            while b"\r\n\r\n" not in request:
                chunk = connection.recv(65536)
                if not chunk:
                    break
                request += chunk
            head, _, body = request.partition(b"\r\n\r\n")
            for line in head.lower().split(b"\r\n"):
                if line.startswith(b"content-length:"):
                    while len(body) < int(line.split(b":")[1]):
                        body += connection.recv(65536)
            self.requests.append(head + b"\r\n\r\n" + body)
            self.asked.set()
            self.script(connection, self.requests[-1])


def answers(content: bytes) -> Script:
    def script(connection: socket.socket, request: bytes) -> None:
        connection.sendall(content)
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(65536):  # to close with unread bytes would be a reset
            pass

    return script


def whole(status: str, body: bytes = b"{}", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


def call(url: str, body: bytes | None = b'{"n":1}') -> HttpRequest:
    return HttpRequest(
        "POST", url, (("Authorization", f"Bearer {TOKEN}"), ("X-Device-Id", "Claw.1"), ("Content-Type", "x/y")), body
    )


async def failure(runner: HttpRunner, http: HttpRequest, timeout_ms: int = 10_000) -> HttpFailure:
    with pytest.raises(HttpFailure) as caught:
        await runner.send(http, timeout_ms)
    assert TOKEN not in "".join(traceback.format_exception(caught.value)) and TOKEN not in repr(caught.value)
    assert caught.value.__cause__ is None and caught.value.__context__ is None
    return caught.value


def unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def reset_at_once(connection: socket.socket, request: bytes) -> None:
    reset(connection)
