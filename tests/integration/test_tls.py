"""Both drivers over TLS: the hub's certificate is verified, and everything that goes on without TLS does so with it."""

import datetime as dt
import ipaddress
import json
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import ServerConnection, serve

from clawproto.app_events import Disconnected, MessageReceived
from clawproto.credentials import Credentials, Identity, TokenPair
from clawproto.secret import Secret
from clawproto.testing.stage import POLICY, DriverAdapter
from clawproto_io.sockets import default_tls
from clawproto_io.stores import MemoryStore
from tests.integration.driver_adapters import WITH_UVLOOP

CHAT = "cnv_01K9F40000QRSTVWXYZ0123456"
TEXT = "x" * 100_000
MESSAGES = 30

each = pytest.mark.parametrize("adapter", WITH_UVLOOP, ids=lambda adapter: adapter.name)


def _certificate(folder: Path) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = folder / "hub.pem"
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    return path


def _envelope(event: str, payload: dict[str, Any], **fields: Any) -> str:
    return json.dumps({"version": "2", "event": event, "trace_id": "t", **fields, "payload": payload})


def _message(number: int) -> str:
    body = {"body": {"fragments": [{"kind": "text", "text": TEXT}]}, "context": {"mentions": [], "reply": None}}
    payload = {"message_id": f"msg-{number}", "message_mode": "normal", "message": body}
    return _envelope("message.send", payload, chat_id=CHAT, sender={"id": "usr_dora", "type": "direct"}, dseq=number)


def _serve(connection: ServerConnection) -> None:
    try:
        connection.send(_envelope("connect.challenge", {"nonce": "n"}))
        connection.recv()
        connection.send(_envelope("hello-ok", {"device_id": "dev", "ack_mode": "dseq", "ack_epoch": "e"}))
        for number in range(1, MESSAGES + 1):
            connection.send(_message(number))
        for data in connection:
            uplink = json.loads(data)
            if uplink["event"] == "message.send":
                accepted = {"message_id": uplink["payload"]["message_id"], "accepted_at": 1}
                connection.send(_envelope("message.ack", accepted, trace_id=uplink["trace_id"], chat_id=CHAT))
    except ConnectionClosed:
        pass


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[tuple[Credentials, Path]]:
    """A hub that talks TLS: a record that is good there, and its certificate."""
    path = _certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    with serve(_serve, "127.0.0.1", 0, ssl=context, ping_interval=None, close_timeout=1) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        url = f"wss://127.0.0.1:{server.socket.getsockname()[1]}/ws"
        pair = TokenPair(Secret("access"), Secret("refresh"), time.time_ns() // 1_000_000)
        yield Credentials(Identity("usr_me", "dev", "https://127.0.0.1:1", url), pair, 1), path
        server.shutdown()
        thread.join()


@each
def test_a_session_runs_over_tls(adapter: DriverAdapter, hub: tuple[Credentials, Path]) -> None:
    record, certificate = hub
    trusting = ssl.create_default_context(cafile=certificate)

    async def main() -> None:
        async with adapter.connect(MemoryStore(record), policy=POLICY, ssl=trusting, proxy=None) as client:

            async def listen() -> None:
                seen = 0
                async for event in client:
                    if isinstance(event, MessageReceived):
                        assert event.text == TEXT
                        seen += 1
                        if seen == MESSAGES:
                            return

            async def speak() -> None:
                for _ in range(5):
                    await client.send(CHAT, TEXT)  # more than the system takes at once

            await adapter.within(20, lambda: adapter.together(listen, speak))

    adapter.run(main)


@each
def test_an_unknown_certificate_is_refused(adapter: DriverAdapter, hub: tuple[Credentials, Path]) -> None:
    record, _ = hub
    seen: list[Disconnected] = []

    async def main() -> None:
        async with adapter.connect(MemoryStore(record), policy=POLICY, proxy=None) as client:

            async def listen() -> None:
                async for event in client:
                    if isinstance(event, Disconnected):
                        seen.append(event)
                        return

            await adapter.within(20, listen)
            assert not client.is_ready

    adapter.run(main)
    assert "certificate" in seen[0].reason.lower()


def test_the_systems_certificates_are_read_once() -> None:
    held = default_tls()
    assert default_tls() is held
    assert held.verify_mode is ssl.CERT_REQUIRED and held.check_hostname
