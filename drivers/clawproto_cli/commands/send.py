"""``clawproto send``."""

import sys
from pathlib import Path

import anyio
import click

from clawproto.app_events import CredentialsNeeded, Disconnected, HandshakeRefused, RefreshDelayed
from clawproto.config import Capabilities
from clawproto.errors import SessionClosed
from clawproto.policy import Policy
from clawproto.results import Receipt
from clawproto_cli.drivers import Client, DriverName, load_driver, run
from clawproto_cli.explain import explained
from clawproto_cli.failures import Exit, Failure, undecided
from clawproto_cli.options import driver_option, json_option, store_option, verbose_option
from clawproto_cli.output import console, write_json
from clawproto_io import SqliteStore
from clawproto_io.stores import CredentialStore

# It asks for no acknowledged delivery: what arrives meanwhile is for `listen`, whose cursor is another one (DEV-8).
_CAPABILITIES = Capabilities(device_replay=False, reliable_delivery=False, reliable_delivery_v2=False)
# It leaves the rotation to whoever holds the session, unless the token has expired or is refused.
_POLICY = Policy(lead_min_ms=0, lead_max_ms=0, jitter_ms=0)
_DEVICE_ID_LIMIT = 128  # bytes, DEV-3
_SUFFIX = ".send"


@click.command("send")
@click.argument("chat")
@click.argument("text")
@store_option
@click.option("--message-id", help="That of an undecided send, to repeat the very same message.")
@click.option(
    "--timeout", type=click.FloatRange(min=0, min_open=True), default=30.0, show_default=True, help="Seconds to try."
)
@driver_option
@json_option
@verbose_option
def command(
    chat: str, text: str, store: Path, message_id: str | None, timeout: float, driver: DriverName, as_json: bool
) -> None:
    """Send TEXT to the chat CHAT and wait for the hub's receipt. TEXT `-` reads standard input.

    It connects as a device of its own, next to a running `listen`, and uses the tokens in the store; it refreshes them
    only if they have expired or are refused. Run one `send` at a time per store.

    If no answer comes, the exit code is 5 and the message may have arrived. Repeat it with the `--message-id` that was
    printed: the hub keeps one message per id.

    \b
    Examples:
      clawproto send --store agent.db cnv_01H… "Good morning"
      uptime | clawproto send --store agent.db cnv_01H… -
      clawproto send --store agent.db cnv_01H… "Good morning" --json | jq -r .message_id
    """
    content = sys.stdin.read() if text == "-" else text

    async def work() -> Receipt:
        where = SqliteStore(store)
        try:
            return await _send(where, chat, content, message_id, timeout, driver)
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


async def _send(
    store: CredentialStore, chat: str, content: str, message_id: str | None, timeout: float, driver: DriverName
) -> Receipt:
    stored = await store.load()
    if stored is None:
        raise Failure(Exit.NOT_PAIRED, "the store is empty; pair an agent first")
    if stored.tokens is None:
        raise Failure(Exit.NOT_PAIRED, "the agent is logged out; pair it again")
    connecting = load_driver(driver).connect(
        store,
        policy=_POLICY,
        capabilities=_CAPABILITIES,
        client_version="clawproto-cli",
        socket_device_id=sibling_of(stored.identity.device_id),
    )
    watch = _Watch()
    receipt: Receipt | None = None
    async with connecting as client, anyio.create_task_group() as tasks:
        tasks.start_soon(watch.drain, client)
        tasks.start_soon(watch.give_up, client, timeout)
        try:
            receipt = await client.send(chat, content, message_id=message_id)
        except ValueError as error:
            raise Failure(Exit.USAGE, str(error)) from None
        except SessionClosed as closed:
            if watch.unpaired:
                raise Failure(Exit.NOT_PAIRED, watch.trouble) from None
            if closed.transmitted and closed.message_id is not None:
                raise undecided(chat, closed.message_id) from None
            raise Failure(Exit.UNREACHED, f"not sent within {timeout:g} s: {watch.trouble}") from None
        finally:
            tasks.cancel_scope.cancel()
    assert receipt is not None
    return receipt


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
