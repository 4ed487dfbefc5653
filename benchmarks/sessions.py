"""A session without any IO, brought to where measuring begins."""

import base64
import json
from collections.abc import Sequence

from benchmarks.frames import envelope, quickly
from clawproto.config import Config
from clawproto.credentials import Credentials, Identity, TokenPair
from clawproto.effects import Effect, Open
from clawproto.events import Event, FrameReceived, Opened, Settle, Start
from clawproto.instant import Instant
from clawproto.json_types import Json
from clawproto.policy import DAY_MS
from clawproto.secret import Secret
from clawproto.session import Session, step
from clawproto.state import State

WALL = 1_790_000_000_000
MONO = 7_000_000
GAP_MS = 5  # between two frames: forty to an ack
BYSTANDER_SIZE = 700


def _segment(value: dict[str, Json]) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def access_token(name: str, issued_ms: int = WALL) -> str:
    """A JSON Web Token of the usual length that lives for a day."""
    claims: dict[str, Json] = {
        "iss": "clawchat",
        "sub": "usr_8f14e45fceea167a",
        "iat": issued_ms // 1000,
        "exp": (issued_ms + DAY_MS) // 1000,
        "jti": name,
    }
    return f"{_segment({'alg': 'HS256', 'typ': 'JWT'})}.{_segment(claims)}.{'s' * 43}"


IDENTITY = Identity(
    user_id="usr_8f14e45fceea167a",
    device_id="bench-01",
    base_url="https://api.example",
    ws_url="wss://hub.example/ws",
)
CREDENTIALS = Credentials(IDENTITY, TokenPair(Secret(access_token("a1")), Secret("refresh-" + "r" * 40), WALL), 1)


def moment(after_ms: int) -> Instant:
    """An instant so many milliseconds after the start."""
    return Instant(WALL + after_ms, MONO + after_ms)


def run(state: State, events: Sequence[tuple[Event, Instant]]) -> tuple[State, list[Effect]]:
    """Step through all of them."""
    done: list[Effect] = []
    for event, now in events:
        state, effects = step(state, event, now)
        done.extend(effects)
    return state, done


def ready(*, v2: bool = True, config: Config | None = None) -> tuple[State, int]:
    """A session after ``hello-ok``, and the generation of its socket."""
    state, effects = step(State(config or Config(seed=bytes(16))), Start(CREDENTIALS), moment(0))
    generation = next(effect.generation for effect in effects if isinstance(effect, Open))
    hello: dict[str, Json] = {"device_id": "bench-01"}
    if v2:
        hello |= {"ack_mode": "dseq", "ack_epoch": "epoch-1"}
    state, _ = run(
        state,
        [
            (Opened(generation), moment(20)),
            (FrameReceived(generation, envelope("connect.challenge", {"nonce": "n-1"})), moment(40)),
            (FrameReceived(generation, envelope("hello-ok", hello)), moment(60)),
        ],
    )
    return state, generation


def seasoned(count: int = 4_500, *, config: Config | None = None) -> tuple[State, int, int]:
    """A session whose memory of messages is full.

    Returns:
        The state, the generation of its socket, and the ``dseq`` that comes next.
    """
    state, generation = ready(config=config)
    session, make = Session.of(state), quickly(BYSTANDER_SIZE)
    for number in range(1, count + 1):
        receive(session, generation, number, make(number))
    state = session.state
    assert state.inbox.stream is not None and state.inbox.stream.mark == count
    return state, generation, count + 1


def receive(session: Session, generation: int, number: int, text: str) -> None:
    """The message with this ``dseq`` arrives, and the application is done with it."""
    now = moment(1_000 + number * GAP_MS)
    session.handle(FrameReceived(generation, text), now)
    session.handle(Settle(number), now)
