"""``clawproto hub``."""

import signal
import sys

import anyio
import click
from attrs import evolve

from clawproto.hub import HubSettings
from clawproto.hub.provision import provision
from clawproto.json_types import Json
from clawproto_cli.drivers import run
from clawproto_cli.failures import Exit, Failure
from clawproto_cli.options import json_option
from clawproto_cli.output import console, write_json
from clawproto_io.hub_server import HubServer, serve


@click.command("hub")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to bind; it has no access control.")
@click.option("--port", type=click.IntRange(0, 65535), default=8787, show_default=True, help="0 picks a free one.")
@click.option("--agents", type=click.IntRange(1, 1000), default=2, show_default=True, help="How many to create.")
@click.option(
    "--token-life",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="Life of an access token. [default: a day]",
)
@json_option
def command(host: str, port: int, agents: int, token_life: float | None, as_json: bool) -> None:
    """Run a development hub until interrupted: the server's side of the protocol, for trying things out.

    It creates agents, each with an owner and a direct conversation, and one conversation for all of them. It keeps
    everything in memory, has no access control, and PRINTS THE TOKENS of its agents: never bind it to an address that
    others can reach. Tell it to misbehave over its control address, see docs/hub.md.

    With --json the first line holds ws_url, base_url, control_url, shared_conversation_id and agents; each agent has
    user_id, owner_id, agent_id, device_id, conversation_id, access_token, refresh_token and pairing_code.

    \b
    Examples:
      clawproto hub
      clawproto hub --port 0 --json --agents 3 --token-life 60
      curl -X POST -H 'Content-Type: application/json' -d '{}' http://127.0.0.1:8787/control/outage
    """
    settings = HubSettings()
    if token_life is not None:
        settings = evolve(settings, access_token_life_ms=max(1, round(token_life * 1000)))

    async def work() -> None:
        with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            async with serve(settings, host=host, port=port) as server:
                _announce(server, agents, as_json)
                async for _ in signals:
                    return

    try:
        run(work, "asyncio")
    except OSError as error:
        raise Failure(Exit.FAILED, f"cannot listen on {host}:{port}: {error.strerror or error}") from None


def _announce(server: HubServer, agents: int, as_json: bool) -> None:
    described = server.call(lambda hub: provision(hub, agents))
    addresses: dict[str, Json] = {
        "ws_url": server.ws_url,
        "base_url": server.base_url,
        "control_url": server.control_url,
    }
    if as_json:
        write_json(addresses | described)
        return
    out = console()
    out.print("Development hub; do not expose it. Its tokens are printed below.", style="yellow")
    for key, value in addresses.items():
        out.print(f"{key:<24}{value}")
    out.print(f"{'shared_conversation_id':<24}{described['shared_conversation_id']}")
    for number, agent in enumerate(described["agents"] if isinstance(described["agents"], list) else [], 1):
        out.print(f"\nAgent {number}", style="bold")
        for key, value in agent.items() if isinstance(agent, dict) else ():
            out.print(f"  {key:<22}{value}")
    out.print("\nRunning; interrupt to stop.", style="green")
    sys.stdout.flush()
