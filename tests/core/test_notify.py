"""Signals that something has changed: told once, dropped when applied, and never taken for a message."""

import pytest
from hypothesis import given, settings, strategies as st

from clawproto.app_events import ChatUngated, SignalReceived
from clawproto.calls import build_applied
from clawproto.effects import Emit
from clawproto.json_types import Json
from clawproto.refetching import signal_paths
from tests.core.harness import emitted, of
from tests.core.link_harness import CHAT, SENDER, LinkBench, acks, v2


def notify(bench: LinkBench, event_id: str = "ev-1", *, stamped: bool = False, **payload: Json) -> list[SignalReceived]:
    form: dict[str, Json] = {"type": "friend.added", "entity_id": "usr_1", "version": 1, "event_id": event_id}
    down = bench.stamped if stamped else bench.down
    return emitted(down("notify.signal", form | {"message_id": "notify:friend.added:usr_1"} | payload), SignalReceived)


def apply(bench: LinkBench, event: SignalReceived) -> None:
    """The application has fetched what the signal named."""
    command = build_applied(event)
    if command is not None:
        bench.step(command)


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
    assert len(memory) <= bench.state.config.policy.remembered_signals
    for number in range(3_000 - 512, 3_000):
        assert notify(bench, f"ev-{number}") == []


@pytest.mark.rule("NOTIFY-3")
def test_what_was_applied_is_not_told_again() -> None:
    bench = LinkBench()
    (event,) = notify(bench, version=5)
    apply(bench, event)
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


@pytest.mark.rule("NOTIFY-1", "NOTIFY-9")
@pytest.mark.parametrize(
    ("kind", "entity_id", "paths"),
    [
        ("friend.profile_updated", "usr_1", ("/v1/users/usr_1",)),
        ("friend.profile_updated", "../a/b?c#d", ("/v1/users/..%2Fa%2Fb%3Fc%23d",)),
        ("friend.profile_updated", "", ("/v1/friendships",)),
        ("friend.removed", "usr_1", ("/v1/friendships",)),
        ("friend.request.created", "", ("/v1/friendships/requests/incoming", "/v1/friendships/requests/outgoing")),
        ("conversation.member_added", "cnv_1", ("/v1/conversations/cnv_1",)),
        ("conversation.member_added", "a/b", ("/v1/conversations/a%2Fb",)),
        ("conversation.member_added", "", ("/v1/conversations",)),
        ("moment.created", "1", ("/v1/moments",)),
        ("friend", "usr_1", ()),
    ],
)
def test_what_each_type_asks_for(kind: str, entity_id: str, paths: tuple[str, ...]) -> None:
    assert signal_paths(kind, entity_id) == paths


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


def test_a_signal_with_a_sender_and_a_chat_is_still_a_signal() -> None:
    bench = LinkBench()
    effects = bench.down("notify.signal", {"type": "t", "event_id": "e"}, chat_id=CHAT, sender=SENDER)
    assert [event.entity_id for event in emitted(effects, SignalReceived)] == [""]


@pytest.mark.rule("NOTIFY-3", "PERM-11")
def test_versions_are_compared_among_signals_that_ask_for_the_same() -> None:
    """One agent has settings and permissions: the version of the one says nothing about the other."""
    bench = LinkBench()
    (config,) = notify(bench, "ev-1", type="agent.config.changed", entity_id="agt_1", version=7)
    apply(bench, config)
    assert len(notify(bench, "ev-2", type="agent.permission.changed", entity_id="agt_1", version=3)) == 1
    assert notify(bench, "ev-3", type="agent.config.changed", entity_id="agt_1", version=7) == []


@pytest.mark.rule("NOTIFY-3")
@pytest.mark.parametrize("nothing", ["", None, 7])
def test_versions_of_nobody_knows_what_are_not_compared(nothing: Json) -> None:
    bench = LinkBench()
    (event,) = notify(bench, "ev-1", entity_id=nothing, version=9)
    apply(bench, event)
    assert len(notify(bench, "ev-2", entity_id=nothing, version=3)) == 1


@pytest.mark.rule("NOTIFY-2", "NOTIFY-8", "ERR-17")
def test_a_repetition_and_a_dropped_signal_move_no_gate() -> None:
    """The chat came to life after its dissolution was told; the replay of that signal must not mute it again."""
    bench = v2()
    dissolved: dict[str, Json] = {"type": "conversation.dissolved", "entity_id": CHAT}
    assert len(notify(bench, "ev-1", stamped=True, **dissolved)) == 1
    bench.message("msg-1")
    assert bench.told(ChatUngated) == [ChatUngated(CHAT)]
    bench.reconnect()
    assert notify(bench, "ev-1", stamped=True, **dissolved) == []
    assert notify(bench, "", stamped=True, **dissolved) == []
    bench.type()
    assert [one["payload"]["is_typing"] for one in bench.uplinks("typing.update")] == [True]


@settings(max_examples=80)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["fire", "replay", "apply", "cut"]),
            st.sampled_from(["friend.added", "agent.config.changed"]),
            st.sampled_from(["usr_1", "usr_2", ""]),
        ),
        max_size=30,
    )
)
def test_no_news_is_lost_and_none_is_told_twice(acts: list[tuple[str, str, str]]) -> None:
    """A firing that is newer than what was applied under its type and entity is told, whatever else is applied."""
    bench = v2()
    bench.liveness = False
    version, last, applied = 0, dict[tuple[str, str], tuple[str, int]](), dict[tuple[str, str], int]()
    for act, kind, entity in acts:
        slot = kind, entity
        if act == "cut":
            bench.reconnect()
        elif act == "fire":
            version += 1
            last[slot] = f"ev-{version}", version
            told = notify(bench, f"ev-{version}", stamped=True, type=kind, entity_id=entity, version=version)
            assert [(event.event_id, event.version) for event in told] == [last[slot]]
        elif slot in last:
            event_id, number = last[slot]
            if act == "apply":
                apply(bench, SignalReceived(kind, entity, number, event_id, ()))
                applied[slot] = number
            assert notify(bench, event_id, stamped=True, type=kind, entity_id=entity, version=number) == []
    for (kind, entity), number in applied.items():
        told = notify(bench, f"late-{kind}-{entity}", stamped=True, type=kind, entity_id=entity, version=number)
        assert bool(told) == (entity == ""), "dropped as applied, unless it is not known what it is about"
