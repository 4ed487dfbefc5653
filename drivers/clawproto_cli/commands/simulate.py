"""``clawproto simulate``."""

import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal, cast

import click
from attrs import evolve
from rich.text import Text

from clawproto.effects import Effect
from clawproto.events import Event
from clawproto.instant import Instant
from clawproto.policy import SECOND_MS
from clawproto.state import State
from clawproto.testing.simulation import exact
from clawproto.testing.simulation.life import Life
from clawproto.testing.simulation.plan import Fault, Plan, parse_duration, parse_fault
from clawproto.testing.simulation.report import Report
from clawproto_cli.charts import png, svg
from clawproto_cli.failures import Exit, Failure
from clawproto_cli.options import json_option
from clawproto_cli.output import console, write_json
from clawproto_cli.simulated import ENGINES, chart, command_for, lines, step_line, table
from clawproto_cli.simulated_journal import SimulatedJournal

EXACT_UP_TO = 5_000
_SHOWN = 5


def _read_duration(_context: click.Context, _option: click.Parameter, text: str) -> int:
    try:
        milliseconds = parse_duration(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    if milliseconds < SECOND_MS:
        raise click.BadParameter("should be at least one second")
    return milliseconds


def _read_faults(_context: click.Context, _option: click.Parameter, texts: tuple[str, ...]) -> tuple[Fault, ...]:
    try:
        return tuple(parse_fault(text) for text in texts)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


@click.command("simulate")
@click.option("--sessions", type=click.IntRange(1, 10_000_000), default=1_000, show_default=True, help="How many.")
@click.option("--hours", type=click.FloatRange(0.01, 24 * 366), default=24.0, show_default=True, help="For how long.")
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True, help="Same seed, same result.")
@click.option(
    "--fault", "faults", multiple=True, callback=_read_faults, metavar="FAULT", help="What goes wrong; see above."
)
@click.option(
    "--jitter",
    type=click.Choice(["both", "on", "off"]),
    default="both",
    show_default=True,
    help="Both compares the library with itself without jitter.",
)
@click.option("--engine", type=click.Choice(["auto", "exact", "population"]), default="auto", show_default=True)
@click.option("--token-life", default="24h", show_default=True, callback=_read_duration, metavar="DURATION")
@click.option(
    "--refresh-mode",
    type=click.Choice(["strict", "grace"]),
    default="strict",
    show_default=True,
    help="Grace: a spent refresh token may be redeemed again within 90 s.",
)
@click.option(
    "--plot", type=click.Path(dir_okay=False, writable=True, path_type=Path), help="Draw to FILE.png or .svg."
)
@click.option("--session", type=click.IntRange(min=0), metavar="NUMBER", help="Run this one alone, step by step.")
@click.option(
    "--journal",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    help="With --session: record it, quiet pings included, for replay and timeline.",
)
@json_option
def command(
    sessions: int,
    hours: float,
    seed: int,
    faults: tuple[Fault, ...],
    jitter: str,
    engine: str,
    token_life: int,
    refresh_mode: str,
    plot: Path | None,
    session: int | None,
    journal: Path | None,
    as_json: bool,
) -> None:
    """Simulate many sessions and their hubs under virtual time: their load, how they come back, what is lost.

    Two engines. `exact` runs the real core against the real hub and checks every invariant in every step; it is meant
    for thousands of sessions. `population` is a model of when sessions act, for millions; it needs the extra `plot`.
    Without --engine the number of sessions decides. The output says which one it was, and what it leaves out.

    Faults, in any number, are written KIND@TIME[+DURATION][,OPTION=VALUE...]; a kind alone stands for its example:

    \b
      deploy       all sessions start, newly paired, within the duration    deploy@0+10m
      outage       every socket breaks, nothing can be reached              outage@6h+1h
      restart      the processes are killed and start again                 restart@8h
      revocation   tokens are revoked; of=access: a refresh heals it        revocation@4h,share=10%
      partition    packets vanish                                           partition@6h+10m,share=50%
      suspend      the machines sleep                                       suspend@2h+8h,share=50%
      skew         the clocks jump; back again after the duration           skew@3h,by=10m,share=50%
      slow-disk    the store takes so long, or fails (fail=20%)             slow-disk@21h+2h,by=5s,share=50%

    Exit code 1: an invariant was violated, or a session was lost or did not come back that should have. The command
    that shows that one session again is printed. With --json each run is an object on a line of its own.

    \b
    Examples:
      clawproto simulate --fault outage@6h+1h
      clawproto simulate --sessions 1000000 --hours 24 --plot load.png
      clawproto simulate --sessions 1000000 --fault restart@22h --fault outage@6h+5s --plot restart.svg
      clawproto simulate --fault slow-disk@21h+2h,by=2s,fail=50% --fault restart@22h+10m --refresh-mode grace
      clawproto simulate --fault suspend --session 17 --journal session-17.jsonl
    """
    plan = Plan(
        seed=seed,
        sessions=sessions,
        hours=hours,
        faults=faults,
        jitter=jitter != "off",
        token_life_ms=token_life,
        refresh_mode=cast("Literal['strict', 'grace']", refresh_mode),
    )
    if plot is not None and plot.suffix not in (".png", ".svg"):
        raise click.BadParameter("should end in .png or .svg", param_hint="--plot")
    if session is not None:
        _one(plan, session, journal, as_json)
        return
    if journal is not None:
        raise click.BadParameter("belongs to --session", param_hint="--journal")
    run, name = _engine(plan, engine)
    began = time.perf_counter(), time.process_time()
    plans = [plan, evolve(plan, jitter=False)] if jitter == "both" else [plan]
    reports = [run(one, _progress(one)) for one in plans]
    if plot is not None:
        _plot(reports, plot)
    if as_json:
        for report in reports:
            write_json({**report.to_json(), "again": command_for(report.plan, name, _jitter(report.plan))})
    else:
        _print(reports, name, (time.perf_counter() - began[0], time.process_time() - began[1]), plot)
    _judge(reports)


# --- running -------------------------------------------------------------------------------------------------------


def _engine(plan: Plan, wanted: str) -> tuple[Callable[[Plan, Callable[[int], None]], Report], str]:
    if wanted == "exact" or (wanted == "auto" and plan.sessions <= EXACT_UP_TO):
        return lambda one, progress: exact.simulate(one, progress=progress), "exact"
    try:
        from clawproto.testing.simulation.population import problem, simulate  # noqa: PLC0415  # needs an extra
    except ImportError:
        raise Failure(
            Exit.FAILED,
            "the population engine needs numpy: pip install 'clawproto[plot]'; or simulate fewer with --engine exact",
        ) from None
    unknown = problem(plan)
    if unknown is not None:
        raise Failure(
            Exit.USAGE, f"the population engine cannot run this: {unknown}; simulate fewer with --engine exact"
        )
    return lambda one, progress: simulate(one, progress=progress), "population"


def _progress(plan: Plan) -> Callable[[int], None]:
    """Says on a terminal how far it is."""
    shown = sys.stderr.isatty()
    last = [0.0]

    def tell(done: int) -> None:
        if shown and (time.monotonic() - last[0] > 0.2 or done == plan.sessions):
            last[0] = time.monotonic()
            text = f"{done:,} of {plan.sessions:,} sessions" if done < plan.sessions else ""
            sys.stderr.write(f"\r\x1b[K{text}")
            sys.stderr.flush()

    return tell


def _jitter(plan: Plan) -> str:
    return f"--jitter {'on' if plan.jitter else 'off'}"


def _plot(reports: list[Report], path: Path) -> None:
    drawn = chart(reports)
    try:
        if path.suffix == ".svg":
            path.write_text(svg.draw(drawn), encoding="utf-8")
        else:
            png.write(drawn, path)
    except ImportError:
        text = "PNG needs matplotlib: pip install 'clawproto[plot]'; .svg needs nothing"
        raise Failure(Exit.FAILED, text) from None
    except OSError as error:
        raise Failure(Exit.FAILED, f"cannot write {path}: {error.strerror or error}") from None


# --- output --------------------------------------------------------------------------------------------------------


def _print(reports: list[Report], name: str, seconds: tuple[float, float], plot: Path | None) -> None:
    out, plan = console(), reports[0].plan
    out.print(f"{plan.sessions:,} sessions, {plan.hours:g} h, seed {plan.seed}", style="bold")
    out.print(f"faults: {', '.join(str(fault) for fault in plan.faults) or 'none; all start at once, newly paired'}")
    out.print(f"engine: {name}: {ENGINES[name]}", style="dim")
    out.print()
    for line in table(reports):
        out.print(Text(line))
    out.print()
    plain = (sys.stdout.encoding or "").lower().replace("-", "") != "utf8"
    for line in lines(reports, plain=plain):
        out.print(Text(line))
    out.print()
    if plot is not None:
        out.print(f"drawn to {plot}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    cost = f"took {seconds[0]:.1f} s, {seconds[1]:.1f} s of processor time, {peak / 1e6:,.0f} MB"
    out.print(f"{cost}; again: {command_for(plan, name)}", style="dim")


def _judge(reports: list[Report]) -> None:
    """Fail if anything is wrong, with the command that shows it again."""
    troubles = [(report, trouble) for report in reports for trouble in report.troubles]
    if not troubles:
        return
    shown = [
        f"session {trouble.number}: {trouble.text}\n  again: "
        + command_for(report.plan, "exact", _jitter(report.plan), f"--session {trouble.number}")
        for report, trouble in troubles[:_SHOWN]
    ]
    if len(troubles) > _SHOWN:
        shown.append(f"and {len(troubles) - _SHOWN} more")
    for text in shown:
        click.echo(text, err=True)
    raise Failure(Exit.FAILED, f"{len(troubles)} sessions went wrong, seed {reports[0].plan.seed}")


def _one(plan: Plan, number: int, path: Path | None, as_json: bool) -> None:
    """One session alone, with every step but the quiet pings, which only a journal has."""
    if number >= plan.sessions:
        raise click.BadParameter(f"there are {plan.sessions} sessions, counted from 0", param_hint="--session")
    steps: list[str] = []
    journal = None if path is None else SimulatedJournal(path)

    def watch(at: int, now: Instant, event: Event, effects: tuple[Effect, ...], after: State) -> None:
        if journal is not None:
            journal(now, event, effects, after)
        else:
            steps.append(step_line(at, event, effects, after))

    course = Life(plan, number, heartbeats=journal is not None, watch=watch).run()
    written: list[Path] = []
    if journal is not None:
        try:
            written = journal.write()
        except OSError as error:
            raise Failure(Exit.FAILED, f"cannot write {path}: {error.strerror or error}") from None
    outcome = course.trouble or ("lost: " + (course.loss.excuse or "") if course.loss else "ready at the end")
    if as_json:
        loss = None if course.loss is None else {"at_ms": course.loss.at_ms, "excuse": course.loss.excuse}
        write_json(
            {
                "session": number,
                "seed": plan.seed,
                "starts_at_ms": course.starts_at,
                "refreshes_ms": course.refreshes,
                "opens_ms": course.opens,
                "ready_ms": [list(span) for span in course.ready],
                "lost": loss,
                "trouble": course.trouble,
                "journals": [str(one) for one in written],
            }
        )
    else:
        out = console()
        out.print(f"session {number} of {plan.sessions:,}, seed {plan.seed}", style="bold")
        for line in steps:
            out.print(Text(line))
        if written:
            out.print(f"recorded, the last process first: {', '.join(map(str, written))}")
        out.print(outcome, style="bold red" if course.trouble else "bold")
    if course.trouble is not None:
        raise Failure(Exit.FAILED, f"session {number}: {course.trouble}")
