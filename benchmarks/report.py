"""The table of targets, the details, and the same as JSON."""

import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from importlib import metadata
from pathlib import Path

from attrs import asdict

from benchmarks.harness import Row
from benchmarks.targets import LEGEND, LINES

PACKAGES = ("attrs", "cattrs", "msgspec", "websockets", "trio", "anyio", "httpx2", "uvloop")


def surroundings() -> dict[str, str]:
    """What the figures depend on."""
    found: dict[str, str] = {
        "python": f"{platform.python_implementation()} {platform.python_version()}{_threading()}",
        "platform": platform.platform(),
        "processors": str(processors()),
    }
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "absent"
    revision = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    found["revision"] = revision.stdout.strip() or "unknown"
    return found


def _threading() -> str:
    """That there is no global lock, where there is none."""
    has_lock: Callable[[], bool] | None = getattr(sys, "_is_gil_enabled", None)
    return "" if has_lock is None or has_lock() else " free-threaded"


def processors() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _figure(value: float | None, unit: str) -> str:
    if value is None:
        return ""
    digits = 0 if abs(value) >= 1000 else 1 if abs(value) >= 100 else 2
    return f"{value:,.{digits}f} {unit}".strip()


def _spread(row: Row) -> str:
    return f"{_figure(row.low, '')} - {_figure(row.high, '')}"


def _ratio(row: Row) -> str:
    return "" if row.ratio is None else f"{row.ratio:.2f}"


def _aligned(cells: Sequence[Sequence[str]], left: int) -> list[str]:
    """A Markdown table; the first ``left`` columns are texts, the others figures."""
    widths = [max(len(line[column]) for line in cells) for column in range(len(cells[0]))]
    lines: list[str] = []
    for index, line in enumerate(cells):
        texts = [text.ljust(width) for text, width in zip(line[:left], widths, strict=False)]
        figures = [text.rjust(width) for text, width in zip(line[left:], widths[left:], strict=True)]
        lines.append(f"| {' | '.join([*texts, *figures])} |")
        if index == 0:
            rules = ["-" * (width + 2) for width in widths[:left]] + [
                "-" * (width + 1) + ":" for width in widths[left:]
            ]
            lines.append(f"|{'|'.join(rules)}|")
    return lines


HEAD = ("what", "of", "measured", "baseline", "ratio", "quartiles", "target", "")


def _target(row: Row) -> str:
    assert row.target is not None
    sign = "≥" if row.target.at_least else "≤"
    limit = f"{row.target.limit:g}"
    return f"{sign} {limit} {row.unit}" if row.ratio is None else f"{sign} {limit} ×"


def table(rows: Sequence[Row]) -> str:
    """Every row that has a target, in the order of the lines, with its verdict; and which lines have none."""
    cells: list[tuple[str, ...]] = [HEAD]
    unmeasured: list[str] = []
    for key, line in LINES.items():
        members = [row for row in rows if row.target is not None and row.target.line == key]
        if not members:
            unmeasured.append(line.what)
        for index, row in enumerate(members):
            what = f"{line.what}, against {line.baseline}" if line.baseline != "–" else line.what
            figures = (_figure(row.subject, row.unit), _figure(row.baseline, row.unit), _ratio(row), _spread(row))
            cells.append(("" if index else what, row.name, *figures, _target(row), row.verdict or ""))
    if len(cells) == 1:
        return "Nothing that has a target was measured."
    judged = [row for row in rows if row.verdict is not None]
    met = sum(row.verdict == "met" for row in judged)
    lines = [*_aligned(cells, 2), "", f"{met} of {len(judged)} met.", "", LEGEND]
    if unmeasured:
        lines += ["", f"Not measured in this run: {'; '.join(unmeasured)}."]
    return "\n".join(lines)


def details(rows: Sequence[Row]) -> str:
    """The rows without a target, as a Markdown table per group."""
    lines: list[str] = []
    others = [row for row in rows if row.target is None]
    for group in dict.fromkeys(row.group for row in others):
        members = [row for row in others if row.group == group]
        against = "; ".join(dict.fromkeys(row.against for row in members if row.against))
        lines += ["", f"### {group}" + (f" (against {against})" if against else ""), ""]
        cells = [("", "median", "baseline", "ratio", "quartiles")]
        for row in members:
            figures = (_figure(row.subject, row.unit), _figure(row.baseline, row.unit), _ratio(row), _spread(row))
            cells.append((row.name, *figures))
        lines += _aligned(cells, 1)
    return "\n".join(lines).strip()


def write_json(path: Path, rows: Iterable[Row]) -> None:
    """Everything, for whoever wants to compare runs."""
    found = [{**asdict(row), "verdict": row.verdict} for row in rows]
    document = {"surroundings": surroundings(), "argv": sys.argv[1:], "rows": found}
    path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", "utf-8")
