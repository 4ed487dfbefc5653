"""``clawproto listen``."""

import signal
from collections.abc import AsyncIterator
from contextlib import nullcontext
from pathlib import Path

import anyio
import click

from clawproto.app_events import CredentialsNeeded, LoggedOut, StreamGrew, StreamStarted
from clawproto.config import Features
from clawproto_cli.drivers import Client, DriverName, load_driver, run
from clawproto_cli.events import event_form, event_line
from clawproto_cli.explain import explained
from clawproto_cli.failures import Exit
from clawproto_cli.options import (
    account_option,
    driver_option,
    json_option,
    keyring_option,
    store_option,
    verbose_option,
)
from clawproto_cli.output import Lines
from clawproto_cli.stores import open_agent_store
from clawproto_io import Journal, SystemClock

_NOTICE_AFTER = 1.0  # seconds
FEATURES = ("receipts", "own-devices", "metadata", "signals", "permissions", "history")


@click.command("listen")
@store_option
@account_option
@keyring_option
@driver_option
@click.option(
    "--feature",
    "chosen",
    multiple=True,
    type=click.Choice(FEATURES),
    help="What the reader of the output sees to; may be repeated. Default: none.",
)
@click.option("--stream", is_flag=True, help="Also print the pieces of messages that are still being written.")
@click.option(
    "--journal",
    "recording",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Record every step, without tokens, for `clawproto replay` and `timeline`.",
)
@click.option("--mask", is_flag=True, help="Mask what people write in the journal.")
@click.option("--wait", is_flag=True, help="After a logout keep waiting for new credentials in the store.")
@json_option
@verbose_option
def command(
    store: str,
    driver: DriverName,
    chosen: tuple[str, ...],
    stream: bool,
    recording: Path | None,
    mask: bool,
    wait: bool,
    as_json: bool,
) -> None:
    """Hold the agent's session and print what arrives, until interrupted.

    It reconnects and refreshes its tokens by itself. SIGINT or SIGTERM ends it in good order: a rotation on its way is
    finished and saved first, and the exit code is 0; a second one ends it at once. After a logout it prints why and
    ends with exit code 3. Of several on one store one listens, and the others take
    over when it ends or dies; `send` may be used beside it.

    A message is acknowledged after its line was written, so after a crash it comes again rather than being lost.

    Each --feature turns something on at the hub, and with it a duty. The command sees to receipts (senders are told
    that their messages arrived) and own-devices (messages and read marks of the user's other devices) itself. The
    others are for the reader of the output: metadata and signals name what to fetch again, permissions ask the owner,
    history comes from another device.

    \b
    Examples:
      clawproto listen --store agent.db
      clawproto listen --store agent.db --json | jq -r 'select(.event == "message_received") | .text'
      clawproto listen --store agent.db --feature receipts --stream
      clawproto listen --store agent.db --driver trio --wait
      clawproto listen --store agent.db --journal agent.jsonl --mask
    """
    if mask and recording is None:
        raise click.UsageError("--mask is about the journal: name one with --journal FILE")
    features = Features(
        receipts="receipts" in chosen,
        own_devices="own-devices" in chosen,
        metadata="metadata" in chosen,
        signals="signals" in chosen,
        permissions="permissions" in chosen,
        history="history" in chosen,
    )
    with explained(), nullcontext() if recording is None else Journal(recording, contents=not mask) as journal:
        code = run(lambda: _listen(store, driver, features, stream, journal, wait, as_json), driver)
    raise SystemExit(code)


async def _listen(
    store: str,
    driver: DriverName,
    features: Features,
    stream: bool,
    journal: Journal | None,
    wait: bool,
    as_json: bool,
) -> Exit:
    lines, clock, where = Lines(as_json), SystemClock(), open_agent_store(store)
    code = Exit.DONE
    exclusive = wait or await where.load() is not None  # an empty store has no session to hold, and is not created
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        turn = _Turn()
        connecting = load_driver(driver).connect(
            where,
            features=features,
            client_version="clawproto-cli",
            settle="explicit",
            on_logout="wait" if wait else "end",
            exclusive=exclusive,
            observer=turn.began,
            journal=journal,
        )
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(turn.end_on_signal, signals)
            tasks.start_soon(turn.tell)
            with turn.waiting:
                async with connecting as client:
                    turn.client = client
                    async for event in client:
                        at_ms = clock.now().wall_ms
                        if isinstance(event, StreamStarted | StreamGrew) and not stream:
                            continue
                        await lines.write(event_form(event, at_ms), *event_line(event, at_ms))
                        if lines.closed:
                            break
                        await client.settle(event)
                        if isinstance(event, LoggedOut | CredentialsNeeded) and not wait:
                            code = Exit.NOT_PAIRED
                            break
            tasks.cancel_scope.cancel()
    await where.aclose()
    return code


class _Turn:
    """Until it is our turn to hold the session, and who ends it then.

    Attributes:
        waiting: cancelled by a signal while another process holds the session.
        is_ours: the session has begun.
        client: once everything is loaded that it needs.
    """

    def __init__(self) -> None:
        self.waiting = anyio.CancelScope()
        self.is_ours = False
        self.client: Client | None = None

    def began(self, *step: object) -> None:
        """An observer of the session: another process holds it no more."""
        self.is_ours = True

    async def tell(self) -> None:
        """Say why nothing happens."""
        await anyio.sleep(_NOTICE_AFTER)
        if not self.is_ours:
            click.echo("Another process holds this session; waiting for its end.", err=True)

    async def end_on_signal(self, signals: AsyncIterator[signal.Signals]) -> None:
        """In good order if it is our turn."""
        async for _ in signals:
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # the next one ends the process at once
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            if self.client is None:
                self.waiting.cancel()
            else:
                await self.client.aclose()
            return
