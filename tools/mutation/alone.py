"""``python -m tools.mutation.alone JOBS TESTS…``, after `tools.mutation.judging`: a process for each of the others.

What runs while a module is imported, or once when something is first needed, is over before a mutant can be switched
on in a process that has everything. So those mutants that no test was seen to run into are judged once more, each by
a run of pytest that has it switched on from its beginning (`switch.VARIABLE`).
"""

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final

from tools.mutation import switch
from tools.mutation.judging import VERDICTS, Verdict, read_verdicts, write_verdict

_PATIENCE: Final = 300  # seconds
_PYTEST: Final = ("-m", "pytest", "-x", "-q", "--no-header", "-p", "no:randomly", "-p", "no:cacheprovider")


def judge_alone(mutant: str, tests: Sequence[str]) -> Verdict:
    """The verdict of a run of these tests; an import that fails notices a mutant as well."""
    environment = {**os.environ, switch.VARIABLE: mutant, "CI": "1"}  # the same examples for all
    command = [sys.executable, *_PYTEST, *tests]
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=_PATIENCE)
    except subprocess.TimeoutExpired:
        return Verdict(mutant, "stopped", "alone")
    if done.returncode == 0:
        return Verdict(mutant, "survived", None)
    found = re.search(r"^(?:FAILED|ERROR) (\S+)", done.stdout, re.MULTILINE)
    return Verdict(mutant, "failed", found[1] if found else "import")


def main(arguments: Sequence[str]) -> int:
    """Judge with so many jobs, and these tests."""
    jobs, *tests = arguments
    verdicts = list(read_verdicts(VERDICTS))
    left = [one.mutant for one in verdicts if one.word == "not run"]
    if left and (clean := judge_alone("", tests)).noticed:
        print(f"the tests fail without a mutant: {clean.test}")
        return 1
    with ThreadPoolExecutor(int(jobs)) as pool:
        judged = {one.mutant: one for one in pool.map(partial(judge_alone, tests=tests), left)}
    with VERDICTS.open("w", encoding="utf-8") as file:
        for verdict in verdicts:
            write_verdict(judged.get(verdict.mutant, verdict), file)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
