"""Tokens, pairs of them, and what a store keeps."""

import base64
import json
from collections.abc import Mapping

from hypothesis import strategies as st

from clawproto.credentials import Credentials, Guard, Identity, Intent, TokenPair
from clawproto.json_types import Json
from clawproto.secret import Secret

EPOCH_MS = 1_790_000_000_000  # around which tokens and clocks are drawn
_YEAR_S = 365 * 86_400
_HEX = "0123456789abcdef"


def jwt(claims: Mapping[str, Json], signature: str = "signature") -> str:
    """A text of the form of a JWT with these claims; nobody has signed it."""
    return f"{_segment({'alg': 'none'})}.{_segment(claims)}.{signature}"


def _segment(value: Mapping[str, Json]) -> str:
    return base64.urlsafe_b64encode(json.dumps(dict(value)).encode()).decode().rstrip("=")


def _signatures() -> st.SearchStrategy[str]:
    return st.text("abcdefghijklmnopqrstuvwxyzABCDEF0123456789-_", min_size=8, max_size=24)


def _usual(iat: int, life_s: int, subject: dict[str, Json], signature: str) -> str:
    return jwt({"exp": iat + life_s, "iat": iat, **subject}, signature)


def _odd(exp: Json, iat: Json, signature: str) -> str:
    return jwt({"exp": exp, "iat": iat}, signature)


def access_tokens() -> st.SearchStrategy[Secret]:
    """Access tokens: with usable times, of any length of life; with odd or no claims (TOK-1 to TOK-9); opaque."""
    seconds = st.integers(EPOCH_MS // 1000 - _YEAR_S, EPOCH_MS // 1000 + _YEAR_S)
    life = st.sampled_from([60, 600, 3_600, 4_200, 86_400, 30 * 86_400]) | st.integers(-100, _YEAR_S)
    subjects: list[dict[str, Json]] = [{}, {"sub": "usr_1"}, {"sub": "usr_other"}, {"sub": 3}]
    usual = st.builds(_usual, seconds, life, st.sampled_from(subjects), _signatures())
    odd_number = st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=6)
    odd = st.builds(_odd, odd_number | st.integers(-(10**30), 10**30), odd_number | st.integers(), _signatures())
    opaque = st.text(_HEX, min_size=32, max_size=64) | st.text("abc.-_", min_size=8, max_size=20)
    return st.one_of(usual, usual, odd, opaque).map(Secret)


def refresh_tokens() -> st.SearchStrategy[Secret]:
    """Refresh tokens: 64 hexadecimal characters (REF table), rarely blank (REF-34)."""
    return st.one_of(
        st.text(_HEX, min_size=64, max_size=64), st.text(_HEX, min_size=64, max_size=64), st.sampled_from(["", " "])
    ).map(Secret)


def token_pairs() -> st.SearchStrategy[TokenPair]:
    """Pairs; some without a refresh token (PAIR-11) or without a time (TOK-6)."""
    obtained = st.none() | st.integers(EPOCH_MS - 86_400_000, EPOCH_MS + 86_400_000)
    return st.builds(TokenPair, access_tokens(), st.none() | refresh_tokens(), obtained)


def identities() -> st.SearchStrategy[Identity]:
    """Identities, with and without what is optional; rarely a device id that no header can carry (REF-37)."""
    return st.builds(
        Identity,
        st.sampled_from(["usr_1", "usr_2"]),
        st.sampled_from(["lab-01", "lab-01", "lab-02", "", "é"]),
        st.sampled_from(["https://api.example", "https://other.example"]),
        st.sampled_from(["wss://hub.example/ws", "wss://other.example/ws"]),
        st.sampled_from([None, "usr_owner"]),
        st.sampled_from([None, "agt_1"]),
        st.sampled_from([None, "cnv_1"]),
        st.sampled_from([None, "lab-01-hub"]),
    )


def _digests() -> st.SearchStrategy[str]:
    return st.text(_HEX, min_size=32, max_size=32)


def intents() -> st.SearchStrategy[Intent]:
    """Records of a rotation that was on its way (REF-46)."""
    return st.builds(Intent, _digests(), st.integers(0, 5), st.integers(EPOCH_MS - 200_000, EPOCH_MS))


def credentials() -> st.SearchStrategy[Credentials]:
    """Records of a store: usable, logged out, with an intent, with the digest of a refused token."""
    return st.builds(
        Credentials,
        identities(),
        st.none() | token_pairs(),
        st.integers(0, 5),
        st.none() | intents(),
        st.none() | _digests(),
    ).map(_consistent)


def _consistent(record: Credentials) -> Credentials:
    """The intent of some records is that of their own pair, the refusal that of their own token."""
    pair = record.tokens
    if pair is None or pair.refresh is None or record.intent is None or record.intent.wall_ms % 2:
        return record
    own = Intent(pair.refresh.digest, record.generation, record.intent.wall_ms)
    refused = pair.access.digest if record.refused is not None and record.generation % 2 else record.refused
    return Credentials(record.identity, pair, record.generation, own, refused)


def guards() -> st.SearchStrategy[Guard]:
    """What an earlier session hands on (REF-33)."""
    last = st.none() | st.integers(EPOCH_MS - 100_000, EPOCH_MS + 100_000)
    return st.builds(Guard, st.none() | _digests(), st.none() | _digests(), last)
