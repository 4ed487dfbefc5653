"""Streams of ours as a block: completed at its end, failed by whatever breaks it.

Rules: STREAM-2, STREAM-5, STREAM-8, STREAM-12.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Protocol

from clawproto import calls
from clawproto.app_events import MessageReceived
from clawproto.deferred import frozen
from clawproto.engine import Engine
from clawproto.events import AppendStream, Command, FailStream, FinishStream, OpenStream, Send
from clawproto.json_types import Json
from clawproto.results import Receipt, Result, StoppedResult


class Call(Protocol):
    """Gives a command and waits for its result."""

    async def __call__(self, build: Callable[[int], Command], *, limited: bool = False) -> Result: ...


@frozen
class Way:
    """How a stream reaches its session.

    Attributes:
        pause: lets others run, and be cancelled.
        judged: raises what says that the session is over.
    """

    engine: Engine
    call: Call
    pause: Callable[[], Awaitable[None]]
    judged: Callable[[Result], Result]


@frozen(kw_only=True)
class Plan:
    """What is written, where; see `clawproto_io.actions.Actions.stream`."""

    chat_id: str
    reply_to: MessageReceived | Mapping[str, Json] | None
    mentions: Sequence[Json]
    mode: str
    to: Mapping[str, Json] | None
    message_id: str | None
    closing: bool


class Stream:
    """A message in the making. Made by a client's ``stream``; for the task that runs the block.

    Attributes:
        message_id: of the stream and of the message that takes its place.
        receipt: of that message, after the block; None if there was none.
    """

    def __init__(self, way: Way, plan: Plan) -> None:
        self.message_id = ""
        self.receipt: Receipt | None = None
        self._way = way
        self._plan = plan
        self._text: list[str] = []
        self._final: str | tuple[Mapping[str, Json], ...] | None = None
        self._mentions = plan.mentions

    @property
    def text(self) -> str:
        """Everything appended so far."""
        return "".join(self._text)

    async def append(self, text: str) -> None:
        """Add to the message. What comes in quick succession goes out together, ten times a second.

        Raises:
            SendRejected: the hub refused the stream, or it has become too long; the block should end.
            LoggedOut, SessionClosed, DriverFailed: the session is over.
        """
        calls.appended_by(self._at_once(lambda command: AppendStream(command, self.message_id, text)))
        self._text.append(text)
        await self._way.pause()

    def finish_with(
        self, content: str | Iterable[Mapping[str, Json]], *, mentions: Sequence[Json] | None = None
    ) -> None:
        """What the message at the end says, instead of the pieces as they came.

        Args:
            content: a text, or ready fragments (FRAG-1).
            mentions: None: those given to ``stream``.
        """
        self._final = content if isinstance(content, str) else tuple(content)
        if mentions is not None:
            self._mentions = tuple(mentions)

    async def __aenter__(self) -> "Stream":
        await self._way.pause()  # to be cancelled here, before there is anything to be ended
        plan = self._plan
        opened = self._at_once(lambda command: OpenStream(command, plan.chat_id, plan.mode, plan.to, plan.message_id))
        self.message_id = calls.opened_by(opened)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None and (self._text or self._final is not None):
                last = self._last_message()
                result = await self._way.call(
                    lambda command: FinishStream(command, self.message_id, last), limited=True
                )
                self.receipt = calls.finished_by(result)
        finally:
            # Harmless after its end. Else the block was broken off, or nothing was written: nothing is to stay.
            if not self._way.engine.stopped:
                self._way.engine.handle(FailStream(self.message_id))

    def _last_message(self) -> Send | None:
        plan = self._plan
        content = self._final
        if content is None:
            if not plan.closing:
                return None
            content = self.text
        return calls.build_send(
            0, plan.chat_id, content, mentions=self._mentions, reply_to=plan.reply_to, mode=plan.mode, to=plan.to
        )

    def _at_once(self, build: Callable[[int], Command]) -> Result:
        """Give a command that is resolved within its step."""
        made: list[Result] = []
        self._way.engine.submit(build, made.append)
        return self._way.judged(made[0] if made else StoppedResult())
