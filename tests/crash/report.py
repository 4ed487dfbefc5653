"""The matrix as text: the tables of docs/crashes.md, and the verdict."""

from collections.abc import Callable, Sequence

from tests.crash.boundaries import AT_ONCE, PHASES
from tests.crash.tally import ANY_TIME, Row, Tally

SUMS: tuple[tuple[str, Callable[[Tally], object]], ...] = (
    ("kills", lambda tally: tally.kills),
    ("of them at a random instant", lambda tally: _row(tally, ANY_TIME).kills[ANY_TIME]),
    ("avoidable losses", lambda tally: len(tally.failures)),
    ("windows: rotations answered by the hub and stored nowhere", lambda tally: tally.windows),
    ("said `rotation-lost`", lambda tally: tally.lost),
    ("killed again before it could say so", lambda tally: tally.untold),
    ("next to a revocation, whose notices are not told apart", lambda tally: tally.revoked),
    ("came back within the grace", lambda tally: tally.recovered),
    ("rotations answered by the hub", lambda tally: tally.answered),
    ("rotations stored", lambda tally: tally.stored),
    ("pairing codes redeemed and stored nowhere", lambda tally: tally.codes),
    ("messages received", lambda tally: tally.received),
    ("of them handed out again", lambda tally: tally.redelivered),
    ("messages sent and acknowledged", lambda tally: tally.accepted),
    ("found undecided in the store after a kill, settled by the next life", lambda tally: tally.sent_again),
    ("undecided when a logout came, recorded as dropped", lambda tally: tally.given_up),
    ("killed before they were kept", lambda tally: tally.unkept),
    ("messages at the receiver, each once", lambda tally: tally.arrived),
    ("seconds", lambda tally: round(tally.seconds)),
)


def _row(tally: Tally, kind: str) -> Row:
    return tally.rows.get(kind, Row())


def boundaries(tallies: Sequence[Tally]) -> str:
    """Kills before, during and after each kind of effect, and the windows that they opened."""
    head = ["effect", *(f"{_name(tally)}: before, during, after | windows" for tally in tallies)]
    lines = [_line(head), _line(["---", *("---: | ---:" for _ in tallies)])]
    kinds = sorted({kind for tally in tallies for kind in tally.rows} - {ANY_TIME})
    for kind in [*kinds, ANY_TIME]:
        cells = [f"`{kind}`" if kind[0].isupper() else kind]
        for tally in tallies:
            row = _row(tally, kind)
            phases = [phase for phase in PHASES if phase != "during" or not kind.startswith(AT_ONCE)]
            counts = [row.kills[ANY_TIME]] if kind == ANY_TIME else [row.kills[phase] for phase in phases]
            windows = row.windows + row.codes
            cells.append(f"{', '.join(str(count) for count in counts)} | {windows or ''}")
        lines.append(_line(cells))
    return "\n".join(lines)


def sums(tallies: Sequence[Tally]) -> str:
    """What was counted, one column a run."""
    lines = [_line(["", *(_name(tally) for tally in tallies)]), _line(["---", *("---:" for _ in tallies)])]
    lines += [_line([name, *(str(count(tally)) for tally in tallies)]) for name, count in SUMS]
    return "\n".join(lines)


def problems(tally: Tally) -> list[str]:
    """What contradicts the promise; empty if all is well."""
    found = list(tally.failures)
    others = tally.untold + tally.revoked
    if tally.mode == "strict" and tally.lost + others != tally.windows:
        found.append(f"{tally.lost} (and {others}) sessions lost a rotation, the hub counts {tally.windows}")
    if tally.mode == "grace" and tally.lost:
        found.append(f"{tally.lost} sessions were lost in spite of the grace")
    return [f"{_name(tally)}: {problem}" for problem in found]


def _name(tally: Tally) -> str:
    return f"{tally.driver}, {tally.mode}" if tally.mode != "strict" else tally.driver


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
