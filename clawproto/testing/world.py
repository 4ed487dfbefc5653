"""A hub and any number of sessions under virtual time: both ends of the protocol, with no socket and no clock.

    world = World()
    ann = world.join(world.hub.create_user("Ann"), "phone")
    command = ann.give(lambda number: Send(number, chat_id, ({"kind": "text", "text": "hi"},)))
    world.run_for(1_000)
    assert isinstance(ann.results[command], Receipt)

The network between them is perfect until a test cuts it: frames arrive at once, in order. Everything that a session or
the hub asks for is put into one queue and done in turn, so nothing happens within something else.
"""

from collections import deque
from collections.abc import Callable
from functools import partial
from urllib.parse import parse_qsl, unquote, urlsplit

from clawproto.config import Config, Features
from clawproto.credentials import Credentials, Identity, TokenPair
from clawproto.events import (
    Event,
    HttpAnswered,
    HttpFailed,
    Tick as SessionTick,
)
from clawproto.http import HttpAnswer, HttpRequest
from clawproto.hub import (
    CloseSocket,
    CutSocket,
    HttpDrop,
    HttpReceived,
    HttpRespond,
    Hub,
    HubEffect,
    HubInput,
    HubSettings,
    PongSeen,
    SendPing,
    SendText,
    SocketClosed,
    SocketWritten,
    Tick as HubTick,
)
from clawproto.instant import Instant
from clawproto.policy import Policy
from clawproto.secret import Secret
from clawproto.testing.member import Member as Member, SettleMode as SettleMode

START = Instant(1_790_000_000_000, 1_000)


class World:
    """The hub, its members, and the time that they share.

    Args:
        records: keep the text of every frame at its member.

    Attributes:
        after_each: called after each thing that was done: the place for a crash in the middle.
    """

    def __init__(self, settings: HubSettings | None = None, *, seed: bytes = b"world", records: bool = True) -> None:
        self.now = START
        self.hub = Hub(settings or HubSettings(), seed, self.now)
        self.members: list[Member] = []
        self.records = records
        self.after_each: Callable[[], None] = lambda: None
        self._by_conn: dict[int, Member] = {}
        self._requests: dict[int, tuple[Member, int, int]] = {}
        self._numbers = 0
        self._queue: deque[Callable[[], None]] = deque()
        self._settling = False

    def join(
        self,
        user_id: str,
        device_id: str,
        *,
        features: Features | None = None,
        policy: Policy | None = None,
        settle: SettleMode = "auto",
        agent_id: str | None = None,
        conversation_id: str | None = None,
        kind: "Callable[[World, Config, Credentials, SettleMode], Member] | None" = None,
    ) -> Member:
        """A session of this user on this device, started with tokens that the hub has just issued.

        Args:
            kind: another kind of member, for instance `clawproto.testing.durable_member.durable`.
        """
        issued = self.hub.issue_tokens(user_id, device_id)
        identity = Identity(
            user_id, device_id, "http://hub", "ws://hub/ws", agent_id=agent_id, conversation_id=conversation_id
        )
        pair = TokenPair(Secret(issued["access_token"]), Secret(issued["refresh_token"]), self.now.wall_ms)
        config = Config(
            seed=self.fresh_seed(),
            policy=policy or Policy(),
            capabilities=(features or Features()).capabilities,
        )
        record = Credentials(identity, pair, 1)
        member = (kind or Member)(self, config, record, settle)
        self.members.append(member)
        member.begin()
        return member

    def fresh_seed(self) -> bytes:
        """Of a session; no two are equal."""
        self._numbers += 1
        return self._numbers.to_bytes(16, "big")

    def control(self, action: Callable[[Hub], object]) -> None:
        """Do something to the hub, and carry out what it asks for: ``world.control(lambda hub: hub.kick())``."""
        self.hub.advance(self.now)
        action(self.hub)
        self._perform(self.hub.take_effects())
        self.settle_down()

    # --- time ---

    def run_for(self, milliseconds: int) -> None:
        """Let time pass, with a Tick for whoever has a deadline."""
        until = self.now.mono_ms + milliseconds
        self.settle_down()
        while True:
            dues = [member.next_deadline() for member in self.members] + [self.hub.next_deadline()]
            due = min((one for one in dues if one is not None), default=None)
            if due is None or due > until:
                break
            self._go_to(max(due, self.now.mono_ms))
            for member in self.members:
                deadline = member.next_deadline()
                if deadline is not None and deadline <= self.now.mono_ms:
                    member.handle(SessionTick())
            deadline = self.hub.next_deadline()
            if deadline is not None and deadline <= self.now.mono_ms:
                self.to_hub(HubTick())
            self.settle_down()
        self._go_to(until)
        self.hub.advance(self.now)

    def run_until(self, condition: Callable[[], bool], within_ms: int = 600_000) -> None:
        """Let time pass until ``condition`` holds.

        Raises:
            TimeoutError: it did not, within the time.
        """
        end = self.now.mono_ms + within_ms
        while not condition():
            if self.now.mono_ms >= end:
                raise TimeoutError("the condition did not come about")
            self.run_for(50)

    def _go_to(self, mono_ms: int) -> None:
        self.now = Instant(self.now.wall_ms + mono_ms - self.now.mono_ms, mono_ms)

    # --- for members ---

    def later(self, action: Callable[[], None]) -> None:
        """Do this in its turn."""
        self._queue.append(action)

    def settle_down(self) -> None:
        """Do everything that is to be done now."""
        if self._settling:
            return
        self._settling = True
        try:
            while self._queue:
                self._queue.popleft()()
                self.after_each()
        finally:
            self._settling = False

    def connect(self, member: Member) -> int:
        """A number for a new socket."""
        self._numbers += 1
        self._by_conn[self._numbers] = member
        return self._numbers

    def to_hub(self, event: HubInput) -> None:
        """Feed the hub in its turn."""
        self._queue.append(lambda: self._perform(self.hub.handle(event, self.now)))

    def request(self, member: Member, request: int, http: HttpRequest) -> None:
        """Pass an HTTP request on."""
        self._numbers += 1
        self._requests[self._numbers] = (member, request, member.life)
        parts = urlsplit(http.url)
        headers = {name.lower(): value for name, value in http.headers}
        self.to_hub(
            HttpReceived(
                self._numbers, http.method, unquote(parts.path), dict(parse_qsl(parts.query)), headers, http.body or b""
            )
        )

    def _perform(self, effects: list[HubEffect]) -> None:
        self._queue.extend(partial(self._carry_out, effect) for effect in effects)

    def _carry_out(self, effect: HubEffect) -> None:
        match effect:
            case SendText(conn, text, number):
                if self._by_conn[conn].receive(conn, text):
                    self.to_hub(SocketWritten(conn, number))
            case SendPing(conn):
                self.to_hub(PongSeen(conn))
            case CloseSocket(conn, code, reason):
                self._by_conn[conn].closed(conn, code, reason)
                self.to_hub(SocketClosed(conn))
            case CutSocket(conn):
                self._by_conn[conn].closed(conn, 1006, "")
                self.to_hub(SocketClosed(conn))
            case HttpRespond(number, status, headers, body):
                self._reply(number, lambda request: HttpAnswered(request, HttpAnswer(status, headers, body)))
            case HttpDrop(number):
                self._reply(number, lambda request: HttpFailed(request, sent=True, detail="dropped"))

    def _reply(self, number: int, build: Callable[[int], Event]) -> None:
        member, request, life = self._requests.pop(number)
        if life == member.life:
            member.handle(build(request))
