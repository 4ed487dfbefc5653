"""Whether all went well: what the applications counted, checked against the hub's books and the files on the disk."""

from attrs import asdict
from rich.table import Table

from clawproto.credentials import Credentials
from clawproto.deferred import frozen
from clawproto.json_types import Json
from clawproto_cli.demo.agent import Agent
from clawproto_cli.demo.settings import ROTATIONS_WANTED
from clawproto_cli.demo.story import STYLES
from clawproto_cli.drivers import run
from clawproto_io import SqliteStore
from clawproto_io.hub_thread import HubThread


@frozen
class Outcome:
    """One agent's line of the closing table.

    Attributes:
        received_by_other: different messages of this agent that the other application was handed.
        lost: acknowledged to this agent, yet never handed to the other application.
        duplicated: handed to the other application more than once.
        rotations_at_hub: as the hub counted them.
        acknowledged_at_hub: different messages that the hub accepted from this agent.
        repeated: sends that were undecided for a while and repeated under the same id.
        held_pairs: rotations whose new pair had to be held in memory until the disk had room.
        tokens_gone: neither the record nor any file beside it holds a token.
        identity_kept: the record still says who the agent is.
    """

    name: str
    driver: str
    sent: int
    acknowledged: int
    acknowledged_at_hub: int
    received_by_other: int
    lost: int
    duplicated: int
    repeated: int
    rotations: int
    rotations_at_hub: int
    reactive_refreshes: int
    reconnects: int
    held_pairs: int
    ended: str
    tokens_gone: bool
    identity_kept: bool

    def problems(self) -> list[str]:
        """What is not as it must be."""
        checks = {
            f"{self.lost} messages were lost": self.lost == 0,
            f"{self.duplicated} messages were handed over twice": self.duplicated == 0,
            f"{self.sent - self.acknowledged} messages were never acknowledged": self.sent == self.acknowledged,
            f"the other was handed {self.received_by_other} different messages": self.received_by_other == self.sent,
            f"the hub accepted {self.acknowledged_at_hub} messages": self.acknowledged_at_hub == self.acknowledged,
            f"only {self.rotations} rotations": self.rotations >= ROTATIONS_WANTED,
            f"the hub counted {self.rotations_at_hub} rotations": self.rotations_at_hub == self.rotations,
            "no reactive refresh": self.reactive_refreshes >= 1,
            "no pair was held over a full disk": self.held_pairs >= 1,
            f"the session ended otherwise: {self.ended}": self.ended == "logged out",
            "the tokens are still stored": self.tokens_gone,
            "the identity is gone": self.identity_kept,
        }
        return [f"{self.name}: {problem}" for problem, holds in checks.items() if not holds]


def judge(hub: HubThread, agent: Agent, other: Agent) -> Outcome:
    """Call it when both have ended."""
    tally, theirs = agent.tally, other.tally
    user_id = "" if agent.paired is None else agent.paired.identity.user_id
    accepted = {
        record.message_id
        for record in hub.call(lambda machine: machine.uplink_records)
        if record.user_id == user_id and record.fate == "acked" and record.event.startswith("message.")
    }
    rotations = hub.call(lambda machine: machine.state()["rotations"])
    stored = _read(agent)
    return Outcome(
        name=agent.name,
        driver=agent.driver,
        sent=tally.sent,
        acknowledged=len(tally.acknowledged),
        acknowledged_at_hub=len(accepted),
        received_by_other=len(theirs.received),
        lost=len((tally.acknowledged | accepted) - theirs.received.keys()),
        duplicated=sum(count - 1 for count in theirs.received.values()),
        repeated=tally.repeats,
        rotations=tally.rotations,
        rotations_at_hub=_count(rotations, user_id),
        reactive_refreshes=tally.reactive,
        reconnects=tally.reconnects,
        held_pairs=tally.held,
        ended=tally.ended or "running",
        tokens_gone=stored is not None and stored.tokens is None and _left_no_trace(agent),
        identity_kept=stored is not None and agent.paired is not None and stored.identity == agent.paired.identity,
    )


def _count(rotations: Json, user_id: str) -> int:
    count = rotations.get(user_id) if isinstance(rotations, dict) else None
    return count if isinstance(count, int) else 0


def _read(agent: Agent) -> Credentials | None:
    async def load() -> Credentials | None:
        store = SqliteStore(agent.path)
        try:
            return await store.load()
        finally:
            await store.aclose()

    return run(load, "asyncio")


def _left_no_trace(agent: Agent) -> bool:
    pairs = [pair for pair in (agent.last_pair, agent.paired.tokens if agent.paired else None) if pair is not None]
    secrets = [token.reveal().encode() for pair in pairs for token in (pair.access, pair.refresh) if token is not None]
    files = [path.read_bytes() for path in agent.path.parent.glob(f"{agent.path.name}*")]
    return bool(secrets) and not any(secret in content for secret in secrets for content in files)


def table_of(outcomes: list[Outcome]) -> Table:
    """The closing table, one column an agent."""
    table = Table(title="How it went", title_justify="left", show_edge=False)
    table.add_column("")
    for outcome in outcomes:
        table.add_column(f"{outcome.name} ({outcome.driver})", style=STYLES[outcome.driver], justify="right")
    for key in asdict(outcomes[0]):
        if key in ("name", "driver"):
            continue
        values = [getattr(outcome, key) for outcome in outcomes]
        table.add_row(key.replace("_", " "), *(_shown(value) for value in values))
    return table


def _shown(value: object) -> str:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)
