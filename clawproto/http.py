"""HTTP requests and answers as plain values; whoever drives the core carries them out."""

from attrs import field

from clawproto.deferred import frozen


@frozen
class FileBody:
    """A body that the driver reads while it sends: ``head``, ``size`` bytes of ``source``, ``tail``.

    Attributes:
        source: the driver's number for the content; read from its beginning whenever the request is sent (REST-4).
        size: of the content in bytes; anything else is an error.
    """

    source: int
    head: bytes = field(repr=False)
    tail: bytes = field(repr=False)
    size: int

    def __len__(self) -> int:
        return len(self.head) + self.size + len(self.tail)


@frozen
class HttpRequest:
    """One request, ready to be sent as it is.

    Attributes:
        method: upper case.
        url: absolute address.
        headers: names and values; values are kept out of the repr because one of them may be a token (AUTH-9).
        body: the encoded body, or None.
        file: instead of ``body``, content that is read while it is sent.
    """

    method: str
    url: str
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=lambda headers: repr([name for name, _ in headers]))
    body: bytes | None = field(default=None, repr=lambda body: "None" if body is None else f"<{len(body)} bytes>")
    file: FileBody | None = None


@frozen
class HttpAnswer:
    """What came back for a request that was answered at all.

    Attributes:
        status: the HTTP status code.
        headers: names in lower case, values as received.
        body: the whole body; drivers bound its size.
    """

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = field(default=b"", repr=lambda body: f"<{len(body)} bytes>")

    def header(self, name: str) -> str | None:
        """The first value of a header, or None. ``name`` in lower case."""
        for key, value in self.headers:
            if key == name:
                return value
        return None
