"""What an application can do with a client, on any loop: each method gives a command and awaits its result."""

from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager

from clawproto import calls
from clawproto.app_events import MessageReceived
from clawproto.events import (
    MarkRead,
    React,
    ResetCursor,
    SetTyping,
    TransferHistory,
    UnwatchPresence,
    WatchPresence,
)
from clawproto.json_types import Json
from clawproto.results import Receipt
from clawproto_io.services import Services
from clawproto_io.streams import Plan, Stream, Way


class Actions(Services):
    """Everything that a client can do, the same for every driver."""

    # --- messages ---

    async def send(
        self,
        chat_id: str,
        content: str | Iterable[Mapping[str, Json]],
        *,
        mentions: Sequence[Json] = (),
        reply_to: MessageReceived | Mapping[str, Json] | None = None,
        mode: str = "normal",
        message_id: str | None = None,
        to: Mapping[str, Json] | None = None,
    ) -> Receipt:
        """Send a message and wait until the hub has accepted it; offline, it is queued (SEND-20). Where messages are
        kept, it is in the store before it leaves, and the next session repeats it if this one ends before the answer.

        Cancelling this abandons the wait, not the message. While many commands are undecided, it waits before it queues
        anything.

        Args:
            content: a text, or ready fragments (FRAG-1).
            mentions: objects as in MENT-1.
            reply_to: the message that this one answers, or a complete ``context.reply`` object (SEND-4).
            mode: SEND-3.
            message_id: that of an undecided send, to send the very same message again (SEND-5).
            to: display hint (ENV-5).

        Raises:
            SendRejected, SendUndecided, SendGated, SendDropped: see there.
            LoggedOut, NotPaired, SessionClosed, DriverFailed: there is no session to send on.
            ValueError: the message cannot be sent; nothing happened.
        """
        result = await self._call(
            lambda command: calls.build_send(
                command,
                chat_id,
                content,
                mentions=mentions,
                reply_to=reply_to,
                mode=mode,
                message_id=message_id,
                to=to,
            ),
            limited=True,
        )
        return calls.receipt_of(result)

    async def react(self, chat_id: str, message_id: str, emoji: str | None) -> Receipt:
        """Put ``emoji`` into this user's slot on a message, or empty it with None (RX). Otherwise like `send`; the
        receipt names the slot.

        Raises:
            SendRejected, SendUndecided, SendGated, SendDropped: see there.
            LoggedOut, NotPaired, SessionClosed, DriverFailed: there is no session to send on.
        """
        result = await self._call(lambda command: React(command, chat_id, message_id, emoji), limited=True)
        return calls.receipt_of(result)

    def stream(
        self,
        chat_id: str,
        *,
        reply_to: MessageReceived | Mapping[str, Json] | None = None,
        mentions: Sequence[Json] = (),
        mode: str = "normal",
        to: Mapping[str, Json] | None = None,
        message_id: str | None = None,
        closing: bool = True,
    ) -> AbstractAsyncContextManager[Stream]:
        """A message that is written piece by piece (STREAM).

            async with client.stream(chat_id, reply_to=question) as stream:
                async for token in model:
                    await stream.append(token)
            print(stream.receipt)

        At the end of the block the stream is completed, and a message with the whole text follows under the same id,
        so that it stays (STREAM-12); leaving the block waits for its receipt. An exception or a cancellation within
        the block fails the stream: nothing stays. If the connection breaks on the way, the pieces end, and the message
        comes when it is back: nothing is lost.

        Args:
            closing: False: no message follows, unless the block calls `Stream.finish_with`. Whoever is absent gets
                what the hub makes of the pieces, and there is no receipt.

        Raises:
            SendRejected, SendGated, SendUndecided, SendDropped: see there; on entering, appending or leaving.
            LoggedOut, NotPaired, SessionClosed, DriverFailed: there is no session to send on.
        """
        plan = Plan(
            chat_id=chat_id,
            reply_to=reply_to,
            mentions=mentions,
            mode=mode,
            to=to,
            message_id=message_id,
            closing=closing,
        )
        return Stream(Way(self._engine, self._call, self._pause, self._judged), plan)

    # --- signs of life ---

    def set_typing(self, chat_id: str, is_typing: bool) -> None:
        """Begin or cease to show that this user writes; repeated by itself for at most 15 minutes (TYPE-2, TYPE-6).
        `typing` is safer."""
        if not self._engine.stopped:
            self._engine.handle(SetTyping(chat_id, is_typing))

    @contextmanager
    def typing(self, chat_id: str) -> Generator[None]:
        """Show that this user writes, for as long as the block runs.

            with client.typing(chat_id):
                answer = await think()

        It is repeated, shown again after a reconnect, and ended whatever happens (TYPE-1, TYPE-2). Blocks for one chat
        may overlap: the last one ends it.
        """
        self._typing[chat_id] = self._typing.get(chat_id, 0) + 1
        self.set_typing(chat_id, True)
        try:
            yield
        finally:
            self._typing[chat_id] -= 1
            if not self._typing[chat_id]:
                del self._typing[chat_id]
                self.set_typing(chat_id, False)

    def mark_read(self, chat_id: str, read_up_to_ms: int) -> None:
        """This user has read the chat up to the message with this ``emitted_at_ms`` (READ-1). Told to the hub now, or
        after the next connect; lower marks change nothing, and no answer comes."""
        if not self._engine.stopped:
            self._engine.handle(MarkRead(chat_id, read_up_to_ms))

    async def watch_presence(self, user_id: str) -> None:
        """Be told where a user is, from now on and across reconnects (PRES-3). The first
        `clawproto.app_events.PresenceChanged` comes soon, or never (PRES-6).

        Args:
            user_id: ``usr_…`` or ``agt_…``.

        Raises:
            NotDone: sixteen are watched already (PRES-4), or it is no such id.
            LoggedOut, NotPaired, SessionClosed, DriverFailed: the session is over.
        """
        calls.done_by(await self._call(lambda command: WatchPresence(command, user_id)))

    def unwatch_presence(self, user_id: str) -> None:
        """The opposite; harmless if the user is not watched."""
        if not self._engine.stopped:
            self._engine.handle(UnwatchPresence(user_id))

    # --- history ---

    async def transfer_history(
        self,
        target_device_id: str,
        kind: str,
        data: Mapping[str, Json],
        *,
        ciphertext_fragments: Sequence[Json] | None = None,
    ) -> None:
        """Pass a piece of history to another device of this user (HIST-1). Returns once it is on its way; no answer
        comes.

        Args:
            kind: HIST-8, for instance ``history_sync_message``.
            data: the rest of the payload.
            ciphertext_fragments: passed on untouched.

        Raises:
            NotDone: ``Features(history=True)`` is off, there is no connection, or it cannot be encoded.
            LoggedOut, NotPaired, SessionClosed, DriverFailed: the session is over.
        """
        cipher = None if ciphertext_fragments is None else tuple(ciphertext_fragments)
        result = await self._call(lambda command: TransferHistory(command, target_device_id, kind, data, cipher))
        calls.done_by(result)

    async def reset_cursor(self) -> None:
        """Have the hub replay everything that it still has for this device (HIST-13). Use it sparingly (HIST-16): the
        connection breaks off and comes back, and messages that were handed over before are handed over again.

        Raises:
            NotDone: there is no connection, or the hub did not do it; it may be tried again (HIST-15).
            LoggedOut, NotPaired, SessionClosed, DriverFailed: the session is over.
        """
        calls.done_by(await self._call(ResetCursor))
