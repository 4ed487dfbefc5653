"""Reproducible randomness: numbers drawn from a seed, a purpose and a counter.

There is no generator state beside the counter, so a draw depends on nothing that was drawn before, and the same session
replayed draws the same numbers, in any process.
"""

import hashlib
from collections.abc import Callable


def _draw(seed: bytes, label: str, counter: int, size: int) -> int:
    message = label.encode("utf-8", "surrogatepass") + b"\0" + str(counter).encode("ascii")
    return int.from_bytes(hashlib.blake2b(message, key=seed, digest_size=size).digest(), "big")


def bits(seed: bytes, label: str, counter: int, n: int) -> int:
    """``n`` uniform random bits, as an integer.

    Args:
        seed: at most 64 bytes.
        label: the purpose; draws for different purposes are independent.
        counter: which draw for this purpose.
        n: 1 to 512.

    Raises:
        ValueError: ``n`` is out of range, or the seed is too long.
    """
    if not 1 <= n <= 512:
        raise ValueError(f"1 to 512 bits can be drawn, not {n}")
    size = -(-n // 8)
    return _draw(seed, label, counter, size) >> (size * 8 - n)


def unit(seed: bytes, label: str, counter: int) -> float:
    """A uniform random number, at least 0 and below 1. Arguments as in `bits`."""
    return bits(seed, label, counter, 53) / 2**53


def drawer(seed: bytes, label: str, n: int) -> Callable[[int], int]:
    """`bits` as a function of the counter alone, for many draws: what is the same in all of them is done once.

    Raises:
        ValueError: as `bits`.
    """
    bits(seed, label, 0, n)
    size = -(-n // 8)
    begun = hashlib.blake2b(label.encode("utf-8", "surrogatepass") + b"\0", key=seed, digest_size=size)

    def draw(counter: int) -> int:
        hasher = begun.copy()
        hasher.update(b"%d" % counter)
        return int.from_bytes(hasher.digest(), "big") >> (size * 8 - n)

    return draw
