"""Typing of others, presence, metadata and notify signals: each change is told once, nothing grows, nothing waits."""

from typing import Any

import pytest
from attrs import fields
from hypothesis import given, settings, strategies as st

from clawproto.app_events import (
    MetadataInvalidated,
    PresenceChanged,
    Ready,
    SignalReceived,
    TypingChanged,
)
from clawproto.effects import Emit, RequestHttp
from clawproto.events import MarkApplied, UnwatchPresence, WatchPresence
from clawproto.json_types import Json
from clawproto.policy import Policy
from clawproto.refetching import metadata_paths, signal_paths
from clawproto.results import Done, NotDone, Result
from tests.core.harness import emitted, of
from tests.core.link_harness import CHAT, OTHER_CHAT, SENDER, LinkBench, acks, v2

# --- typing of others ----------------------------------------------------------------------------------------------


def types(bench: LinkBench, is_typing: bool = True, user: str = "usr_friend", chat: str | None = CHAT) -> list[bool]:
    more: dict[str, Json] = {"sender": {"id": user}, **({} if chat is None else {"chat_id": chat})}
    effects = bench.down("typing.update", {"is_typing": is_typing}, **more)
    return [event.is_typing for event in emitted(effects, TypingChanged)]


@pytest.mark.rule("TYPE-3")
def test_an_indicator_ends_six_seconds_after_the_last_true() -> None:
    bench = LinkBench()
    assert types(bench) == [True]
    bench.run_for(3_000)
    assert types(bench) == [], "no change"
    bench.run_for(5_999)
    assert bench.told(TypingChanged) == [TypingChanged(CHAT, "usr_friend", True)]
    bench.run_for(1)
    assert bench.told(TypingChanged)[1:] == [TypingChanged(CHAT, "usr_friend", False, expired=True)]
    assert types(bench, False) == [], "it has ended already"


@pytest.mark.rule("TYPE-3")
def test_the_expiry_is_at_least_twice_our_own_interval() -> None:
    policy = Policy()
    assert policy.typing_expiry_ms >= 2 * policy.typing_repeat_ms


def test_a_false_ends_it_at_once_for_that_user_in_that_chat() -> None:
    bench = LinkBench()
    types(bench)
    types(bench, user="usr_other")
    types(bench, chat=OTHER_CHAT)
    assert types(bench, False) == [False]
    bench.run_for(6_000)
    ends = [(event.chat_id, event.user_id, event.expired) for event in bench.told(TypingChanged) if not event.is_typing]
    assert sorted(ends) == sorted(
        [(CHAT, "usr_friend", False), (CHAT, "usr_other", True), (OTHER_CHAT, "usr_friend", True)]
    )


def test_nobody_nowhere_and_ourselves_do_not_type() -> None:
    bench = LinkBench()
    credentials = bench.state.tokens.credentials
    assert credentials is not None
    assert types(bench, user=credentials.identity.user_id) == types(bench, chat=None) == types(bench, chat="") == []
    assert not emitted(bench.down("typing.update", {"is_typing": True}, chat_id=CHAT), TypingChanged)


def test_indicators_are_bounded_and_go_on_through_a_reconnect() -> None:
    bench = LinkBench(policy=Policy(typing_table=5))
    bench.liveness = False
    for number in range(20):
        types(bench, user=f"usr_{number}")
    assert len(bench.state.signals.typing) == 5
    bench.closed(1006)
    bench.run_for(6_000)
    assert len(bench.state.signals.typing) == 0
    told = bench.told(TypingChanged)
    assert sum(event.is_typing for event in told) * 2 == len(told)


# --- presence ------------------------------------------------------------------------------------------------------


def watch(bench: LinkBench, user_id: str) -> Result:
    command = bench.command()
    bench.step(WatchPresence(command, user_id))
    return bench.results[command]


def asked(bench: LinkBench, event: str = "presence.subscribe") -> list[str]:
    return [one["payload"]["user_id"] for one in bench.uplinks(event)]


@pytest.mark.rule("PRES-3")
def test_a_subscription_is_renewed_after_each_hello_ok() -> None:
    bench = LinkBench()
    assert watch(bench, "usr_1") == Done() and watch(bench, "agt_2") == Done()
    (first, _) = bench.uplinks("presence.subscribe")
    assert not {"chat_id", "to", "sender"} & set(first)
    bench.reconnect()
    bench.reconnect()
    assert asked(bench) == ["usr_1", "agt_2"] * 3
    bench.step(UnwatchPresence("usr_1"))
    bench.step(UnwatchPresence("usr_1"))
    bench.reconnect()
    assert asked(bench)[6:] == ["agt_2"] and asked(bench, "presence.unsubscribe") == ["usr_1"]


def test_while_offline_it_waits_for_the_connection() -> None:
    bench = LinkBench()
    bench.closed(1006)
    assert watch(bench, "usr_1") == watch(bench, "usr_2") == Done()
    bench.step(UnwatchPresence("usr_2"))
    assert asked(bench) == []
    bench.online_again()
    assert asked(bench) == ["usr_1"] and asked(bench, "presence.unsubscribe") == []


@pytest.mark.rule("PRES-4", "LIM-5")
def test_sixteen_are_the_most() -> None:
    bench = LinkBench()
    for number in range(16):
        assert watch(bench, f"usr_{number}") == Done()
    result = watch(bench, "usr_16")
    assert isinstance(result, NotDone) and result.code == "presence-limit"
    assert watch(bench, "usr_3") == Done(), "asking again brings another snapshot"
    bench.step(UnwatchPresence("usr_0"))
    assert watch(bench, "usr_16") == Done()


@pytest.mark.rule("PRES-7")
@pytest.mark.parametrize("user_id", ["", "cnv_1", "dora", "USR_1"])
def test_other_ids_are_refused_here(user_id: str) -> None:
    bench = LinkBench()
    result = watch(bench, user_id)
    assert isinstance(result, NotDone) and result.code == "invalid-user-id"
    assert asked(bench) == []


@pytest.mark.rule("PRES-6", "SILENT-12")
def test_an_answer_that_never_comes_is_not_waited_for() -> None:
    bench = LinkBench()
    watch(bench, "usr_1")
    bench.run_for(25_000)
    assert asked(bench) == ["usr_1"]


@pytest.mark.rule("PRES-8")
def test_what_is_told_of_presence() -> None:
    bench = LinkBench()
    payload: dict[str, Json] = {"user_id": "usr_1", "online": True, "last_seen_at": "2026-01-01T00:00:00Z"}
    bench.down("presence.snapshot", payload)
    bench.down("presence.update", {"user_id": "usr_1", "online": False})
    assert bench.told(PresenceChanged) == [
        PresenceChanged("usr_1", True, "2026-01-01T00:00:00Z", snapshot=True),
        PresenceChanged("usr_1", False, None, snapshot=False),
    ]
    names = [field.name for field in fields(PresenceChanged)]
    assert names.index("online") < names.index("last_seen_at")


@settings(max_examples=80)
@given(st.lists(st.tuples(st.sampled_from(["watch", "unwatch", "cut"]), st.integers(0, 5)), max_size=30))
def test_after_each_hello_ok_exactly_the_watched_are_asked_for(acts: list[tuple[str, int]]) -> None:
    bench = LinkBench(policy=Policy(presence_limit=4))
    bench.liveness = False
    watched: list[str] = []
    for act, number in acts:
        user_id = f"usr_{number}"
        if act == "watch":
            allowed = user_id in watched or len(watched) < 4
            assert (watch(bench, user_id) == Done()) == allowed
            if allowed and user_id not in watched:
                watched.append(user_id)
        elif act == "unwatch":
            bench.step(UnwatchPresence(user_id))
            watched = [other for other in watched if other != user_id]
        else:
            before = len(asked(bench))
            bench.reconnect()
            assert asked(bench)[before:] == watched


# --- metadata ------------------------------------------------------------------------------------------------------


def invalidate(bench: LinkBench, *, chat: str | None = CHAT, kind: str | None = "group", **payload: Json) -> list[Any]:
    more: dict[str, Json] = {}
    if chat is not None:
        more["chat_id"] = chat
    if kind is not None:
        more["chat_type"] = kind
    effects = bench.down("chat.metadata.invalidated", payload, **more)
    assert not of(effects, RequestHttp), "the application fetches, not the library"
    return emitted(effects, MetadataInvalidated)


@pytest.mark.rule("META-1", "META-2")
@pytest.mark.parametrize(
    ("scope", "kind", "everything", "paths"),
    [
        (["title"], "group", False, ["/v1/conversations/c"]),
        (["avatar", "description", "member_add_policy"], "group", False, ["/v1/conversations/c"]),
        (["title", "announcement"], "group", False, ["/v1/conversations/c", "/v1/conversations/c/announcements"]),
        (["announcement"], "group", False, ["/v1/conversations/c", "/v1/conversations/c/announcements"]),
        (["behavior"], "direct", False, ["/v1/agents/agt_1"]),
        (["title", "behavior"], "direct", False, ["/v1/conversations/c", "/v1/agents/agt_1"]),
        (["title", "later"], "group", True, ["/v1/conversations/c", "/v1/conversations/c/announcements"]),
        ([], "direct", True, ["/v1/conversations/c", "/v1/agents/agt_1"]),
        ([], None, True, ["/v1/conversations/c", "/v1/conversations/c/announcements", "/v1/agents/agt_1"]),
    ],
)
def test_all_elements_of_a_scope_are_gone_through(
    scope: list[str], kind: str | None, everything: bool, paths: list[str]
) -> None:
    assert metadata_paths("c", kind, tuple(scope), "agt_1") == (tuple(paths), everything)


@pytest.mark.rule("META-2")
@pytest.mark.parametrize("scope", [None, [], ["title", 7], "title", {"title": 1}])
def test_a_scope_that_cannot_be_read_means_everything(scope: Json) -> None:
    (event,) = invalidate(LinkBench(), scope=scope)
    assert event.everything and event.paths[0] == f"/v1/conversations/{CHAT}"
    (event,) = invalidate(LinkBench())
    assert event.everything


def test_an_id_cannot_lead_elsewhere() -> None:
    paths, _ = metadata_paths("../users/me?x#y", "direct", (), "a/b")
    assert paths == ("/v1/conversations/..%2Fusers%2Fme%3Fx%23y", "/v1/agents/a%2Fb")
    assert metadata_paths("c", "direct", ("behavior",), None) == (("/v1/conversations/c",), False)


@pytest.mark.rule("META-3", "META-4")
def test_what_was_applied_is_dropped_and_what_repeats_is_not() -> None:
    bench = LinkBench()
    (event,) = invalidate(bench, version=5)
    assert len(invalidate(bench, version=5)) == 1, "redundant frames are no error, and not applied yet"
    bench.step(MarkApplied("chat", event.chat_id, 5))
    bench.step(MarkApplied("chat", event.chat_id, 3))
    assert invalidate(bench, version=5) == invalidate(bench, version=4) == []
    assert len(invalidate(bench, version=6)) == len(invalidate(bench)) == 1
    assert len(invalidate(bench, version=5, chat=OTHER_CHAT)) == 1
    assert invalidate(bench, chat=None) == []


@pytest.mark.rule("META-6", "NOTIFY-1")
def test_ready_is_the_sign_to_fetch_what_is_visible() -> None:
    bench = LinkBench()
    bench.reconnect()
    assert len(bench.told(Ready)) == 2, "after each hello-ok, whether or not a signal was missed"
    paths, everything = metadata_paths(CHAT, "group", (), None)
    assert everything and len(paths) == 2


@settings(max_examples=80)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 6)), max_size=30))
def test_no_version_is_told_after_it_was_applied(acts: list[tuple[bool, int]]) -> None:
    bench = LinkBench()
    bench.liveness = False
    highest = 0
    for apply, version in acts:
        if apply:
            bench.step(MarkApplied("chat", CHAT, version))
            highest = max(highest, version)
        else:
            assert bool(invalidate(bench, version=version)) == (version > highest or highest == 0)


# --- notify --------------------------------------------------------------------------------------------------------


def notify(bench: LinkBench, event_id: str = "ev-1", *, stamped: bool = False, **payload: Json) -> list[SignalReceived]:
    form: dict[str, Json] = {"type": "friend.added", "entity_id": "usr_1", "version": 1, "event_id": event_id}
    down = bench.stamped if stamped else bench.down
    return emitted(down("notify.signal", form | {"message_id": "notify:friend.added:usr_1"} | payload), SignalReceived)


@pytest.mark.rule("NOTIFY-1", "NOTIFY-7")
def test_a_signal_says_what_to_fetch_and_nothing_else() -> None:
    bench = LinkBench()
    (event,) = notify(bench)
    assert event == SignalReceived("friend.added", "usr_1", 1, "ev-1", ("/v1/friendships",))
    assert not bench.delivered(), "no conversational turn"
    assert not bench.uplinks("notify.signal")
    (unknown,) = notify(bench, "ev-2", type="later.thing")
    assert unknown.paths == ()


@pytest.mark.rule("NOTIFY-2", "RPL-5")
def test_each_event_id_counts_once_live_or_replayed() -> None:
    bench = v2()
    assert len(notify(bench, stamped=True)) == 1
    assert notify(bench, stamped=True) == []
    bench.reconnect()
    assert notify(bench, stamped=True) == []
    assert len(notify(bench, "ev-2", stamped=True)) == 1


@pytest.mark.rule("NOTIFY-2")
def test_at_least_the_last_512_are_remembered() -> None:
    bench = LinkBench()
    bench.liveness = False
    for number in range(3_000):
        notify(bench, f"ev-{number}")
    memory = bench.state.inbox.signals
    assert len(memory.young) + len(memory.old) <= bench.state.config.policy.remembered_signals
    for number in range(3_000 - 512, 3_000):
        assert notify(bench, f"ev-{number}") == []


@pytest.mark.rule("NOTIFY-3")
def test_what_was_applied_is_not_told_again() -> None:
    bench = LinkBench()
    notify(bench, version=5)
    bench.step(MarkApplied("entity", "usr_1", 5))
    assert notify(bench, "ev-2", version=5) == notify(bench, "ev-3", version=4) == []
    assert len(notify(bench, "ev-4", version=6)) == 1
    assert len(notify(bench, "ev-5", version=1, entity_id="usr_2")) == 1


@pytest.mark.rule("NOTIFY-8", "R2-11")
@pytest.mark.parametrize("missing", [{"type": ""}, {"type": None}, {"type": 7}, {"event_id": ""}, {"event_id": None}])
def test_a_signal_without_type_or_event_id_is_dropped_and_settled(missing: dict[str, Json]) -> None:
    bench = v2()
    assert notify(bench, **{"stamped": True, **missing}) == []  # type: ignore[arg-type]
    bench.run_for(200)
    assert acks(bench) == [1]


@pytest.mark.rule("NOTIFY-9")
def test_an_entity_is_read_by_the_type_and_not_by_its_prefix() -> None:
    assert signal_paths("moment.comment.created", "12345") == ("/v1/moments",)
    assert signal_paths("moment.comment.replied", "cnv_1") == ("/v1/moments",)
    assert signal_paths("conversation.updated", "12345") == ("/v1/conversations/12345",)
    assert signal_paths("conversation.dissolved", "cnv_1") == ("/v1/conversations",)
    assert signal_paths("friend.profile_updated", "cnv_1") == ("/v1/users/cnv_1",)
    assert signal_paths("friend.request.created", "1")[0].endswith("/requests/incoming")
    assert signal_paths("agent.config.changed", "") == ("/v1/agents/me/group-settings",)


@pytest.mark.rule("PERM-11")
def test_a_change_of_permissions_leads_to_them() -> None:
    (event,) = notify(LinkBench(), type="agent.permission.changed", entity_id="agt_1")
    assert event.paths == ("/v1/agents/me/permissions",)


@pytest.mark.rule("NOTIFY-7", "ENV-15")
def test_the_slot_id_is_no_message_id() -> None:
    bench = LinkBench()
    notify(bench, message_id="msg-1")
    bench.message("msg-1")
    ((message, _),) = bench.delivered()
    assert not message.update


@pytest.mark.rule("NOTIFY-2", "R2-28", "R2-10")
def test_a_signal_that_the_application_still_has_is_not_told_twice_and_not_lost() -> None:
    bench = v2()
    effects = bench.stamped("notify.signal", {"type": "t", "entity_id": "e", "event_id": "ev", "version": 1})
    (emit,) = of(effects, Emit)
    bench.reconnect()
    assert notify(bench, "ev", stamped=True, type="t") == []
    bench.run_for(60_000)
    assert acks(bench) == []
    bench.settle(emit.delivery)
    bench.run_for(200)
    assert acks(bench) == [1]


@settings(max_examples=80)
@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), max_size=40))
def test_each_event_is_told_once_whatever_repeats(firings: list[tuple[int, bool]]) -> None:
    bench = v2()
    bench.liveness = False
    told: list[str] = []
    for number, cut in firings:
        if cut:
            bench.reconnect()
        told += [event.event_id for event in notify(bench, f"ev-{number}", stamped=True)]
    assert sorted(told) == sorted({f"ev-{number}" for number, _ in firings})


def test_versions_are_bounded() -> None:
    bench = LinkBench(policy=Policy(remembered_slots=10))
    for number in range(100):
        bench.step(MarkApplied("chat", f"cnv_{number}", 1))
    versions = bench.state.signals.versions
    assert len(versions.young) + len(versions.old) <= 10


def test_a_signal_with_a_sender_and_a_chat_is_still_a_signal() -> None:
    bench = LinkBench()
    effects = bench.down("notify.signal", {"type": "t", "event_id": "e"}, chat_id=CHAT, sender=SENDER)
    assert [event.entity_id for event in emitted(effects, SignalReceived)] == [""]
