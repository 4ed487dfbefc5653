"""How commands open a store: in plain text, or with the key that the user keeps elsewhere."""

from pathlib import Path

import click

from clawproto_cli.failures import Exit, Failure
from clawproto_cli.options import KEYRING
from clawproto_io import SqliteStore, StoreKey
from clawproto_io.stores.sealing import ENVIRONMENT_NAME


def open_agent_store(path: Path) -> SqliteStore:
    """The store in ``path``, for the command that runs. Its tokens are encrypted if there is a key: the one in the
    keyring that ``--keyring`` names, or else the one in the environment.

    Raises:
        Failure: the key cannot be had.
    """
    name: str | None = click.get_current_context().meta.get(KEYRING)
    try:
        return SqliteStore(path, key=StoreKey.from_environment() if name is None else StoreKey.from_keyring(name))
    except ModuleNotFoundError:
        problem = "install clawproto[encryption] for encrypted stores"
    except ValueError as error:
        problem = f"{ENVIRONMENT_NAME}: {error}" if name is None else str(error)
    except Exception as error:  # a keyring has errors of its own, and its backends have theirs
        problem = f"the keyring cannot be used: {type(error).__name__}"
    raise Failure(Exit.STORE, problem)
