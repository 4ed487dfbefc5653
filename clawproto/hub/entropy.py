"""Reproducible randomness and ids: a keyed hash over a counter (HUB-1)."""

import base64

from clawproto.entropy import bits
from clawproto.ids import IdState, next_ulid


class Entropy:
    """A stream of bytes fixed by its seed. Same seed, same calls: same results.

    Raises:
        ValueError: the seed is empty or longer than 64 bytes.
    """

    def __init__(self, seed: bytes) -> None:
        if not 1 <= len(seed) <= 64:
            raise ValueError(f"a seed has 1 to 64 bytes, not {len(seed)}")
        self._seed = seed
        self._counter = 0
        self._ids = IdState()

    def take(self, count: int) -> bytes:
        """The next ``count`` bytes, at most 64."""
        self._counter += 1
        return bits(self._seed, "hub", self._counter, count * 8).to_bytes(count, "big")

    def hex(self, characters: int) -> str:
        """An even number of hexadecimal characters, at most 128."""
        return self.take(characters // 2).hex()

    def nonce(self) -> str:
        """18 bytes as 24 characters of unpadded base64url (HS-1)."""
        return base64.urlsafe_b64encode(self.take(18)).decode("ascii")

    def ulid(self, wall_ms: int) -> str:
        """26 characters of Crockford base32, greater than every one before (SEND-6)."""
        self._ids, ulid = next_ulid(self._ids, self._seed, wall_ms)
        return ulid
