"""``clawproto demo``."""

import tempfile
from pathlib import Path
from typing import NoReturn

import click
from attrs import asdict

from clawproto_cli.demo.agent import Agent
from clawproto_cli.demo.board import Board
from clawproto_cli.demo.director import Director
from clawproto_cli.demo.fleet_setting import Numbers, StoreKind, fleet_notice, table_of_findings
from clawproto_cli.demo.fleets import play as play_fleet
from clawproto_cli.demo.settings import HUB, NOTICE
from clawproto_cli.demo.story import Story
from clawproto_cli.demo.verdict import Outcome, judge, table_of
from clawproto_cli.failures import Exit
from clawproto_cli.options import json_option, verbose_option
from clawproto_cli.output import console, write_json
from clawproto_cli.signals import terminated_as_interrupted
from clawproto_io.hub_thread import HubThread

_LEAVE_TIME = 15.0  # seconds for an agent to come to its end


@click.command("demo")
@click.option(
    "--journal",
    "journals",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="Record every session of the agents there, for `clawproto replay` and `timeline`.",
)
@click.option("--fleet", "fleets", is_flag=True, help="Watch processes share many accounts instead, in two minutes.")
@click.option(
    "--accounts", type=click.IntRange(4, 1000), default=200, show_default=True, help="With --fleet: how many."
)
@click.option(
    "--store-kind",
    type=click.Choice(["auto", "sqlite", "postgres"]),
    default="auto",
    help="With --fleet: where they are.  [default: PostgreSQL if a server can be started here, else SQLite]",
)
@json_option
@verbose_option
def command(journals: Path | None, fleets: bool, accounts: int, store_kind: StoreKind, as_json: bool) -> None:
    """Watch two agents keep their session through everything.

    It starts a hub on this machine and two agents, one on asyncio, one on trio. They are paired by code, talk to each
    other all the time, and go through rotations, a refused token, an outage, cut connections, a full disk and a
    logout. Nothing outside of this machine is needed, and nothing is left behind.

    The closing table is counted by the applications and checked against the hub and the files. The exit code is 0 only
    if nothing was lost or delivered twice, and everything was lived through.

    With --fleet, members of a fleet share many accounts of one store; one is killed, one is suspended, one joins, and
    the hub fails. The exit code is 0 only if every account was owned again within the term, and nobody was logged out.

    \b
    Examples:
      clawproto demo
      clawproto demo --journal journals
      clawproto demo --fleet --accounts 50
      clawproto demo --json > result.json      (the story goes to standard error)
    """
    if fleets and journals is not None:
        raise click.UsageError("--journal is about the two agents, not about a fleet")
    if journals is not None:
        journals.mkdir(parents=True, exist_ok=True)
    story = Story(aside=as_json)
    if fleets:
        _show_fleet(Numbers(accounts=accounts), store_kind, story, as_json)
    for line in NOTICE:
        story.note(line, "yellow")
    with (
        terminated_as_interrupted(),
        tempfile.TemporaryDirectory(prefix="clawproto-demo-") as folder,
        HubThread(HUB) as hub,
    ):
        outcomes, problems = _play(hub, Path(folder), story, journals)
    if as_json:
        write_json(
            {
                "ok": not problems,
                "seconds": round(story.seconds, 1),
                "agents": [asdict(outcome) for outcome in outcomes],
                "problems": problems,
            }
        )
    else:
        out = console()
        out.print()
        out.print(table_of(outcomes))
        out.print()
        for problem in problems:
            out.print(problem, style="red")
        if not problems:
            out.print(f"All is well, after {story.seconds:.0f} s.", style="green")
    raise SystemExit(Exit.FAILED if problems else Exit.DONE)


def _show_fleet(numbers: Numbers, store_kind: StoreKind, story: Story, as_json: bool) -> NoReturn:
    for line in fleet_notice(numbers):
        story.note(line, "yellow")
    with terminated_as_interrupted():
        findings = play_fleet(numbers, store_kind, story)
    ok = all(finding.good for finding in findings)
    if as_json:
        write_json(
            {"ok": ok, "seconds": round(story.seconds, 1), "findings": [asdict(finding) for finding in findings]}
        )
    else:
        out = console()
        out.print()
        out.print(table_of_findings(findings))
        out.print()
        if ok:
            out.print(f"All is well, after {story.seconds:.0f} s.", style="green")
        else:
            out.print("Not all is well.", style="red")
    raise SystemExit(Exit.DONE if ok else Exit.FAILED)


def _play(hub: HubThread, folder: Path, story: Story, journals: Path | None) -> tuple[list[Outcome], list[str]]:
    board = Board()
    ada = Agent("Ada", "asyncio", folder / "ada.db", board, story, journals)
    tom = Agent("Tom", "trio", folder / "tom.db", board, story, journals)
    director = Director(hub, (ada, tom), board, story)
    try:
        director.play()
    finally:
        for agent in (ada, tom):
            agent.give_up()
        stuck = [agent.name for agent in (ada, tom) if not agent.join(_LEAVE_TIME)]
    outcomes = [judge(hub, ada, tom), judge(hub, tom, ada)]
    problems = director.problems + [f"{name} did not come to an end" for name in stuck]
    problems += [f"{agent.name}: {agent.failure}" for agent in (ada, tom) if agent.failure is not None]
    for outcome in outcomes:
        problems += outcome.problems()
    return outcomes, problems
