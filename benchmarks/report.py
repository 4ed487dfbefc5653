"""The table, and the same as JSON."""

import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterable, Sequence
from importlib import metadata
from pathlib import Path

from attrs import asdict

from benchmarks.harness import Row

PACKAGES = ("attrs", "cattrs", "msgspec", "websockets", "trio", "anyio", "httpx2")


def surroundings() -> dict[str, str]:
    """What the figures depend on."""
    found: dict[str, str] = {
        "python": f"{platform.python_implementation()} {platform.python_version()}",
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


def processors() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _figure(value: float | None, unit: str) -> str:
    if value is None:
        return ""
    digits = 0 if abs(value) >= 1000 else 1 if abs(value) >= 100 else 2
    return f"{value:,.{digits}f} {unit}"


def _cells(row: Row) -> tuple[str, ...]:
    if row.ratio is None:
        return (row.name, _figure(row.subject, row.unit), "", "", f"{_figure(row.low, '')}- {_figure(row.high, '')}")
    spread = f"{row.low:.2f} - {row.high:.2f}"
    return (row.name, _figure(row.subject, row.unit), _figure(row.baseline, row.unit), f"{row.ratio:.2f}", spread)


HEAD = ("", "median", "baseline", "ratio", "quartiles")


def table(rows: Sequence[Row]) -> str:
    """All rows as a Markdown table per group."""
    lines: list[str] = []
    for group in dict.fromkeys(row.group for row in rows):
        members = [row for row in rows if row.group == group]
        cells = [HEAD, *(_cells(row) for row in members)]
        widths = [max(len(line[column]) for line in cells) for column in range(len(HEAD))]
        against = "; ".join(dict.fromkeys(row.against for row in members if row.against))
        lines += ["", f"### {group}" + (f" (against {against})" if against else ""), ""]
        for index, line in enumerate(cells):
            first, *others = (text.rjust(width) for text, width in zip(line, widths, strict=True))
            lines.append(f"| {' | '.join([first.strip().ljust(widths[0]), *others])} |")
            if index == 0:
                rules = ["-" * (widths[0] + 2), *("-" * (width + 1) + ":" for width in widths[1:])]
                lines.append(f"|{'|'.join(rules)}|")
    return "\n".join(lines).strip()


def write_json(path: Path, rows: Iterable[Row]) -> None:
    """Everything, for whoever wants to compare runs."""
    document = {"surroundings": surroundings(), "argv": sys.argv[1:], "rows": [asdict(row) for row in rows]}
    path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", "utf-8")
