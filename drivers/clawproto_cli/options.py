"""Options that several commands share."""

import logging
import sys
from collections.abc import Callable
from urllib.parse import urlsplit

import click

_PATH = click.Path(dir_okay=False)


def _path_or_url(context: click.Context, option: click.Parameter, value: str) -> str:
    return value if "://" in value else str(_PATH.convert(value, option, context))


store_option = click.option(
    "--store",
    required=True,
    metavar="FILE|URL",
    callback=_path_or_url,
    help="Where the agent's credentials are: an SQLite file (mode 0600), sqlite:///FILE or postgresql://HOST/DATABASE.",
)


def _note(key: str) -> Callable[[click.Context, click.Parameter, str | None], None]:
    def note(context: click.Context, _option: click.Parameter, value: str | None) -> None:
        context.meta[key] = value

    return note


KEYRING = "clawproto.keyring"
ACCOUNT = "clawproto.account"
account_option = click.option(
    "--account",
    metavar="NAME",
    expose_value=False,
    callback=_note(ACCOUNT),
    help="Which of the accounts in the store.  [default: default]",
)
keyring_option = click.option(
    "--keyring",
    metavar="NAME",
    expose_value=False,
    callback=_note(KEYRING),
    help="Encrypt the tokens in the store with the key NAME in the keyring of the system; made if it is missing.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, one object a line, for programs.")
driver_option = click.option(
    "--driver",
    type=click.Choice(["asyncio", "trio"]),
    default="asyncio",
    show_default=True,
    help="Event loop to run on.",
)


def url_of(*schemes: str) -> Callable[[click.Context, click.Parameter, str | None], str | None]:
    """Checks an option that is an absolute address with one of ``schemes``; a trailing slash is dropped."""

    def check(_context: click.Context, _option: click.Parameter, value: str | None) -> str | None:
        if value is None:
            return None
        try:
            parts = urlsplit(value)
            _ = parts.port  # raises if it is none
        except ValueError:
            parts = None
        if parts is None or parts.scheme not in schemes or not parts.hostname or "@" in parts.netloc:
            raise click.BadParameter(f"should look like {schemes[-1]}://host[:port]")
        if parts.query or parts.fragment:
            raise click.BadParameter("should have no query and no fragment")
        return value.rstrip("/")

    return check


http_url = url_of("http", "https")
socket_url = url_of("ws", "wss")


def _set_up_logging(_context: click.Context, _option: click.Parameter, count: int) -> None:
    if count:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("%(asctime)s %(name)s %(levelname)s %(message)s"))
        log = logging.getLogger("clawproto")
        log.addHandler(handler)
        log.setLevel(logging.INFO if count == 1 else logging.DEBUG)


verbose_option = click.option(
    "-v",
    "--verbose",
    count=True,
    expose_value=False,
    callback=_set_up_logging,
    help="Log to standard error; twice for more. Logs hold no tokens.",
)
