"""Access and refresh tokens: minting, checking, rotating (TOK-18, REF-8, REF-40, REF-41, AUTH-6).

A refresh token's life:

    live --rotate--> spent --(grace mode only: 2 to 90 s later, successor unused, at most twice)--> spent, fresh pair
      \\--revoke---> revoked <--(its predecessor was redeemed in grace)-- live
"""

import base64
import json
from collections import Counter
from typing import Literal

from attrs import define, field

from clawproto.hub.entropy import Entropy
from clawproto.hub.settings import HubSettings


@define
class AccessToken:
    user_id: str
    expires_ms: int
    rejected: bool = False


@define
class RefreshToken:
    """Bound to the device id of the pairing (PAIR-12)."""

    user_id: str
    device_id: str
    expires_ms: int
    access: str = field(repr=False)
    state: Literal["live", "spent", "revoked"] = "live"
    spent_ms: int = 0
    redemptions: int = 0
    successor: str = field(default="", repr=False)


@define
class TokenPair:
    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)


def _segment(claims: dict[str, object]) -> str:
    text = json.dumps(claims, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(text).decode("ascii").rstrip("=")


class TokenDesk:
    """Knows every token it ever minted that has not expired."""

    def __init__(self, entropy: Entropy) -> None:
        self._entropy = entropy
        self._access: dict[str, AccessToken] = {}
        self._refresh: dict[str, RefreshToken] = {}
        self.rotations: Counter[str] = Counter()
        self.grace_redemptions: Counter[str] = Counter()

    def mint(self, user_id: str, device_id: str, settings: HubSettings, wall_ms: int) -> TokenPair:
        """A fresh pair; nothing older is touched."""
        self._prune(wall_ms)
        expires_ms = wall_ms + settings.access_token_life_ms
        match settings.token_flavour:
            case "jwt":
                expires_ms -= expires_ms % 1000
                access = self._jwt(user_id if settings.token_subject else None, expires_ms, wall_ms)
            case "opaque":
                access = "cat_" + self._entropy.hex(48)
        refresh = self._entropy.hex(64)
        self._access[access] = AccessToken(user_id, expires_ms)
        self._refresh[refresh] = RefreshToken(user_id, device_id, wall_ms + settings.refresh_token_life_ms, access)
        return TokenPair(access, refresh)

    def _jwt(self, subject: str | None, expires_ms: int, wall_ms: int) -> str:
        """Three segments whose signature nobody can check (TOK-18)."""
        claims: dict[str, object] = {"exp": expires_ms // 1000, "iat": wall_ms // 1000}
        if subject is not None:
            claims["sub"] = subject
        signature = base64.urlsafe_b64encode(self._entropy.take(32)).decode("ascii").rstrip("=")
        return f"{_segment({'alg': 'HS256', 'typ': 'JWT'})}.{_segment(claims)}.{signature}"

    def check_access(self, token: str, wall_ms: int) -> AccessToken | None:
        """The record of a token that is accepted now, or None."""
        record = self._access.get(token)
        return None if record is None or record.rejected or wall_ms >= record.expires_ms else record

    def owner_of(self, token: str) -> str | None:
        """Whose access token this is or was; None for one that was never minted here."""
        record = self._access.get(token)
        return None if record is None else record.user_id

    def refresh_owner(self, token: str) -> str | None:
        """Whose refresh token this is or was; None for one that was never minted here."""
        record = self._refresh.get(token)
        return None if record is None else record.user_id

    def rotate(self, token: str, device_id: str, settings: HubSettings, wall_ms: int) -> TokenPair | None:
        """A new pair for a refresh token, or None if it is refused (REF-38: 10003)."""
        record = self._refresh.get(token)
        if record is None or record.device_id != device_id or wall_ms >= record.expires_ms:
            return None
        if record.state == "live":
            record.state = "spent"
            record.spent_ms = wall_ms
        elif self._redeemable(record, settings, wall_ms):
            record.redemptions += 1
            self._refresh[record.successor].state = "revoked"
            self.grace_redemptions[record.user_id] += 1
        else:
            return None
        if settings.rotation_kills_access and record.access in self._access:
            self._access[record.access].rejected = True
        pair = self.mint(record.user_id, device_id, settings, wall_ms)
        record.successor = pair.refresh_token
        self.rotations[record.user_id] += 1
        return pair

    def _redeemable(self, record: RefreshToken, settings: HubSettings, wall_ms: int) -> bool:
        successor = self._refresh.get(record.successor)
        return (
            settings.refresh_mode == "grace"
            and record.state == "spent"
            and settings.grace_from_ms <= wall_ms - record.spent_ms <= settings.grace_until_ms
            and record.redemptions < settings.grace_redemptions
            and successor is not None
            and successor.state == "live"
        )

    def reject_access(self, user_id: str) -> None:
        """Refuse every access token that the user holds now; a rotated one will be accepted."""
        for record in self._access.values():
            if record.user_id == user_id:
                record.rejected = True

    def revoke(self, user_id: str) -> None:
        """End the user's sessions: access is refused and refreshing answers 10003."""
        self.reject_access(user_id)
        for record in self._refresh.values():
            if record.user_id == user_id:
                record.state = "revoked"

    def _prune(self, wall_ms: int) -> None:
        """Forget what expired, oldest first, so that a hub that runs for weeks stays small."""
        for table in (self._access, self._refresh):
            while table:
                oldest = next(iter(table))
                if table[oldest].expires_ms > wall_ms:
                    break
                del table[oldest]
