"""What the methods of a driver's client do apart from waiting: build the command, and turn its result into a value or
an exception. Both drivers share it, and a third one should."""

import json
from collections.abc import Iterable, Mapping, Sequence

from clawproto import errors, results
from clawproto.app_events import MessageReceived, MetadataInvalidated, SignalReceived
from clawproto.credentials import Credentials
from clawproto.deferred import frozen
from clawproto.events import CallRest, MarkApplied, Send
from clawproto.json_types import Json
from clawproto.refetching import version_key
from clawproto.wire.values import TextFragment

PREVIEW_LIMIT = 200  # characters of a quoted message


@frozen
class RestAnswer:
    """A REST call that succeeded.

    Attributes:
        data: the object below ``data``.
        status: HTTP status.
        headers: names in lower case.
    """

    data: dict[str, Json]
    status: int
    headers: tuple[tuple[str, str], ...] = ()


# --- commands -----------------------------------------------------------------------------------------------------


def build_send(
    command: int,
    chat_id: str,
    content: str | Iterable[Mapping[str, Json]],
    *,
    mentions: Sequence[Json] = (),
    reply_to: MessageReceived | Mapping[str, Json] | None = None,
    mode: str = "normal",
    message_id: str | None = None,
    to: Mapping[str, Json] | None = None,
) -> Send:
    """The `Send` command for a text, or for ready fragments.

    Args:
        reply_to: the message that this one answers, or a complete ``context.reply`` object (SEND-4).
    """
    fragments = ({"kind": "text", "text": content},) if isinstance(content, str) else tuple(content)
    reply = quote(reply_to) if isinstance(reply_to, MessageReceived) else reply_to
    return Send(command, chat_id, fragments, tuple(mentions), reply, mode, message_id, to)


def quote(message: MessageReceived) -> dict[str, Json]:
    """``context.reply`` for an answer to ``message``: who wrote it, and the beginning of its text (SEND-4)."""
    text = "".join(part.text for part in message.message.fragments if isinstance(part, TextFragment))
    preview: list[Json] = [{"kind": "text", "text": text[:PREVIEW_LIMIT]}] if text else []
    author = message.sender
    return {
        "reply_to_msg_id": message.message.message_id,
        "reply_preview": {
            "id": author.id if author is not None else "",
            "nick_name": (author.nick_name if author is not None else None) or "",
            "fragments": preview,
        },
    }


def build_rest(
    command: int,
    method: str,
    path: str,
    *,
    json_body: Json = None,
    body: bytes | None = None,
    content_type: str = "application/json",
    timeout_ms: int | None = None,
) -> CallRest:
    """The `CallRest` command.

    Args:
        json_body: encoded here; None sends no body.
        body: bytes that are ready to be sent, instead of ``json_body``.

    Raises:
        ValueError: both bodies, a path without a leading slash, or a value that JSON cannot hold.
    """
    if json_body is not None and body is not None:
        raise ValueError("give json or body, not both")
    if not path.startswith("/"):
        raise ValueError("the path starts with a slash; the base URL is known already")
    if json_body is not None:
        body = json.dumps(json_body, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
    return CallRest(command, method.upper(), path, body, timeout_ms, content_type)


# --- results ------------------------------------------------------------------------------------------------------


def receipt_of(result: results.Result) -> results.Receipt:
    """The receipt of a `Send`.

    Raises:
        SendRejected, SendUndecided, SendGated, SendDropped, NotPaired, LoggedOut, SessionClosed: see there.
    """
    match result:
        case results.Receipt():
            return result
        case results.SendRejected(chat_id, message_id, code, reason):
            raise errors.SendRejected(chat_id, message_id, code, reason)
        case results.SendUndecided(chat_id, message_id):
            raise errors.SendUndecided(chat_id, message_id)
        case results.SendGated(chat_id, code, retry_after_ms):
            raise errors.SendGated(chat_id, code, retry_after_ms)
        case results.SendDropped(chat_id, message_id):
            raise errors.SendDropped(chat_id, message_id)
        case _:
            raise _ended(result)


def answer_of(result: results.Result) -> RestAnswer:
    """The answer to a `CallRest`.

    Raises:
        RestUnauthorized, RestRefused, RestFailed, NotPaired, LoggedOut, SessionClosed: see there.
    """
    match result:
        case results.RestSucceeded(data, answer):
            return RestAnswer(json.loads(data), answer.status, answer.headers)
        case results.RestUnauthorized(status, text):
            raise errors.RestUnauthorized(status, text)
        case results.RestRefused(status, code, text, data):
            raise errors.RestRefused(status, code, text, None if data is None else json.loads(data))
        case results.RestFailed(sent, text):
            raise errors.RestFailed(text, sent)
        case _:
            raise _ended(result)


def done_by(result: results.Result) -> None:
    """The outcome of what the hub does not answer.

    Raises:
        NotDone, NotPaired, LoggedOut, SessionClosed: see there.
    """
    match result:
        case results.Done():
            return
        case results.NotDone(code, text):
            raise errors.NotDone(code, text)
        case _:
            raise _ended(result)


def opened_by(result: results.Result) -> str:
    """The message id of an `OpenStream`.

    Raises:
        SendRejected, SendGated, NotPaired, LoggedOut, SessionClosed: see there.
    """
    if isinstance(result, results.StreamOpened):
        return result.message_id
    receipt_of(result)
    raise TypeError("a receipt answers another command")


def appended_by(result: results.Result) -> None:
    """The outcome of an `AppendStream`.

    Raises:
        SendRejected, NotPaired, LoggedOut, SessionClosed: see there.
    """
    if not isinstance(result, results.Done):
        receipt_of(result)


def finished_by(result: results.Result) -> results.Receipt | None:
    """The receipt of the message that closed a stream; None if there was none to be sent.

    Raises:
        SendRejected, SendUndecided, SendGated, SendDropped, NotPaired, LoggedOut, SessionClosed: see there.
    """
    return None if isinstance(result, results.StreamEnded) else receipt_of(result)


def build_applied(event: MetadataInvalidated | SignalReceived) -> MarkApplied | None:
    """The `MarkApplied` command for a signal; None if it has no version to remember, or nothing to remember it for."""
    if event.version is None:
        return None
    if isinstance(event, MetadataInvalidated):
        return MarkApplied("chat", event.chat_id, event.version)
    key = version_key(event.type, event.entity_id)
    return MarkApplied("entity", key, event.version) if key else None


def refreshed_by(result: results.Result) -> results.RefreshSucceeded | results.RefreshSkipped:
    """The outcome of a `Refresh`; a skipped one is no failure (REF-18).

    Raises:
        RefreshFailed: for now; the session tries again by itself.
        LoggedOut: for good.
        SessionClosed: see there.
    """
    match result:
        case results.RefreshSucceeded() | results.RefreshSkipped():
            return result
        case results.RefreshFailed(text, sent):
            raise errors.RefreshFailed(text, sent)
        case results.RefreshRefused():
            raise errors.LoggedOut
        case _:
            raise _ended(result)


def credentials_of(result: results.Result) -> Credentials:
    """The credentials that a `Pair` brought.

    Raises:
        PairRefused, SessionClosed: see there.
    """
    match result:
        case results.Paired(credentials):
            return credentials
        case results.PairRefused(code, spent, text):
            raise errors.PairRefused(code, spent, text)
        case _:
            raise _ended(result)


def _ended(result: results.Result) -> Exception:
    match result:
        case results.StoppedResult(message_id, transmitted, kept):
            return errors.SessionClosed(message_id, transmitted, kept)
        case results.LoggedOutResult():
            return errors.LoggedOut()
        case results.NotPaired():
            return errors.NotPaired()
        case _:
            return TypeError(f"{type(result).__name__} answers another command")
