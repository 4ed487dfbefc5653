"""Tokens at rest, encrypted: for files that leave the machine, as in backups.

A sealed value is AES-256-GCM under a key that is kept elsewhere, with a fresh nonce each time, bound to the column and
the user that it belongs to. What this protects from, and what not, is told in docs/security.md.
"""

import base64
import binascii
import os
import secrets
from typing import Protocol

ENVIRONMENT_NAME = "CLAWPROTO_STORE_KEY"
KEYRING_SERVICE = "clawproto"
PREFIX = "sealed:1:"
KEY_SIZE = 32  # bytes
_NONCE_SIZE = 12  # bytes


class UnsealableError(Exception):
    """A value that this key does not open. The text holds nothing of it."""


class Sealer(Protocol):
    """Turns a token into what is stored, and back."""

    def seal(self, plain: str, context: str) -> str:
        """What is to be stored. ``context`` says where; it opens nowhere else."""
        ...

    def unseal(self, sealed: str, context: str) -> str:
        """The token again. Raises UnsealableError."""
        ...


class StoreKey:
    """A key for the token columns of a store, and a `Sealer`. It does not print itself.

    Args:
        key: 32 random bytes.

    Raises:
        ValueError: another length.
        ModuleNotFoundError: the extra ``clawproto[encryption]`` is not installed.
    """

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_SIZE:
            raise ValueError(f"a store key has {KEY_SIZE} bytes")
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415 (an extra)

        self._cipher = AESGCM(key)

    def __repr__(self) -> str:
        return "StoreKey(…)"

    @staticmethod
    def generate() -> str:
        """A new key as text, to be kept where secrets are kept."""
        return base64.urlsafe_b64encode(secrets.token_bytes(KEY_SIZE)).decode("ascii")

    @classmethod
    def from_text(cls, text: str) -> "StoreKey":
        """A key as `generate` made it.

        Raises:
            ValueError: it is none; the text is not quoted.
        """
        try:
            key = base64.b64decode(text.strip(), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            key = b""
        if len(key) != KEY_SIZE:
            raise ValueError(f"a store key is {KEY_SIZE} bytes in base64")
        return cls(key)

    @classmethod
    def from_environment(cls, name: str = ENVIRONMENT_NAME) -> "StoreKey | None":
        """The key in an environment variable; None if it is not set or empty.

        Raises:
            ValueError: the variable holds something else.
        """
        text = os.environ.get(name, "")
        return cls.from_text(text) if text else None

    @classmethod
    def from_keyring(cls, name: str, *, create: bool = True) -> "StoreKey":
        """The key called ``name`` in the keyring of the operating system; made and put there if it is missing.

        Raises:
            ValueError: there is none and ``create`` is off, or what is there is no key.
            keyring.errors.KeyringError: the keyring is locked or missing.
            ModuleNotFoundError: the extra ``clawproto[encryption]`` is not installed.
        """
        import keyring  # noqa: PLC0415 (an extra)

        text = keyring.get_password(KEYRING_SERVICE, name)
        if text is None:
            if not create:
                raise ValueError(f"the keyring has no key called {name!r}")
            text = cls.generate()
            keyring.set_password(KEYRING_SERVICE, name, text)
        return cls.from_text(text)

    def seal(self, plain: str, context: str) -> str:
        """See `Sealer.seal`."""
        nonce = secrets.token_bytes(_NONCE_SIZE)
        sealed = self._cipher.encrypt(nonce, plain.encode("utf-8", "surrogatepass"), context.encode("utf-8"))
        return PREFIX + base64.b64encode(nonce + sealed).decode("ascii")

    def unseal(self, sealed: str, context: str) -> str:
        """See `Sealer.unseal`."""
        from cryptography.exceptions import InvalidTag  # noqa: PLC0415 (an extra)

        try:
            raw = base64.b64decode(sealed.removeprefix(PREFIX), validate=True)
            plain = self._cipher.decrypt(raw[:_NONCE_SIZE], raw[_NONCE_SIZE:], context.encode("utf-8"))
            return plain.decode("utf-8", "surrogatepass")
        except (InvalidTag, ValueError):
            pass
        raise UnsealableError("this key does not open it")  # out here: nothing hangs on as its context


def is_sealed(value: str) -> bool:
    """Whether a stored value was sealed. No token begins like this: tokens have no colons."""
    return value.startswith(PREFIX)
