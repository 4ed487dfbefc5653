"""``clawproto pair``."""

from typing import Literal

import click

from clawproto.credentials import Credentials
from clawproto_cli.drivers import DriverName, load_driver, run
from clawproto_cli.explain import explained
from clawproto_cli.failures import Exit, Failure
from clawproto_cli.forms import identity_form
from clawproto_cli.options import (
    account_option,
    driver_option,
    http_url,
    json_option,
    keyring_option,
    socket_url,
    store_option,
    verbose_option,
)
from clawproto_cli.output import console, write_json
from clawproto_cli.stores import open_agent_store, store_arguments, store_name


@click.command("pair")
@click.argument("code")
@store_option
@account_option
@keyring_option
@click.option(
    "--base-url",
    metavar="URL",
    callback=http_url,
    help="Origin of the server's HTTP surface. With --repair: that of the stored agent if left out.",
)
@click.option(
    "--ws-url", metavar="URL", callback=socket_url, help="WebSocket address, if it does not follow from --base-url."
)
@click.option("--repair", "identity", flag_value="repair", help="Pair the stored agent again, after a logout.")
@click.option("--new", "identity", flag_value="new", help="Replace the stored agent by another one.")
@driver_option
@json_option
@verbose_option
def command(
    code: str,
    store: str,
    base_url: str | None,
    ws_url: str | None,
    identity: Literal["repair", "new"] | None,
    driver: DriverName,
    as_json: bool,
) -> None:
    """Redeem a pairing CODE and store what it brings.

    A code works once. If this is interrupted while the server is being asked, it waits for the answer and saves it
    first. A running `listen` on the same store takes the new tokens up by itself.

    \b
    Examples:
      clawproto pair K7QX-2M9P --store agent.db --base-url https://chat.example.com
      clawproto pair K7QX-2M9P --store agent.db --repair        (the same agent, after a logout)
      clawproto pair K7QX-2M9P --store agents.db --account sales --base-url https://chat.example.com
    """

    async def work() -> Credentials:
        where = open_agent_store(store)
        try:
            stored = await where.load()
            address, socket = base_url, ws_url
            if stored is not None and identity is None:
                who = stored.identity.user_id
                raise Failure(
                    Exit.USAGE, f"{store_name(store)} holds agent {who} already: choose --repair (that agent) or --new"
                )
            if address is None and stored is not None and identity == "repair":
                address, socket = stored.identity.base_url, socket or stored.identity.ws_url
            if address is None:
                raise Failure(Exit.USAGE, "--base-url is needed: no agent is stored yet")
            return await load_driver(driver).pair(
                where, code, base_url=address, ws_url=socket, identity=identity or "refuse"
            )
        finally:
            await where.aclose()

    with explained():
        credentials = run(work, driver)
    if as_json:
        write_json({"paired": True, **identity_form(credentials.identity)})
        return
    out = console()
    out.print(f"Paired: agent {credentials.identity.user_id}, stored in {store_name(store)}.", style="green")
    out.print(f"Next: clawproto listen {store_arguments(store)}")
