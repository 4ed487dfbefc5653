"""``clawproto send``."""

from collections.abc import Callable
from pathlib import Path

import anyio
import click

from clawproto.app_events import CredentialsNeeded, Disconnected, HandshakeRefused, RefreshDelayed
from clawproto.config import Features
from clawproto.deferred import frozen
from clawproto.errors import SessionClosed
from clawproto.json_types import Json
from clawproto.policy import Policy
from clawproto.results import Receipt
from clawproto_cli.drivers import Client, DriverName, load_driver, run
from clawproto_cli.explain import explained
from clawproto_cli.failures import Exit, Failure, undecided
from clawproto_cli.options import (
    account_option,
    driver_option,
    json_option,
    keyring_option,
    store_option,
    verbose_option,
)
from clawproto_cli.output import console, write_json
from clawproto_cli.stores import open_agent_store
from clawproto_cli.typed_input import pieces, whole
from clawproto_io.stores import CredentialStore

# It asks for no acknowledged delivery: what arrives meanwhile is for `listen`, whose cursor is another one (DEV-8).
_FEATURES = Features(delivery="legacy")
# It leaves the rotation to whoever holds the session, unless the token has expired or is refused.
_POLICY = Policy(lead_min_ms=0, lead_max_ms=0, jitter_ms=0)
_DEVICE_ID_LIMIT = 128  # bytes, DEV-3
_SUFFIX = ".send"


@frozen
class Order:
    """What is to be sent.

    Attributes:
        text: ``-`` is read from standard input; None for files alone.
        files: sent behind the text, in this order.
        react_to: a message; the text is the emoji then, and an empty one takes the reaction back.
        stream: write it piece by piece.
    """

    chat: str
    text: str | None
    files: tuple[Path, ...]
    reply_to: str | None
    react_to: str | None
    stream: bool
    message_id: str | None

    def check(self) -> None:
        """Raises click.UsageError for what does not go together."""
        if self.text is None and (not self.files or self.react_to is not None):
            raise click.UsageError("TEXT is missing; only with --file it can be left out")
        if self.react_to is not None and (self.files or self.stream or self.reply_to or self.message_id):
            raise click.UsageError("--react stands alone: TEXT is the emoji")
        if self.stream and self.files:
            raise click.UsageError("--stream and --file do not go together")


@click.command("send")
@click.argument("chat")
@click.argument("text", required=False)
@store_option
@account_option
@keyring_option
@click.option("--file", "files", multiple=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--reply-to", metavar="ID", help="The message that this one answers.")
@click.option("--react", "react_to", metavar="ID", help="React to this message: TEXT is the emoji, '' takes it back.")
@click.option("--stream", is_flag=True, help="Pass standard input on while it is still being written.")
@click.option("--message-id", metavar="ID", help="That of an undecided send, to repeat the very same message.")
@click.option(
    "--timeout", type=click.FloatRange(min=0, min_open=True), default=30.0, show_default=True, help="Seconds to try."
)
@driver_option
@json_option
@verbose_option
def command(
    chat: str,
    text: str | None,
    store: str,
    files: tuple[Path, ...],
    reply_to: str | None,
    react_to: str | None,
    stream: bool,
    message_id: str | None,
    timeout: float,
    driver: DriverName,
    as_json: bool,
) -> None:
    """Send TEXT to the chat CHAT and wait for the hub's receipt. TEXT `-` reads standard input.

    It connects as a device of its own, next to a running `listen`, and uses the tokens in the store; it refreshes them
    only if they have expired or are refused. Run one `send` at a time per store.

    If no answer comes, the exit code is 5 and the message may have arrived. Repeat it with the `--message-id` that was
    printed: the hub keeps one message per id.

    \b
    Examples:
      clawproto send --store agent.db cnv_01H… "Good morning"
      clawproto send --store agent.db cnv_01H… "the plan" --file plan.pdf --reply-to msg-01H…
      clawproto send --store agent.db cnv_01H… 👍 --react msg-01H…
      slow-model | clawproto send --store agent.db cnv_01H… - --stream
      clawproto send --store agent.db cnv_01H… "Good morning" --json | jq -r .message_id
    """
    order = Order(chat, text, files, reply_to, react_to, stream, message_id)
    order.check()

    async def work() -> Receipt:
        where = open_agent_store(store)
        try:
            return await _send(where, order, timeout, driver)
        finally:
            await where.aclose()

    with explained():
        receipt = run(work, driver)
    if as_json:
        write_json(
            {
                "chat_id": receipt.chat_id,
                "message_id": receipt.message_id,
                "accepted_at_ms": receipt.accepted_at_ms,
                "minted_id": receipt.minted_id,
            }
        )
    else:
        console().print(f"Sent: {receipt.message_id}", style="green")


async def _send(store: CredentialStore, order: Order, timeout: float, driver: DriverName) -> Receipt:
    stored = await store.load()
    if stored is None:
        raise Failure(Exit.NOT_PAIRED, "the store is empty; pair an agent first")
    if stored.tokens is None:
        raise Failure(Exit.NOT_PAIRED, "the agent is logged out; pair it again")
    content = await whole(order.text) if order.text is not None and not order.stream else order.text
    connecting = load_driver(driver).connect(
        store,
        policy=_POLICY,
        features=_FEATURES,
        client_version="clawproto-cli",
        socket_device_id=sibling_of(stored.identity.device_id),
        messages=False,  # those in the store are for whoever holds the session
        exclusive=False,
    )
    watch = _Watch()
    receipt: Receipt | None = None
    async with connecting as client, anyio.create_task_group() as tasks:
        tasks.start_soon(watch.drain, client)

        def hurry() -> None:
            tasks.start_soon(watch.give_up, client, timeout)

        try:
            receipt = await _carry_out(client, order, content, hurry)
        except ValueError as error:
            raise Failure(Exit.USAGE, str(error)) from None
        except SessionClosed as closed:
            if watch.unpaired:
                raise Failure(Exit.NOT_PAIRED, watch.trouble) from None
            if closed.transmitted and closed.message_id is not None:
                raise undecided(order.chat, closed.message_id) from None
            raise Failure(Exit.UNREACHED, f"not sent within {timeout:g} s: {watch.trouble}") from None
        finally:
            tasks.cancel_scope.cancel()
    assert receipt is not None
    return receipt


async def _carry_out(client: Client, order: Order, content: str | None, hurry: Callable[[], None]) -> Receipt:
    """One of the ways to send. ``hurry`` starts the clock; it is called when nothing more is awaited of the user."""
    if order.stream:
        return await _stream(client, order, hurry)
    hurry()
    if order.react_to is not None:
        return await client.react(order.chat, order.react_to, content or None)
    fragments: list[dict[str, Json]] = [] if not content else [{"kind": "text", "text": content}]
    fragments += [await client.upload(path) for path in order.files]
    return await client.send(order.chat, fragments, reply_to=_quote(order.reply_to), message_id=order.message_id)


async def _stream(client: Client, order: Order, hurry: Callable[[], None]) -> Receipt:
    writing = client.stream(order.chat, reply_to=_quote(order.reply_to), message_id=order.message_id)
    async with writing as stream:
        async for piece in pieces(order.text or ""):
            await stream.append(piece)
        hurry()
    assert stream.receipt is not None
    return stream.receipt


def _quote(message_id: str | None) -> dict[str, Json] | None:
    """``context.reply`` for a message of which only the id is known."""
    if message_id is None:
        return None
    return {"reply_to_msg_id": message_id, "reply_preview": {"id": "", "nick_name": "", "fragments": []}}


def sibling_of(device_id: str) -> str:
    """The device id of the socket beside that of a running `listen` (CLOSE-11). Always the same one, so that the hub
    keeps one cursor for it and does not replay the whole backlog each time (DEV-9)."""
    room = _DEVICE_ID_LIMIT - len(_SUFFIX)
    return device_id.encode()[:room].decode(errors="ignore") + _SUFFIX


class _Watch:
    """Looks after the session while the message is on its way."""

    def __init__(self) -> None:
        self.trouble = "no connection came about"
        self.unpaired = False

    async def drain(self, client: Client) -> None:
        """Keep the inbox empty, so that the receipt gets through behind a long backlog, and note what goes wrong."""
        async for event in client:
            match event:
                case Disconnected(planned=False):
                    self.trouble = event.reason or "the connection was lost"
                case HandshakeRefused():
                    self.trouble = f"the hub refused the handshake: {event.reason}"
                case RefreshDelayed():
                    self.trouble = f"the tokens could not be refreshed: {event.text}"
                case CredentialsNeeded():
                    self.trouble, self.unpaired = f"{event.text}; pair the agent again", True
                    await client.aclose()
                case _:
                    pass

    async def give_up(self, client: Client, timeout: float) -> None:
        """Close the session when the time is up: that says whether the message had left."""
        await anyio.sleep(timeout)
        await client.aclose()
