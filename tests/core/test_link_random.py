"""Whatever happens in whatever order: nothing raises, every command ends once, and no uplink goes out unasked.

The bench checks the invariants after every step: no uplink before ``hello-ok`` or after Stop (I7), acks (I8), each
command resolved once (I9), unchanged retransmissions (I10), and no deadline in the past after a Tick (I11).
"""

import json
from collections.abc import Callable
from typing import Literal, TypeAlias

import pytest
from hypothesis import given, strategies as st

from clawproto.config import Capabilities
from clawproto.effects import SendFrame
from clawproto.events import Closed, FrameReceived, Opened, OpenFailed, ReceiverPaused, ReceiverResumed
from clawproto.json_types import Json
from clawproto.policy import Policy
from clawproto.session import is_finished
from tests.core.harness import credentials, frame, jwt, of, pair, rotated, verdict
from tests.core.link_harness import CHAT, OTHER_CHAT, SENDER, LinkBench, message_payload

Act: TypeAlias = Callable[[LinkBench], object]

EVENTS = [
    "connect.challenge",
    "hello-ok",
    "hello-fail",
    "message.send",
    "message.reply",
    "message.ack",
    "message.error",
    "typing.update",
    "notify.signal",
    "replay.done",
    "sync.mark",
    "pong",
    "ping",
    "history.transit",
    "a.later.event",
]
FIELDS = [
    "nonce",
    "device_id",
    "ack_mode",
    "ack_epoch",
    "reason",
    "message_id",
    "accepted_at",
    "code",
    "is_typing",
    "type",
    "entity_id",
    "message",
    "message_mode",
    "stream_merged",
]

scalars: st.SearchStrategy[Json] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 5),
    st.sampled_from(
        ["", "dseq", "e-1", CHAT, "conversation.dissolved", "conversation.created", "not_member", "msg-0", "msg-1"]
    ),
    st.sampled_from(["authentication failed", "auth service unavailable", "\ud800", "\0", "u-1", "lab-01"]),
)
payloads: st.SearchStrategy[dict[str, Json]] = st.one_of(
    st.dictionaries(st.sampled_from(FIELDS), scalars, max_size=5).map(dict[str, Json]),
    st.builds(message_payload, st.sampled_from(["msg-0", "msg-1", "msg-2"]), st.sampled_from(["a", "b"])),
    st.builds(
        lambda text: message_payload("msg-2", text, stream_merged=True),
        st.sampled_from(["a", "b"]),
    ),
)
envelopes = st.fixed_dictionaries(
    {},
    optional={
        "trace_id": st.sampled_from(["", "x"]),
        "chat_id": st.sampled_from([CHAT, OTHER_CHAT, "room", ""]),
        "sender": st.sampled_from([SENDER, {"id": "u-1"}, {"id": "system"}, {}, "nobody"]),
        "origin_device_id": st.sampled_from(["lab-01", "other", 5]),
        "seq": st.one_of(st.integers(-1, 50), st.just("x")),
        "dseq": st.one_of(st.integers(-1, 9), st.booleans(), st.just("x")),
    },
)
durations = st.one_of(
    st.sampled_from([0, 1, 200, 500, 5_000, 10_000, 15_000, 20_000, 30_000, 60_000, 600_000]),
    st.integers(0, 90_000),
    st.integers(0, 40 * 3_600_000),
)


def receive(event: str, payload: dict[str, Json], envelope: dict[str, Json], offset: int) -> Act:
    """A frame on the last socket, or on one before it."""
    text = json.dumps({"version": "2", "event": event, "emitted_at": 1, "payload": payload, **envelope})
    return lambda bench: bench.step(FrameReceived(max(1, latest(bench) - offset), text))


def garbage(data: str | bytes) -> Act:
    """Something on the last socket that is no frame."""
    return lambda bench: bench.step(FrameReceived(max(1, latest(bench)), data))


def latest(bench: LinkBench) -> int:
    return bench.state.counters.generation


def answer_send(accept: bool, code: str) -> Act:
    """The hub answers the oldest or any message that was transmitted."""

    def act(bench: LinkBench) -> None:
        for uplink in bench.uplinks("message.send")[-3:]:
            body: dict[str, Json] = {"message_id": uplink["payload"]["message_id"], "code": code, "accepted_at": 1}
            event = "message.ack" if accept else "message.error"
            text = frame(event, body, trace_id=uplink["trace_id"], chat_id=uplink["chat_id"])
            bench.step(FrameReceived(max(1, latest(bench)), text))

    return act


def next_message(message_id: str) -> Act:
    """A message with the number that is due."""

    def act(bench: LinkBench) -> None:
        stream = bench.state.inbox.stream
        dseq = 1 if stream is None else stream.last + 1
        text = frame("message.send", message_payload(message_id), chat_id=CHAT, sender=SENDER, dseq=dseq, seq=dseq)
        bench.step(FrameReceived(max(1, latest(bench)), text))

    return act


def greet(bench: LinkBench) -> None:
    """Everything that the hub says for a healthy handshake."""
    number = max(1, latest(bench))
    bench.step(Opened(number))
    bench.step(bench.challenge(number))
    connects = [one for one in of(bench.effects, SendFrame) if one.event == "connect" and one.generation == number]
    if connects:
        bench.step(bench.hello(connects[-1]))


def answer_http(kind: Literal["rotated", "refused", "internal", "lost"]) -> Act:
    """The server answers a refresh that is under way."""

    def act(bench: LinkBench) -> None:
        if not bench.refreshes:
            return
        match kind:
            case "rotated":
                number = str(len(bench.effects))
                bench.reply(rotated(jwt(f"a{number}", issued_ms=bench.now.wall_ms), f"refresh-{number}"))
            case "refused":
                bench.reply(verdict(10003))
            case "internal":
                bench.reply(verdict(1))
            case "lost":
                bench.fail()

    return act


def tick_after(ms: int) -> Act:
    """Time passes, then one Tick; not necessarily at a deadline."""

    def act(bench: LinkBench) -> None:
        bench.pass_time(ms)
        bench.tick()

    return act


def settle(index: int) -> Act:
    """The application is done with something it holds, or reports nonsense."""
    return lambda bench: bench.settle(
        ([*bench.state.inbox.places] or [99])[index % max(1, len(bench.state.inbox.places))]
    )


def load(number: int) -> Act:
    """Credentials from outside."""
    return lambda bench: bench.load(
        credentials(
            pair(jwt(f"x{number}", issued_ms=bench.now.wall_ms), f"refresh-x{number}-{len(bench.effects)}"),
            generation=100 + len(bench.effects),
        )
    )


acts: st.SearchStrategy[Act] = st.one_of(
    st.builds(receive, st.sampled_from(EVENTS), payloads, envelopes, st.sampled_from([0, 0, 0, 1])),
    st.builds(next_message, st.sampled_from(["msg-0", "msg-1", "msg-2", "msg-3"])),
    st.builds(answer_send, st.booleans(), st.sampled_from(["bad_request", "not_member", "later"])),
    st.just(greet),
    st.builds(garbage, st.sampled_from(["", "{", "[]", '{"version":"2","dseq":1}', b"\xff", "null"])),
    st.builds(
        lambda code, offset: lambda bench: bench.step(Closed(max(1, latest(bench) - offset), code, "retry_after_ms=7")),
        st.sampled_from([1000, 1005, 1006, 1009, 1011, 4001, 4002, 4999]),
        st.sampled_from([0, 0, 1]),
    ),
    st.just(lambda bench: bench.step(Opened(max(1, latest(bench))))),
    st.just(lambda bench: bench.step(OpenFailed(max(1, latest(bench)), "refused"))),
    st.builds(
        lambda chat, message_id: lambda bench: bench.send(chat, message_id=message_id),
        st.sampled_from([CHAT, OTHER_CHAT, "room"]),
        st.sampled_from([None, None, "msg-0", "msg-1"]),
    ),
    st.builds(
        lambda on, chat: lambda bench: bench.type(on, chat), st.booleans(), st.sampled_from([CHAT, OTHER_CHAT, "room"])
    ),
    st.builds(settle, st.integers(0, 5)),
    st.just(lambda bench: bench.step(ReceiverPaused())),
    st.just(lambda bench: bench.step(ReceiverResumed())),
    st.just(lambda bench: bench.refresh()),
    st.builds(answer_http, st.sampled_from(["rotated", "rotated", "refused", "internal", "lost"])),
    st.builds(load, st.integers(0, 3)),
    st.builds(tick_after, durations),
    st.builds(lambda ms: lambda bench: bench.run_for(ms), st.integers(0, 120_000)),
    st.just(lambda bench: setattr(bench, "answers_close", not bench.answers_close)),
)

capabilities = st.sampled_from(
    [
        Capabilities(),
        Capabilities(reliable_delivery_v2=False),
        Capabilities(reliable_delivery=False, reliable_delivery_v2=False),
    ]
)
policies = st.sampled_from(
    [
        Policy(),
        Policy(retransmit_after_timeout=True, offline_queue=2, remembered_messages=2, undecided_kept=1, gate_table=1),
        Policy(retransmit_on_reconnect=False, require_chat_prefix=False, offline_queue=0),
        Policy(unexplained_floor_ms=0, stable_after_ms=0, ack_debounce_ms=0, replay_idle_ms=0),
    ]
)


@pytest.mark.rule("EVT-6", "ENV-12", "HS-9", "CLOSE-2", "SEND-13", "R2-34")
@given(
    st.lists(acts, max_size=40),
    st.sampled_from(["v1", "v2"]),
    st.booleans(),
    capabilities,
    policies,
)
def test_any_sequence_of_events(
    sequence: list[Act], grant: Literal["v1", "v2"], greeted: bool, wanted: Capabilities, policy: Policy
) -> None:
    bench = LinkBench(grant=grant, greet=greeted, capabilities=wanted, policy=policy, liveness=False)
    for act in sequence:
        act(bench)
    bench.liveness = True
    bench.tick()  # from here a healthy world leads to Ready, or to where a person must help (I12)
    bench.liveness = False

    before = len(bench.effects)
    bench.stop()
    said = len(bench.effects)
    for _ in range(4):  # a rotation that is on its way is finished
        answer_http("rotated")(bench)
        bench.run_for(120_000)
    assert not of(bench.effects[said:], SendFrame)
    assert not {one.event for one in of(bench.effects[before:said], SendFrame)} & {"connect", "message.send", "ping"}
    assert bench.results.keys() == set(range(1, bench.command()))
    if not bench.refreshes:
        assert is_finished(bench.state) and bench.deadline is None


@pytest.mark.rule("SEND-13", "SEND-17")
@given(st.lists(acts, max_size=25), policies)
def test_in_a_healthy_world_every_send_is_decided(sequence: list[Act], policy: Policy) -> None:
    bench = LinkBench(policy=policy, liveness=False)
    for act in sequence:
        act(bench)
    bench.answers_close = True
    bench.step(ReceiverResumed())
    for _ in range(8):
        answer_http("rotated")(bench)
        bench.run_for(60_000)
    waiting = [entry.message_id for _, entry in bench.state.outbox.entries.items() if entry.command is not None]
    assert not waiting or bench.state.tokens.status == "needed"
