"""The play: what the hub, the network and the disk do to the agents, act by act.

Each act waits for what it is about, with a bound; what does not come is a problem, and the play goes on.
"""

import time
from collections.abc import Callable
from functools import partial

from clawproto_cli.demo.agent import Agent
from clawproto_cli.demo.board import Board
from clawproto_cli.demo.settings import ROTATIONS_WANTED
from clawproto_cli.demo.story import Story
from clawproto_io.hub_thread import HubThread

_PATIENCE = 30.0  # seconds that an act waits for what it is about


class Director:
    """Plays it once.

    Attributes:
        problems: what did not happen as it should.
    """

    def __init__(self, hub: HubThread, agents: tuple[Agent, Agent], board: Board, story: Story) -> None:
        self.problems: list[str] = []
        self._hub = hub
        self._agents = agents
        self._board = board
        self._story = story

    def play(self) -> None:
        """All acts, in order."""
        self._meet()
        self._rotate()
        self._stream_answers()
        self._be_absent()
        self._refuse_tokens()
        self._outage()
        self._cut_the_cable()
        self._fill_the_disk()
        self._fall_silent()
        self._revoke()

    # --- acts ------------------------------------------------------------------------------------------------------

    def _meet(self) -> None:
        self._story.act("Pairing", "Both agents redeem a code, connect, and begin to talk to each other.")
        owner = self._hub.call(lambda hub: hub.create_user("Olga"))
        made = [self._hub.create_agent(owner, agent.name) for agent in self._agents]
        chat = self._hub.call(lambda hub: hub.create_conversation([one.user_id for one in made], "Ping and pong"))
        for agent, one in zip(self._agents, made, strict=True):
            agent.start(one.pairing_code, self._hub.base_url, chat)
        self._await_each("connect", lambda agent: agent.tally.ready)

    def _rotate(self) -> None:
        self._story.act("Rotation", "Halfway through their lives the tokens are replaced; the talk goes on.")
        self._await_each("rotate", lambda agent: agent.tally.rotations >= 1)
        self._sum_up()

    def _stream_answers(self) -> None:
        self._story.act("Streamed answer", "Each asks the other something; the answers are written piece by piece.")
        for _ in range(3):  # a rotation in the middle of an answer breaks its pieces off, though not the answer
            late = tuple(agent for agent in self._agents if not agent.tally.stream_seen)
            for agent in late:
                agent.ask()
            self._board.wait(partial(_all_saw_an_answer, late), 5)
        self._await_each("see an answer grow", lambda agent: agent.tally.stream_seen >= 1, 0)
        for agent in self._agents:
            tally = agent.tally
            self._story.note(f"        {agent.name} saw {tally.pieces} pieces, and {tally.stream_seen} whole answers")

    def _be_absent(self) -> None:
        away, other = self._agents[1], self._agents[0]
        self._story.act("Absence", f"{away.name}'s application is closed for 3 s; {other.name} goes on writing.")
        away.leave()
        self._await_all("leave", lambda: not away.tally.ready)
        before = len(other.tally.acknowledged)
        time.sleep(3)
        written = len(other.tally.acknowledged) - before
        away.come_back()
        self._await_all("come back to the backlog", lambda: away.tally.absences == 1 and away.tally.live)
        self._story.note(
            f"        {other.name} wrote {written} meanwhile, {away.name} was handed {away.tally.replayed}"
        )
        if away.tally.replayed < written:
            self.problems.append(f"{away.name} was handed {away.tally.replayed} of {written} messages")

    def _refuse_tokens(self) -> None:
        self._story.act("Refused token", "The hub refuses the tokens that both hold: refresh at once, then come back.")
        before = {agent.name: agent.tally.reactive for agent in self._agents}
        for _ in range(3):  # a rotation of its own may come in between and make the refusal void
            late = [agent for agent in self._agents if agent.tally.reactive == before[agent.name]]
            if not late:
                break
            for agent in late:
                self._refuse(self._user(agent))
            self._board.wait(lambda: all(agent.tally.reactive > before[agent.name] for agent in self._agents), 10)
        self._await_each("refresh a refused token", lambda agent: agent.tally.reactive > before[agent.name], 0)
        self._await_each("come back", lambda agent: agent.tally.ready)
        self._sum_up()

    def _outage(self) -> None:
        self._story.act("Outage", "The server is gone for 3 s, then back for 3 s with its token check down.")
        self._hub.call(lambda hub: hub.outage(True))
        self._hub.refuse_connections(True)
        self._hub.cut_all()
        time.sleep(3)
        self._story.note("        the server accepts connections again, its token check is still down")
        self._hub.refuse_connections(False)
        time.sleep(3)
        self._story.note("        all is well again")
        self._hub.call(lambda hub: hub.outage(False))
        self._await_each("come back", lambda agent: agent.tally.ready)
        self._sum_up()

    def _cut_the_cable(self) -> None:
        self._story.act("Cut cable", "Every connection breaks off in mid-sentence, twice.")
        for _ in range(2):
            self._cut_all()
            time.sleep(0.5)
        self._sum_up()

    def _cut_all(self) -> None:
        before = {agent.name: agent.tally.connects for agent in self._agents}
        self._hub.cut_all()
        self._await_each("come back", lambda agent: agent.tally.connects > before[agent.name])

    def _fill_the_disk(self) -> None:
        self._story.act("Full disk", "The next rotations find no space for the new tokens: hold them, then save them.")
        held = {agent.name: agent.tally.held for agent in self._agents}
        alarms = {agent.name: agent.tally.alarms for agent in self._agents}
        for agent in self._agents:
            agent.store.armed = True
        self._await_each("hold a pair", lambda agent: agent.tally.alarms > alarms[agent.name])
        time.sleep(1)
        self._story.note("        there is space again")
        for agent in self._agents:
            agent.store.armed = agent.store.full = False
        self._await_each("save the pair", lambda agent: agent.tally.held > held[agent.name])
        self._await_each("rotate often enough", lambda agent: agent.tally.rotations >= ROTATIONS_WANTED)
        self._sum_up()

    def _fall_silent(self) -> None:
        self._story.act("Silence", "They end their talk, and everything that was acknowledged must have arrived.")
        for agent in self._agents:
            agent.hush()
        self._await_all("acknowledge and deliver everything", self._is_quiet)
        self._sum_up()

    def _revoke(self) -> None:
        self._story.act("Logout", "The hub revokes both: the tokens must go, who they are must stay.")
        for agent in self._agents:
            self._end(self._user(agent))
        self._await_each("log out", lambda agent: bool(agent.tally.ended))

    def _refuse(self, user_id: str) -> None:
        self._hub.call(lambda hub: hub.reject_access(user_id))
        self._hub.call(lambda hub: hub.kick(user_id))

    def _end(self, user_id: str) -> None:
        self._hub.call(lambda hub: hub.revoke(user_id))
        self._hub.call(lambda hub: hub.kick(user_id))

    # --- tools -----------------------------------------------------------------------------------------------------

    def _is_quiet(self) -> bool:
        """Every message acknowledged, received, and every ping answered."""
        one, other = self._agents
        settled = all(len(agent.tally.acknowledged) == agent.tally.sent for agent in self._agents)
        return (
            settled
            and not one.is_answering
            and not other.is_answering
            and one.tally.acknowledged <= other.tally.received.keys()
            and other.tally.acknowledged <= one.tally.received.keys()
        )

    def _user(self, agent: Agent) -> str:
        return "" if agent.paired is None else agent.paired.identity.user_id

    def _await_each(self, what: str, holds: Callable[[Agent], bool], seconds: float = _PATIENCE) -> None:
        self._board.wait(lambda: all(holds(agent) or agent.tally.ended for agent in self._agents), seconds)
        self.problems += [f"{agent.name} did not {what}" for agent in self._agents if not holds(agent)]

    def _await_all(self, what: str, holds: Callable[[], bool]) -> None:
        if not self._board.wait(holds, _PATIENCE):
            self.problems.append(f"they did not {what}")

    def _sum_up(self) -> None:
        one, other = self._agents
        for sender, receiver in ((one, other), (other, one)):
            got = len(receiver.tally.received)
            self._story.note(
                f"        {sender.name} to {receiver.name}: {sender.tally.sent} sent,"
                f" {len(sender.tally.acknowledged)} acknowledged, {got} received;"
                f" {sender.tally.rotations} rotations"
            )


def _all_saw_an_answer(agents: tuple[Agent, ...]) -> bool:
    return all(agent.tally.stream_seen for agent in agents)
