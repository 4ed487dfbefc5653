"""The command group. A command's module is imported when the command is called."""

from importlib import import_module

import click

from clawproto_cli.failures import Failure

# name: the line in the list of commands. The command itself is `command` of clawproto_cli.commands.<name>.
_COMMANDS = {
    "demo": "Watch two agents keep their session through everything, in a minute.",
    "hub": "Run a development hub on this machine.",
    "pair": "Redeem a pairing code and store what it brings.",
    "login": "Take over a pair of tokens that another client holds.",
    "listen": "Hold a session and print what arrives.",
    "send": "Send one message and wait for the receipt.",
    "fleet": "Hold the sessions of all accounts, shared with other machines.",
    "simulate": "Simulate up to millions of sessions: load, recovery, losses.",
    "status": "Say what a store holds and when the tokens are due.",
    "replay": "Run a journal through the core again, and say where it differs.",
    "timeline": "Tell, or draw, what happened in a journal.",
}

_EPILOG = """
\b
Begin here:
  clawproto demo                                   see it work, nothing needed
  clawproto pair CODE --store agent.db --base-url https://chat.example.com
  clawproto listen --store agent.db
  clawproto send --store agent.db cnv_… "Hello"

\b
Exit codes, of every command:
  0  done                       4  refused by the server
  1  something went wrong       5  undecided: it may have happened
  2  wrong usage                6  the store cannot be read or written
  3  pair the agent first       7  not reached: nothing was sent

Colours appear on a terminal only, and never if NO_COLOR is set. No command but `hub` ever prints a token.
"""


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        found = import_module(f"clawproto_cli.commands.{cmd_name}").command
        assert isinstance(found, click.Command)
        return found

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except Failure as failure:
            failure.report()
            ctx.exit(failure.exit_code)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))


def _show_version(context: click.Context, _option: click.Parameter, wanted: bool) -> None:
    if wanted:
        from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415  # slow to import

        try:
            click.echo(f"clawproto {version('clawproto')}")
        except PackageNotFoundError:
            click.echo("clawproto, run from a source tree")
        context.exit()


@click.command(cls=_Commands, epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--version", is_flag=True, expose_value=False, is_eager=True, callback=_show_version, help="Show it.")
def main() -> None:
    """Hold ClawChat sessions: connected always, tokens fresh always.

    Each command explains itself: `clawproto COMMAND --help`.
    """
