"""Kill sessions and print what became of them: ``python -m tests.crash --kills 500``."""

import argparse
import sys
import tempfile
from pathlib import Path

from tests.crash import matrix, report
from tests.crash.tally import Tally


def main() -> int:
    """0: nothing was lost that could have been kept."""
    parser = argparse.ArgumentParser(prog="python -m tests.crash", description=__doc__)
    parser.add_argument("--kills", type=int, default=500, help="of each driver (default: %(default)s)")
    parser.add_argument("--grace-kills", type=int, default=60, help="more, under a hub with a grace (%(default)s)")
    parser.add_argument("--driver", action="append", choices=["asyncio", "trio"], help="default: both")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--lanes", type=int, default=4, help="sessions at a time (default: %(default)s)")
    options = parser.parse_args()
    tallies: list[Tally] = []
    with tempfile.TemporaryDirectory() as folder:
        for driver in options.driver or ["asyncio", "trio"]:
            for mode, kills in (("strict", options.kills), ("grace", options.grace_kills)):
                if kills:
                    tally = matrix.run(driver, mode, kills, Path(folder), seed=options.seed, lanes=options.lanes)
                    print(f"{driver}, {mode}: {tally.kills} kills in {tally.seconds:.0f} s", file=sys.stderr)
                    tallies.append(tally)
    print(report.boundaries([tally for tally in tallies if tally.mode == "strict"] or tallies), end="\n\n")
    print(report.sums(tallies))
    problems = [problem for tally in tallies for problem in report.problems(tally)]
    print(*problems, sep="\n", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
