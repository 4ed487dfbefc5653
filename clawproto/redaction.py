"""Taking the secrets out of what a session sees and does, so that it can be shown to others and still be replayed.

Rules: AUTH-9.

Secrets are found by type: a `Secret`, the ``token`` of ``connect``, tokens in HTTP headers and bodies, pairing codes.
Whatever was found is also taken out of every other text that it turns up in, should a server repeat it in an error.

What stands for a token is made so that the core decides alike with it: another token has another stand-in, the digest
is that of the token (see `clawproto.secret.Secret.digest`), and the claims that the core reads are kept (TOK-1). So the
redacted answers of a step are, letter by letter, the answers of a step with redacted input.
"""

import base64
import json
import re
from collections.abc import Callable
from typing import Any, Final

from clawproto.effects import SendFrame
from clawproto.events import CallRest, Pair
from clawproto.evolving import evolve
from clawproto.http import HttpAnswer, HttpRequest
from clawproto.json_types import Json
from clawproto.jwt import read_claims
from clawproto.results import RestRefused, RestSucceeded
from clawproto.secret import Secret, stand_in
from clawproto.wire import json_backend
from clawproto.wire.json_text import write_ascii

BLANK: Final = "redacted"  # for a secret that nothing depends on
_REMEMBERED: Final = 64  # secrets that are looked for in every text, the last ones seen
_SHORTEST: Final = 6  # characters; anything shorter would be found in innocent words

_NAMES: Final = ("access_token", "refresh_token", "id_token", "token", "ticket", "secret", "password")
_FIELD: Final = r'("(?:{})"\s*:\s*")((?:[^"\\]|\\.)*)'
_TOKEN_FIELD: Final = re.compile(_FIELD.format("|".join(_NAMES)), re.DOTALL)
_CODE_FIELD: Final = re.compile(_FIELD.format("|".join((*_NAMES, "code"))), re.DOTALL)
_PARAMETER: Final = re.compile(rf"([?&](?:{'|'.join((*_NAMES, 'code', 'sig', 'signature'))})=)[^&#]+", re.IGNORECASE)
_PAIRING_PATH: Final = "/v1/agents/connect"
_CONFIDENTIAL: Final = ("cookie", "set-cookie", "x-api-key", "x-auth-token")
_AUTHORIZATION: Final = ("authorization", "proxy-authorization")


def redacted_token(token: str) -> str:
    """What stands for ``token``: another text for each, with the same digest and the same claims. Stands for itself."""
    secret = Secret(token)
    if secret.is_blank or secret.is_stand_in:
        return token
    claims = read_claims(token)
    if claims.exp is None and claims.iat is None and claims.sub is None:
        return stand_in(secret.digest)
    said: dict[str, Json] = {"exp": claims.exp, "iat": claims.iat, "sub": claims.sub}
    kept = {name: value for name, value in said.items() if value is not None}
    text = json.dumps(kept, separators=(",", ":"), ensure_ascii=False)
    return stand_in(secret.digest, base64.urlsafe_b64encode(text.encode()).decode().rstrip("="))


class Redactor:
    """Redacts one session's values. Remembers the secrets that it has seen, to find them in other texts."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}

    def value(self, value: object) -> object:
        """``value`` without the secrets of its type; the values within are not looked at. Never raises."""
        redact = _BY_TYPE.get(type(value))
        return value if redact is None else redact(self, value)

    def token(self, token: str) -> str:
        """See `redacted_token`. From now on the token is looked for in every text."""
        redacted = self._known.get(token)
        if redacted is None:
            redacted = redacted_token(token)
            if redacted != token:
                self._note(token, redacted)
        return redacted

    def text(self, text: str) -> str:
        """``text`` without the secrets seen so far."""
        for secret, redacted in self._known.items():
            if secret in text:
                text = text.replace(secret, redacted)
        return text

    def _note(self, secret: str, redacted: str) -> None:
        if len(secret) < _SHORTEST:
            return
        self._known[secret] = redacted
        while len(self._known) > _REMEMBERED:
            del self._known[next(iter(self._known))]

    # --- by type ---

    def secret(self, secret: Secret) -> Secret:
        """The same token as far as the core can tell."""
        value = secret.reveal()
        redacted = self.token(value)
        return secret if redacted == value else Secret(redacted)

    def frame(self, effect: SendFrame) -> SendFrame:
        """``connect`` carries the access token (AUTH-2)."""
        if effect.event != "connect":
            return effect
        return evolve(effect, text=self._fields(effect.text, _TOKEN_FIELD))

    def request(self, request: HttpRequest) -> HttpRequest:
        """Tokens in headers, address and body."""
        pattern = _CODE_FIELD if _PAIRING_PATH in request.url else _TOKEN_FIELD
        return evolve(
            request,
            url=self._address(request.url),
            headers=self._headers(request.headers),
            body=None if request.body is None else self._body(request.body, pattern),
        )

    def answer(self, answer: HttpAnswer) -> HttpAnswer:
        """Tokens in headers and body."""
        body = self._body(answer.body, _TOKEN_FIELD)
        return evolve(answer, headers=self._headers(answer.headers), body=body)

    def call(self, command: CallRest) -> CallRest:
        """Tokens in path and body, exactly as in the `HttpRequest` that follows."""
        body = command.body
        if isinstance(body, bytes):
            body = self._body(body, _CODE_FIELD if _PAIRING_PATH in command.path else _TOKEN_FIELD)
        return evolve(command, path=self._address(command.path), body=body)

    def pairing(self, command: Pair) -> Pair:
        """The pairing code, which is short, so not even a digest may stand for it."""
        code = command.code.strip()
        if not code or code == BLANK:
            return command
        self._note(code, BLANK)
        return evolve(command, code=command.code.replace(code, BLANK))

    def succeeded(self, result: RestSucceeded) -> RestSucceeded:
        """What the application gets of an answer."""
        return evolve(result, data=self._fields(result.data, _TOKEN_FIELD))

    def refused(self, result: RestRefused) -> RestRefused:
        """Details of a refusal."""
        data = result.data
        return result if data is None else evolve(result, data=self._fields(data, _TOKEN_FIELD))

    # --- pieces ---

    def _headers(self, headers: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
        return tuple((name, self._header(name.lower(), value)) for name, value in headers)

    def _header(self, name: str, value: str) -> str:
        if name in _AUTHORIZATION:
            scheme, space, token = value.partition(" ")
            return f"{scheme}{space}{self.token(token)}" if space else self.token(value)
        return BLANK if name in _CONFIDENTIAL else value

    def _address(self, address: str) -> str:
        return _PARAMETER.sub(rf"\g<1>{BLANK}", address)

    def _body(self, body: bytes, pattern: re.Pattern[str]) -> bytes:
        text = body.decode("utf-8", "surrogateescape")
        redacted = self._fields(text, pattern)
        return body if redacted == text else redacted.encode("utf-8", "surrogateescape")

    def _fields(self, text: str, pattern: re.Pattern[str]) -> str:
        """JSON text with the values of secret fields replaced, everything else to the letter, broken JSON included."""
        text = pattern.sub(lambda match: match[1] + self._field(match[1], match[2]), text)
        if "\\u" not in text:
            return text
        try:  # a name may be written with escapes
            tree = json_backend.loads(text)
        except ValueError:
            return text
        names = (*_NAMES, "code") if pattern is _CODE_FIELD else _NAMES
        return write_ascii(self._tree(tree, names)) if _has_secret(tree, names) else text

    def _field(self, head: str, escaped: str) -> str:
        try:
            value = json.loads(f'"{escaped}"', strict=False)
        except ValueError:
            value = escaped
        if head.startswith('"code"'):
            if value.strip() and value != BLANK:
                self._note(value.strip(), BLANK)
            return BLANK if value.strip() else escaped
        redacted = self.token(value)
        return escaped if redacted == value else redacted

    def _tree(self, value: Json, names: tuple[str, ...]) -> Json:
        if isinstance(value, list):
            return [self._tree(item, names) for item in value]
        if not isinstance(value, dict):
            return value
        return {
            name: (BLANK if name == "code" else self.token(item))
            if name in names and isinstance(item, str)
            else self._tree(item, names)
            for name, item in value.items()
        }


def _has_secret(value: Json, names: tuple[str, ...]) -> bool:
    if isinstance(value, list):
        return any(_has_secret(item, names) for item in value)
    if not isinstance(value, dict):
        return False
    for name, item in value.items():
        if name in names and isinstance(item, str):
            if item != BLANK and redacted_token(item) != item:
                return True
        elif _has_secret(item, names):
            return True
    return False


_BY_TYPE: Final[dict[type, Callable[[Redactor, Any], object]]] = {
    Secret: Redactor.secret,
    SendFrame: Redactor.frame,
    HttpRequest: Redactor.request,
    HttpAnswer: Redactor.answer,
    CallRest: Redactor.call,
    Pair: Redactor.pairing,
    RestSucceeded: Redactor.succeeded,
    RestRefused: Redactor.refused,
}
