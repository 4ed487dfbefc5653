"""What an upload consists of, what it brings back, and what may be downloaded."""

import pytest

from clawproto import errors
from clawproto.http import FileBody
from clawproto.json_types import Json
from clawproto.media import (
    RETENTION_MS,
    UPLOAD_LIMIT,
    UPLOAD_TIMEOUT_MS,
    build_upload,
    check_size,
    download_address,
    fragment_of,
    is_public,
    origin_of,
    refusal_of,
)

DATA: dict[str, Json] = {"kind": "image", "url": "https://h/m/1", "name": "cat.png", "mime": "image/png", "size": 3}


@pytest.mark.rule("MEDIA-8", "LIM-5")
def test_a_hundred_mebibytes_are_the_most() -> None:
    check_size(1)
    check_size(100 * 1024 * 1024)
    with pytest.raises(errors.MediaTooLarge) as caught:
        check_size(UPLOAD_LIMIT + 1)
    assert (caught.value.size, caught.value.limit) == (UPLOAD_LIMIT + 1, UPLOAD_LIMIT)
    with pytest.raises(ValueError, match="nothing in it"):
        check_size(0)


def test_the_body_of_an_upload() -> None:
    command = build_upload(7, 3, 5, "a/b\\cat.png", "image/png", "b0")
    body = command.body
    assert isinstance(body, FileBody)
    assert body.head == (
        b'--b0\r\nContent-Disposition: form-data; name="file"; filename="cat.png"\r\nContent-Type: image/png\r\n\r\n'
    )
    assert body.tail == b"\r\n--b0--\r\n"
    assert (body.source, body.size, len(body)) == (3, 5, len(body.head) + 5 + len(body.tail))
    assert (command.command, command.method, command.path) == (7, "POST", "/media/upload")
    assert command.content_type == "multipart/form-data; boundary=b0"
    assert command.timeout_ms == UPLOAD_TIMEOUT_MS and command.auth_codes == (40101,)


@pytest.mark.parametrize(
    ("name", "sent"),
    [
        ("a\0b", "ab"),
        ("\ud800.png", "?.png"),
        ("", "file"),
        ("\0", "file"),
        ('X"\r\nX', "X%22%0D%0AX"),
        ("ä.png", "ä.png"),
    ],
)
def test_a_file_name_is_made_harmless(name: str, sent: str) -> None:
    body = build_upload(1, 1, 1, name, None, "b0").body
    assert isinstance(body, FileBody) and f'filename="{sent}"'.encode() in body.head


@pytest.mark.parametrize("name", ['a"\r\nX: y', "a\0b", "\ud800.png", "", '"; filename="x'])
def test_no_file_name_breaks_out_of_its_header(name: str) -> None:
    body = build_upload(1, 1, 1, name, None, "b0").body
    assert isinstance(body, FileBody)
    lines = body.head.split(b"\r\n")
    assert len(lines) == 5
    assert lines[1].count(b'"') == 4
    assert lines[2] == b"Content-Type: application/octet-stream"


@pytest.mark.parametrize("mime", ["image", "image/*", "image/png; a=b", "image/png\r\nX: y", "a/b, c/d", ""])
def test_a_mime_that_is_no_single_type_is_refused(mime: str) -> None:
    with pytest.raises(ValueError, match="one type"):
        build_upload(1, 1, 1, "a", mime, "b0")


@pytest.mark.rule("MEDIA-4")
def test_the_answer_is_the_fragment_as_it_is() -> None:
    assert fragment_of({**DATA, "etag": "x"}) == {**DATA, "etag": "x"}
    assert fragment_of(DATA, width=3, height=None, duration=0) == {**DATA, "width": 3, "duration": 0}


@pytest.mark.rule("MEDIA-5")
@pytest.mark.parametrize("field", sorted(DATA))
@pytest.mark.parametrize("value", [None, True, 1.0, [], "missing"])
def test_a_success_without_one_of_the_five_fields_is_none(field: str, value: Json) -> None:
    data = {**DATA, field: value}
    if value == "missing":
        del data[field]
    with pytest.raises(errors.UploadFailed, match=field):
        fragment_of(data)


@pytest.mark.rule("MEDIA-2", "MEDIA-8")
def test_the_code_decides_and_not_the_status() -> None:
    too_large, odd = refusal_of(200, 41301, "large"), refusal_of(413, 50001, "storage failed")
    assert isinstance(too_large, errors.MediaTooLarge)
    assert isinstance(odd, errors.UploadFailed) and odd.code == 50001
    for status, code in ((400, 40001), (400, 40002), (415, 41501), (500, 50001), (503, 50301)):
        refusal = refusal_of(status, code, "text")
        assert isinstance(refusal, errors.UploadFailed) and refusal.code == code
    proxy = refusal_of(413, None, "")
    assert isinstance(proxy, errors.MediaTooLarge), "a proxy that knows no codes"
    assert (proxy.size, proxy.limit) == (None, UPLOAD_LIMIT)
    assert str(refusal_of(502, None, "")) == "HTTP 502"


@pytest.mark.rule("MEDIA-11")
def test_how_long_an_object_is_kept_can_be_read() -> None:
    assert RETENTION_MS == 15 * 86_400_000


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "ftp://h/x",
        "//h/x",
        "/x",
        "https://",
        "https://user@h/x",
        "https://user:pw@h/x",
        "https://h:99999/x",
        "https://[::1/x",
        "https://h/a b",
        "https://h/a\nb",
        "javascript:alert(1)",
        "",
    ],
)
def test_addresses_that_are_not_fetched(url: str) -> None:
    with pytest.raises(errors.DownloadRefused) as caught:
        download_address(url)
    assert not url or url not in str(caught.value)


@pytest.mark.rule("FRAG-5")
def test_addresses_that_are_fetched_unchanged() -> None:
    for url in ("https://h/x?signature=a%2Fb", "http://h:8080/ü", "HTTPS://H/x"):
        assert download_address(url).geturl().lower() == url.lower()
    assert origin_of(download_address("https://h/x")) == ("https", "h", 443)
    assert origin_of(download_address("http://H:8080/x")) == ("http", "h", 8080)


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_public_addresses(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.9.9.9",
        "0.0.0.0",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "224.0.0.1",
        "239.255.255.250",
        "255.255.255.255",
        "192.0.2.1",
        "::",
        "::1",
        "fe80::1",
        "fe80::1%eth0",
        "fc00::1",
        "fd12::1",
        "ff02::1",
        "2001:db8::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "2002:7f00:1::",
        "2002:a00:1::",
        "64:ff9b::7f00:1",
        "64:ff9b::a00:1",
        "64:ff9b:1::7f00:1",
        "localhost",
        "",
    ],
)
def test_addresses_that_are_none_of_a_peers_business(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(("client", "public"), [("f7f7:f7f7", True), ("f5ff:fffe", False)])
def test_a_tunnelled_address_is_that_of_the_client(client: str, public: bool) -> None:
    """Teredo: 8.8.8.8 and 10.0.0.1, with all bits turned."""
    assert is_public(f"2001:0:4136:e378:8000:63bf:{client}") is public


def test_the_port_of_an_origin_is_that_of_its_scheme() -> None:
    assert origin_of(download_address("http://h/x")) == ("http", "h", 80)
    assert origin_of(download_address("https://h/x")) == ("https", "h", 443)
    assert origin_of(download_address("http://h:443/x")) == ("http", "h", 443)
