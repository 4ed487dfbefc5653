"""Results of simulations for people: a table, lines of blocks, and the chart behind ``--plot``."""

from collections.abc import Sequence
from math import ceil

from clawproto.effects import Effect, Emit, SendFrame
from clawproto.events import Closed, Event, HttpFailed, OpenFailed, StoreFailed
from clawproto.policy import HOUR_MS, MINUTE_MS, SECOND_MS
from clawproto.state import State
from clawproto.testing.simulation.plan import Fault, Plan, duration
from clawproto.testing.simulation.report import Load, Recovery, Report
from clawproto_cli.charts.chart import Band, Chart, Panel, Series, largest_per_column
from clawproto_cli.charts.terminal import scale, sparkline

WITH, WITHOUT = "with jitter", "without jitter"
_COLORS = {WITH: "#1f6f8b", WITHOUT: "#e39b5d"}
_COLUMNS = 480
_WIDTH = 72
_CLOSE_S = 12 * 60  # the close-up reaches so far to both sides

ENGINES = {
    "exact": "the real core and the real hub, every invariant checked in every step",
    "population": "a model of when sessions act; leaves out messages, skewed clocks, sleep, partitions, failing disks",
}


def label(report: Report) -> str:
    """What tells this report from the one that it is compared with."""
    return WITH if report.plan.jitter else WITHOUT


def command_for(plan: Plan, engine: str, *more: str) -> str:
    """The command that gives this result again."""
    parts = ["clawproto simulate", f"--sessions {plan.sessions}", f"--hours {plan.hours:g}", f"--seed {plan.seed}"]
    parts += [f"--fault {fault}" for fault in plan.faults]
    if plan.token_life_ms != Plan().token_life_ms:
        parts.append(f"--token-life {duration(plan.token_life_ms)}")
    if plan.refresh_mode != "strict":
        parts.append(f"--refresh-mode {plan.refresh_mode}")
    return " ".join([*parts, f"--engine {engine}", *more])


# --- the table -----------------------------------------------------------------------------------------------------


def table(reports: Sequence[Report]) -> list[str]:
    """The figures, a column a report."""
    first = reports[0]
    rows: list[tuple[str, list[str]]] = [("", [label(report) for report in reports])]
    for name, load in (("refreshes", "refreshes"), ("sockets opened", "opens")):
        loads: list[Load] = [getattr(report, load) for report in reports]
        rows.append((f"{name}, in all", [_count(one.total) for one in loads]))
        rows.append(("  most in a second", [f"{_count(one.peak()[0])} at {_time(one.peak()[1])}" for one in loads]))
        rows.append(("  most in a minute", [_count(one.peak_minute()) for one in loads]))
    for fault in first.plan.disturbances:
        rows.append((str(fault), [""] * len(reports)))
        spans = {"until 10 min after": [report.during(fault) for report in reports]}
        if fault.for_ms:
            spans["once it is over"] = [report.after(fault) for report in reports]
        for span, found in spans.items():
            rows.append((f"  refreshes in a second, {span}", [_count(refreshes) for refreshes, _ in found]))
            rows.append((f"  sockets in a second, {span}", [_count(opens) for _, opens in found]))
        recoveries = [_recovery_from(report, fault) for report in reports]
        if all(recovery is not None for recovery in recoveries):
            known = [recovery for recovery in recoveries if recovery is not None]
            rows.append(("  sessions cut off", [_count(len(recovery.waits)) for recovery in known]))
            for name, share in (("half", 0.5), ("99 %", 0.99), ("all", 1.0)):
                rows.append((f"  {name} ready again after", [_seconds(recovery.quantile(share)) for recovery in known]))
    rows.append(("sessions lost", [_count(sum(report.lost.values())) for report in reports]))
    for name, text in (("revoked", "revoked"), ("answer-lost", "answer lost"), ("unexcused", "should have been kept")):
        if any(report.lost[name] for report in reports):
            rows.append((f"  {text}", [_count(report.lost[name]) for report in reports]))
    rows.append(("not ready at the end", [_count(report.not_ready) for report in reports]))
    widest = max(len(name) for name, _ in rows)
    return [f"{name:<{widest}}" + "".join(f"{cell:>24}" for cell in cells) for name, cells in rows]


def lines(reports: Sequence[Report], *, plain: bool = False) -> list[str]:
    """Load over time as blocks, logarithmic."""
    shown: list[str] = []
    for title, load in (("refreshes", "refreshes"), ("sockets opened", "opens")):
        columns = [largest_per_column(getattr(report, load).per_second, _WIDTH) for report in reports]
        top = max((max(one, default=0) for one in columns), default=0)
        shown.append(f"{title} per second, logarithmic, up to {_count(top)}")
        shown += [
            f"  {sparkline(one, top, plain=plain):<{_WIDTH}}  {label(report)}"
            for one, report in zip(columns, reports, strict=True)
        ]
    end = reports[0].plan.end_ms
    return [*shown, "  " + scale("0", _time(end // 2000), _time(end // 1000), _WIDTH)]


def _recovery_from(report: Report, fault: Fault) -> Recovery | None:
    return next((one for one in report.recoveries if one.fault == str(fault)), None)


def _count(value: int) -> str:
    return f"{value:,}"


def _seconds(milliseconds: int | None) -> str:
    return "–" if milliseconds is None else f"{milliseconds / 1000:,.1f} s"


def _time(second: int) -> str:
    return f"{second // 3600}:{second // 60 % 60:02}:{second % 60:02}"


# --- the chart -----------------------------------------------------------------------------------------------------


def chart(reports: Sequence[Report]) -> Chart:
    """Refreshes and sockets per second over time; how the sessions came back, if they were ever cut off."""
    first, ordered = reports[0], sorted(reports, key=lambda report: report.plan.jitter)
    hours = first.plan.end_ms / HOUR_MS
    bands = tuple(
        Band(fault.at_ms / HOUR_MS, min(fault.end_ms / HOUR_MS, hours), str(fault)) for fault in first.plan.disturbances
    )
    panels = [
        _load_panel("Refresh requests", "per second", [(report, report.refreshes) for report in ordered], bands),
        _load_panel("Sockets opened", "per second", [(report, report.opens) for report in ordered], bands),
    ]
    if (close_up := _close_up([(report, report.refreshes) for report in ordered])) is not None:
        panels.insert(1, close_up)
    panels += [
        panel
        for fault in first.plan.disturbances
        if (panel := _recovery_panel(fault, [(report, _recovery_from(report, fault)) for report in ordered]))
    ]
    plan = first.plan
    faults = ", ".join(str(fault) for fault in plan.faults) or "none"
    return Chart(
        f"{plan.sessions:,} sessions, {plan.hours:g} h",
        f"faults: {faults} · tokens live {duration(plan.token_life_ms)} · {first.engine} engine · seed {plan.seed}",
        tuple(panels),
        command_for(plan, first.engine),
    )


def _load_panel(title: str, unit: str, loads: Sequence[tuple[Report, Load]], bands: tuple[Band, ...]) -> Panel:
    series: list[Series] = []
    top, end_ms = 10, loads[0][0].plan.end_ms
    hours = end_ms / HOUR_MS
    width_ms = ceil(end_ms / SECOND_MS / _COLUMNS) * SECOND_MS
    for report, load in loads:
        columns = largest_per_column(load.per_second, _COLUMNS)
        width = width_ms / HOUR_MS
        points = [(number * width, float(value)) for number, value in enumerate(columns)]
        series.append(Series(label(report), _COLORS[label(report)], points))
        top = max(top, *columns)
    return Panel(
        title=f"{title}: the busiest second of each {duration(width_ms)}",
        x_label="hours since the begin",
        y_label=unit,
        series=tuple(series),
        x_range=(0, hours),
        y_range=(1, top * 1.6),
        log=True,
        bands=bands,
    )


def _close_up(loads: Sequence[tuple[Report, Load]]) -> Panel | None:
    """The refreshes second by second, around the busiest one of the last report."""
    count, busiest = loads[-1][1].peak()
    origin = busiest // 60
    begin = max(0, busiest - _CLOSE_S)
    end = min(len(loads[-1][1].per_second), busiest + _CLOSE_S)
    if not count or end - begin >= len(loads[-1][1].per_second):
        return None
    series: list[Series] = []
    top = 10
    for report, load in loads:
        columns = largest_per_column(load.per_second, _COLUMNS * 4, begin, end)
        points = [((begin + number) / 60 - origin, float(value)) for number, value in enumerate(columns)]
        series.append(Series(label(report), _COLORS[label(report)], points))
        top = max(top, *columns)
    return Panel(
        title="Refresh requests around the busiest second, second by second",
        x_label=f"minutes from {origin // 60}:{origin % 60:02}",
        y_label="per second",
        series=tuple(series),
        x_range=(begin / 60 - origin, end / 60 - origin),
        y_range=(1, top * 1.6),
        log=True,
    )


def _recovery_panel(fault: Fault, recoveries: Sequence[tuple[Report, Recovery | None]]) -> Panel | None:
    known = [(report, recovery) for report, recovery in recoveries if recovery is not None and recovery.waits]
    if not known:
        return None
    last = max(recovery.waits[-1] for _, recovery in known) / 1000
    since = "death of the process" if fault.kind == "restart" else "end of the fault"
    return Panel(
        title=f"Ready again after {fault}",
        x_label=f"seconds since the {since}",
        y_label="% of the sessions",
        series=tuple(
            Series(label(report), _COLORS[label(report)], _shares(recovery, last)) for report, recovery in known
        ),
        x_range=(0, max(last * 1.03, 1)),
        y_range=(0, 104),
        style="line",
    )


def _shares(recovery: Recovery, last: float) -> list[tuple[float, float]]:
    """How many per cent were ready again by then."""
    count = len(recovery.waits)
    steps = min(200, count)
    points = [(0.0, 0.0), (recovery.waits[0] / 1000, 0.0)]
    for step in range(steps):
        index = (step + 1) * count // steps - 1
        points.append((recovery.waits[index] / 1000, 100 * (index + 1) / count))
    return [*points, (last, 100.0)]


# --- one session -----------------------------------------------------------------------------------------------------


def step_line(at: int, event: Event, effects: Sequence[Effect], after: State) -> str:
    """One step of one session. Never a token."""
    hours, minutes = at // HOUR_MS, at // MINUTE_MS % 60
    clock = f"{hours:>3}:{minutes:02}:{at // SECOND_MS % 60:02}.{at % 1000:03}"
    done = ", ".join(_effect(effect) for effect in effects) or "–"
    phases = f"{type(after.tokens.phase).__name__}/{type(after.link.phase).__name__}"
    return f"{clock}  {_event(event):<26} {phases:<22} {done}"


def _event(event: Event) -> str:
    name = type(event).__name__
    match event:
        case Closed(code=code):
            return f"{name} {code}"
        case OpenFailed(detail=detail) | StoreFailed(detail=detail):
            return f"{name} {detail}"
        case HttpFailed(sent=sent):
            return f"{name} {'sent' if sent else 'not sent'}"
        case _:
            return name


def _effect(effect: Effect) -> str:
    name = type(effect).__name__
    match effect:
        case SendFrame(event=event):
            return f"send {event}"
        case Emit(event):
            return f"tell {type(event).__name__}"
        case _:
            return name
