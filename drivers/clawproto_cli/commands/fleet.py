"""``clawproto fleet``."""

import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager

import anyio
import click

from clawproto.config import Features
from clawproto.policy import Policy
from clawproto_cli.drivers import DriverName, Fleet, load_driver, run
from clawproto_cli.explain import explained
from clawproto_cli.failures import Exit
from clawproto_cli.fleet.handlers import echo, load_handler
from clawproto_cli.fleet.show import Show
from clawproto_cli.options import driver_option, json_option, keyring_option, store_option, verbose_option
from clawproto_cli.output import write_json
from clawproto_cli.stores import open_agent_accounts
from clawproto_io import AccountStore
from clawproto_io.fleet.policy import FleetPolicy
from clawproto_io.fleet.shares import Shard
from clawproto_io.throttle import Throttle

_FEATURES = ("receipts", "own-devices")


def _shard(_context: click.Context, _option: click.Parameter, value: str | None) -> Shard | None:
    try:
        return None if value is None else Shard.parse(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


@click.command("fleet")
@store_option
@keyring_option
@driver_option
@click.option("--shard", callback=_shard, metavar="I/N", help="Take the I-th of N parts of the accounts only.")
@click.option(
    "--term",
    type=click.FloatRange(min=0.3),
    default=15.0,
    show_default=True,
    metavar="SECONDS",
    help="Within it the accounts of a dead member are owned by others. The same for all members.",
)
@click.option(
    "--rate",
    type=click.FloatRange(min=0, min_open=True),
    default=20.0,
    show_default=True,
    metavar="PER_SECOND",
    help="How many sockets are opened in a second, at most.",
)
@click.option(
    "--refresh-rate",
    type=click.FloatRange(min=0, min_open=True),
    default=10.0,
    show_default=True,
    metavar="PER_SECOND",
    help="How many tokens are refreshed in a second, at most.",
)
@click.option("--handler", metavar="MODULE:FUNCTION", help="async function(client, account) that reads the events.")
@click.option("--echo", "echoes", is_flag=True, help="For development: answer every message with its own text.")
@click.option("--feature", "chosen", multiple=True, type=click.Choice(_FEATURES), help="Turn it on; may be repeated.")
@click.option("--refresh-floor", type=click.FloatRange(min=0), hidden=True, help="Seconds, for demonstrations.")
@json_option
@verbose_option
def command(
    store: str,
    driver: DriverName,
    shard: Shard | None,
    term: float,
    rate: float,
    refresh_rate: float,
    handler: str | None,
    echoes: bool,
    chosen: tuple[str, ...],
    refresh_floor: float | None,
    as_json: bool,
) -> None:
    """Hold the sessions of all accounts of a store, together with every other `clawproto fleet` on the same store.

    Each account has one owner at a time. Each member owns a fair share; what a member that dies has owned is owned by
    the others within the term, and a member that joins gets its share within the term. Accounts that are paired while
    it runs are taken up by themselves; those that were logged out are shown, and left alone until they are paired
    again.

    Without --handler the events are read, and so settled; nothing else is done with them. SIGINT or SIGTERM ends all
    sessions in good order and gives the accounts back; a second one ends it at once.

    \b
    Examples:
      clawproto pair CODE --store agents.db --account robo-1 --base-url https://chat.example.com
      clawproto fleet --store agents.db
      clawproto fleet --store postgresql://fleet@db.example.com/agents --handler robots:answer
      clawproto fleet --store agents.db --shard 1/2 --json
    """
    if handler is not None and echoes:
        raise click.UsageError("--handler and --echo exclude each other.")
    chosen_handler = load_handler(handler) if handler is not None else echo if echoes else None
    policy = Policy() if refresh_floor is None else Policy(refresh_floor_ms=round(refresh_floor * 1000))
    accounts = open_agent_accounts(store)
    show = Show(as_json)

    def opening() -> AbstractAsyncContextManager[Fleet]:
        return load_driver(driver).fleet(
            accounts,
            chosen_handler,
            shard=shard,
            fleet_policy=FleetPolicy(term_ms=round(term * 1000), starts_per_second=rate),
            throttle=Throttle(sockets_per_second=rate, refreshes_per_second=refresh_rate),
            on_news=show.tell,
            policy=policy,
            features=Features(receipts="receipts" in chosen, own_devices="own-devices" in chosen),
            client_version="clawproto-cli",
        )

    with explained():
        run(lambda: _run(accounts, opening, show, str(shard or Shard()), as_json), driver)
    raise SystemExit(Exit.DONE)


async def _run(
    accounts: AccountStore,
    opening: Callable[[], AbstractAsyncContextManager[Fleet]],
    show: Show,
    shard: str,
    as_json: bool,
) -> None:
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        try:
            _ = await accounts.accounts()  # a store that cannot be read is told before anything begins
            async with opening() as fleet:
                if as_json:
                    write_json({"event": "started", "member": fleet.name, "shard": shard})
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(_end_on_signal, fleet, signals)
                    tasks.start_soon(_show, show, fleet)
                    await fleet.wait_stopped()
                    tasks.cancel_scope.cancel()
                await show.finish(fleet)
        finally:
            with anyio.CancelScope(shield=True):
                await accounts.aclose()


async def _show(show: Show, fleet: Fleet) -> None:
    await show.run(fleet)
    fleet.stop()  # nobody reads any more


async def _end_on_signal(fleet: Fleet, signals: AsyncIterator[signal.Signals]) -> None:
    async for _ in signals:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # the next one ends the process at once
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        fleet.stop()
        return
