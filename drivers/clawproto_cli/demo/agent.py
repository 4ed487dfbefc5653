"""One agent of the demonstration: an ordinary application of a driver, on an event loop in a thread of its own.

It is paired by code, sends a ping every now and then, answers every ping with a pong, and keeps account. Written once
for both loops; what differs is the driver.
"""

import threading
from collections import deque
from pathlib import Path

import anyio

from clawproto import app_events
from clawproto.app_events import AppEvent, MessageReceived
from clawproto.credentials import Credentials, Intent, TokenPair
from clawproto.errors import ClawProtoError, LoggedOut, SendDropped, SendGated, SendUndecided, SessionClosed
from clawproto_cli.demo.board import Board, Tally
from clawproto_cli.demo.settings import POLICY, TALK_EVERY
from clawproto_cli.demo.story import Story
from clawproto_cli.drivers import Client, DriverName, load_driver, run
from clawproto_cli.events import words_of
from clawproto_io import FaultyStore, SqliteStore


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

    def __init__(self, name: str, driver: DriverName, path: Path, board: Board, story: Story) -> None:
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
        self._pongs: deque[MessageReceived] = deque()
        self._talking = True
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
        """Some ping has no pong yet."""
        return bool(self._pongs)

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
            connecting = driver.connect(self.store, policy=POLICY, client_version="clawproto-demo")
            async with connecting as client, anyio.create_task_group() as tasks:
                tasks.start_soon(self._watch, client)
                tasks.start_soon(self._talk, client, chat_id)
                async for event in client:
                    self._note(event, client)
                tasks.cancel_scope.cancel()
        finally:
            with anyio.CancelScope(shield=True):
                await self.store.aclose()

    async def _watch(self, client: Client) -> None:
        while not self._given_up:  # noqa: ASYNC110  # another thread sets it
            await anyio.sleep(0.1)
        await client.aclose()

    async def _talk(self, client: Client, chat_id: str) -> None:
        pings = 0
        try:
            while True:
                if self._pongs:
                    ping = self._pongs.popleft()
                    await self._send(client, chat_id, ping.text.replace("ping", "pong"), reply_to=ping)
                elif self._talking:
                    pings += 1
                    await self._send(client, chat_id, f"ping {pings} from {self.name}")
                    await anyio.sleep(TALK_EVERY)
                else:
                    await anyio.sleep(TALK_EVERY)
        except (LoggedOut, SessionClosed):
            pass  # the events tell why

    async def _send(self, client: Client, chat_id: str, text: str, *, reply_to: MessageReceived | None = None) -> None:
        """Send until it is acknowledged. A repetition carries the same id, so the other side sees one message."""
        message_id: str | None = None
        with self._board.change():
            self.tally.sent += 1
        while True:
            try:
                receipt = await client.send(chat_id, text, reply_to=reply_to, message_id=message_id)
            except (SendUndecided, SendDropped) as error:
                message_id = error.message_id
                with self._board.change():
                    self.tally.repeats += 1
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
                    tally.received[event.message.message_id] += 1
                    if event.text.startswith("ping"):
                        self._pongs.append(event)
                    return
                case app_events.Ready():
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
                    return
                case _:
                    pass
        style, words = words_of(event)
        self._tell(words, style)

    def _tell(self, text: str, style: str) -> None:
        self._story.tell(self.name, self.driver, text, style)
