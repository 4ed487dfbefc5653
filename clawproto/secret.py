"""A string that does not print itself (AUTH-9)."""

import hashlib
from functools import cached_property

from attrs import field, frozen


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
        """32 hexadecimal characters of SHA-256: names the token in logs, guards and intent records."""
        return hashlib.sha256(self._value.encode("utf-8", "surrogatepass")).hexdigest()[:32]

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
