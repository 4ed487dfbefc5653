"""Addresses that can be derived from each other."""

import pytest

from clawproto.http import HttpRequest
from clawproto.rest_format import refresh_request, websocket_url
from clawproto.secret import Secret


@pytest.mark.rule("AUTH-8")
@pytest.mark.parametrize(
    ("base_url", "expected"),
    [
        ("https://chat.example", "wss://chat.example/ws"),
        ("https://chat.example:8443/api/", "wss://chat.example:8443/ws"),
        ("http://127.0.0.1:8080", "ws://127.0.0.1:8080/ws"),
        ("https://chat.example/to/http://else", "wss://chat.example/ws"),
    ],
)
def test_a_websocket_address_can_be_derived(base_url: str, expected: str) -> None:
    assert websocket_url(base_url) == expected


@pytest.mark.rule("AUTH-8")
@pytest.mark.parametrize("base_url", ["", "chat.example", "ftp://chat.example", "https://"])
def test_from_other_addresses_it_cannot(base_url: str) -> None:
    with pytest.raises(ValueError, match="http"):
        websocket_url(base_url)


@pytest.mark.rule("LEGACY-6", "REF-1", "REF-2", "REF-3")
def test_a_refresh_goes_to_its_one_path() -> None:
    headers = (("content-type", "application/json"), ("x-device-id", "lab-01"))
    request = refresh_request("https://chat.example", "lab-01", Secret("rrr"))
    assert request == HttpRequest("POST", "https://chat.example/v1/auth/refresh", headers, b'{"refresh_token":"rrr"}')
