"""The lines of the table: what is measured, against what. Limits are set where a row is made."""

from typing import Final

from attrs import frozen


@frozen
class Line:
    """One line of the table, of one or more rows.

    Attributes:
        what: as the issue has it.
        baseline: what the figures are divided by; a dash where the figure itself is judged.
    """

    what: str
    baseline: str


LINES: Final[dict[str, Line]] = {
    "inbound": Line("inbound frame → typed event", "json.loads"),
    "decode": Line("typed decode alone", "msgspec, own structs"),
    "encode": Line("command → encoded uplink frame", "json.dumps"),
    "rate": Line("messages per second", "bare websockets, json.loads"),
    "trip": Line("send → ack round trip", "bare websockets"),
    "memory": Line("memory per ready session", "bare websockets"),
    "state": Line("core state per idle session", "–"),
    "import": Line("import of the core", "attrs, cattrs"),
    "import drivers": Line("import of the drivers", "websockets"),
    "simulation": Line("1,000,000 sessions × 24 h", "–"),
    "frame growth": Line("frame at 1,000,000 messages seen", "at 10 seen"),
    "send growth": Line("send at 10,000 pending", "at 1 pending"),
    "reconnect": Line("2,000 sessions, hub restarts", "the backoff's schedule"),
    "idle": Line("10,000 idle sessions", "–"),
}

LEGEND: Final = """\
Inbound: dseq check, ack scheduling and settling included, receipts where the row says so. Encode: ids minted, the send
taken into the outbox; json.dumps of the same dict with its defaults. Rates are higher when better, and so is their
target. The simulation's figures are those of the population engine. Verdicts judge the medians; the noise rows say what
a ratio of two equal things comes to here."""
