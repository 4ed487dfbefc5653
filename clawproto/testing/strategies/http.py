"""What the companion API answers, and what something in between may answer instead."""

import json
from collections.abc import Mapping

from hypothesis import strategies as st

from clawproto.http import HttpAnswer
from clawproto.json_types import Json
from clawproto.secret import Secret
from clawproto.testing.strategies.tokens import access_tokens, refresh_tokens

_STATUSES = st.sampled_from([200, 200, 200, 201, 204, 301, 400, 401, 403, 404, 409, 413, 429, 500, 502, 503, 504])
_KNOWN_CODES: list[Json] = [0, 0, 1, 400, 10003, 16001, 16014, 40101, 50301, None, "0", True, 1.0, 10**20]
_CODES = st.sampled_from(_KNOWN_CODES)


def _name(header: tuple[str, str]) -> str:
    return header[0]


def headers() -> st.SearchStrategy[tuple[tuple[str, str], ...]]:
    """Headers that matter to a session: the date (TOK-20) and how long to wait (REF-47), right and wrong."""
    date = st.sampled_from(
        ["Tue, 22 Sep 2026 01:46:40 GMT", "Tuesday, 22-Sep-26 01:46:40 GMT", "yesterday", "", "Tue, 22 Sep 1970"]
    )
    wait = st.sampled_from(["0", "5", "3600", "86400", "-1", "1.5", "soon", "9" * 30, "Tue, 22 Sep 2026 01:50:00 GMT"])
    return st.lists(
        st.tuples(st.just("date"), date) | st.tuples(st.just("retry-after"), wait), max_size=2, unique_by=_name
    ).map(tuple)


def _answer(status: int, head: tuple[tuple[str, str], ...], body: Mapping[str, Json] | bytes) -> HttpAnswer:
    return HttpAnswer(status, head, body if isinstance(body, bytes) else json.dumps(dict(body)).encode())


def _hostile_bodies() -> st.SearchStrategy[bytes]:
    return st.sampled_from([b"", b"<html>502</html>", b"[1]", b"null", b"{", b"\xff", b"[" * 300, b'{"code":1e999}'])


def _refusals() -> st.SearchStrategy[dict[str, Json]]:
    texts = st.sampled_from(["no", "invalid refresh token", "", "x" * 2_000])
    return st.builds(_envelope, _CODES, texts, st.just({}))


def _envelope(code: Json, text: str, data: Json) -> dict[str, Json]:
    return {"code": code, "msg": text, "data": data}


def _rotated(access: Secret, refresh: Secret) -> dict[str, Json]:
    return _envelope(0, "ok", {"access_token": access.reveal(), "refresh_token": refresh.reveal()})


def _paired(access: Secret, refresh: Secret, missing: str | None) -> dict[str, Json]:
    data: dict[str, Json] = {
        "access_token": access.reveal(),
        "refresh_token": refresh.reveal(),
        "agent": {"id": "agt_1", "user_id": "usr_1", "owner_id": "usr_owner"},
        "conversation": {"id": "cnv_1"},
    }
    return _envelope(0, "ok", {name: value for name, value in data.items() if name != missing})


def refresh_answers() -> st.SearchStrategy[HttpAnswer]:
    """Answers to the refresh call: rotated, refused (10003, 400), transient, incomplete, and none of ours (REF-4)."""
    rotated = st.builds(_rotated, access_tokens(), refresh_tokens())
    missing: list[dict[str, Json]] = [
        {"code": 0, "data": {}},
        {"code": 0},
        {"code": 0, "data": {"access_token": "a", "refresh_token": 3}},
    ]
    incomplete = st.sampled_from(missing)
    return st.one_of(
        st.builds(_answer, st.just(200), headers(), rotated),
        st.builds(_answer, _STATUSES, headers(), rotated | _refusals() | incomplete | _hostile_bodies()),
    )


def pairing_answers() -> st.SearchStrategy[HttpAnswer]:
    """Answers to the pairing call: paired, refused (16001, 16014), incomplete, and none of ours (PAIR-3 to PAIR-8)."""
    missing = st.sampled_from([None, None, None, "access_token", "refresh_token", "agent", "conversation"])
    paired = st.builds(_paired, access_tokens(), refresh_tokens(), missing)
    return st.one_of(
        st.builds(_answer, st.just(200), headers(), paired),
        st.builds(_answer, _STATUSES, headers(), paired | _refusals() | _hostile_bodies()),
    )


def http_answers() -> st.SearchStrategy[HttpAnswer]:
    """Any answer to any call."""
    data: list[Json] = [{}, {"user_id": "usr_1"}, {"items": [1, 2, {"a": None}]}, None, [], "x"]
    ordinary = st.builds(_envelope, _CODES, st.just(""), st.sampled_from(data))
    rest = st.builds(_answer, _STATUSES, headers(), ordinary | _hostile_bodies())
    return st.one_of(rest, refresh_answers(), pairing_answers())
