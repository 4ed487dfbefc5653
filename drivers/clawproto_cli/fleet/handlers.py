"""What a fleet does with the messages of its accounts."""

import os
import sys
from contextlib import suppress
from importlib import import_module
from typing import cast

from clawproto.app_events import MessageReceived
from clawproto.errors import SendError
from clawproto_cli.drivers import Client, Handler
from clawproto_cli.failures import Exit, Failure

_PREFIX = "echo: "


async def echo(client: Client, _account: str) -> None:
    """Answers every message, and no echo."""
    async for event in client:
        if isinstance(event, MessageReceived) and event.conversational and not event.text.startswith(_PREFIX):
            with suppress(SendError):  # refused, or the connection is gone: it is a toy
                await client.send(event.chat_id, f"{_PREFIX}{event.text}", reply_to=event)


def load_handler(name: str) -> Handler:
    """The function that ``module:function`` names; modules are looked for in the current directory as well.

    Raises:
        Failure: there is none.
    """
    module_name, colon, function_name = name.partition(":")
    if not (module_name and colon and function_name):
        raise Failure(Exit.USAGE, f"--handler looks like module:function, not {name}")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        found: object = import_module(module_name)
        for part in function_name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise Failure(Exit.USAGE, f"--handler {name}: {error}") from None
    if not callable(found):
        raise Failure(Exit.USAGE, f"--handler {name}: it cannot be called")
    return cast(Handler, found)
