"""A journal as a story: what happened when, in five lanes.

    connection   down, opening, greeting, online, closing       tokens     in force until …, rotated, adopted
    refreshes    from request to answer                         sends      from command to decision
    failures     whatever went wrong

Everything is read from the lines; nothing is run. So a timeline can be made of a journal of any version.
"""

from collections.abc import Callable
from typing import Any, Final, Literal, TypeAlias

from attrs import field

from clawproto.deferred import frozen
from clawproto.journal_encoding import JournalError
from clawproto.json_types import Json
from clawproto.jwt import read_claims
from clawproto.replay import Journal, Line

Lane: TypeAlias = Literal["connection", "tokens", "refreshes", "sends", "messages", "failures"]
Object = dict[str, Json]
_SENDS: Final = ("Send", "React", "FinishStream")


@frozen
class Mark:
    """Something that happened.

    Attributes:
        at_ms: wall clock.
        elapsed_ms: since the first line, on the monotonic clock.
        step: its number in the journal.
        failure: it went wrong.
    """

    at_ms: int
    elapsed_ms: int
    step: int
    lane: Lane
    text: str
    failure: bool = False


@frozen
class Span:
    """Something that lasted, from ``begin_ms`` to ``end_ms`` after the first line.

    Attributes:
        kind: of a connection its phase; of refreshes and sends how they ended; ``open`` if the journal ends before.
    """

    begin_ms: int
    end_ms: int
    lane: Lane
    kind: str
    text: str


@frozen
class Timeline:
    """What a journal tells.

    Attributes:
        begin_ms: wall clock of the first line.
        length_ms: to the last line.
    """

    begin_ms: int
    length_ms: int
    marks: tuple[Mark, ...] = field(repr=False)
    spans: tuple[Span, ...] = field(repr=False)


def timeline(journal: Journal) -> Timeline:
    """Read the story out of a journal. Raises JournalError for one without any step."""
    if not journal.lines:
        raise JournalError("nothing happens in this journal")
    reader = _Reader(journal.lines[0])
    for line in journal.lines:
        reader.read(line)
    return reader.finish(journal.lines[-1])


class _Reader:
    def __init__(self, first: Line) -> None:
        self._first = first
        self._line = first
        self._marks: list[Mark] = []
        self._spans: list[Span] = []
        self._phase: tuple[str, int] | None = None
        self._pair: tuple[str, int] | None = None
        self._refreshes: dict[int, int] = {}
        self._sends: dict[int, tuple[int, str]] = {}

    @property
    def _now(self) -> int:
        return self._line.at.mono_ms - self._first.at.mono_ms

    def read(self, line: Line) -> None:
        self._line = line
        if line.is_gap:
            self._mark("failures", f"{line.source['gap']} steps are missing in the journal", failure=True)
            return
        self._event(_object(line.source.get("event")))
        for effect in _list(line.source.get("effects")):
            self._effect(_object(effect))
        changed = _object(line.source.get("changed"))
        if "link.phase" in changed:
            self._phase_begins(str(_object(changed["link.phase"]).get("is", "?")).rpartition(".")[2])
        if line.source.get("unlike") is True:
            self._mark("failures", "the real session did something else here", failure=True)

    def finish(self, last: Line) -> Timeline:
        self._line = last
        self._phase_begins("")
        self._pair_begins("")
        for begin in self._refreshes.values():
            self._span(begin, "refreshes", "open", "no answer in this journal")
        for begin, text in self._sends.values():
            self._span(begin, "sends", "open", f"{text}: undecided in this journal")
        return Timeline(self._first.at.wall_ms, self._now, tuple(self._marks), tuple(self._spans))

    # --- pieces ---

    def _mark(self, lane: Lane, text: str, *, failure: bool = False) -> None:
        self._marks.append(Mark(self._line.at.wall_ms, self._now, self._line.number, lane, text, failure))

    def _span(self, begin: int, lane: Lane, kind: str, text: str) -> None:
        self._spans.append(Span(begin, self._now, lane, kind, text))

    def _phase_begins(self, name: str) -> None:
        if self._phase is not None:
            before, begin = self._phase
            if before == name:
                return
            self._span(begin, "connection", before.lower(), before.lower())
        self._phase = (name, self._now)

    def _pair_begins(self, text: str) -> None:
        if self._pair is not None:
            before, begin = self._pair
            self._span(begin, "tokens", "in-force", before)
        self._pair = (text, self._now)

    def _event(self, event: Object) -> None:
        name = event.get("is")
        match name:
            case "Start":
                self._started(_object(event.get("credentials")))
            case "Stop":
                self._mark("connection", "the session is stopped")
            case "Opened":
                self._mark("connection", f"socket {event.get('generation')} is open")
            case "OpenFailed":
                self._mark("connection", f"socket {event.get('generation')}: {event.get('detail')}", failure=True)
            case "Closed":
                code, reason = event.get("code"), event.get("reason", "")
                self._mark("connection", f"socket {event.get('generation')} closed, {code} {reason}".rstrip())
            case "HttpAnswered" | "HttpFailed":
                self._answered(event)
            case "StoreFailed":
                self._mark("tokens", f"the store failed: {event.get('detail')}", failure=True)
            case "StoreConflicted":
                self._mark("tokens", "the store holds another pair")
            case "CredentialsLoaded":
                self._mark("tokens", "credentials come from outside")
            case "ReceiverPaused":
                self._mark("messages", "the application's inbox is full; reading stops")
            case "ReceiverResumed":
                self._mark("messages", "reading goes on")
            case str() if name in _SENDS:
                text = f"{name} to {event['chat_id']}" if "chat_id" in event else name
                self._sends[_integer(event.get("command"))] = (self._now, text)
                self._mark("sends", text)
            case _:
                pass

    def _started(self, credentials: Object) -> None:
        self._mark("connection", "the session starts")
        tokens = _object(credentials.get("tokens"))
        if tokens:
            expiry = _expiry(tokens, self._line.at.wall_ms)
            self._pair_begins(expiry)
            self._mark("tokens", f"stored pair, {expiry}")

    def _answered(self, event: Object) -> None:
        begin = self._refreshes.pop(_integer(event.get("request")), None)
        if begin is None:
            return
        failed = event.get("is") == "HttpFailed"
        text = str(event.get("detail")) if failed else f"HTTP {_object(event.get('answer')).get('status')}"
        self._span(begin, "refreshes", "failed" if failed else "answered", text)
        self._mark("refreshes", f"answer after {self._now - begin} ms: {text}", failure=failed)

    def _effect(self, effect: Object) -> None:
        match effect.get("is"):
            case "Open":
                self._mark("connection", f"opening socket {effect.get('generation')}")
            case "Reconnect":
                self._mark("connection", f"changing the socket: {effect.get('reason')}")
            case "RequestRefresh":
                self._refreshes[_integer(effect.get("request"))] = self._now
                self._mark("refreshes", f"refresh requested, number {effect.get('request')}")
            case "Persist":
                self._mark("tokens", "saving the new pair")
            case "Swap":
                expiry = _expiry(_object(effect.get("tokens")), self._line.at.wall_ms)
                self._pair_begins(expiry)
                self._mark("tokens", f"new pair in force, {expiry}")
            case "Logout":
                self._mark("tokens", f"logging out: {effect.get('cause')}", failure=True)
            case "Emit":
                self._told(_object(effect.get("event")))
            case "Resolve":
                self._resolved(_integer(effect.get("command")), _object(effect.get("result")))
            case _:
                pass

    def _told(self, event: Object) -> None:
        name = str(event.get("is"))
        known = _TOLD.get(name)
        if known is not None:
            lane, words = known
            failure = name in _TROUBLE
            self._mark("failures" if failure else lane, words(event), failure=failure)

    def _resolved(self, command: int, result: Object) -> None:
        found = self._sends.pop(command, None)
        if found is None:
            return
        begin, text = found
        accepted = result.get("is") in ("Receipt", "Done", "StreamEnded")
        outcome = "accepted" if accepted else " ".join(str(result[name]) for name in ("is", "code") if name in result)
        self._span(begin, "sends", "accepted" if accepted else "failed", f"{text}: {outcome}")
        self._mark("sends", f"{text}: {outcome} after {self._now - begin} ms", failure=not accepted)


def _words(template: str, *names: str) -> Callable[[Object], str]:
    return lambda event: template.format(*(event.get(name) for name in names))


_TOLD: Final[dict[str, tuple[Lane, Callable[[Object], str]]]] = {
    "Ready": ("connection", _words("ready, delivery {}", "delivery")),
    "Disconnected": ("connection", _words("disconnected: {}", "reason")),
    "TokensRotated": ("tokens", _words("rotated")),
    "SaveRecovered": ("tokens", _words("saved after {} attempts", "attempts")),
    "MessageReceived": ("messages", _words("{} handed over", "event")),
    "ReplayFinished": ("messages", _words("the backlog is through")),
    "TakenOver": ("failures", _words("taken over by another connection, code {}", "code")),
    "HandshakeRefused": ("failures", _words("handshake refused: {}, then {}", "reason", "action")),
    "RefreshDelayed": ("failures", _words("refresh delayed: {}", "text")),
    "SaveAlarm": ("failures", _words("the pair cannot be saved: {}", "detail")),
    "ClockSkewed": ("failures", _words("the clocks differ by {} ms", "offset_ms")),
    "TokenNotNewer": ("failures", _words("the new token is no newer")),
    "LoggedOut": ("failures", _words("logged out: {} {}", "cause", "text")),
    "CredentialsNeeded": ("failures", _words("pair the agent: {}", "text")),
    "Misconfigured": ("failures", _words("{}", "text")),
    "FrameRejected": ("failures", _words("a frame is of no use: {}", "problem")),
    "AckAnomaly": ("failures", _words("acknowledged under another id")),
    "RefusalReceived": ("failures", _words("refused: {}", "code")),
    "ChatGated": ("failures", _words("chat closed for sends: {}", "code")),
}
_TROUBLE: Final = frozenset(name for name, (lane, _) in _TOLD.items() if lane == "failures")


def _expiry(tokens: Object, wall_ms: int) -> str:
    access = _object(tokens.get("access")).get("secret")
    exp_ms = read_claims(access).exp_ms if isinstance(access, str) else None
    return "expiry unknown" if exp_ms is None else f"expires in {(exp_ms - wall_ms) / 1000:.0f} s"


def _object(value: Json) -> Object:
    return value if isinstance(value, dict) else {}


def _list(value: Json) -> list[Json]:
    return value if isinstance(value, list) else []


def _integer(value: Any) -> int:
    return value if type(value) is int else 0
