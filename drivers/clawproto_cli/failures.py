"""How a command fails: one exit code a kind of failure, one JSON form for programs, one line for people."""

import json
from enum import IntEnum

import click

from clawproto_cli.text import printable


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


def undecided(chat_id: str, message_id: str) -> Failure:
    """A message that may have arrived."""
    return Failure(
        Exit.UNDECIDED,
        f"no answer: {message_id} may have arrived; repeat it with --message-id {message_id} to be sure",
        chat_id=chat_id,
        message_id=message_id,
    )
