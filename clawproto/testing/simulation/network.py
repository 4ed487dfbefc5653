"""What lies between a session and its hub, and the hub itself: the real one, told the true time.

    core --Open, SendFrame, Close--> way there --> hub
    core <--Opened, FrameReceived, Closed-- way back <--

The way takes the time that `Timings` names. In an outage it says so, in a partition and while the machine sleeps it
says nothing. What belongs to a process dies with it; what has left for the hub arrives. Rules: HB-1, REF-8, REF-43,
AUTH-4.
"""

from collections.abc import Callable
from functools import partial
from typing import Literal, TypeAlias
from urllib.parse import urlsplit

from attrs import define

from clawproto.credentials import TokenPair
from clawproto.events import Closed, Event, FrameReceived, HttpAnswered, HttpFailed, Opened, OpenFailed
from clawproto.http import HttpAnswer, HttpRequest
from clawproto.hub import (
    CloseSocket,
    CutSocket,
    HttpDrop,
    HttpReceived,
    HttpRespond,
    Hub,
    HubInput,
    HubSettings,
    PongSeen,
    SendPing,
    SendText,
    SocketClosed,
    SocketOpened,
    SocketText,
    SocketWritten,
    Tick,
)
from clawproto.instant import Instant
from clawproto.policy import DAY_MS
from clawproto.rest_format import Rotated, classify_refresh
from clawproto.secret import Secret
from clawproto.testing.simulation.agenda import Agenda
from clawproto.testing.simulation.plan import Plan
from clawproto.testing.simulation.surroundings import MONO_MS, Surroundings

Feed: TypeAlias = Callable[[int, Event], bool]
"""Hand an event to a process of the session. False: that process is dead."""

DEVICE = "device"
_NEVER_MS = 400 * DAY_MS


@define
class Socket:
    """One connection, as seen from both ends.

    Attributes:
        greeted_at: when the hub sent ``hello-ok``.
    """

    conn: int
    process: int
    generation: int
    at_client: bool = True
    at_hub: bool = True
    greeted_at: int | None = None


@define
class Rotation:
    """The hub has rotated.

    Attributes:
        digest: of the refresh token that it gave out.
        delivered: the answer has reached a process that is alive.
    """

    at: int
    digest: str
    delivered: bool = False


class Network:
    """One hub with one session, and the way between them.

    Attributes:
        rotation: the last one; the session takes it away once its pair is in the store.
    """

    def __init__(self, plan: Plan, around: Surroundings, agenda: Agenda, feed: Feed, *, heartbeats: bool) -> None:
        self.rotation: Rotation | None = None
        self._times, self._around, self._agenda, self._feed = plan.timings, around, agenda, feed
        self._heartbeats = heartbeats
        self._numbers = 0
        self._sockets: dict[int, Socket] = {}
        self._requests: dict[int, Callable[[HttpAnswer | None], None]] = {}
        settings = HubSettings(
            access_token_life_ms=plan.token_life_ms,
            refresh_mode=plan.refresh_mode,
            sweep_interval_ms=_NEVER_MS,  # there are no messages, hence nothing to sweep
            ping_interval_ms=plan.timings.hub_ping_ms if heartbeats else _NEVER_MS,
            pong_timeout_ms=plan.timings.hub_pong_ms if heartbeats else _NEVER_MS,
        )
        self._hub = Hub(settings, plan.session_seed(around.number, 0), self._hub_now())
        self.user_id = self._hub.create_user("agent")

    # --- the hub's side --------------------------------------------------------------------------------------------

    def issue(self, obtained_at_ms: int) -> TokenPair:
        """A new pair of tokens for the session, as at pairing."""
        self._hub.advance(self._hub_now())
        issued = self._hub.issue_tokens(self.user_id, DEVICE)
        return TokenPair(Secret(issued["access_token"]), Secret(issued["refresh_token"]), obtained_at_ms)

    def revoke(self, of: Literal["session", "access"]) -> None:
        """The tokens are revoked, or the access token alone; live sockets stay (AUTH-4)."""
        self._hub.advance(self._hub_now())
        if of == "session":
            self._hub.revoke(self.user_id)
        else:
            self._hub.reject_access(self.user_id)

    def next_due(self) -> int | None:
        """When the hub has something to do."""
        due = self._hub.next_deadline()
        return None if due is None else due - MONO_MS

    def tick(self) -> None:
        """Let the hub do what is due."""
        self._tell(Tick())

    def _hub_now(self) -> Instant:
        return Instant(self._around.true_wall(self._agenda.now), MONO_MS + self._agenda.now)

    def _tell(self, event: HubInput) -> None:
        now = self._agenda.now
        for effect in self._hub.handle(event, self._hub_now()):
            match effect:
                case SendText(conn, text, number):
                    self._agenda.put(now, partial(self._tell, SocketWritten(conn, number)))
                    self._downlink(self._sockets[conn], text)
                case SendPing(conn):
                    there = now + 2 * self._times.one_way_ms
                    if self._sockets[conn].at_client and self._around.passes(now, there):
                        self._agenda.put(there, partial(self._tell, PongSeen(conn)))
                case CloseSocket(conn) | CutSocket(conn):
                    code = effect.code if isinstance(effect, CloseSocket) else 1006
                    self._sockets[conn].at_hub = False
                    self._tell_client_closed(self._sockets[conn], code)
                    self._agenda.put(now, partial(self._tell, SocketClosed(conn)))
                case HttpRespond(number, status, headers, body):
                    answer = HttpAnswer(status, headers, body)
                    verdict = classify_refresh(answer)
                    if isinstance(verdict, Rotated):
                        self.rotation = Rotation(now, verdict.refresh.digest)
                    self._requests.pop(number)(answer)
                case HttpDrop(number):
                    self._requests.pop(number)(None)

    def _downlink(self, socket: Socket, text: str) -> None:
        if socket.greeted_at is None and '"hello-ok"' in text:
            socket.greeted_at = self._agenda.now
        there = self._agenda.now + self._times.one_way_ms
        if self._around.passes(self._agenda.now, there):
            self._agenda.put(there, partial(self._receive, socket, text))

    def _receive(self, socket: Socket, text: str) -> None:
        if socket.at_client:
            self._feed(socket.process, FrameReceived(socket.generation, text))

    # --- sockets ---------------------------------------------------------------------------------------------------

    def is_whole(self, process: int, generation: int) -> bool:
        """Whether both ends still hold this socket."""
        socket = self._held(process, generation)
        return socket is not None and socket.at_hub

    def open(self, process: int, generation: int) -> None:
        """The process opens a socket."""
        begun, times, around = self._agenda.now, self._times, self._around
        there = begun + times.open_ms
        if around.is_out(begun):
            self._feed_at(around.after(begun, 2 * times.one_way_ms), process, OpenFailed(generation, "refused"))
        elif around.outage_within(begun, there) is not None:
            self._feed_at(around.after(begun, times.open_ms), process, OpenFailed(generation, "reset"))
        elif around.passes(begun, there):
            self._agenda.put(there, partial(self._accept, process, generation))

    def send(self, process: int, generation: int, text: str) -> None:
        """The process writes a frame."""
        socket, now = self._held(process, generation), self._agenda.now
        there = now + self._times.one_way_ms
        if socket is not None and self._around.passes(now, there):
            self._agenda.put(there, partial(self._arrive, socket, text))

    def close(self, process: int, generation: int) -> None:
        """The process closes a socket in good order."""
        socket, now = self._held(process, generation), self._agenda.now
        there = now + self._times.one_way_ms
        back = there + self._times.one_way_ms
        if socket is not None and self._around.passes(now, back):
            self._agenda.put(there, partial(self._end_at_hub, socket))
            self._agenda.put(back, partial(self._end_at_client, socket, 1000))

    def abort(self, process: int, generation: int) -> None:
        """The process drops a socket."""
        socket = self._held(process, generation)
        if socket is not None:
            self._leave(socket)

    def leave_all(self) -> None:
        """The process is dead, and its system closes what it held."""
        for socket in self._sockets.values():
            if socket.at_client:
                self._leave(socket)
        if self.rotation is not None:
            self.rotation.delivered = False

    def cut(self) -> None:
        """An outage begins: every socket breaks."""
        for socket in list(self._sockets.values()):
            self._drop(socket)

    def vanish(self, until: int) -> None:
        """Packets vanish from now on, up to ``until``: the hub may miss a pong (HB-1)."""
        for socket in self._sockets.values():
            if socket.at_hub and socket.greeted_at is not None and not self._heartbeats:
                gone_at = self._misses_pong_at(socket.greeted_at, until)
                if gone_at is not None:
                    self._agenda.put(gone_at, partial(self._drop, socket))

    def _misses_pong_at(self, greeted: int, until: int) -> int | None:
        """When the hub gives up, if no ping of after ``until`` can be answered before. Its pings keep their pace."""
        times, every = self._times, self._times.hub_ping_ms
        there_and_back = 2 * times.one_way_ms
        answered = (self._agenda.now - there_and_back - greeted) // every
        last = greeted + answered * every + there_and_back if answered > 0 else greeted
        next_ping = greeted - (greeted - until) // every * every
        gives_up = last + times.hub_pong_ms
        return None if next_ping + there_and_back <= gives_up else gives_up

    def _held(self, process: int, generation: int) -> Socket | None:
        for socket in self._sockets.values():
            if socket.process == process and socket.generation == generation and socket.at_client:
                return socket
        return None

    def _accept(self, process: int, generation: int) -> None:
        self._numbers += 1
        kept = {conn: socket for conn, socket in self._sockets.items() if socket.at_client or socket.at_hub}
        self._sockets = kept | {self._numbers: Socket(self._numbers, process, generation)}
        self._tell(SocketOpened(self._numbers))
        self._feed(process, Opened(generation))

    def _arrive(self, socket: Socket, text: str) -> None:
        if socket.at_hub:
            self._tell(SocketText(socket.conn, text))
        else:
            self._tell_client_closed(socket, 1006)  # a reset

    def _leave(self, socket: Socket) -> None:
        socket.at_client = False
        now, there = self._agenda.now, self._agenda.now + self._times.one_way_ms
        noticed = there if self._around.passes(now, there) else now + self._times.hub_pong_ms
        self._agenda.put(noticed, partial(self._end_at_hub, socket))

    def _drop(self, socket: Socket) -> None:
        if socket.at_hub:
            self._end_at_hub(socket)
            self._tell_client_closed(socket, 1006)

    def _end_at_hub(self, socket: Socket) -> None:
        if socket.at_hub:
            socket.at_hub = False
            self._tell(SocketClosed(socket.conn))

    def _tell_client_closed(self, socket: Socket, code: int) -> None:
        now, there = self._agenda.now, self._agenda.now + self._times.one_way_ms
        if socket.at_client and self._around.passes(now, there):
            self._agenda.put(there, partial(self._end_at_client, socket, code))

    def _end_at_client(self, socket: Socket, code: int) -> None:
        if socket.at_client:
            socket.at_client = False
            self._feed(socket.process, Closed(socket.generation, code))

    # --- requests --------------------------------------------------------------------------------------------------

    def request(self, process: int, request: int, http: HttpRequest, timeout_ms: int) -> None:
        """The process sends a refresh request."""
        around, half, back = self._around, self._times.http_ms // 2, self._times.one_way_ms
        begun = self._agenda.now
        there, gives_up = begun + half, around.after(begun, timeout_ms)

        def fail(at: int, sent: bool, detail: str) -> None:
            self._feed_at(at, process, HttpFailed(request, sent, detail))

        def answer(answered: HttpAnswer | None) -> None:
            now = self._agenda.now
            cut = around.outage_within(now, now + half)
            if cut is not None or answered is None:
                fail((cut or now) + back, True, "connection reset")
            elif not around.passes(now, now + half):
                fail(gives_up, True, "no answer in time")
            else:
                self._agenda.put(now + half, partial(self._deliver, process, HttpAnswered(request, answered)))

        if around.is_out(begun):
            fail(around.after(begun, 2 * back), False, "connection refused")
        elif not around.passes(begun, there):
            fail(gives_up, True, "no answer in time")
        elif (cut := around.outage_within(begun, there)) is not None:
            fail(cut + back, True, "connection reset")
        else:
            self._agenda.put(there, partial(self._serve, http, answer))

    def _serve(self, http: HttpRequest, answer: Callable[[HttpAnswer | None], None]) -> None:
        self._numbers += 1
        self._requests[self._numbers] = answer
        headers = {name.lower(): value for name, value in http.headers}
        path = urlsplit(http.url).path
        self._tell(HttpReceived(self._numbers, http.method, path, {}, headers, http.body or b""))

    def _deliver(self, process: int, event: HttpAnswered) -> None:
        rotation, verdict = self.rotation, classify_refresh(event.answer)
        taken = self._feed(process, event)
        if rotation is not None and isinstance(verdict, Rotated) and verdict.refresh.digest == rotation.digest:
            rotation.delivered = taken

    def _feed_at(self, at: int, process: int, event: Event) -> None:
        self._agenda.put(at, partial(self._feed, process, event))
