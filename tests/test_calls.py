"""What the clients' methods build, and what they make of results."""

import json
from collections.abc import Callable

import pytest
from attrs import evolve

from clawproto import calls, errors, results
from clawproto.app_events import MessageReceived, MetadataInvalidated, SignalReceived
from clawproto.credentials import Credentials, Identity, TokenPair
from clawproto.events import CallRest, MarkApplied, Send
from clawproto.http import HttpAnswer
from clawproto.results import Result
from clawproto.secret import Secret
from clawproto.wire.values import MediaFragment, MessagePayload, Peer, TextFragment

CHAT = "cnv_01K9F40000QRSTVWXYZ0123456"
TOKENS = TokenPair(Secret("the-access-token"), Secret("the-refresh-token"))
CREDENTIALS = Credentials(Identity("usr_me", "dev", "http://hub", "ws://hub/ws"), TOKENS)


def received(text: str, sender: Peer | None = None) -> MessageReceived:
    return MessageReceived(
        event="message.send",
        chat_id=CHAT,
        chat_type="direct",
        sender=sender,
        message=MessagePayload(
            "msg-1", "normal", (TextFragment(text), MediaFragment("image", "http://x"), TextFragment("!")), ()
        ),
        own=False,
        system=False,
        update=False,
        conversational=True,
        emitted_at_ms=None,
    )


@pytest.mark.rule("SEND-1")
def test_a_text_becomes_one_fragment_and_fragments_stay_what_they_are() -> None:
    assert calls.build_send(3, CHAT, "lunch?") == Send(3, CHAT, ({"kind": "text", "text": "lunch?"},))
    image = {"kind": "image", "url": "http://x"}
    assert calls.build_send(4, CHAT, [image], mode="thinking", message_id="msg-2").fragments == (image,)


@pytest.mark.rule("SEND-4")
def test_an_answer_quotes_author_and_beginning_of_the_message() -> None:
    reply = calls.build_send(1, CHAT, "yes", reply_to=received("a" * 500, Peer("usr_d", nick_name="Dora"))).reply
    assert reply == {
        "reply_to_msg_id": "msg-1",
        "reply_preview": {
            "id": "usr_d",
            "nick_name": "Dora",
            "fragments": [{"kind": "text", "text": "a" * calls.PREVIEW_LIMIT}],
        },
    }
    nobody = calls.quote(received("hi"))["reply_preview"]
    assert nobody == {"id": "", "nick_name": "", "fragments": [{"kind": "text", "text": "hi!"}]}
    ready = {"reply_to_msg_id": "msg-9"}
    assert calls.build_send(1, CHAT, "yes", reply_to=ready).reply == ready


def test_a_rest_body_is_json_or_bytes_but_not_both() -> None:
    call = calls.build_rest(1, "post", "/v1/x", json_body={"a": "ä"}, timeout_ms=5)
    assert call == CallRest(1, "POST", "/v1/x", '{"a":"ä"}'.encode(), 5)
    assert calls.build_rest(1, "GET", "/v1/x").body is None
    assert calls.build_rest(1, "POST", "/v1/x", body=b"\x00", content_type="image/png").content_type == "image/png"
    with pytest.raises(ValueError, match="not both"):
        calls.build_rest(1, "POST", "/v1/x", json_body={}, body=b"")
    with pytest.raises(ValueError, match="slash"):
        calls.build_rest(1, "GET", "v1/x")
    with pytest.raises(ValueError, match="JSON"):
        calls.build_rest(1, "GET", "/v1/x", json_body=float("nan"))


def test_a_rest_answer_is_read() -> None:
    answer = calls.answer_of(results.RestSucceeded(json.dumps({"a": 1}), HttpAnswer(200, (("date", "now"),))))
    assert answer == calls.RestAnswer({"a": 1}, 200, (("date", "now"),))


@pytest.mark.parametrize(
    ("result", "error", "attributes"),
    [
        (
            results.SendRejected(CHAT, "m", "bad_request", "why"),
            errors.SendRejected,
            {"chat_id": CHAT, "message_id": "m", "code": "bad_request", "reason": "why"},
        ),
        (results.SendUndecided(CHAT, "m"), errors.SendUndecided, {"message_id": "m", "chat_id": CHAT}),
        (
            results.SendGated(CHAT, "not_member", 5),
            errors.SendGated,
            {"chat_id": CHAT, "code": "not_member", "retry_after_ms": 5},
        ),
        (results.SendDropped(CHAT, "m"), errors.SendDropped, {"chat_id": CHAT, "message_id": "m"}),
        (results.StoppedResult("m", True), errors.SessionClosed, {"message_id": "m", "transmitted": True}),
        (results.StoppedResult("m", True, True), errors.SessionClosed, {"kept": True}),
        (results.LoggedOutResult(), errors.LoggedOut, {"event": None}),
        (results.NotPaired(), errors.NotPaired, {}),
    ],
)
@pytest.mark.rule("ERR-2", "SEND-14", "SEND-20", "OUT-11")
def test_every_end_of_a_send_is_an_exception_of_its_own(
    result: Result, error: type[Exception], attributes: dict[str, object]
) -> None:
    with pytest.raises(error) as caught:
        calls.receipt_of(result)
    assert isinstance(caught.value, errors.ClawProtoError)
    assert {name: getattr(caught.value, name) for name in attributes} == attributes


@pytest.mark.parametrize(
    ("result", "error"),
    [
        (results.RestUnauthorized(401, "no"), errors.RestUnauthorized),
        (results.RestRefused(200, 7, "no", '{"a": 1}'), errors.RestRefused),
        (results.RestFailed(True, "reset"), errors.RestFailed),
        (results.NotPaired(), errors.NotPaired),
        (results.StoppedResult(), errors.SessionClosed),
        (results.LoggedOutResult(), errors.LoggedOut),
    ],
)
@pytest.mark.rule("REST-2", "OUT-11")
def test_every_end_of_a_rest_call_is_an_exception_of_its_own(result: Result, error: type[Exception]) -> None:
    with pytest.raises(error):
        calls.answer_of(result)


@pytest.mark.rule("REST-8")
def test_a_refusal_keeps_its_details() -> None:
    with pytest.raises(errors.RestRefused) as caught:
        calls.answer_of(results.RestRefused(403, 7, "not allowed", '{"a": 1}'))
    assert (caught.value.status, caught.value.code, caught.value.data) == (403, 7, {"a": 1})


@pytest.mark.rule("REF-19", "REF-18")
def test_a_skipped_refresh_is_no_failure() -> None:
    skipped = results.RefreshSkipped("min-interval")
    assert calls.refreshed_by(skipped) is skipped
    done = results.RefreshSucceeded(TOKENS)
    assert calls.refreshed_by(done) is done
    with pytest.raises(errors.RefreshFailed) as caught:
        calls.refreshed_by(results.RefreshFailed("timed out", sent=False))
    assert not caught.value.sent
    with pytest.raises(errors.LoggedOut):
        calls.refreshed_by(results.RefreshRefused(10003, "revoked"))


def test_pairing_brings_credentials_or_says_what_became_of_the_code() -> None:
    assert calls.credentials_of(results.Paired(CREDENTIALS)) is CREDENTIALS
    with pytest.raises(errors.PairRefused) as caught:
        calls.credentials_of(results.PairRefused(16014, "no", "another owner"))
    assert (caught.value.code, caught.value.spent) == (16014, "no")


def test_a_result_of_another_command_is_a_defect() -> None:
    with pytest.raises(TypeError, match="Receipt"):
        calls.answer_of(results.Receipt(CHAT, "m", None, "m"))


@pytest.mark.rule("AUTH-9")
def test_no_token_shows_in_what_the_methods_return() -> None:
    assert "the-" not in repr(calls.refreshed_by(results.RefreshSucceeded(TOKENS)))
    assert "the-" not in repr(calls.credentials_of(results.Paired(CREDENTIALS)))


def test_a_receipt_is_handed_through() -> None:
    receipt = results.Receipt(CHAT, "m", 5, "m")
    assert calls.receipt_of(receipt) is receipt and calls.finished_by(receipt) is receipt


def test_whatever_the_caller_says_goes_into_the_command() -> None:
    hint = {"id": "usr_d", "type": "direct"}
    send = calls.build_send(3, CHAT, "x", mode="thinking", message_id="msg-2", to=hint)
    assert send == Send(3, CHAT, ({"kind": "text", "text": "x"},), mode="thinking", message_id="msg-2", to=hint)
    assert calls.quote(received(""))["reply_preview"] == {
        "id": "",
        "nick_name": "",
        "fragments": [{"kind": "text", "text": "!"}],
    }
    picture = evolve(received(""), message=MessagePayload("msg-1", "normal", (MediaFragment("image", "http://x"),), ()))
    assert calls.quote(picture)["reply_preview"] == {"id": "", "nick_name": "", "fragments": []}
    body = calls.build_rest(1, "POST", "/", json_body=[1, {"a": "ä", "b": 2}]).body
    assert body == '[1,{"a":"ä","b":2}]'.encode()


@pytest.mark.parametrize(
    ("result", "text", "carried"),
    [
        (results.RestUnauthorized(403, "no"), "HTTP 403: no", {"status": 403}),
        (results.RestRefused(200, 7, "no", None), "HTTP 200, code 7: no", {"data": None}),
        (results.RestFailed(True, "reset"), "reset", {"sent": True}),
    ],
)
def test_an_end_of_a_rest_call_keeps_what_was_said(result: Result, text: str, carried: dict[str, object]) -> None:
    with pytest.raises(errors.RestError) as caught:
        calls.answer_of(result)
    assert str(caught.value) == text
    assert {name: getattr(caught.value, name) for name in carried} == carried


def test_what_the_hub_does_not_answer_is_done_or_says_why_not() -> None:
    calls.done_by(results.Done())
    with pytest.raises(errors.NotDone, match=r"^why$") as caught:
        calls.done_by(results.NotDone("offline", "why"))
    assert caught.value.code == "offline"
    with pytest.raises(errors.LoggedOut):
        calls.done_by(results.LoggedOutResult())


@pytest.mark.rule("STREAM-1", "STREAM-12")
def test_the_ends_of_a_stream() -> None:
    assert calls.opened_by(results.StreamOpened(CHAT, "m")) == "m"
    rejected = results.SendRejected(CHAT, "m", "bad_request", None)
    for outcome in calls.opened_by, calls.appended_by, calls.finished_by:
        with pytest.raises(errors.SendRejected):
            outcome(rejected)
    with pytest.raises(TypeError, match="another command"):
        calls.opened_by(results.Receipt(CHAT, "m", 5, "m"))
    calls.appended_by(results.Done())
    assert calls.finished_by(results.StreamEnded(CHAT, "m", True)) is None


@pytest.mark.rule("NOTIFY-3", "META-4")
def test_a_version_is_remembered_for_what_it_is_about() -> None:
    chat = MetadataInvalidated("cnv_1", "group", ("title",), False, 5, ("/x",))
    assert calls.build_applied(chat) == MarkApplied("chat", "cnv_1", 5)
    assert calls.build_applied(evolve(chat, version=None)) is None
    signal = SignalReceived("friend.added", "u-9", 6, "evt-1", ())
    assert calls.build_applied(signal) == MarkApplied("entity", "friend.added:u-9", 6)
    assert calls.build_applied(evolve(signal, entity_id="")) is None
    assert calls.build_applied(evolve(signal, version=None)) is None


@pytest.mark.parametrize(
    "read", [calls.refreshed_by, calls.credentials_of, calls.done_by, calls.answer_of, calls.receipt_of]
)
def test_an_end_of_the_session_ends_everything(read: Callable[[Result], object]) -> None:
    with pytest.raises(errors.SessionClosed):
        read(results.StoppedResult())
    with pytest.raises(TypeError, match="StreamOpened answers another command"):
        read(results.StreamOpened(CHAT, "m"))


def test_what_a_refresh_and_a_pairing_say_is_handed_on() -> None:
    with pytest.raises(errors.RefreshFailed, match=r"^why$") as failed:
        calls.refreshed_by(results.RefreshFailed("why", sent=True))
    assert failed.value.sent is True
    with pytest.raises(errors.PairRefused, match=r"^why$") as refused:
        calls.credentials_of(results.PairRefused(7, "yes", "why"))
    assert (refused.value.code, refused.value.spent) == (7, "yes")
