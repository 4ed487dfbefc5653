"""Client and hub, both pure machines, exchange every event of the catalogue under virtual time."""

import json
import re
from collections.abc import Iterable
from functools import partial
from pathlib import Path

import pytest

from clawproto import app_events
from clawproto.app_events import AppEvent, MessageReceived
from clawproto.config import Delivery, Features
from clawproto.events import (
    AppendStream,
    FailStream,
    FinishStream,
    MarkApplied,
    MarkRead,
    OpenStream,
    React,
    ResetCursor,
    Send,
    SetTyping,
    TransferHistory,
    UnwatchPresence,
    WatchPresence,
)
from clawproto.hub import HubSettings
from clawproto.policy import Policy
from clawproto.results import Done, Receipt, SendRejected, StreamEnded, StreamOpened
from clawproto.testing.world import Member, World

CATALOGUE = Path(__file__).parents[2] / "docs" / "protocol.md"
ALL = Features(receipts=True, own_devices=True, metadata=True, signals=True, permissions=True, history=True)
QUIET = Policy(ping_after_ms=5_000, stream_interval_ms=0)


def catalogue() -> tuple[set[str], set[str]]:
    """Uplinks and downlinks of the table of events, without what is legacy."""
    section = CATALOGUE.read_text(encoding="utf-8").partition("## EVT")[2].partition("\n- **EVT-1**")[0]
    up: set[str] = set()
    down: set[str] = set()
    for row in re.findall(r"^\|(.*)\|$", section, re.MULTILINE):
        cells = [cell.strip() for cell in row.split("|")]
        if not cells[0].startswith("`") or cells[-1] == "LEGACY":
            continue
        found = re.findall(r"`([^`]+)`", cells[0])
        names = [found[0].rpartition(".")[0] + name if name.startswith(".") else name for name in found]
        if cells[1] == "U / D":
            up.add(names[0])
            down.add(names[1])
            continue
        up |= set(names) if "U" in cells[1] else set()
        down |= set(names) if "D" in cells[1] else set()
    return up, down


def names(texts: Iterable[str]) -> set[str]:
    return {json.loads(text)["event"] for text in texts}


def text(content: str) -> tuple[dict[str, str], ...]:
    return ({"kind": "text", "text": content},)


class Play:
    """Dora with a phone and a laptop, her agent, and her friend Tom; each act uses a part of the catalogue."""

    def __init__(self, delivery: Delivery) -> None:
        self.world = world = World(HubSettings(ping_interval_ms=30_000))
        hub = world.hub
        self.dora, self.tom = hub.create_user("Dora"), hub.create_user("Tom")
        made = hub.create_agent(self.dora, "Robo")
        self.owner_chat = made.conversation_id
        self.chat = hub.create_conversation([self.dora, self.tom, made.user_id], "Three")
        features = Features(
            delivery=delivery,
            receipts=True,
            own_devices=True,
            metadata=True,
            signals=True,
            permissions=True,
            history=True,
        )
        self.phone = world.join(self.dora, "phone", features=features, policy=QUIET)
        self.laptop = world.join(self.dora, "laptop", features=features, policy=QUIET)
        self.robo = world.join(
            made.user_id,
            made.device_id,
            features=features,
            policy=QUIET,
            agent_id=made.agent_id,
            conversation_id=made.conversation_id,
        )
        self.friend = world.join(self.tom, "tablet", features=features, policy=QUIET)
        self.agent_user = made.user_id
        world.run_for(1_000)

    def say(self, who: Member, content: str, **more: object) -> str:
        command = who.give(lambda number: Send(number, self.chat, text(content), **more))  # type: ignore[arg-type]
        self.world.run_for(500)
        result = who.results[command]
        assert isinstance(result, Receipt)
        return result.message_id

    def all_acts(self) -> None:
        self.messages()
        self.streams()
        self.slots()
        self.signs_of_life()
        self.signals()
        self.approvals()
        self.history()
        self.quiet_time()
        self.refused_handshake()

    def messages(self) -> None:
        question = self.say(self.friend, "lunch?")
        for who in (self.phone, self.laptop, self.robo):
            assert self.heard(who)[-1].text == "lunch?"
        delivered = [event for event in self.friend.told if isinstance(event, app_events.MessageDelivered)]
        assert {event.user_id for event in delivered} == {self.dora, self.agent_user}
        quote = {"reply_to_msg_id": question, "reply_preview": {"id": self.tom, "nick_name": "Tom", "fragments": []}}
        self.say(self.phone, "yes", reply=quote)
        assert self.heard(self.laptop)[-1].own and self.heard(self.friend)[-1].event == "message.reply"
        unknown = self.phone.give(lambda number: Send(number, "cnv_" + "0" * 26, text("x")))
        self.world.run_for(100)
        assert isinstance(self.phone.results[unknown], SendRejected)

    def streams(self) -> None:
        opened = self.robo.give(lambda number: OpenStream(number, self.chat))
        result = self.robo.results[opened]
        assert isinstance(result, StreamOpened)
        for piece in ("Let ", "me ", "think"):
            self.robo.give(partial(AppendStream, message_id=result.message_id, text=piece))
        closing = Send(0, self.chat, text("I have thought."))
        ended = self.robo.give(lambda number: FinishStream(number, result.message_id, closing))
        self.world.run_for(500)
        assert isinstance(self.robo.results[ended], Receipt)
        grown = [event.delta for event in self.friend.told if isinstance(event, app_events.StreamGrew)]
        assert grown == ["Let ", "me ", "think"]
        assert self.heard(self.friend)[-1].streamed and self.heard(self.friend)[-1].text == "I have thought."
        broken = self.robo.give(lambda number: OpenStream(number, self.chat))
        failed = self.robo.results[broken]
        assert isinstance(failed, StreamOpened)
        self.robo.give(lambda number: AppendStream(number, failed.message_id, "oh"))
        self.robo.handle(FailStream(failed.message_id))
        self.world.run_for(100)
        assert self.told(self.friend, app_events.StreamDiscarded)
        bare = self.robo.give(lambda number: OpenStream(number, self.chat))
        last = self.robo.results[bare]
        assert isinstance(last, StreamOpened)
        self.robo.give(lambda number: AppendStream(number, last.message_id, "done"))
        done = self.robo.give(lambda number: FinishStream(number, last.message_id))
        assert self.robo.results[done] == StreamEnded(self.chat, last.message_id, complete=True)

    def slots(self) -> None:
        message_id = self.say(self.friend, "look")
        command = self.phone.give(lambda number: React(number, self.chat, message_id, "👍"))
        self.world.run_for(100)
        assert isinstance(self.phone.results[command], Receipt)
        assert self.told(self.friend, app_events.ReactionChanged) and self.told(self.laptop, app_events.ReactionChanged)
        self.phone.handle(MarkRead(self.chat, self.world.now.wall_ms))
        self.world.run_for(100)
        (moved,) = self.told(self.laptop, app_events.ReadMarkMoved)
        assert isinstance(moved, app_events.ReadMarkMoved) and moved.chat_id == self.chat
        self.world.control(lambda hub: hub.recall(self.chat, self.tom, message_id))
        assert self.told(self.phone, app_events.MessageRecalled)

    def signs_of_life(self) -> None:
        self.friend.handle(SetTyping(self.chat, True))
        self.world.run_for(1_000)
        self.friend.handle(SetTyping(self.chat, False))
        self.world.run_for(100)
        typing = [event.is_typing for event in self.phone.told if isinstance(event, app_events.TypingChanged)]
        assert typing == [True, False]
        watching = self.phone.give(lambda number: WatchPresence(number, self.tom))
        self.world.run_for(100)
        assert self.phone.results[watching] == Done()
        self.friend.cut()
        self.world.run_for(10_000)
        seen = [(event.online, event.snapshot) for event in self.told_presence(self.phone)]
        assert seen == [(True, True), (False, False), (True, False)]
        self.phone.handle(UnwatchPresence(self.tom))

    def signals(self) -> None:
        self.world.control(lambda hub: hub.invalidate_metadata(self.chat, ["title"], version=3))
        (invalid,) = self.told(self.phone, app_events.MetadataInvalidated)
        assert isinstance(invalid, app_events.MetadataInvalidated) and invalid.paths
        self.phone.handle(MarkApplied("chat", self.chat, 3))
        self.world.control(lambda hub: hub.invalidate_metadata(self.chat, ["title"], version=3))
        assert len(self.told(self.phone, app_events.MetadataInvalidated)) == 1
        self.world.control(lambda hub: hub.signal(self.dora, "friend.added", self.tom))
        assert self.told(self.phone, app_events.SignalReceived) and self.told(self.laptop, app_events.SignalReceived)

    def approvals(self) -> None:
        request = {"request_id": "req-1", "operation": "post"}
        self.world.control(lambda hub: hub.permission(self.agent_user, "request", dict(request)))
        self.world.control(
            lambda hub: hub.permission(self.agent_user, "resolved", {"request_id": "req-1", "decision": "allow_once"})
        )
        assert self.told(self.phone, app_events.PermissionRequested)
        assert self.told(self.phone, app_events.PermissionResolved)

    def history(self) -> None:
        command = self.phone.give(
            lambda number: TransferHistory(number, "laptop", "history_sync_request", {"since": 1})
        )
        self.world.run_for(500)
        assert self.phone.results[command] == Done()
        (received,) = self.told(self.laptop, app_events.HistoryReceived)
        assert isinstance(received, app_events.HistoryReceived) and received.kind == "history_sync_request"
        for _ in range(5):
            self.say(self.friend, "more")
        before = len(self.heard(self.laptop))
        self.world.control(lambda hub: hub.prune(self.dora, keep=3))
        reset = self.laptop.give(ResetCursor)
        self.world.run_for(10_000)
        assert self.laptop.results[reset] == Done()
        assert len(self.heard(self.laptop)) == before + 3, "what the hub still has came again"

    def quiet_time(self) -> None:
        self.world.run_for(60_000)

    def refused_handshake(self) -> None:
        self.world.control(lambda hub: hub.hello_fail("authentication failed", user_id=self.dora))
        self.phone.cut()
        self.world.run_for(60_000)
        assert self.told(self.phone, app_events.HandshakeRefused)
        assert self.phone.session.is_ready

    def heard(self, who: Member) -> list[MessageReceived]:
        return [event for event in who.told if isinstance(event, MessageReceived)]

    def told(self, who: Member, kind: type[AppEvent]) -> list[AppEvent]:
        return who.of(kind)

    def told_presence(self, who: Member) -> list[app_events.PresenceChanged]:
        return [event for event in who.told if isinstance(event, app_events.PresenceChanged)]


def test_the_catalogue_is_read() -> None:
    up, down = catalogue()
    assert {"connect", "ping", "message.failed", "presence.unsubscribe"} <= up
    assert {"pong", "message.failed", "hello-fail", "message.recall", "replay.done", "sync.mark"} <= down
    assert "offline.ack" not in up | down and len(up) > 15 and len(down) > 25


@pytest.mark.rule("EVT-1", "EVT-6", "RPL-5")
@pytest.mark.parametrize("delivery", ["v2", "v1", "legacy"])
def test_every_act_works_in_every_generation(delivery: Delivery) -> None:
    play = Play(delivery)
    play.all_acts()
    for member in play.world.members:
        assert not member.of(app_events.FrameRejected) and not member.of(app_events.UnknownEvent)


@pytest.mark.rule("EVT-1", "EVT-4")
def test_every_event_of_the_catalogue_is_exchanged() -> None:
    up: set[str] = set()
    down: set[str] = set()
    for delivery in ("v2", "v1"):
        play = Play(delivery)
        play.all_acts()
        for member in play.world.members:
            up |= names(member.frames_up)
            down |= names(member.frames_down)
    wanted_up, wanted_down = catalogue()
    assert up == wanted_up
    assert down == wanted_down


@pytest.mark.rule("SEND-5")
def test_the_same_world_happens_twice() -> None:
    texts: list[list[str]] = []
    for _ in range(2):
        play = Play("v2")
        play.all_acts()
        texts.append([text for member in play.world.members for text in member.frames_up + member.frames_down])
    assert texts[0] == texts[1]
