"""A string that does not print itself (AUTH-9)."""

import hashlib
import re
from functools import cached_property
from typing import Final

from attrs import field

from clawproto.deferred import frozen

_STAND_IN: Final = re.compile(r"(?:e30\.[A-Za-z0-9_-]+\.)?redacted-([0-9a-f]{32})")


def stand_in(digest: str, claims: str | None = None) -> str:
    """The text that stands for the token with this digest where the token must not be shown; see
    `clawproto.redaction`. ``claims`` is its middle part, if it has the form of a JWT."""
    return f"redacted-{digest}" if claims is None else f"e30.{claims}.redacted-{digest}"


@frozen(repr=False, order=False)
class Secret:
    """A token. ``str()``, ``repr()`` and ``format()`` never show it; `reveal` hands it out.

    Equality and hash go by the value, so that two machines can compare tokens without revealing them.
    """

    _value: str = field(repr=False)

    def reveal(self) -> str:
        """The token itself. Call it only where the token goes onto the wire or into a store."""
        return self._value

    @cached_property  # every step compares it
    def digest(self) -> str:
        """32 hexadecimal characters of SHA-256: names the token in logs, guards and intent records.

        What stands for a redacted token has the digest of the token, so that a redacted journal replays.
        """
        redacted = _STAND_IN.fullmatch(self._value)
        if redacted is not None:
            return redacted[1]
        return hashlib.sha256(self._value.encode("utf-8", "surrogatepass")).hexdigest()[:32]

    @property
    def is_stand_in(self) -> bool:
        """Whether this is no token, but stands for one."""
        return _STAND_IN.fullmatch(self._value) is not None

    @property
    def is_blank(self) -> bool:
        """Whether there is nothing but white space in it (REF-7, REF-34)."""
        return not self._value.strip()

    def __repr__(self) -> str:
        return "Secret(…)"

    def __str__(self) -> str:
        return "Secret(…)"

    def __format__(self, format_spec: str) -> str:
        return "Secret(…)"
