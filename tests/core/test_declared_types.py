"""The look at types that every bench takes: it finds what a class does not declare, and nothing else."""

from attrs import evolve

from clawproto.config import Config
from clawproto.effects import Emit, Logout, Persist, Reconnect
from clawproto.link_state import Down, Online
from clawproto.state import State
from clawproto.turn import Counters
from tests.core.declared_types import mistyped
from tests.core.harness import IDENTITY, SEED, credentials


def test_what_is_declared_is_fine() -> None:
    record = credentials()
    for value in (
        record,
        Persist(1, record, None),
        Logout(1, IDENTITY, "digest", 2, "refused"),
        State(Config(seed=SEED)),
    ):
        assert mistyped(value) is None


def test_whatever_is_not_declared_is_named_with_its_place() -> None:
    wrong = {
        "Persist.operation: None is no int": Persist(None, credentials(), None),  # type: ignore[arg-type]
        "Persist.replaces: 'x' is no int": Persist(1, credentials(), "x"),  # type: ignore[arg-type]
        "Persist.credentials: Credentials.identity: Identity.user_id: None is no str": Persist(
            1, credentials(user_id=None), None
        ),
        "Down.not_before: True is no int": Down(True),
        "Logout.cause: 'why' is none of": Logout(1, IDENTITY, "digest", 2, "why"),  # type: ignore[arg-type]
        "Emit.event: None is no": Emit(None),  # type: ignore[arg-type]
        "Reconnect.reason: None is no str": Reconnect(1, None),  # type: ignore[arg-type]
    }
    for problem, value in wrong.items():
        assert (found := mistyped(value)) is not None and problem in found


def test_a_part_that_was_there_before_is_not_looked_at_again() -> None:
    state = State(Config(seed=SEED))
    link = evolve(state.link, phase=Online(1, since=None, heard_at=5))  # type: ignore[arg-type]
    broken = evolve(state, link=link)
    found = mistyped(broken, state)
    assert found is not None and found.startswith("State.link: LinkState.phase") and "Online.since: None" in found
    assert mistyped(evolve(broken, counters=Counters(request=2)), broken) is None
