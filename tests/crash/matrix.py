"""The crash matrix: sessions that are killed at every effect boundary and at random instants, and what became of them.

    cycle:  life, killed ── (life, killed) ── a life that is left alone ── judged by hub, receiver and application

A judgement is exact, not statistical. The hub knows whether it has answered a refresh whose pair is in no store: that
is the one window which no client can close. Exactly then, and never else, the next life may end as ``rotation-lost``,
and it must. Under a hub that gives a grace it must come back even so. Whatever is lost otherwise is a failure.
"""

import random
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from attrs import define, evolve

from clawproto.hub import HubSettings
from clawproto_io.hub_thread import HubThread
from tests.crash.boundaries import Target
from tests.crash.forge import Forge
from tests.crash.life import Plan
from tests.crash.tally import ANY_TIME, VARIANTS, Aim, Deck, Tally, Variant
from tests.crash.witness import Found, Receiver, answered, fate, is_spent, look, refused_token, rotations, until

LONGEST_WAIT = 1.2  # seconds to a kill at a random instant; a life takes about as long
LATENCY_MS = 30  # of a refresh, where the instant is random
SLOW_MS = 150  # of a refresh that is to be killed under way

STRICT = HubSettings(token_flavour="opaque", access_token_life_ms=3_600_000, takeovers_free=100_000)
GRACE = evolve(STRICT, refresh_mode="grace", grace_from_ms=20)


@define
class Death:
    """How a life ended.

    Attributes:
        refresh: the refresh token that the store held then.
        over_ms: when the next life began; what the dead one had under way is decided by then.
    """

    aim: Aim | None
    killed: bool
    events: list[dict[str, Any]]
    refresh: str | None
    over_ms: int = 0

    def names(self) -> list[str]:
        return [event["event"] for event in self.events]


class Lane:
    """One agent, living and dying."""

    def __init__(
        self, number: int, hub: HubThread, receiver: Receiver, forge: Forge, folder: Path, tally: Tally
    ) -> None:
        self._hub = hub
        self._receiver = receiver
        self._forge = forge
        self._tally = tally
        self._chance = random.Random(f"{tally.driver} {tally.mode} {number}")
        self._name = f"{tally.driver}-{tally.mode}-{number}"
        self._agent = hub.create_agent(nick_name=self._name)
        self._chat = hub.call(
            lambda machine: machine.create_conversation([self._agent.user_id, receiver.agent.user_id])
        )
        self._store = folder / f"{self._name}.db"
        self._code = self._agent.pairing_code
        self._found = Found()
        self._posted: list[str] = []
        self._awaited: tuple[str, ...] = ()
        self._handled: list[str] = []
        self._begun: list[str] = []
        self._receipts: dict[str, str] = {}
        self._kept: dict[str, str] = {}  # ever found in the store, text by message id
        self._kept_before: set[str] = set()
        self._given_up: set[str] = set()  # undecided when a logout came
        self._unexpected: list[str] = []  # what should not have happened in a life
        self._last_stored: str | None = None
        self._lost_tokens: set[str] = set()
        self._stored = 0
        self._windows = 0
        self._lives = 0

    # --- one life ---

    def live(self, aim: Aim | None, target: Target | None = None, variant: Variant = "plain") -> Death:
        """Let the session live once. Without an aim it is to get over everything."""
        self._lives += 1
        needs_code = self._found.refresh is None
        if variant == "pairing" and not needs_code:
            self._code, needs_code = self._new_code(), True
        if variant == "rejected":
            self._hub.call(lambda machine: machine.reject_access(self._agent.user_id))
        self._slow_down(aim, target)
        self._post()
        self._awaited = tuple(text for text in self._posted if text not in self._handled)
        sends = tuple(f"{self._name} s{self._lives}.{number}" for number in range(3))
        plan = Plan(
            driver=self._tally.driver,
            store=str(self._store),
            base_url=self._hub.base_url,
            chat_id=self._chat,
            code=self._code if needs_code else None,
            sends=sends,
            awaited=self._awaited,
            undecided=tuple(self._found.kept),
            settles=variant == "plain" and aim is None,
            ends_refused=variant == "revoked",
            target=target,
        )
        outside = aim is not None and aim.kind == ANY_TIME
        found, handled = self._found, len(self._handled)
        events: list[dict[str, Any]] = []
        for event in self._forge.live(plan, self._chance.uniform(0, LONGEST_WAIT) if outside else None):
            events.append(event)
            self._hear(event)
        self._found = look(self._store)
        after = self._found.refresh
        self._kept.update(self._found.kept)
        given_up = self._found.given_up - self._given_up
        self._given_up |= given_up
        if given_up and not any(event["event"] == "logged-out" for event in events) and after is not None:
            self._unexpected.append(f"given up without a logout: {given_up}")
        again = {text for text in self._handled[handled:] if text in self._handled[:handled]}
        self._unexpected += [f"handed out again though it was handled: {text}" for text in again - set(found.waiting)]
        if needs_code and is_spent(self._hub, self._code):
            if _generation(found) == _generation(self._found):  # it was redeemed, and what it brought is nowhere
                self._count_code(aim, events)
            self._code = self._new_code()
        self._count_rotations()
        return Death(aim, events[-1]["killed"], events, after)

    def _hear(self, event: dict[str, Any]) -> None:
        match event:
            case {"event": "handled", "text": text}:
                self._handled.append(text)
            case {"event": "sending", "text": text}:
                self._begun.append(text)
            case {"event": "sent", "text": text, "message_id": message_id}:
                self._receipts[text] = message_id
            case {"event": "ready"}:
                self._post()
            case {"event": "ask", "what": "cut"}:
                self._hub.call(lambda machine: machine.kick(self._agent.user_id))
            case {"event": "ask", "what": "revoke"}:
                self._hub.call(lambda machine: machine.revoke(self._agent.user_id))
            case _:
                pass

    def _post(self) -> None:
        text = f"{self._name} r{len(self._posted)}"
        self._posted.append(text)
        self._hub.call(lambda machine: machine.post(self._agent.conversation_id, self._agent.owner_id, text))

    def _slow_down(self, aim: Aim | None, target: Target | None) -> None:
        """Give a refresh some time on its way, where it is to be killed there."""
        if target is not None and (target.kind, target.phase) == ("RequestRefresh", "during"):
            self._hub.call(
                lambda machine: machine.fail_refresh("delay", SLOW_MS, user_id=self._agent.user_id, times=target.number)
            )
        elif aim is not None and aim.kind == ANY_TIME:
            self._hub.call(
                lambda machine: machine.fail_refresh("delay", LATENCY_MS, user_id=self._agent.user_id, times=2)
            )

    def _new_code(self) -> str:
        owner, user = self._agent.owner_id, self._agent.user_id
        return self._hub.call(lambda machine: machine.create_pairing_code(owner, user))

    def _count_rotations(self) -> None:
        """Those of one life that are in the store, also if it has been logged out since."""
        after = self._found.refresh
        if after is None and self._found.credentials is not None:
            after = refused_token(self._hub, self._found.credentials)
        if after is not None:
            self._stored += rotations(self._hub, self._last_stored, after)
            self._last_stored = after

    def _count_code(self, aim: Aim | None, events: list[dict[str, Any]]) -> None:
        with self._tally.lock:
            self._tally.codes += 1
            if aim is None or not events[-1]["killed"]:
                self._tally.failures.append(f"{self._name}: a pairing was lost without a kill: {events}")
            else:
                self._tally.row(aim.kind).codes += 1

    # --- one cycle ---

    def cycle(self, draw: Callable[[], tuple[Aim, Target | None]], most: int) -> int:
        """Up to ``most`` kills, and a life that is left alone; how many kills there were."""
        deaths: list[Death] = []
        for _ in range(self._chance.choice((1, 1, 2))):
            if sum(death.killed for death in deaths) >= most:
                break
            aim, target = draw()
            if deaths and aim.variant == "pairing":
                break  # a new pair would hide what became of the old one
            begin = _now_ms()
            deaths.append(self.live(aim, target, aim.variant))
            if len(deaths) > 1:
                deaths[-2].over_ms = begin
        begin = _now_ms()
        deaths[-1].over_ms = begin
        before = self._found
        self._kept_before = set(before.kept.values())
        last = self.live(None)
        last.over_ms = begin
        with self._tally.lock:
            self._judge(deaths, before, begin, last)
        return sum(death.killed for death in deaths)

    def _judge(self, deaths: list[Death], before: Found, begin_ms: int, last: Death) -> None:
        tally = self._tally
        opened = 0
        for death in deaths:
            assert death.aim is not None
            if death.killed:
                tally.kills += 1
                tally.row(death.aim.kind).kills[death.aim.phase] += 1
            else:
                tally.not_reached += 1
            if self._has_lost(death):
                opened += 1
                tally.row(death.aim.kind).windows += 1
                if not death.killed:
                    self._fail("a pair was lost without a kill", deaths, last)
        tally.windows += opened
        self._windows += opened
        outcome, expected = self._outcome(last), self._expected(before, begin_ms)
        if outcome not in expected:
            self._fail(f"{outcome}, expected {' or '.join(expected)}", deaths, last)
        if not any(event.get("what") == "revoke" for death in deaths for event in death.events):
            self._judge_logouts(deaths, last, opened, before)
        else:
            tally.revoked += opened
        self._judge_messages(deaths, last)

    def _has_lost(self, death: Death) -> bool:
        """Whether a rotation was answered that the store knows nothing of, for the first time."""
        if death.refresh is None or death.refresh in self._lost_tokens:
            return False
        known = fate(self._hub, death.refresh)
        if not 0 < known.spent_ms < death.over_ms:
            return False
        self._lost_tokens.add(death.refresh)
        if known.state == "revoked":  # the hub has ended the session since: nobody misses the pair
            self._windows += 1
            return False
        return True

    def _judge_logouts(self, deaths: list[Death], last: Death, opened: int, before: Found) -> None:
        """The windows of this cycle, and what was said of them."""
        tally = self._tally
        told = [event["cause"] for death in (*deaths, last) for event in death.events if event["event"] == "logged-out"]
        if set(told) - {"rotation-lost"} or len(told) > opened:
            self._fail(f"logged out as {told}, and {opened} rotations were lost", deaths, last)
        tally.lost += len(told)
        if len(told) < opened:
            if tally.mode == "grace":
                tally.recovered += opened - len(told)
            elif before.refresh is None:  # killed once more between the clearing of the store and the notice
                tally.untold += opened - len(told)
            else:
                self._fail("a rotation was lost, and nobody said so", deaths, last)

    def _outcome(self, last: Death) -> str:
        if last.killed or last.events[-1]["status"] != 0:
            return "hung or broke"
        for event in last.events:
            if event["event"] == "logged-out":
                return str(event["cause"])
        names = last.names()
        if "credentials-needed" in names:
            return "credentials needed"
        return "came back" if "ready" in names and "rotated" in names else "not usable"

    def _expected(self, before: Found, begin_ms: int) -> tuple[str, ...]:
        """How the life that begins with this may end, by what the hub knows."""
        if before.refresh is None:
            return ("came back",)  # it was paired with a new code
        known = fate(self._hub, before.refresh)
        if known.state == "revoked":
            assert before.credentials is not None
            return ("refused",) if before.credentials.intent is None else ("refused", "rotation-lost")
        if known.state == "spent" and known.spent_ms < begin_ms and self._tally.mode == "strict":
            return ("rotation-lost",)
        return ("came back",)

    def _judge_messages(self, deaths: list[Death], last: Death) -> None:
        if self._outcome(last) == "came back":
            missing = [text for text in self._awaited if text not in self._handled]
            if missing:
                self._fail(f"never received: {missing}", deaths, last)
            left = [text for text in self._found.kept.values() if text in self._kept_before]
            if left:
                self._fail(f"still not decided: {left}", deaths, last)
            self._judge_arrivals(deaths, last)
        first = list(dict.fromkeys(self._handled))
        if first != sorted(first, key=self._posted.index):
            self._fail(f"out of order: {first}", deaths, last)
        if self._unexpected:
            self._fail("; ".join(self._unexpected), deaths, last)
            self._unexpected = []

    def _judge_arrivals(self, deaths: list[Death], last: Death) -> None:
        """Whatever was kept or acknowledged has arrived once, in order; whatever was not kept, at most once."""
        ids = self._receiver.ids
        promised = {*self._receipts, *self._kept.values()} - self._given_up
        if not until(lambda: all(ids.get(text) for text in promised), 5):
            lost = sorted(text for text in promised if not ids.get(text))
            self._fail(f"kept or acknowledged, and never arrived: {lost}", deaths, last)
        doubled = [text for text in self._begun if len(ids.get(text, ())) > 1]
        if doubled:
            self._fail(f"arrived twice: {doubled}", deaths, last)

    def _fail(self, problem: str, deaths: list[Death], last: Death) -> None:
        """Report it; what did not arrive is reported once."""
        self._given_up |= {text for text in self._kept.values() if not self._receiver.ids.get(text)}
        history = "\n".join(f"    {death.aim}: {death.events}" for death in (*deaths, last))
        self._tally.failures.append(f"{self._name}: {problem}\n{history}")

    def finish(self) -> None:
        """The sums."""
        tally = self._tally
        with tally.lock:
            self._sum_up(answered(self._hub, self._agent.user_id))

    def _sum_up(self, answers: int) -> None:
        tally = self._tally
        tally.answered += answers
        tally.stored += self._stored
        tally.received += len(set(self._handled))
        tally.redelivered += len(self._handled) - len(set(self._handled))
        tally.accepted += len(self._receipts)
        tally.sent_again += len(set(self._kept.values()) - set(self._receipts) - self._given_up)
        tally.given_up += len(self._given_up)
        tally.unkept += len(set(self._begun) - set(self._receipts) - set(self._kept.values()))
        tally.arrived += sum(bool(self._receiver.ids.get(text)) for text in self._begun)
        if tally.mode == "strict" and answers != self._stored + self._windows:
            tally.failures.append(
                f"{self._name}: {answers} rotations answered, {self._stored} stored, {self._windows} windows"
            )


def _generation(found: Found) -> int | None:
    return None if found.credentials is None else found.credentials.generation


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def explore(driver: str, hub: HubThread, receiver: Receiver, forge: Forge, folder: Path) -> dict[Variant, Counter[str]]:
    """How often each kind of effect is carried out in a life that nobody kills, by variant."""
    seen: dict[Variant, Counter[str]] = {}
    lane = Lane(0, hub, receiver, forge, folder, Tally(driver, "explored"))
    for variant in VARIANTS:
        death = lane.live(Aim(variant, "", ""), None, variant)
        assert not death.killed and death.events[-1]["status"] == 0, (death.events, forge.errors.read_text())
        seen[variant] = Counter(next(event for event in death.events if event["event"] == "ended")["counts"])
    return seen


def run(driver: str, mode: str, kills: int, folder: Path, *, seed: int = 0, lanes: int = 4) -> Tally:
    """Kill so many sessions of one driver, and say what became of them."""
    tally = Tally(driver, mode)
    begin = time.monotonic()
    with HubThread(STRICT if mode == "strict" else GRACE) as hub, Receiver(hub) as receiver:
        with Forge(folder / f"{driver}-{mode}.log") as forge:
            seen = explore(driver, hub, receiver, forge, folder)
        tally.seen = sum(seen.values(), Counter[str]())
        deck = Deck(seen, random.Random(seed))

        def work(number: int) -> None:
            with Forge(folder / f"{driver}-{mode}-{number}.log") as forge:
                lane = Lane(number, hub, receiver, forge, folder, tally)
                while (left := kills - tally.kills) > 0 and len(tally.failures) < 10:
                    lane.cycle(deck.draw, left)
                lane.finish()

        with ThreadPoolExecutor(lanes) as pool:
            list(pool.map(work, range(lanes)))
    tally.seconds = time.monotonic() - begin
    return tally
