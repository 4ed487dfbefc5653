"""Capabilities: what ``connect`` asks for, and what the answer to it means."""

import pytest
from attrs import fields

from clawproto.app_events import Ready
from clawproto.config import Capabilities
from clawproto.json_types import Json
from tests.core.link_harness import LinkBench

FLAGS = [item.name for item in fields(Capabilities)]


@pytest.mark.rule("CAP-1", "CAP-2", "CAP-6", "CAP-7", "R2-1")
def test_the_default_is_what_an_agent_on_one_device_can_fulfil() -> None:
    bench = LinkBench()
    (connect,) = bench.uplinks("connect")
    assert connect["payload"]["capabilities"] == {
        "device_replay": True,
        "reliable_delivery": True,
        "reliable_delivery_v2": True,
    }


@pytest.mark.rule("CAP-1")
@pytest.mark.parametrize("flag", FLAGS)
def test_each_flag_is_sent_if_and_only_if_it_is_set(flag: str) -> None:
    if flag == "reliable_delivery_v2":
        wanted = Capabilities(reliable_delivery=True, reliable_delivery_v2=True)
    else:
        none = dict.fromkeys(FLAGS, False)
        wanted = Capabilities(**{**none, flag: True})
    bench = LinkBench(capabilities=wanted)
    sent = bench.uplinks("connect")[0]["payload"]["capabilities"]
    assert sent == {name: True for name in FLAGS if getattr(wanted, name)}
    assert all(type(value) is bool for value in sent.values())


@pytest.mark.rule("CAP-6")
def test_end_to_end_encryption_cannot_be_asked_for() -> None:
    assert "e2ee" not in FLAGS
    with pytest.raises(TypeError):
        Capabilities(e2ee=True)  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]


@pytest.mark.rule("CAP-2")
def test_v2_without_v1_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="CAP-2"):
        Capabilities(reliable_delivery=False, reliable_delivery_v2=True)


@pytest.mark.rule("CAP-7")
def test_a_user_facing_client_can_set_what_it_should() -> None:
    wanted = Capabilities(multi_device=True, device_replay=True, chat_meta_events=True, delivery_receipt=True)
    bench = LinkBench(capabilities=wanted)
    sent = bench.uplinks("connect")[0]["payload"]["capabilities"]
    assert {"multi_device", "device_replay", "chat_meta_events", "delivery_receipt"} <= sent.keys()


@pytest.mark.rule("R2-2", "R1-7")
@pytest.mark.parametrize("ack_mode", [None, "", "seq", "DSEQ", "dseq ", True, 1, ["dseq"], {"mode": "dseq"}])
def test_anything_but_the_exact_mode_is_no_grant(ack_mode: Json) -> None:
    bench = LinkBench(greet=False)
    bench.challenge_now()
    bench.hello_now(ack_mode=ack_mode, ack_epoch="01J5ZK3M4N5P6Q7R8S9TEPOCH0")
    assert bench.told(Ready)[0].delivery == "v1"


@pytest.mark.rule("R2-2", "R1-7")
@pytest.mark.parametrize(
    ("reliable", "v2", "ack_mode", "delivery"),
    [
        (True, True, "dseq", "v2"),
        (True, True, None, "v1"),
        (True, False, None, "v1"),
        (True, False, "dseq", "v1"),  # granted without being asked for
        (False, False, None, "legacy"),
        (False, False, "dseq", "legacy"),
    ],
)
def test_generation_in_force(reliable: bool, v2: bool, ack_mode: str | None, delivery: str) -> None:
    bench = LinkBench(greet=False, capabilities=Capabilities(reliable_delivery=reliable, reliable_delivery_v2=v2))
    bench.challenge_now()
    bench.hello_now(ack_mode=ack_mode, ack_epoch="01J5ZK3M4N5P6Q7R8S9TEPOCH0")
    assert bench.told(Ready)[0].delivery == delivery


@pytest.mark.rule("R2-2", "R2-3")
def test_the_grant_may_differ_from_one_connection_to_the_next() -> None:
    bench = LinkBench(grant="v2")
    bench.closed()
    bench.grant = "v1"
    bench.wait_for_socket()
    bench.closed()
    bench.grant = "v2"
    bench.wait_for_socket()
    assert [one.delivery for one in bench.told(Ready)] == ["v2", "v1", "v2"]
