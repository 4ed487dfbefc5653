"""``clawproto timeline``."""

from pathlib import Path

import click
from attrs import asdict
from rich.text import Text

from clawproto.journal_encoding import JournalError
from clawproto.timeline import Timeline, timeline
from clawproto_cli.failures import Exit, Failure
from clawproto_cli.journals import open_journal
from clawproto_cli.options import json_option
from clawproto_cli.output import console, write_json
from clawproto_cli.text import date_time, printable, span
from clawproto_cli.timeline_svg import draw

_STYLES = {"connection": "cyan", "tokens": "blue", "refreshes": "magenta", "sends": "green", "messages": ""}


@click.command("timeline")
@click.argument("file", metavar="FILE", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--svg", "picture", metavar="OUT", type=click.Path(dir_okay=False, path_type=Path), help="Draw it instead."
)
@json_option
def command(file: Path, picture: Path | None, as_json: bool) -> None:
    """Tell what happened in a journal: connection, tokens, refreshes, sends, messages, failures.

    Times are those since the first line. Pings, acks and deadlines at which nothing happened are left out.

    \b
    Examples:
      clawproto timeline agent.jsonl
      clawproto timeline agent.jsonl --svg agent.svg
      clawproto timeline --json agent.jsonl | jq -r 'select(.failure) | .text'
    """
    try:
        story = timeline(open_journal(file))
    except JournalError as error:
        raise Failure(Exit.FAILED, f"{file}: {error}") from None
    if picture is not None:
        try:
            picture.write_text(draw(story, file.name), encoding="utf-8")
        except OSError as error:
            raise Failure(Exit.FAILED, f"{picture}: {error.strerror or error}") from None
    elif as_json:
        for mark in story.marks:
            write_json(asdict(mark))
    else:
        _tell(story)


def _tell(story: Timeline) -> None:
    out = console()
    out.print(Text(f"{date_time(story.begin_ms)}, {span(story.length_ms)}", "bold"))
    for mark in story.marks:
        style = "red" if mark.failure else _STYLES.get(mark.lane, "")
        when = f"+{mark.elapsed_ms / 1000:.3f} s"
        out.print(Text(f"{when:>15}  {mark.step:>6}  {mark.lane:<10}  {printable(mark.text)}", style))
