"""``clawproto demo --fleet``: processes share the accounts of one store, while one is killed and another suspended.

hub (this process) <── sessions ── members, each a ``clawproto fleet`` ──> the store <── looked at from here
"""

import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread
from typing import Literal

import anyio

from clawproto.credentials import Credentials, Identity, TokenPair
from clawproto.hub import HubAgent, HubSettings
from clawproto.json_types import Json
from clawproto.secret import Secret
from clawproto_cli.demo.fleet_setting import Finding, Numbers, StoreKind, fresh_store
from clawproto_cli.demo.members import Member
from clawproto_cli.demo.story import Story
from clawproto_io import SystemClock, open_accounts
from clawproto_io.hub_thread import HubThread
from clawproto_io.stores import place_of
from clawproto_io.stores.base import AccountRow

_LOOK_EVERY = 0.1  # seconds
_TELL_EVERY = 0.4
_START = 30.0  # seconds for processes to start, on a busy machine
_OUTAGE = 3.0  # seconds


class FleetPlay:
    """Plays it once.

    Attributes:
        findings: the verdict so far.
    """

    def __init__(self, numbers: Numbers, url: str, hub: HubThread, story: Story) -> None:
        self.findings: list[Finding] = []
        self._numbers = numbers
        self._url = url
        self._hub = hub
        self._story = story
        self._members: list[Member] = []
        self._agents: list[HubAgent] = []
        self._rows: tuple[AccountRow, ...] = ()
        self._posted = 0
        self._hush = Event()
        self._said = ""
        self._said_at = 0.0

    def play(self) -> None:
        """All acts, in order."""
        poster = Thread(target=self._post, daemon=True)
        try:
            self._provide()
            self._together()
            poster.start()
            self._rotate()
            self._death()
            self._newcomer()
            self._suspended()
            self._outage()
            self._hush.set()
            self._answer_all()
            self._part()
            self._judge()
        finally:
            self._hush.set()
            for member in self._members:
                member.close()
            if poster.ident is not None:
                poster.join()

    # --- acts ------------------------------------------------------------------------------------------------------

    def _provide(self) -> None:
        number = self._numbers.accounts
        self._story.act("Accounts", f"{number} agents are made, and their tokens put into {place_of(self._url)}.")
        self._agents = [self._hub.create_agent(nick_name=f"agent-{index}") for index in range(number)]

        async def store() -> None:
            accounts = open_accounts(self._url)
            now = SystemClock().now().wall_ms
            for index, agent in enumerate(self._agents):
                identity = Identity(agent.user_id, agent.device_id, self._hub.base_url, self._hub.ws_url)
                tokens = TokenPair(Secret(agent.access_token), Secret(agent.refresh_token), now)
                await accounts.account(f"agent-{index:03}").save(Credentials(identity, tokens, 1), None)
            await accounts.aclose()

        anyio.run(store)

    def _together(self) -> None:
        self._story.act("Together", "Two members begin at the same time: one on asyncio, one on trio.")
        self._join("A", "asyncio")
        self._join("B", "trio")
        took = self._until(lambda: self._is_shared() and self._all_connected(), _START + self._connecting_time)
        self._find("all accounts connected after the start", took, None)

    def _rotate(self) -> None:
        self._story.act("Rotation", "The owners write, the agents answer, and all tokens are rotated once.")
        took = self._until(lambda: len(self._rotations()) == len(self._agents), 2 * self._numbers.token_life)
        self._find("every account rotated", took, None)

    def _death(self) -> None:
        victim = self._members[0]
        held = self._loads()[victim.name]
        self._story.act("Death", f"{victim.title} is killed with {held} sessions (SIGKILL).")
        victim.kill()
        self._measure_takeover(f"the {held} accounts of a killed member owned again")

    def _newcomer(self) -> None:
        self._story.act("Newcomer", "A third member begins, and gets its share.")
        newcomer = self._join("C", "asyncio")
        self._until(lambda: newcomer.name in self._beats_of(), _START)
        took = self._until(self._is_shared, self._numbers.term + 5)
        self._find("shared fairly after a member has joined", took, self._numbers.term)
        self._until(self._all_connected, self._connecting_time)

    def _suspended(self) -> None:
        sleeper = self._members[1]
        held = self._loads()[sleeper.name]
        self._story.act("Suspension", f"{sleeper.title} is suspended with {held} sessions (SIGSTOP).")
        sleeper.pause()
        self._measure_takeover(f"the {held} accounts of a suspended member owned again")
        self._story.note(f"        {sleeper.title} goes on: it finds itself replaced, and begins anew")
        sleeper.resume()
        took = self._until(lambda: self._is_shared() and self._all_connected(), 3 * self._numbers.term)
        self._find("shared fairly after it woke up", took, None)

    def _outage(self) -> None:
        self._story.act("Outage", f"Every connection is cut, and the hub is gone for {_OUTAGE:.0f} s.")
        self._hub.refuse_connections(True)
        self._hub.cut_all()
        time.sleep(_OUTAGE)
        self._hub.refuse_connections(False)
        back = int(SystemClock().now().wall_ms / 1000)
        took = self._until(self._all_connected, 2 * self._connecting_time)
        self._find("all accounts connected after the outage", took, None)
        time.sleep(1)  # the last lines of the members
        rates = sum((member.connected for member in self._members), Counter[int]())
        most = max((count for second, count in rates.items() if second >= back), default=0)
        # Each of the two members may begin 20 a second, and a second may catch the end of one turn and half of another.
        self._judge_that("reconnects in the busiest second after it", str(most), most <= 2 * 20 * 1.5)

    def _answer_all(self) -> None:
        """What was written is answered, except what a member had read and not yet answered when it died."""
        took = self._until(lambda: self._answers() >= self._posted, 20)
        answered = self._answers()
        self._judge_that("answers, and messages written", f"{answered}, {self._posted}", took is not None)

    def _part(self) -> None:
        self._story.act("Parting", "The members end in good order, and give everything back.")
        ended = [member.end() for member in self._members if member.exit_code is None]
        self._judge_that("members that ended in good order", f"{sum(ended)} of {len(ended)}", all(ended))
        self._look()
        owned = [row.name for row in self._rows if row.lease is not None and row.lease.owner is not None]
        self._judge_that("accounts still owned by somebody", str(len(owned)), not owned)

    def _judge(self) -> None:
        unpaired = sum(not row.paired for row in self._rows) + sum(len(one.logged_out) for one in self._members)
        self._judge_that("logouts", str(unpaired), unpaired == 0)
        failures = [failure for member in self._members for failure in member.failures]
        self._judge_that("sessions that failed", "; ".join(failures[:3]) or "0", not failures)
        state = self._hub.call(lambda hub: hub.state())
        refused = _number(state["counts"], "refresh 10003")
        self._judge_that("refresh tokens shown twice, or refused otherwise", str(refused), refused == 0)
        repeated, wrong = self._check_generations(state)
        self._judge_that(
            "accounts whose rotations and saved pairs differ",
            f"{wrong} (answers lost in a kill: {repeated})",
            wrong == 0,
        )
        rotated = sum((member.rotated for member in self._members), Counter[int]())
        busiest = max(rotated.values(), default=0)
        mean = sum(rotated.values()) / max(1, max(rotated) - min(rotated) + 1) if rotated else 0
        self._judge_that(
            "rotations a second: mean, busiest", f"{mean:.1f}, {busiest}", busiest <= max(10, 2 * 10 * 1.5)
        )

    def _check_generations(self, state: dict[str, Json]) -> tuple[int, int]:
        """Rotations whose answer was lost and repeated within the server's grace, and accounts that do not add up."""

        async def generations() -> list[int]:
            accounts = open_accounts(self._url)
            stored = [await accounts.account(row.name).load() for row in self._rows]
            await accounts.aclose()
            return [0 if one is None else one.generation for one in stored]

        repeated = wrong = 0
        for agent, generation in zip(self._agents, anyio.run(generations), strict=True):
            graces = _number(state["grace_redemptions"], agent.user_id)
            repeated += graces
            wrong += _number(state["rotations"], agent.user_id) - graces != generation - 1
        return repeated, wrong

    # --- tools -----------------------------------------------------------------------------------------------------

    def _join(self, title: str, driver: Literal["asyncio", "trio"]) -> Member:
        numbers = self._numbers
        member = Member(f"{title} ({driver})", driver, self._url, numbers.term, numbers.refresh_floor)
        self._members.append(member)
        return member

    def _post(self) -> None:
        """Owners write to their agents, one after the other."""
        while not self._hush.wait(1 / self._numbers.posts_per_second):
            agent = self._agents[self._posted % len(self._agents)]
            chat, owner, text = agent.conversation_id, agent.owner_id, f"question {self._posted}"
            self._hub.call(lambda hub: hub.post(chat, owner, text))  # noqa: B023  # called at once
            self._posted += 1

    @property
    def _connecting_time(self) -> float:
        """Seconds, with a wide margin, in which all accounts connect at 20 a second and member."""
        return 20 + len(self._agents) / 5

    def _measure_takeover(self, what: str) -> None:
        took = self._until(self._all_owned, self._numbers.term + 5)
        self._find(what, took, self._numbers.term)
        connected = self._until(self._all_connected, self._connecting_time)
        if connected is not None and took is not None:
            self._story.note(f"        and {took + connected:.1f} s after it all of them were connected")

    def _find(self, what: str, took: float | None, limit: float | None) -> None:
        found = "never" if took is None else f"after {took:.1f} s"
        if limit is not None:
            found += f" (at most {limit:.0f} s)"
        self._judge_that(what, found, took is not None and (limit is None or took <= limit))

    def _judge_that(self, what: str, found: str, good: bool) -> None:
        self.findings.append(Finding(what, found, good))
        self._story.note(f"        {what}: {found}", "green" if good else "red")

    def _until(self, condition: Callable[[], bool], seconds: float) -> float | None:
        """How long it took; None: longer than that."""
        began = time.monotonic()
        while True:
            asked = time.monotonic() - began
            self._look()
            if condition():
                return asked
            if asked > seconds:
                return None
            self._tell()
            time.sleep(_LOOK_EVERY)

    def _look(self) -> None:
        async def look() -> tuple[AccountRow, ...]:
            accounts = open_accounts(self._url)
            try:
                return await accounts.accounts()
            finally:
                await accounts.aclose()

        self._rows = anyio.run(look)

    def _tell(self) -> None:
        loads = self._loads()
        parts = [
            f"{one.title} {loads[one.name]:>3}{' suspended' if one.is_paused else ''}"
            for one in self._members
            if one.exit_code is None
        ]
        said = f"  {'   '.join(parts)}   nobody {loads['']:>3}   connected {self._ready():>3}"
        now = self._story.seconds
        if said != self._said and now >= self._said_at + _TELL_EVERY:
            self._said, self._said_at = said, now
            self._story.note(f"{now:5.1f} s{said}", "")

    def _loads(self) -> Counter[str]:
        """Accounts by owner; the empty name stands for nobody."""
        return Counter("" if row.lease is None or row.lease.owner is None else row.lease.owner for row in self._rows)

    def _awake(self) -> list[Member]:
        return [one for one in self._members if one.exit_code is None and not one.is_paused]

    def _beats_of(self) -> set[str]:
        return {one.name for one in self._members if one.totals and one.name}

    def _all_owned(self) -> bool:
        names = {one.name for one in self._awake()}
        return all(row.lease is not None and row.lease.owner in names for row in self._rows)

    def _is_shared(self) -> bool:
        loads = self._loads()
        counts = [loads[one.name] for one in self._awake()]
        return self._all_owned() and max(counts) - min(counts) <= 1

    def _ready(self) -> int:
        """Accounts with a live connection, as the hub sees it; those of a suspended member count as well."""
        ready = self._hub.call(lambda hub: hub.state()["ready"])
        return ready if isinstance(ready, int) else 0

    def _all_connected(self) -> bool:
        return self._ready() >= len(self._agents)

    def _rotations(self) -> list[int]:
        state = self._hub.call(lambda hub: hub.state())["rotations"]
        return [count for agent in self._agents if (count := _number(state, agent.user_id))]

    def _answers(self) -> int:
        """A question that was not settled when its member died, or had to let go, may have been answered twice."""
        agents = {agent.user_id for agent in self._agents}
        return sum(
            record.event == "message.reply" and record.user_id in agents
            for record in self._hub.call(lambda hub: hub.uplink_records)
        )


def _number(counts: Json, key: str) -> int:
    found = counts.get(key) if isinstance(counts, dict) else None
    return found if isinstance(found, int) else 0


def play(numbers: Numbers, kind: StoreKind, story: Story) -> list[Finding]:
    """Play it; the verdict."""
    settings = HubSettings(
        access_token_life_ms=round(numbers.token_life * 1000), refresh_mode="grace", uplink_log=1_000_000
    )
    with (
        tempfile.TemporaryDirectory(prefix="clawproto-fleet-") as folder,
        HubThread(settings) as hub,
        fresh_store(Path(folder), kind) as url,
    ):
        playing = FleetPlay(numbers, url, hub, story)
        playing.play()
    return playing.findings
