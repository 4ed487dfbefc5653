"""``python -m benchmarks``: measure, print the table."""

import argparse
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks import footprint, instructions, network, pure, representation
from benchmarks.harness import Row
from benchmarks.report import surroundings, table, write_json

GROUPS: dict[str, Callable[[int], Iterator[Row]]] = {
    "inbound": pure.inbound,
    "machines": pure.machines,
    "representation": representation.alternatives,
    "drivers": network.drivers,
    "imports": footprint.imports,
    "memory": footprint.memory,
}


def main() -> None:
    """Run the groups that were asked for, all by default."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("groups", nargs="*", choices=[*GROUPS, []], help="what to measure; all by default")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to FILE as well")
    parser.add_argument("--rounds", type=int, default=15, help="pairs per row; default 15")
    parser.add_argument("--count", action="store_true", help="count instructions of the hot paths instead of time")
    parser.add_argument("--check", action="store_true", help="with --count: fail if one has grown by more than 10 %%")
    parser.add_argument("--update", action="store_true", help="with --count: make this the baseline")
    options = parser.parse_args()
    if options.count:
        sys.exit(instructions.report(check=options.check, update=options.update))
    rows: list[Row] = []
    for name in options.groups or GROUPS:
        for row in GROUPS[name](options.rounds):
            rows.append(row)
            print(f"  {row.group}: {row.name}", flush=True)
    print("\n" + table(rows) + "\n")
    print(", ".join(f"{name} {value}" for name, value in surroundings().items()))
    if options.json is not None:
        write_json(options.json, rows)


if __name__ == "__main__":
    main()
