"""``python -m clawproto.testing.explore``: explore, and say what was found. Exit code 1 if something must not be."""

import argparse
import sys
from collections.abc import Sequence

from clawproto.testing.explore import BOUNDED, DEEP, Client, journal, search, table
from clawproto.testing.explore.search import Report


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the worlds that were asked for."""
    parser = argparse.ArgumentParser(prog="python -m clawproto.testing.explore", description=__doc__)
    parser.add_argument("--deep", action="store_true", help="all worlds, with more faults and further; takes long")
    parser.add_argument("--world", action="append", help="only worlds whose name begins like this; may be repeated")
    parser.add_argument("--limit", type=int, help="of transitions in each world")
    parser.add_argument("--first", action="store_true", help="stop at the first violation")
    parser.add_argument("--progress", action="store_true", help="a line for each layer, on stderr")
    options = parser.parse_args(arguments)
    wanted: list[str] = options.world or [""]
    worlds = [world for world in (DEEP if options.deep else BOUNDED) if world.name.startswith(tuple(wanted))]
    if not worlds:
        parser.error("no world has such a name")
    reports: list[Report] = []
    for world in worlds:
        client = Client(world.setting.linked)
        limit = world.limit if options.limit is None else options.limit
        progress = _progress if options.progress else None
        report = search(world.name, world.setting, client=client, limit=limit, progress=progress)
        reports.append(report)
        print(table([report]).splitlines()[1], flush=True)
        if report.counterexample is not None:
            print(journal(report.counterexample, client), flush=True)
            if options.first:
                break
    print()
    print(table(reports))
    return int(any(report.counterexample is not None for report in reports))


def _progress(depth: int, states: int, transitions: int) -> None:
    print(f"depth {depth}: {states:,} states, {transitions:,} transitions", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
