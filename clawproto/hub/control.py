"""The control endpoint as a plain function: a path and a JSON body in, a status and a JSON value out.

``POST /control/<switch>`` calls the method of `Controls` of that name with the members of the JSON object as arguments.
``GET /control/state``, ``/control/uplinks`` and ``/control`` look.
"""

import inspect
from collections.abc import Callable, Mapping
from types import UnionType
from typing import Final, Literal, Union, cast, get_args, get_origin, get_type_hints

from clawproto.hub.controls import Controls
from clawproto.hub.frames import JsonObject, decode
from clawproto.hub.provisioning import HubAgent
from clawproto.json_types import Json

SWITCHES: Final = (
    "add_member",
    "buffer_full",
    "clear",
    "close",
    "close_before_hello",
    "configure",
    "create_agent",
    "create_conversation",
    "create_pairing_code",
    "create_user",
    "delay",
    "dissolve",
    "dseq_fault",
    "duplicate",
    "fail_cursor_reset",
    "fail_http",
    "fail_refresh",
    "hello_fail",
    "inject",
    "inject_text",
    "invalidate_metadata",
    "issue_tokens",
    "kick",
    "lose_acks",
    "outage",
    "permission",
    "post",
    "prune",
    "recall",
    "reject_access",
    "reject_messages",
    "remove_member",
    "revoke",
    "signal",
    "silence",
    "take_over",
    "verdict",
)


def control(hub: Controls, method: str, path: str, query: Mapping[str, str], body: bytes) -> tuple[int, JsonObject]:
    """Carry one control request out; ``path`` without the ``/control`` prefix. Never raises for a bad request."""
    name = path.strip("/")
    if method == "GET":
        return _look(hub, name, query)
    if method != "POST":
        return 405, _error("use GET or POST")
    if name not in SWITCHES:
        return 404, _error(f"no switch named {name!r}")
    arguments = decode(body) if body.strip() else {}
    if arguments is None:
        return 400, _error("the body must be a JSON object")
    switch: Callable[..., object] = getattr(hub, name)
    problem = _problem(switch, arguments)
    if problem is not None:
        return 400, _error(problem)
    try:
        result = switch(**arguments)
    except KeyError as error:
        return 404, _error(f"unknown id {error}")
    except (ValueError, TypeError) as error:
        return 400, _error(str(error))
    return 200, {"ok": True, "result": _jsonable(result)}


def _look(hub: Controls, name: str, query: Mapping[str, str]) -> tuple[int, JsonObject]:
    match name:
        case "":
            return 200, {"ok": True, "result": {switch: _signature(hub, switch) for switch in SWITCHES}}
        case "state":
            return 200, {"ok": True, "result": hub.state()}
        case "uplinks":
            return 200, {"ok": True, "result": hub.uplinks(query.get("user_id"))}
        case _:
            return 404, _error(f"nothing to see at {name!r}")


def _signature(hub: Controls, name: str) -> Json:
    return [str(parameter) for parameter in inspect.signature(getattr(hub, name)).parameters.values()]


def _problem(switch: Callable[..., object], arguments: JsonObject) -> str | None:
    """Why these arguments do not fit, or None."""
    try:
        inspect.signature(switch).bind(**arguments)
    except TypeError as error:
        return str(error)
    hints = get_type_hints(switch)
    for name, value in arguments.items():
        if not _fits(value, hints[name]):
            return f"{name}: {inspect.formatannotation(hints[name])} expected"
    return None


def _fits(value: Json, hint: object) -> bool:
    origin = get_origin(hint)
    if origin in (Union, UnionType):
        return any(_fits(value, option) for option in get_args(hint))
    if origin is Literal:
        return value in get_args(hint)
    if hint is type(None):
        return value is None
    if isinstance(value, list) and origin is list:
        return get_args(hint)[0] is not str or all(isinstance(item, str) for item in value)
    plain = origin or hint
    return type(value) is plain


def _jsonable(result: object) -> Json:
    if isinstance(result, HubAgent):
        return {**result.as_dict()}
    return cast("Json", result)  # every other switch returns JSON or None


def _error(text: str) -> JsonObject:
    return {"ok": False, "error": text}
