"""How commands open a store: which account of it, in plain text or with the key that the user keeps elsewhere."""

import shlex

import click

from clawproto_cli.failures import Exit, Failure
from clawproto_cli.options import ACCOUNT, KEYRING
from clawproto_io import AccountStore, CredentialStore, StoreKey, open_accounts, open_store
from clawproto_io.stores import place_of
from clawproto_io.stores.base import DEFAULT_ACCOUNT
from clawproto_io.stores.sealing import ENVIRONMENT_NAME


def chosen_account() -> str:
    """The account that ``--account`` names, for the command that runs."""
    name: str | None = click.get_current_context().meta.get(ACCOUNT)
    return DEFAULT_ACCOUNT if name is None else name


def open_agent_store(store: str) -> CredentialStore:
    """The store in the file or at the address ``store``, for the command that runs. Its tokens are encrypted if there
    is a key: the one in the keyring that ``--keyring`` names, or else the one in the environment.

    Raises:
        Failure: the key cannot be had, or the address or the account cannot be.
    """
    key = _key()
    try:
        return open_store(store, chosen_account(), key=key)
    except ValueError as error:
        raise Failure(Exit.USAGE, str(error)) from None
    except ModuleNotFoundError as error:
        raise Failure(Exit.STORE, str(error)) from None


def open_agent_accounts(store: str) -> AccountStore:
    """All accounts in the file or at the address ``store``, for the command that runs; otherwise as
    `open_agent_store`."""
    key = _key()
    try:
        return open_accounts(store, key=key)
    except ValueError as error:
        raise Failure(Exit.USAGE, str(error)) from None
    except ModuleNotFoundError as error:
        raise Failure(Exit.STORE, str(error)) from None


def store_name(store: str) -> str:
    """The store and its account, for people."""
    account = chosen_account()
    return place_of(store) if account == DEFAULT_ACCOUNT else f"{place_of(store)} (account {account})"


def store_arguments(store: str) -> str:
    """The options that name the store and its account, for another command."""
    account = chosen_account()
    more = "" if account == DEFAULT_ACCOUNT else f" --account {shlex.quote(account)}"
    return f"--store {shlex.quote(place_of(store))}{more}"


def _key() -> StoreKey | None:
    name: str | None = click.get_current_context().meta.get(KEYRING)
    try:
        return StoreKey.from_environment() if name is None else StoreKey.from_keyring(name)
    except ModuleNotFoundError:
        problem = "install clawproto[encryption] for encrypted stores"
    except ValueError as error:
        problem = f"{ENVIRONMENT_NAME}: {error}" if name is None else str(error)
    except Exception as error:  # a keyring has errors of its own, and its backends have theirs
        problem = f"the keyring cannot be used: {type(error).__name__}"
    raise Failure(Exit.STORE, problem)
