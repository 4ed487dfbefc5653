"""How a command fails: one exit code a kind of failure, one JSON form for programs, one line for people."""

import json
from collections.abc import Generator
from contextlib import contextmanager
from enum import IntEnum
from typing import cast

import click

from clawproto import errors
from clawproto_cli.text import printable
from clawproto_io import GenerationConflict, StoreError


class Exit(IntEnum):
    """Exit codes; 2 is click's, for wrong usage."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    NOT_PAIRED = 3
    REFUSED = 4
    UNDECIDED = 5
    STORE = 6
    UNREACHED = 7


class Failure(Exception):
    """Ends a command. With ``--json`` it is one line on standard output, else one on standard error.

    Args:
        exit_code: its name is the ``error`` of the JSON form.
        text: for people.
        fields: more for programs.
    """

    def __init__(self, exit_code: Exit, text: str, /, **fields: object) -> None:
        super().__init__(text)
        self.exit_code = exit_code
        self.form: dict[str, object] = {"error": exit_code.name.lower().replace("_", "-"), "text": text, **fields}
        context = click.get_current_context(silent=True)
        self._as_json = context is not None and bool(context.params.get("as_json"))

    def report(self) -> None:
        """Tell the user."""
        if self._as_json:
            click.echo(json.dumps(self.form))
        else:
            click.echo(f"Error: {printable(str(self))}", err=True)


@contextmanager
def explained() -> Generator[None]:
    """Turns what stores and drivers raise into a `Failure`."""
    try:
        yield
    except Exception as error:
        first = _first(error)
        if isinstance(first, Failure):
            raise first from None
        if not isinstance(first, _KNOWN):
            raise
        raise _failure(first) from None


_KNOWN = (errors.ClawProtoError, StoreError, GenerationConflict)


def _first(error: Exception) -> Exception:
    """The error itself, out of the groups that task groups put around it."""
    return (
        _first(cast("ExceptionGroup[Exception]", error).exceptions[0]) if isinstance(error, ExceptionGroup) else error
    )


def _failure(error: BaseException) -> Failure:
    match error:
        case errors.LoggedOut() | errors.NotPaired():
            return Failure(Exit.NOT_PAIRED, str(error))
        case errors.SendRejected():
            return Failure(
                Exit.REFUSED, str(error), chat_id=error.chat_id, message_id=error.message_id, code=error.code
            )
        case errors.SendGated():
            return Failure(
                Exit.REFUSED,
                str(error),
                chat_id=error.chat_id,
                code=error.code,
                retry_after_ms=error.retry_after_ms,
            )
        case errors.SendUndecided():
            return undecided(error.chat_id, error.message_id)
        case errors.PairRefused():
            if error.code is None:
                exit_code = Exit.UNREACHED if error.spent == "no" else Exit.UNDECIDED
            else:
                exit_code = Exit.REFUSED
            return Failure(exit_code, f"{error}{_CODE_IS[error.spent]}", code=error.code, spent=error.spent)
        case errors.RotationUnsaved() | StoreError() | GenerationConflict():
            return Failure(Exit.STORE, str(error))
        case _:
            return Failure(Exit.FAILED, str(error))


_CODE_IS = {
    "yes": "; the code is used up: ask for a new one",
    "no": "; the code was not used",
    "unknown": "; the code may be used up: ask for a new one",
}


def undecided(chat_id: str, message_id: str) -> Failure:
    """A message that may have arrived."""
    return Failure(
        Exit.UNDECIDED,
        f"no answer: {message_id} may have arrived; repeat it with --message-id {message_id} to be sure",
        chat_id=chat_id,
        message_id=message_id,
    )
