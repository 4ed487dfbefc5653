"""``python -m benchmarks``: measure, print the table of targets, then the details."""

import argparse
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks import (
    elsewhere,
    footprint,
    growth,
    idle,
    inbound,
    instructions,
    network,
    noise,
    pure,
    reconnect,
    representation,
    simulated,
    uplinks,
)
from benchmarks.harness import Row
from benchmarks.report import details, surroundings, table, write_json

GROUPS: dict[str, Callable[[int], Iterator[Row]]] = {
    "noise": noise.noise,
    "inbound": inbound.inbound,
    "decode": inbound.decode,
    "encode": uplinks.encode,
    "drivers": network.drivers,
    "memory": footprint.memory,
    "state": footprint.state,
    "imports": footprint.imports,
    "simulation": simulated.simulation,
    "growth": growth.growth,
    "reconnect": reconnect.reconnects,
    "idle": idle.idle,
    "pings": idle.pings,
    "machines": pure.machines,
    "representation": representation.alternatives,
}
SLOW = ("simulation", "reconnect", "idle", "machines", "representation")  # left out of a quick run
NAMED = ("pings",)  # run only when asked for
PURE = ("inbound", "decode", "encode", "growth", "machines")  # what --python measures, unless it is told what
ROUNDS, QUICK_ROUNDS = 15, 5


def main() -> None:
    """Run the groups that were asked for, all by default."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "groups", nargs="*", choices=[*GROUPS, []], help=f"what to measure; all but {', '.join(NAMED)} by default"
    )
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_ROUNDS} rounds, without {', '.join(SLOW)}")
    parser.add_argument("--rounds", type=int, help=f"pairs per row; default {ROUNDS}")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to FILE as well")
    parser.add_argument(
        "--python",
        metavar="PYTHON",
        help=f"measure on another Python, in an environment made for it; {', '.join(PURE)} by default",
    )
    parser.add_argument("--count", action="store_true", help="count instructions of the hot paths instead of time")
    parser.add_argument("--profile", metavar="PATH", help="which functions the instructions of a hot path are in")
    parser.add_argument("--check", action="store_true", help="with --count: fail if one has grown by more than 10 %%")
    parser.add_argument("--update", action="store_true", help="with --count: make this the baseline")
    options = parser.parse_args()
    if options.python is not None:
        arguments = [argument for argument in sys.argv[1:] if argument not in ("--python", options.python)]
        arguments = [argument for argument in arguments if not argument.startswith("--python=")]
        sys.exit(elsewhere.run(options.python, [*arguments, *(() if options.groups else PURE)]))
    if options.profile is not None:
        sys.exit(instructions.profile(options.profile))
    if options.count:
        sys.exit(instructions.report(check=options.check, update=options.update))
    rounds = options.rounds or (QUICK_ROUNDS if options.quick else ROUNDS)
    chosen = options.groups or [name for name in GROUPS if name not in (*NAMED, *(SLOW if options.quick else ()))]
    rows: list[Row] = []
    for name in chosen:
        for row in GROUPS[name](rounds):
            rows.append(row)
            print(f"  {name}: {row.name}", file=sys.stderr, flush=True)
    print(f"\n{table(rows)}\n\n{details(rows)}\n")
    print(", ".join(f"{name} {value}" for name, value in surroundings().items()) + f", {rounds} rounds")
    if options.json is not None:
        write_json(options.json, rows)


if __name__ == "__main__":
    main()
