"""Downloads over TLS: the connection goes to the checked address, and the certificate must name the host."""

import datetime as dt
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from clawproto import errors
from clawproto_io import HttpRunner
from clawproto_io.media import download
from tests.io.http_servers import whole

pytestmark = pytest.mark.anyio


def certificate(folder: Path, name: str) -> Path:
    """A key and a self-signed certificate for ``name``, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / f"{name}.pem"
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + made.public_bytes(serialization.Encoding.PEM)
    )
    return path


class TlsServer:
    """Answers each connection once, and notes which name was asked for."""

    def __init__(self, pem: Path) -> None:
        self.names: list[str | None] = []
        self.requests: list[bytes] = []
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(pem)
        self._context.sni_callback = lambda _socket, name, _context: self.names.append(name)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                plain, _ = self._listener.accept()
            except OSError:
                return
            with plain:
                plain.settimeout(10)
                try:
                    with self._context.wrap_socket(plain, server_side=True) as wrapped:
                        self.requests.append(wrapped.recv(65536))
                        wrapped.sendall(whole("200 OK", b"content"))
                except OSError:
                    continue

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)


@pytest.fixture
def pem(tmp_path: Path) -> Path:
    return certificate(tmp_path, "media.test")


@pytest.fixture
def server(pem: Path) -> Iterator[TlsServer]:
    running = TlsServer(pem)
    yield running
    running.close()


@pytest.fixture
def resolving(monkeypatch: pytest.MonkeyPatch) -> None:
    async def getaddrinfo(host: str, port: int, **_: object) -> list[tuple[object, ...]]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    monkeypatch.setattr("clawproto_io.media.anyio.getaddrinfo", getaddrinfo)


async def fetch(pem: Path, url: str) -> bytes | Path:
    context = ssl.create_default_context(cafile=str(pem))
    async with HttpRunner(ssl_context=context, trust_env=False) as runner:
        return await download(runner, None, url, None, max_size=1000, allow_private=True, timeout=10)


@pytest.mark.usefixtures("resolving")
async def test_the_name_is_asked_for_and_checked(server: TlsServer, pem: Path) -> None:
    assert await fetch(pem, f"https://media.test:{server.port}/a") == b"content"
    assert server.names == ["media.test"]
    assert f"host: media.test:{server.port}".encode() in server.requests[0].lower()


@pytest.mark.usefixtures("resolving")
async def test_a_certificate_for_another_name_is_refused(server: TlsServer, pem: Path) -> None:
    with pytest.raises(errors.DownloadFailed):
        await fetch(pem, f"https://other.test:{server.port}/a")
    assert server.names == ["other.test"] and server.requests == []
