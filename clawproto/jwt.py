"""Reading times from an access token that happens to be a JWT (TOK-1 to TOK-3).

No signature is checked and nothing read here is trusted: the times schedule a refresh, the subject is compared with the
stored user id for a warning (AUTH-11). A token of any other shape simply has no claims.
"""

import binascii
import math
import re
from typing import Final

from attrs import field

from clawproto.deferred import frozen
from clawproto.json_types import Json
from clawproto.wire.json_backend import stdlib_loads

LONGEST_TOKEN: Final = 65_536  # characters; a longer one does not fit into ``connect`` (HS-20)
_BASE64URL: Final = re.compile(r"([A-Za-z0-9_-]+)={0,2}")
_LAST_MS: Final = 8_640_000_000_000_000  # about the year 275 760, the last instant of an ECMAScript date


@frozen
class Claims:
    """What a token says about itself; None where it says nothing usable.

    Attributes:
        exp: expiry, seconds since the Unix epoch, finite.
        iat: time of issue, likewise.
        sub: subject.
    """

    exp: int | float | None = None
    iat: int | float | None = None
    sub: str | None = field(default=None, repr=False)

    @property
    def exp_ms(self) -> int | None:
        """`exp` in milliseconds, kept within ±8.64e15 so that no absurd token overflows anything."""
        return _milliseconds(self.exp)

    @property
    def iat_ms(self) -> int | None:
        """`iat` in milliseconds, likewise."""
        return _milliseconds(self.iat)


_NO_CLAIMS: Final = Claims()


def _milliseconds(seconds: float | None) -> int | None:
    if seconds is None:
        return None
    return int(min(max(seconds, -_LAST_MS // 1000), _LAST_MS // 1000) * 1000)


def _finite(value: Json) -> int | float | None:
    """A JSON number that is finite and no boolean; numeric strings are none (TOK-2, D-10)."""
    if type(value) is int or (type(value) is float and math.isfinite(value)):
        return value
    return None


def read_claims(token: str) -> Claims:
    """The claims of ``token``. Never raises."""
    segments = token.split(".", 2) if len(token) <= LONGEST_TOKEN else ()
    match = _BASE64URL.fullmatch(segments[1]) if len(segments) > 1 else None
    if match is None:
        return _NO_CLAIMS
    encoded = match[1].translate({ord("-"): "+", ord("_"): "/"})
    try:
        claims = stdlib_loads(binascii.a2b_base64(encoded + "=" * (-len(encoded) % 4)))
    except ValueError:  # an impossible length; not JSON
        return _NO_CLAIMS
    if not isinstance(claims, dict):
        return _NO_CLAIMS
    subject = claims.get("sub")
    return Claims(_finite(claims.get("exp")), _finite(claims.get("iat")), subject if isinstance(subject, str) else None)
