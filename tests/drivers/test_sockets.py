"""What the drivers make of the WebSocket library's errors."""

import logging
import socket

import pytest
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosedError, InvalidStatus, InvalidUpgrade
from websockets.frames import Close
from websockets.http11 import Response

from clawproto_io.sockets import REASON_LIMIT, WireLogger, closing_of, cut_reason, describe_failure


@pytest.mark.parametrize(
    ("received", "sent", "received_first", "expected"),
    [
        (Close(4001, "takeover"), Close(4001, "takeover"), True, (4001, "takeover")),
        (Close(1009, "too big"), Close(1009, ""), True, (1009, "too big")),
        (Close(1005, ""), Close(1005, ""), True, (1005, "")),
        (Close(1000, ""), Close(1000, "bye"), False, (1000, "")),
        (Close(1009, ""), Close(1009, "over the limit"), False, (1006, "given up here with 1009 over the limit")),
        (None, Close(1000, ""), None, (1006, "")),
        (None, None, None, (1006, "")),
    ],
)
@pytest.mark.rule("CLOSE-2", "HS-14")
def test_codes_are_the_peers_own(
    received: Close | None, sent: Close | None, received_first: bool | None, expected: tuple[int, str]
) -> None:
    assert closing_of(ConnectionClosedError(received, sent, received_first)) == expected


def _wrapped() -> Exception:
    refused = ConnectionRefusedError(111, "Connection refused")
    wrapped = OSError("all attempts failed")
    wrapped.__cause__ = ExceptionGroup("attempts", [refused])
    return wrapped


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ConnectionRefusedError(111, "Connection refused"), "Connection refused"),
        (socket.gaierror(-2, "Name or service not known"), "Name or service not known"),
        (_wrapped(), "Connection refused"),
        (TimeoutError("timed out during opening handshake"), "timed out"),
        (InvalidStatus(Response(503, "secret", Headers())), "the upgrade was answered with HTTP 503"),
        (InvalidUpgrade("Upgrade", "secret"), "the upgrade failed with InvalidUpgrade"),
        (ValueError("secret"), "failed with ValueError"),
    ],
)
@pytest.mark.rule("AUTH-9")
def test_a_failed_opening_is_described_without_quoting_the_peer(error: Exception, text: str) -> None:
    assert describe_failure(error) == text


def test_a_close_reason_is_cut_to_what_a_frame_holds_and_stays_text() -> None:
    assert cut_reason("ä" * 100) == "ä" * (REASON_LIMIT // 2)
    assert cut_reason("\ud800 short") == "? short"


@pytest.mark.rule("AUTH-9")
def test_the_library_is_never_given_a_debug_logger(caplog: pytest.LogCaptureFixture) -> None:
    plain = logging.getLogger("clawproto.test")
    caplog.set_level(logging.DEBUG, "clawproto.test")
    wire = WireLogger(plain)
    assert not wire.isEnabledFor(logging.DEBUG)
    assert wire.isEnabledFor(logging.INFO)
    wire.debug("> TEXT %s", "token")
    wire.info("kept")
    assert [record.getMessage() for record in caplog.records] == ["kept"]
