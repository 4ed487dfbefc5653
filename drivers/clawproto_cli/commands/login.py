"""``clawproto login``."""

import os
import sys

import click

from clawproto.credentials import Credentials, Identity, TokenPair
from clawproto.rest_format import websocket_url
from clawproto.secret import Secret
from clawproto_cli.drivers import run
from clawproto_cli.explain import explained
from clawproto_cli.failures import Exit, Failure
from clawproto_cli.forms import identity_form
from clawproto_cli.options import (
    account_option,
    http_url,
    json_option,
    keyring_option,
    socket_url,
    store_option,
    verbose_option,
)
from clawproto_cli.output import console, write_json
from clawproto_cli.stores import open_agent_store, store_name
from clawproto_io import GenerationConflict, adopt

_ACCESS = "CLAWPROTO_ACCESS_TOKEN"
_REFRESH = "CLAWPROTO_REFRESH_TOKEN"
_LONGEST_LINE = 64 * 1024


@click.command("login")
@store_option
@account_option
@keyring_option
@click.option(
    "--base-url", required=True, metavar="URL", callback=http_url, help="Origin of the server's HTTP surface."
)
@click.option(
    "--ws-url", metavar="URL", callback=socket_url, help="WebSocket address, if it does not follow from --base-url."
)
@click.option("--user-id", required=True, help="The agent's own user id.")
@click.option("--device-id", required=True, help="The very device id under which the tokens were obtained.")
@click.option("--conversation-id", help="The direct conversation with the owner.")
@click.option("--owner-id", help="User id of the owner.")
@click.option("--agent-id", help="The agent's id, if it has one of its own.")
@click.option("--replace", is_flag=True, help="Replace the record of another agent.")
@json_option
@verbose_option
def command(
    store: str,
    base_url: str,
    ws_url: str | None,
    user_id: str,
    device_id: str,
    conversation_id: str | None,
    owner_id: str | None,
    agent_id: str | None,
    replace: bool,
    as_json: bool,
) -> None:
    """Take over a pair of tokens that another client holds.

    The tokens come from the environment, CLAWPROTO_ACCESS_TOKEN and CLAWPROTO_REFRESH_TOKEN, or else from two lines of
    standard input: access token, refresh token. Never from the command line, where every user of the machine could
    read them. The server is not asked.

    The other client must not use the pair any more: a refresh token works once, and whoever uses it second is logged
    out.

    \b
    Examples:
      clawproto login --store agent.db --base-url https://chat.example.com \\
          --user-id usr_01H… --device-id plugin-7f3a --conversation-id cnv_01H… < tokens.txt
      CLAWPROTO_ACCESS_TOKEN=… CLAWPROTO_REFRESH_TOKEN=… clawproto login --store agent.db …
    """
    tokens = _read_tokens()
    identity = Identity(
        user_id=user_id,
        device_id=device_id,
        base_url=base_url,
        ws_url=ws_url or websocket_url(base_url),
        owner_id=owner_id,
        agent_id=agent_id,
        conversation_id=conversation_id,
    )

    async def work() -> Credentials:
        where = open_agent_store(store)
        try:
            return await adopt(where, identity, tokens, replace_other=replace)
        except ValueError as error:
            raise Failure(Exit.USAGE, f"{error}; nothing was stored") from None
        except GenerationConflict:
            raise Failure(
                Exit.STORE, f"{store_name(store)}: another process wrote at the same moment; try again"
            ) from None
        finally:
            await where.aclose()

    with explained():
        credentials = run(work, "asyncio")
    if as_json:
        write_json(
            {"stored": True, "generation": credentials.generation, **identity_form(credentials.identity)},
        )
        return
    out = console()
    out.print(f"Stored: agent {user_id}, in {store_name(store)}.", style="green")
    if tokens.refresh is None:
        out.print("Without a refresh token the session ends with the access token.", style="yellow")


def _read_tokens() -> TokenPair:
    access, refresh = os.environ.get(_ACCESS), os.environ.get(_REFRESH)
    if access is None:
        if refresh is not None:
            raise Failure(Exit.USAGE, f"{_REFRESH} is set, but {_ACCESS} is not")
        access, refresh = _ask()
    access, refresh = access.strip(), (refresh or "").strip()
    if not access:
        raise Failure(Exit.USAGE, f"no access token: set {_ACCESS}, or write it on the first line of standard input")
    return TokenPair(Secret(access), Secret(refresh) if refresh else None)


def _ask() -> tuple[str, str]:
    if sys.stdin.isatty():
        access: str = click.prompt("Access token", hide_input=True, err=True)
        refresh: str = click.prompt("Refresh token (empty if there is none)", hide_input=True, default="", err=True)
        return access, refresh
    return sys.stdin.readline(_LONGEST_LINE), sys.stdin.readline(_LONGEST_LINE)
