"""The same message again: replayed, changed, provisional."""

import pytest

from clawproto.app_events import AppEvent, MessageRecalled, MessageReceived, ReactionChanged, SignalReceived
from clawproto.config import Capabilities
from clawproto.json_types import Json
from clawproto.policy import Policy
from tests.core.harness import credentials, jwt, pair
from tests.core.link_harness import CHAT, SENDER, LinkBench, acks, message_payload, received_ids, take, v2

LEGACY = Capabilities(reliable_delivery=False, reliable_delivery_v2=False)


# --- repeats and updates -------------------------------------------------------------------------------------------


@pytest.mark.rule("R2-28", "SEND-19")
def test_unacknowledged_rows_come_again_and_are_handed_over_once() -> None:
    bench = v2()
    take(bench, "msg-1")
    bench.message("msg-2")
    take(bench, "msg-3")
    bench.reconnect()
    for message_id in ("msg-1", "msg-2", "msg-3"):
        bench.message(message_id)
    assert received_ids(bench) == ["msg-1", "msg-2", "msg-3"]
    bench.run_for(200)
    assert acks(bench)[-1] == 1  # the second is with the application still
    bench.settle(bench.delivered()[1][1])
    bench.run_for(200)
    assert acks(bench)[-1] == 3


@pytest.mark.rule("R2-28", "R2-9")
def test_a_pending_message_survives_several_reconnects() -> None:
    bench = v2()
    bench.message("msg-1")
    for _ in range(3):
        bench.reconnect()
        bench.stamped("sync.mark", {})
        bench.message("msg-1")
    bench.run_for(200)
    assert acks(bench)[-1] == 1
    bench.settle(bench.delivered()[0][1])
    bench.run_for(200)
    assert acks(bench)[-1] == 2 and len(bench.delivered()) == 1


@pytest.mark.rule("R2-10", "R2-9")
def test_a_stamped_copy_waits_for_the_application_even_if_the_first_had_no_stamp() -> None:
    bench = v2()
    bench.down("message.send", message_payload("msg-1"), chat_id=CHAT, sender=SENDER)
    bench.message("msg-1")
    bench.run_for(1_000)
    assert acks(bench) == [] and received_ids(bench) == ["msg-1"]
    bench.settle(bench.delivered()[0][1])
    bench.run_for(200)
    assert acks(bench) == [1]


@pytest.mark.rule("SEND-19", "R2-10")
@pytest.mark.parametrize(
    "changed",
    [
        message_payload("msg-1", "other text"),
        message_payload("msg-1", message_mode="thinking"),
        message_payload("msg-1", metadata={"kind": "later"}),
        message_payload(
            "msg-1",
            message={
                "body": {"fragments": [{"kind": "text", "text": "hi"}]},
                "context": {"mentions": [{"user_id": "usr_x"}], "reply": None},
            },
        ),
        message_payload(
            "msg-1",
            message={
                "body": {"fragments": [{"kind": "text", "text": "hi"}]},
                "context": {"mentions": [], "reply": {"reply_to_msg_id": "q", "reply_preview": {}}},
            },
        ),
        message_payload(
            "msg-1",
            message={"body": {"fragments": [{"kind": "text", "text": "h"}, {"kind": "text", "text": "i"}]}},
        ),
    ],
)
def test_the_same_id_with_other_content_is_an_update(changed: dict[str, Json]) -> None:
    bench = v2()
    take(bench, "msg-1")
    bench.stamped("message.send", changed, chat_id=CHAT, sender=SENDER)
    assert [one.update for one, _ in bench.delivered()] == [False, True]
    bench.run_for(200)
    assert acks(bench) == [1]  # the update is not settled yet
    bench.settle(bench.delivered()[1][1])
    bench.run_for(200)
    assert acks(bench) == [1, 2]


@pytest.mark.rule("SEND-19")
def test_the_replayed_copy_of_a_live_message_is_no_update() -> None:
    bench = v2()
    take(bench, "msg-1", at_ms=5, trace_id="live")
    bench.reconnect()
    bench.message("msg-1", at_ms=7, trace_id="", seq=900)
    assert len(bench.delivered()) == 1


@pytest.mark.rule("SEND-19", "R2-9")
def test_an_update_while_the_first_copy_is_pending() -> None:
    bench = v2()
    bench.message("msg-1", "one")
    bench.message("msg-1", "two")
    bench.reconnect()
    bench.message("msg-1", "two")
    (_, first), (_, second) = bench.delivered()
    bench.settle(first)
    bench.run_for(200)
    assert not acks(bench)
    bench.settle(second)
    bench.run_for(200)
    assert acks(bench) == [1]


def merged(message_id: str, text: str) -> dict[str, Json]:
    return message_payload(message_id, text, stream_merged=True)


@pytest.mark.rule("STREAM-14", "R2-10")
@pytest.mark.parametrize("text", ["final", "provisional"])
def test_a_provisional_reply_never_replaces_a_final_one_yet_is_acknowledged(text: str) -> None:
    bench = v2()
    take(bench, "msg-1", "final")
    bench.stamped("message.reply", merged("msg-1", text), chat_id=CHAT, sender=SENDER)
    assert len(bench.delivered()) == 1
    bench.run_for(200)
    assert acks(bench) == [2]


@pytest.mark.rule("STREAM-14", "SEND-19")
@pytest.mark.parametrize("text", ["the same", "another"])
def test_a_final_reply_replaces_a_provisional_one_even_if_it_reads_the_same(text: str) -> None:
    bench = v2()
    bench.stamped("message.reply", merged("msg-1", "the same"), chat_id=CHAT, sender=SENDER)
    bench.message("msg-1", text)
    assert [one.update for one, _ in bench.delivered()] == [False, True]
    bench.stamped("message.reply", merged("msg-1", "a third"), chat_id=CHAT, sender=SENDER)
    assert len(bench.delivered()) == 2


@pytest.mark.rule("SEND-19")
def test_the_memory_of_messages_is_bounded() -> None:
    bench = LinkBench(grant="v2", policy=Policy(remembered_messages=8))
    for number in range(20):
        take(bench, f"msg-{number}")
        memory = bench.state.inbox.known
        assert len(memory) <= 8
    for number in (19, 18, 17, 16):  # half of them at least
        take(bench, f"msg-{number}")
    take(bench, "msg-0")  # forgotten: the application's upsert absorbs it
    assert received_ids(bench) == [f"msg-{number}" for number in range(20)] + ["msg-0"]


def test_without_a_memory_every_copy_is_handed_over() -> None:
    bench = LinkBench(grant="v2", policy=Policy(remembered_messages=0))
    take(bench, "msg-1")
    take(bench, "msg-1")
    assert len(bench.delivered()) == 2


@pytest.mark.rule("RX-3", "R1-1")
@pytest.mark.parametrize("held", [0, 100])
def test_what_bears_no_number_is_told_once_however_much_the_application_holds(held: int) -> None:
    bench = LinkBench(grant="v1")
    for seq in range(1, held + 1):
        bench.message(f"msg-{seq}", seq=seq)
    reaction: dict[str, Json] = {"target_message_id": "msg-1", "emoji": "👍", "reactor_user_id": "u-3"}
    for _ in range(2):
        bench.down("message.reaction", reaction, chat_id=CHAT, sender=SENDER)
    assert len(bench.told(ReactionChanged)) == 1


# --- another user --------------------------------------------------------------------------------------------------


@pytest.mark.rule("SEND-19", "RX-3", "NOTIFY-2", "RECALL-1", "OUT-8")
@pytest.mark.parametrize(("user", "times"), [("u-1", 1), ("u-2", 2)])
@pytest.mark.parametrize(
    ("event", "payload", "kind"),
    [
        ("message.send", message_payload("msg-1"), MessageReceived),
        ("message.reaction", {"target_message_id": "msg-1", "emoji": "👍", "reactor_user_id": "u-3"}, ReactionChanged),
        ("message.recall", {"message_id": "rcl:msg-1", "target_message_id": "msg-1"}, MessageRecalled),
        ("notify.signal", {"type": "friend.added", "entity_id": "u-3", "event_id": "ev-1"}, SignalReceived),
    ],
)
def test_what_one_user_was_handed_is_new_to_another_one(
    event: str, payload: dict[str, Json], kind: type[AppEvent], user: str, times: int
) -> None:
    """Both are in the chat; the session goes on under the second one."""
    bench = v2()
    bench.stamped(event, payload, chat_id=CHAT, sender=SENDER)
    bench.load(credentials(pair(jwt("b1", sub=user), "refresh-b"), generation=7, user_id=user))
    bench.reconnect()
    bench.stamped(event, payload, chat_id=CHAT, sender=SENDER)
    assert len(bench.told(kind)) == times
