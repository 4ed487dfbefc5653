"""The values that are kept and set: secrets, credentials, backlogs, policies."""

from typing import Any

import pytest

from clawproto.app_events import ReplayFinished
from clawproto.credentials import Credentials, Identity, Intent, TokenPair
from clawproto.keeping import Backlog, Filed, KeptSend
from clawproto.policy import Policy
from clawproto.secret import Secret

SEND = KeptSend("s-1", 1, "msg-1", "cnv_1", "message.send", "{}", None, 0)


# --- secrets -------------------------------------------------------------------------------------------------------


@pytest.mark.rule("AUTH-9")
def test_a_secret_shows_that_it_is_one_and_nothing_else() -> None:
    secret = Secret("the-access-token")
    assert repr(secret) == str(secret) == f"{secret}" == f"{secret:>30}" == f"{secret!r}" == "Secret(…)"
    assert secret.reveal() == "the-access-token"


# --- credentials ---------------------------------------------------------------------------------------------------


@pytest.mark.rule("REF-14", "REF-46")
def test_another_pair_makes_an_end_of_what_was_known_of_the_one_before() -> None:
    identity = Identity("usr_me", "lab-01", "https://hub.example", "wss://hub.example/ws")
    old, new = (TokenPair(Secret(f"access-{name}"), Secret(f"refresh-{name}")) for name in ("old", "new"))
    before = Credentials(identity, old, 4, Intent("digest", 4, 1_000), refused="digest")
    assert before.with_tokens(new, 5) == Credentials(identity, new, 5, intent=None, refused=None)


# --- backlogs ------------------------------------------------------------------------------------------------------


@pytest.mark.rule("R2-9")
@pytest.mark.parametrize("user_id", ["usr_1", "usr_2", None])
def test_what_nobody_has_claimed_is_for_whoever_comes(user_id: str | None) -> None:
    backlog = Backlog((Filed(2, ReplayFinished(True)),), (SEND,), 7, 9, None, (SEND,))
    assert backlog.for_user(user_id) == backlog


@pytest.mark.rule("R2-9")
@pytest.mark.parametrize(("user_id", "theirs"), [("usr_1", True), ("usr_2", False), (None, False)])
def test_what_is_somebodys_is_for_nobody_else_but_its_numbers_go_on(user_id: str | None, theirs: bool) -> None:
    backlog = Backlog((Filed(2, ReplayFinished(True)),), (SEND,), 7, 9, "usr_1", (SEND,))
    numbers = Backlog(last_number=7, last_row=9, user_id="usr_1")
    assert backlog.for_user(user_id) == (backlog if theirs else numbers)


# --- policies ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("setting", ["refresh_floor_ms", "jitter_ms", "unexplained_floor_ms", "offline_queue"])
def test_a_policy_may_do_without_but_not_with_less(setting: str) -> None:
    without, less = ({setting: value} for value in (0, -1))
    assert getattr(_policy(**without), setting) == 0
    with pytest.raises(ValueError, match=setting):
        _policy(**less)


@pytest.mark.rule("REF-16", "OUT-8", "HB-6")
def test_a_policy_is_the_protocols_unless_told_otherwise() -> None:
    policy = Policy(refresh_floor_ms=1)
    assert (policy.refresh_floor_ms, policy.ping_after_ms, policy.credential_poll_ms) == (1, 30_000, 2_000)
    assert Policy(credential_poll_ms=None).credential_poll_ms is None
    for setting in ("ping_after_ms", "credential_poll_ms", "keep_batch"):
        with pytest.raises(ValueError, match=setting):
            _policy(**{setting: 0})


def _policy(**settings: Any) -> Policy:
    return Policy(**settings)
