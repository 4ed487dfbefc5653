"""``clawproto replay``."""

import json
from pathlib import Path

import click
from attrs import asdict
from rich.text import Text

from clawproto.journal_encoding import JournalError
from clawproto.json_types import Json
from clawproto.replay import Difference, Report, replay
from clawproto_cli.failures import Exit, Failure
from clawproto_cli.journals import open_journal
from clawproto_cli.options import json_option
from clawproto_cli.output import console, write_json
from clawproto_cli.text import date_time, printable


@click.command("replay")
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path(dir_okay=False, path_type=Path))
@json_option
def command(files: tuple[Path, ...], as_json: bool) -> None:
    """Run journals through the core again, and say where it first does something else.

    A journal has every event that a session was told, and what it answered. The exit code is 0 if the core of this
    version answers alike from beginning to end, else 1; then the step is shown: its number and time, the event, the
    effects that the journal has and those of now, and the fields of the state that differ.

    \b
    Examples:
      clawproto replay agent.jsonl
      clawproto replay --json agent.jsonl.1 agent.jsonl | jq .difference
    """
    differs = False
    for file in files:
        try:
            report = replay(open_journal(file))
        except JournalError as error:
            raise Failure(Exit.FAILED, f"{file}: {error}") from None
        differs |= report.difference is not None
        if as_json:
            write_json({"file": str(file), **asdict(report)})
        else:
            _show(file, report)
    raise SystemExit(Exit.FAILED if differs else Exit.DONE)


def _show(file: Path, report: Report) -> None:
    out = console()
    if report.difference is not None:
        out.print(Text(f"{file}: differs at step {report.difference.number}", "red"))
        for line in _words(report.difference):
            out.print(Text(line))
        return
    out.print(Text(f"{file}: {report.steps} steps, no difference", "green"))
    if report.lost:
        out.print(Text(f"  {report.lost} steps are missing in the journal", "yellow"))
    if report.unlike:
        out.print(
            Text(f"  at {report.unlike} steps the real session did something else than this masked one", "yellow")
        )
    if report.cut:
        out.print(Text("  the last line is incomplete: the process died while writing it", "yellow"))
    if not report.states_compared:
        out.print(
            Text(f"  written by {report.library}, whose state had another shape: only effects compared", "yellow")
        )


def _words(found: Difference) -> list[str]:
    lines = [
        f"  at {date_time(found.at.wall_ms)}, monotonic {found.at.mono_ms} ms",
        f"  event     {_short(found.event)}",
    ]
    if found.expected == found.actual:
        lines += [f"  effects   {_short(effect)}" for effect in found.actual] or ["  effects   none"]
    else:
        for index in range(max(len(found.expected), len(found.actual))):
            expected = found.expected[index : index + 1]
            actual = found.actual[index : index + 1]
            if expected == actual:
                lines.append(f"  =         {_short(actual[0])}")
                continue
            lines += [f"  - journal {_short(item)}" for item in expected]
            lines += [f"  + now     {_short(item)}" for item in actual]
    for path, was, recorded, now in found.fields:
        lines += [f"  {path}", f"      before  {_short(was)}"]
        lines += [f"    - journal {_short(recorded)}", f"    + now     {_short(now)}"]
    if found.state and not found.fields:
        lines.append("  the states differ below the fields that are shown")
    return lines


def _short(value: Json, longest: int = 600) -> str:
    text = printable(json.dumps(value, ensure_ascii=False))
    return text if len(text) <= longest else f"{text[:longest]}… ({len(text)} characters)"
