"""What is around the session, small and without a will of its own: server, network, store, a sibling, the owner.

Everything that may happen next is listed by `successors`. A state is a tuple, canonical like the session's: the pairs
have numbers in the order in which they are met, the generations of records count from the session's own.

    server   knows one refresh token that it will redeem, and for a while the one before (REF-8); may be asked by an
             earlier life of the session, and may revoke
    network  a request, or the answer to it, is on its way, delayed for as long as one likes, or lost
    store    an operation waits, has been done and not reported, or has failed: before it wrote, or afterwards
    sibling  another process on the same store: rotates (and may die before it saves), logs out, pairs again
    host     stops, starts again, loads what the store holds, is killed at any moment
    hub      greets, refuses in three ways, closes with any code, repeats and garbles (worlds with a link)
"""

from collections.abc import Iterator
from typing import Any, Final

from clawproto.testing.explore.client import Client
from clawproto.testing.explore.pool import HOURS_LATER, Age
from clawproto.testing.explore.surroundings import (
    Global,
    Label,
    Next,
    Operation,
    Request,
    Setting,
    carried_out,
    inward,
    lowered,
    minted,
    renumbered,
)
from clawproto.testing.explore.totality import Violation
from clawproto.testing.explore.vocabulary import NONE, Move, Record

# Where the server's newest pair may get lost without any fault of the session.
_EXCUSED: Final = ("answer lost", "killed", "sibling dies", "nobody to answer")
_ANSWERS: Final = ("internal", "busy", "garbage")


class Environment:
    """All that may happen around one `Client`."""

    def __init__(self, client: Client, setting: Setting) -> None:
        self.client = client
        self.setting = setting

    def initial(self) -> Global:
        """An agent that is not started yet."""
        faults = NONE if self.setting.faults is None else self.setting.faults
        if self.setting.begin == "absent":
            return Global(0, (), NONE, NONE, (), (), None, None, (), (), faults)
        live = NONE if self.setting.begin == "revoked" else 0
        return Global(0, (), live, NONE, (), (), (0, 0, NONE, NONE), None, (), ("fresh",), faults)

    def is_at_rest(self, state: Global) -> bool:
        """Ready, or waiting for credentials after what was final, or ended."""
        view = self.client.views[state.node]
        if view.finished and view.started:
            return True
        if not view.settled or view.stopped or state.requests:
            return False
        if any(operation.number for operation in state.operations):
            return False
        return view.status != "usable" or not self.setting.linked or (view.link == "Online" and not view.overrun)

    def successors(self, state: Global) -> Iterator[Next]:
        """Everything that may happen next.

        Raises:
            Violation: the session did what it must not in one of them.
        """
        view = self.client.views[state.node]
        may_fail = state.faults != 0
        if not view.started:
            yield from self._starts(state)
        else:
            yield from self._of_session(state, may_fail)
            if self.setting.linked:
                yield from self._of_hub(state, may_fail)
            elif view.may_open or view.armed:
                yield from self._of_link(state, may_fail)
            yield from self._of_requests(state, may_fail)
        yield from self._of_store(state, may_fail)
        yield from self._of_others(state, may_fail)

    # --- the host ---

    def _starts(self, state: Global) -> Iterator[Next]:
        yield self._move(state, ("start",), ("start", state.store, 0), healthy=True)
        if state.store is not None and state.store[2] != NONE:
            yield self._move(state, ("start", "later"), ("start", state.store, 100), healthy=True)

    def _of_session(self, state: Global, may_fail: bool) -> Iterator[Next]:
        setting, view = self.setting, self.client.views[state.node]
        if view.deadline:
            yield self._move(state, ("time passes",), ("time",), healthy=True)
            if may_fail:
                yield self._move(state, ("the host slept",), ("late",), fault=True)
        if view.finished:
            yield self._move(state, ("restart",), ("restart", state.store), spent=())
            return
        if setting.ages and view.ages[:1] == ("fresh",) and not state.requests:
            yield self._move(state, ("hours pass",), ("age",), aged=True)
        if view.commands < setting.callers:
            yield self._move(state, ("a caller wants a refresh",), ("refresh",))
        if setting.stops and not view.stopped:
            yield self._move(state, ("stop",), ("stop",))
        if setting.loads and state.store is not None and not view.stopped:
            yield self._move(state, ("the host loads the record",), ("load", state.store))
        if setting.pauses and not view.stopped:
            if view.paused:
                yield self._move(state, ("the application reads",), ("resume",), healthy=True)
            else:
                yield self._move(state, ("the application is full",), ("pause",), fault=may_fail)
        if setting.crashes and may_fail:
            yield from self._crashes(state)

    def _crashes(self, state: Global) -> Iterator[Next]:
        """The process is gone. Of what it had asked for anything may have been done; the rest never is."""
        orphans = tuple(Request(False, one.pair, None) for one in state.requests if one.answer is None and one.awaited)
        for orphaned in (False, True) if orphans else (False,):
            kept = orphans[:1] if orphaned else ()
            left = state._replace(node=0, pairs=(), requests=kept, operations=(), spent=())
            yield self._settle(state, ("killed",), left, fault=True)

    # --- the socket ---

    def _of_link(self, state: Global, may_fail: bool) -> Iterator[Next]:
        view = self.client.views[state.node]
        if view.may_open and not view.armed:
            yield self._move(state, ("the hub greets",), ("socket", "ready"), healthy=True)
            if may_fail:
                yield self._move(state, ("the hub rejects the token",), ("socket", "rejected"), fault=True)
                yield self._move(state, ("the hub is unwell",), ("socket", "unwell"), fault=True)
        if view.armed and may_fail and not view.stopped:
            yield self._move(state, ("the socket is lost",), ("socket", "lost"), fault=True)

    def _of_hub(self, state: Global, may_fail: bool) -> Iterator[Next]:
        link = self.client.views[state.node].link
        good = {
            "Opening": ("opened",),
            "Waiting": ("frame", "challenge"),
            "Greeting": ("frame", "ready"),
            "Online": ("frame", "pong"),
            "Closing": ("closed", 1000),
        }.get(link)
        if good is None:
            return
        yield self._move(state, ("hub", *good), good, healthy=True)
        if not may_fail:
            return
        bad: list[Move] = []
        if link == "Opening":
            bad = [("open-failed",), ("frame", "challenge")]
        elif link in ("Waiting", "Greeting"):
            bad = [("frame", what) for what in ("rejected", "outage", "unwell", "garbage")]
            bad += [("closed", code) for code in self.setting.codes]
            bad.append(("frame", "ready" if link == "Waiting" else "challenge"))
        elif link == "Online":
            bad = [("closed", code) for code in self.setting.codes]
            bad += [("frame", "garbage"), ("frame", "ready"), ("frame", "rejected")]
        else:
            bad = [("closed", 4002), ("frame", "pong")]
        for move in bad:
            yield self._move(state, ("hub", *move), move, fault=True)

    # --- the server, and the way to it ---

    def _of_requests(self, state: Global, may_fail: bool) -> Iterator[Next]:
        for index, request in enumerate(state.requests):
            rest = state.requests[:index] + state.requests[index + 1 :]
            if request.answer is None:
                yield from self._processed(state, request, rest, may_fail)
            else:
                yield self._answered(state, request, rest, request.answer, ("answer", request.answer[0]), healthy=True)
                if may_fail and self.setting.server_faults:
                    yield self._answered(state, request, rest, ("unknown",), ("answer lost",), fault=True)

    def _processed(self, state: Global, request: Request, rest: tuple[Request, ...], may_fail: bool) -> Iterator[Next]:
        """The server looks at a request. What becomes of an earlier life's answer interests nobody."""
        redeemable = request.pair == state.live or (request.pair == state.previous and self.setting.grace)
        outcomes = [(minted(state), True)] if redeemable else []
        if redeemable and may_fail and self.setting.server_faults and request.awaited and minted(state) == "new-1":
            outcomes.append(("short", False))  # its time of issue tells it from no other new one
        for age, healthy in outcomes:
            pair = len(state.ages)
            changed = state._replace(live=pair, previous=request.pair, ages=(*state.ages, age))
            if request.awaited:
                answered = (*rest, request._replace(answer=("rotated", pair)))
                label = ("server", "rotates", age)
                yield self._settle(
                    state, label, changed._replace(requests=answered), healthy=healthy, fault=not healthy
                )
            else:
                yield self._settle(state, ("nobody to answer",), changed._replace(requests=rest), healthy=True)
        if not redeemable:
            answered = (*rest, request._replace(answer=("refused",))) if request.awaited else rest
            yield self._settle(state, ("server", "refuses"), state._replace(requests=answered), healthy=True)
        if request.awaited and may_fail and self.setting.server_faults:
            for answer in _ANSWERS:
                answered = (*rest, request._replace(answer=(answer,)))
                yield self._settle(state, ("server", answer), state._replace(requests=answered), fault=True)
            ended = state.live if request.pair != state.live else NONE
            answered = (*rest, request._replace(answer=("bad-request",)))
            changed = state._replace(requests=answered, live=ended, previous=NONE)
            yield self._settle(state, ("server", "bad request"), changed, fault=True)
            for lost in ("unknown", "unsent"):
                yield self._answered(state, request, rest, (lost,), ("request lost", lost), fault=True)

    def _answered(
        self,
        state: Global,
        request: Request,
        rest: tuple[Request, ...],
        answer: tuple[Any, ...],
        label: Label,
        *,
        healthy: bool = False,
        fault: bool = False,
    ) -> Next:
        spent = state.spent
        if answer[0] == "rotated" and request.pair not in spent:
            spent = (*spent, request.pair)
        left = state._replace(requests=rest)
        return self._move(left, label, ("http", answer), healthy=healthy, fault=fault, spent=spent, origin=state)

    # --- the store ---

    def _of_store(self, state: Global, may_fail: bool) -> Iterator[Next]:
        for index, operation in enumerate(state.operations):
            rest = state.operations[:index] + state.operations[index + 1 :]
            if operation.answer is not None:
                left = state._replace(operations=rest)
                label: Label = ("store", operation.kind, operation.answer[0])
                move: Move = ("store", operation.number, operation.answer)
                yield self._move(left, label, move, healthy=True, origin=state)
                continue
            done = carried_out(state.store, operation)
            yield self._reported(state, operation, rest, done, ("store works", operation.kind), healthy=True)
            if may_fail and self.setting.store_faults:
                failed: tuple[Record | None, tuple[Any, ...]] = state.store, ("failed",)
                yield self._reported(state, operation, rest, failed, ("store fails", operation.kind), fault=True)
                if operation.kind != "reload" and done[0] != state.store:
                    failed = done[0], ("failed",)
                    label = ("store fails after writing", operation.kind)
                    yield self._reported(state, operation, rest, failed, label, fault=True)

    def _reported(
        self,
        state: Global,
        operation: Operation,
        rest: tuple[Operation, ...],
        done: tuple[Record | None, tuple[Any, ...]],
        label: Label,
        *,
        healthy: bool = False,
        fault: bool = False,
    ) -> Next:
        store, answer = done
        waiting = (*rest, operation._replace(answer=answer)) if operation.number else rest
        return self._settle(state, label, state._replace(store=store, operations=waiting), healthy=healthy, fault=fault)

    # --- others ---

    def _of_others(self, state: Global, may_fail: bool) -> Iterator[Next]:
        record = state.store
        if state.sibling is not None:
            pair, replaces = state.sibling
            if record is not None and record[0] == replaces:
                saved = state._replace(store=(replaces + 1, pair, NONE, NONE), sibling=None)
            else:  # as ours would, it puts the newest pair there is over whatever stands there
                generation = 0 if record is None else record[0] + 1
                newest = state.live == pair or record is None or record[1] == NONE
                saved = state._replace(sibling=None)
                if newest:
                    saved = saved._replace(store=(generation, pair, NONE, NONE))
            yield self._settle(state, ("sibling saves",), saved, healthy=True)
            if may_fail:
                yield self._settle(state, ("sibling dies",), state._replace(sibling=None), fault=True)
        if not may_fail or not self.setting.sibling:
            return
        if record is None or record[0] < 3:
            if record is not None and record[1] != NONE and record[1] == state.live and state.sibling is None:
                pair = len(state.ages)
                changed = state._replace(
                    live=pair, previous=record[1], ages=(*state.ages, minted(state)), sibling=(pair, record[0])
                )
                yield self._settle(state, ("sibling rotates",), changed, fault=True)
            if record is not None and record[1] != NONE:
                cleared = (record[0] + 1, NONE, NONE, record[1])
                changed = state._replace(store=cleared, live=NONE, previous=NONE)
                yield self._settle(state, ("sibling logs out",), changed, fault=True)
            pair = len(state.ages)
            paired = (0 if record is None else record[0] + 1, pair, NONE, NONE)
            changed = state._replace(store=paired, live=pair, previous=NONE, ages=(*state.ages, minted(state)))
            yield self._settle(state, ("owner pairs again",), changed, fault=True)
        if state.live != NONE:
            yield self._settle(state, ("server revokes",), state._replace(live=NONE, previous=NONE), fault=True)
        if state.previous != NONE:
            yield self._settle(state, ("the grace ends",), state._replace(previous=NONE))

    # --- making one thing happen ---

    def _move(
        self,
        state: Global,
        label: Label,
        move: Move,
        *,
        healthy: bool = False,
        fault: bool = False,
        aged: bool = False,
        spent: tuple[int, ...] | None = None,
        origin: Global | None = None,
    ) -> Next:
        """The session takes an event; its pairs are translated on the way in, what it asks for on the way out."""
        known = list(state.pairs)
        ages = state.ages
        own = len(known)
        translated = inward(move, known)
        outcome = self.client.move(state.node, translated, tuple(ages[pair] for pair in known[own:]))
        view = self.client.views[outcome.node]
        pairs = tuple(known[old] for old in outcome.pairs)
        changed: list[Age] = [HOURS_LATER.get(age, age) for age in ages] if aged else list(ages)
        for pair, age in zip(pairs, view.ages, strict=True):
            changed[pair] = age
        operations = [
            one._replace(number=outcome.operations[one.number - 1]) if one.number else one for one in state.operations
        ]
        operations = [one for one in operations if one.number or (one.answer is None and one.kind != "reload")]
        requests = state.requests
        if requests and not outcome.kept:
            requests = tuple(one._replace(awaited=False) for one in requests if one.answer is None)
        spent = state.spent if spent is None else spent
        for effect in outcome.effects:
            kind = effect[0]
            if kind == "request":
                presented = known[int(effect[1])]
                if presented in spent:
                    raise Violation("I3: a refresh token known to be spent is sent")
                requests = (*requests, Request(True, presented, None))
            elif kind == "intent":
                operations.append(Operation(effect[1], kind, known[effect[2]], effect[3], None, None))
            elif kind == "persist":
                operations.append(Operation(effect[1], kind, known[effect[2]], effect[3], effect[4], None))
            elif kind == "logout":
                operations.append(Operation(effect[1], kind, known[effect[2]], 0, effect[3], None))
            elif kind == "reload":
                operations.append(Operation(effect[1], kind, NONE, 0, None, None))
        after = Global(
            outcome.node,
            pairs,
            state.live,
            state.previous,
            requests,
            tuple(operations),
            state.store,
            state.sibling,
            spent,
            tuple(changed),
            state.faults,
        )
        if outcome.generation:
            after = lowered(after, outcome.generation)
        return self._settle(origin or state, label, after, healthy=healthy, fault=fault, effects=outcome.effects)

    def _settle(
        self,
        before: Global,
        label: Label,
        after: Global,
        *,
        healthy: bool = False,
        fault: bool = False,
        effects: tuple[tuple[Any, ...], ...] = (),
    ) -> Next:
        if after.live != NONE and label[0] not in _EXCUSED and not self._is_held(after, after.live):
            if before.live != after.live or self._is_held(before, before.live):
                raise Violation(f"the only pair that the server redeems is gone, at {' '.join(map(str, label))}")
        if fault and after.faults > 0:
            after = after._replace(faults=after.faults - 1)
        return Next(label, healthy, renumbered(after), effects)

    def _is_held(self, state: Global, pair: int) -> bool:
        if state.store is not None and state.store[1] == pair:
            return True
        if state.sibling is not None and state.sibling[0] == pair:
            return True
        if any(one.answer == ("rotated", pair) for one in state.requests):
            return True
        if any(one.kind == "persist" and one.pair == pair and one.answer is None for one in state.operations):
            return True
        return any(state.pairs[own] == pair for own in self.client.views[state.node].whole)
