"""Typing of others, presence and metadata: each change is told once, nothing grows, nothing waits."""

from typing import Any

import pytest
from attrs import fields
from hypothesis import given, settings, strategies as st

from clawproto.app_events import MetadataInvalidated, PresenceChanged, Ready, TypingChanged
from clawproto.effects import RequestHttp
from clawproto.events import MarkApplied, UnwatchPresence, WatchPresence
from clawproto.json_types import Json
from clawproto.policy import Policy
from clawproto.refetching import metadata_paths
from clawproto.results import Done, NotDone, Result
from tests.core.harness import credentials, emitted, jwt, of, pair
from tests.core.link_harness import CHAT, OTHER_CHAT, LinkBench

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


@pytest.mark.rule("TYPE-3", "OUT-8")
def test_who_types_is_still_shown_after_a_change_of_the_user() -> None:
    bench = LinkBench()
    types(bench)
    types(bench, user="usr_other")
    bench.closed(1006)
    bench.load(credentials(pair(jwt("other"), "refresh-other"), user_id="usr_new"))
    assert bench.online and types(bench) == [] and types(bench, False) == [False]
    assert types(bench, user="usr_third") == [True], "a place of its own among them"
    bench.run_for(6_000)
    ends = [(event.user_id, event.expired) for event in bench.told(TypingChanged) if not event.is_typing]
    assert ends == [("usr_friend", False), ("usr_other", True), ("usr_third", True)]


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
    assert isinstance(result, NotDone) and result.code == "presence-limit" and "16 users" in result.text
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
        (
            ["title", "avatar", "description", "member_add_policy", "behavior", "announcement"],
            "direct",
            False,
            ["/v1/conversations/c", "/v1/conversations/c/announcements", "/v1/agents/agt_1"],
        ),
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


@pytest.mark.rule("META-3")
def test_the_first_version_can_be_applied() -> None:
    bench = LinkBench()
    bench.step(MarkApplied("chat", CHAT, 1))
    assert invalidate(bench, version=1) == [] and len(invalidate(bench, version=2)) == 1


def test_versions_are_bounded() -> None:
    bench = LinkBench(policy=Policy(remembered_slots=10))
    for number in range(100):
        bench.step(MarkApplied("chat", f"cnv_{number}", 1))
    versions = bench.state.signals.versions
    assert len(versions) <= 10
