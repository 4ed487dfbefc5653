"""One agent of the demonstration: an ordinary application of a driver, on an event loop in a thread of its own.

It is paired by code, sends a ping every now and then, answers every ping with a pong and every question piece by
piece, and keeps account. Written once
for both loops; what differs is the driver.
"""

import threading
from collections import deque
from pathlib import Path

import anyio

from clawproto import app_events
from clawproto.app_events import AppEvent, MessageReceived
from clawproto.credentials import Credentials, Intent, TokenPair
from clawproto.deferred import frozen
from clawproto.errors import ClawProtoError, LoggedOut, SendDropped, SendGated, SendUndecided, SessionClosed
from clawproto_cli.demo.board import Board, Tally
from clawproto_cli.demo.settings import ANSWER, PIECE_EVERY, POLICY, TALK_EVERY
from clawproto_cli.demo.story import Story
from clawproto_cli.drivers import Client, Driver, DriverName, load_driver, run
from clawproto_cli.events import words_of
from clawproto_io import FaultyStore, SqliteStore

FAREWELL = 5.0  # seconds for the last answer before it leaves


@frozen
class Owed:
    """A message whose fate is open.

    Attributes:
        message_id: under which it may have been transmitted already; None if it was not.
    """

    text: str
    reply_to: MessageReceived | None
    message_id: str | None = None


class FillingStore(FaultyStore):
    """A store whose disk fills up in the middle of a rotation: after the intent, before the new pair.

    Attributes:
        armed: the next rotation will find the disk full.
    """

    armed = False

    async def record_intent(self, intent: Intent) -> int:
        """See `CredentialStore.record_intent`."""
        generation = await super().record_intent(intent)
        if self.armed:
            self.armed, self.full = False, True
        return generation


class Agent:
    """One agent. `start` it, and read its `tally`; the other methods may be called from any thread.

    Attributes:
        paired: what the pairing stored.
        last_pair: the tokens that were in force last, to check that no trace of them is left.
        error: what the application did not expect.
    """

    def __init__(
        self, name: str, driver: DriverName, path: Path, board: Board, story: Story, journals: Path | None = None
    ) -> None:
        self.name = name
        self.driver: DriverName = driver
        self.path = path
        self.tally = Tally()
        self.paired: Credentials | None = None
        self.last_pair: TokenPair | None = None
        self.error: BaseException | None = None
        self.store = FillingStore(SqliteStore(path))
        self._board = board
        self._story = story
        self._journals = journals
        self._sessions = 0
        self._to_answer: deque[MessageReceived] = deque()
        self._owed: deque[Owed] = deque()
        self._talking = True
        self._asking = False
        self._away = False
        self._shown = ""
        self._given_up = False
        self._refused = False
        self._thread: threading.Thread | None = None

    def start(self, code: str, base_url: str, chat_id: str) -> None:
        """Begin to live."""
        self._thread = threading.Thread(
            target=self._live, args=(code, base_url, chat_id), name=f"demo-{self.driver}", daemon=True
        )
        self._thread.start()

    def hush(self) -> None:
        """Begin nothing new; what is on its way goes on, and pings are still answered."""
        self._talking = False

    def leave(self) -> None:
        """End the session for a while; the application keeps its store and its books."""
        self._away = True

    def come_back(self) -> None:
        """Begin another session on the same store."""
        self._away = False

    def ask(self) -> None:
        """Ask the other for a long answer, which it writes piece by piece."""
        self._asking = True

    def give_up(self) -> None:
        """End the session, whatever it is doing."""
        self._given_up = True

    def join(self, seconds: float) -> bool:
        """Wait for the end; tell whether it has come."""
        if self._thread is None:
            return True
        self._thread.join(seconds)
        return not self._thread.is_alive()

    @property
    def is_answering(self) -> bool:
        """Some question has no answer yet."""
        return bool(self._to_answer or self._owed) or self._asking

    @property
    def failure(self) -> str | None:
        """What the application did not expect, for people."""
        if self.error is None:
            return None
        return str(self.error) if isinstance(self.error, ClawProtoError) else repr(self.error)

    # --- everything below runs in the thread -----------------------------------------------------------------------

    def _live(self, code: str, base_url: str, chat_id: str) -> None:
        try:
            run(lambda: self._main(code, base_url, chat_id), self.driver)
        except BaseException as error:
            self.error = error
        with self._board.change():
            if self.error is not None:
                self.tally.ended = "failed"
            elif not self.tally.ended:
                self.tally.ended = "stopped"

    async def _main(self, code: str, base_url: str, chat_id: str) -> None:
        driver = load_driver(self.driver)
        try:
            paired = await driver.pair(self.store, code, base_url=base_url, policy=POLICY)
            self._tell(f"paired by code on {self.driver}, stored in {self.path.name}", "green")
            with self._board.change():
                self.paired = paired
            await self._session(driver, chat_id)
            while self._away and not self._given_up:
                await self._stay_away()
                await self._session(driver, chat_id)
        finally:
            with anyio.CancelScope(shield=True):
                await self.store.aclose()

    async def _session(self, driver: Driver, chat_id: str) -> None:
        self._sessions += 1
        file = None if self._journals is None else self._journals / f"{self.name.lower()}-{self._sessions}.jsonl"
        connecting = driver.connect(self.store, policy=POLICY, client_version="clawproto-demo", journal=file)
        async with connecting as client, anyio.create_task_group() as tasks:
            silent = anyio.Event()
            tasks.start_soon(self._watch, client)
            tasks.start_soon(self._talk, client, chat_id, silent)
            async for event in client:
                self._note(event, client)
                await client.settle(event)  # it is in the books
                if self._away:
                    break
            if self._away:  # whoever gives up in the middle of a send does not learn what became of it
                with anyio.move_on_after(FAREWELL):
                    await silent.wait()
            tasks.cancel_scope.cancel()

    async def _stay_away(self) -> None:
        self._tell("leaves", "yellow")
        with self._board.change():
            self.tally.ready = self.tally.live = False
        while self._away and not self._given_up:  # noqa: ASYNC110  # another thread sets it
            await anyio.sleep(0.1)
        with self._board.change():
            self.tally.replayed = 0
            self.tally.absences += 1
        self._tell("comes back", "green")

    async def _watch(self, client: Client) -> None:
        while not self._given_up:  # noqa: ASYNC110  # another thread sets it
            await anyio.sleep(0.1)
        await client.aclose()

    async def _talk(self, client: Client, chat_id: str, silent: anyio.Event) -> None:
        pings = self.tally.pings
        try:
            while not self._away:
                if self._owed:
                    await self._send(client, chat_id, self._owed.popleft())
                elif self._to_answer:
                    await self._answer(client, chat_id, self._to_answer.popleft())
                elif self._asking:
                    self._asking = False
                    await self._begin(client, chat_id, f"tell me more, says {self.name}")
                elif self._talking:
                    pings = self.tally.pings = pings + 1
                    await self._begin(client, chat_id, f"ping {pings} from {self.name}")
                    await anyio.sleep(TALK_EVERY)
                else:
                    await anyio.sleep(TALK_EVERY)
        except (LoggedOut, SessionClosed):
            pass  # the events tell why
        finally:
            silent.set()

    async def _answer(self, client: Client, chat_id: str, question: MessageReceived) -> None:
        if question.text.startswith("ping"):
            await self._begin(client, chat_id, question.text.replace("ping", "pong"), question)
        else:
            await self._stream(client, chat_id, question)

    async def _stream(self, client: Client, chat_id: str, question: MessageReceived) -> None:
        """A long answer, piece by piece; the message at its end is what counts."""
        with self._board.change():
            self.tally.sent += 1
        text = "".join(ANSWER)
        try:
            with client.typing(chat_id):
                async with client.stream(chat_id, reply_to=question) as stream:
                    for piece in ANSWER:
                        await stream.append(piece)
                        await anyio.sleep(PIECE_EVERY)
        except (SendUndecided, SendDropped) as error:
            self._owed.append(Owed(text, question, error.message_id))
        except SessionClosed as error:
            self._owed.append(Owed(text, question, error.message_id))
            raise
        else:
            assert stream.receipt is not None
            with self._board.change():
                self.tally.acknowledged.add(stream.receipt.message_id)
                self.tally.streamed += 1

    async def _begin(self, client: Client, chat_id: str, text: str, reply_to: MessageReceived | None = None) -> None:
        with self._board.change():
            self.tally.sent += 1
        await self._send(client, chat_id, Owed(text, reply_to))

    async def _send(self, client: Client, chat_id: str, owed: Owed) -> None:
        """Send until it is acknowledged. A repetition carries the same id, so the other side sees one message."""
        message_id = owed.message_id
        while True:
            try:
                receipt = await client.send(chat_id, owed.text, reply_to=owed.reply_to, message_id=message_id)
            except (SendUndecided, SendDropped) as error:
                message_id = error.message_id
                with self._board.change():
                    self.tally.repeats += 1
            except SessionClosed as error:
                self._owed.appendleft(Owed(owed.text, owed.reply_to, error.message_id or message_id))
                raise
            except SendGated as gate:
                await anyio.sleep(gate.retry_after_ms / 1000)
            else:
                with self._board.change():
                    self.tally.acknowledged.add(receipt.message_id)
                return

    # --- keeping account -------------------------------------------------------------------------------------------

    def _note(self, event: AppEvent, client: Client) -> None:
        tally = self.tally
        with self._board.change():
            match event:
                case MessageReceived(own=False, system=False):
                    tally.received[event.message_id] += 1
                    tally.replayed += not tally.live
                    if event.text.startswith(("ping", "tell")):
                        self._to_answer.append(event)
                    elif event.streamed and event.text == self._shown:
                        tally.stream_seen += 1
                    return
                case app_events.StreamGrew(delta=delta):
                    self._shown = event.text if delta is None else self._shown + delta
                    tally.pieces += 1
                    return
                case app_events.StreamStarted():
                    self._shown = ""
                    return
                case app_events.StreamFinished() | app_events.TypingChanged():
                    return
                case app_events.SendSettled(accepted=True):  # kept when the agent left, and sent when it came back
                    tally.acknowledged.add(event.message_id)
                case app_events.Ready():
                    tally.live = False
                    tally.connects += 1
                    tally.ready = True
                    self._refused = False
                case app_events.Disconnected():
                    tally.ready = False
                case app_events.HandshakeRefused(action="refresh"):
                    self._refused = True
                case app_events.TokensRotated(adopted=False):
                    tally.rotations += 1
                    tally.reactive += self._refused
                    self._refused = False
                    self.last_pair = client.credentials.tokens if client.credentials is not None else None
                case app_events.SaveAlarm():
                    tally.alarms += 1
                case app_events.SaveRecovered():
                    tally.held += 1
                case app_events.LoggedOut():
                    tally.ended = "logged out"
                case app_events.ReplayFinished():
                    tally.live = True
                    return
                case _:
                    pass
        style, words = words_of(event)
        self._tell(words, style)

    def _tell(self, text: str, style: str) -> None:
        self._story.tell(self.name, self.driver, text, style)
