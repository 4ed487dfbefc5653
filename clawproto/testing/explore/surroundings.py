"""The state of session and environment together, and the names in it."""

from typing import Any, Final, Literal, NamedTuple, TypeAlias

from attrs import frozen

from clawproto.testing.explore.pool import NEW, Age
from clawproto.testing.explore.vocabulary import NONE, Move, Record

Label: TypeAlias = tuple[Any, ...]

_OUTRUN: Final = -1_000  # a generation that the store has left behind for ever


class Request(NamedTuple):
    """A refresh on its way. ``answer`` None: to the server. An earlier life's has nobody to be answered."""

    awaited: bool
    pair: int
    answer: tuple[Any, ...] | None


class Operation(NamedTuple):
    """What the store was asked for. ``number`` 0: nobody waits for it. ``answer`` None: not done yet."""

    number: int
    kind: str
    pair: int
    generation: int
    replaces: int | None
    answer: tuple[Any, ...] | None


class Global(NamedTuple):
    """Session and environment.

    Attributes:
        node: of the session.
        pairs: global numbers of the pairs that it knows.
        live: the pair whose refresh token the server redeems.
        previous: the one before, within the grace.
        sibling: ``(pair, replaces)`` while another process has rotated and not saved.
        spent: pairs of which this session knows that they were redeemed.
        ages: by global number.
        faults: how many may still happen; NONE for any number.
    """

    node: int
    pairs: tuple[int, ...]
    live: int
    previous: int
    requests: tuple[Request, ...]
    operations: tuple[Operation, ...]
    store: Record | None
    sibling: tuple[int, int] | None
    spent: tuple[int, ...]
    ages: tuple[Age, ...]
    faults: int


@frozen(kw_only=True)
class Setting:
    """What may happen in a world.

    Attributes:
        linked: the link machine takes part.
        begin: what the store holds at first: a pair, one that the server has revoked, or nothing.
        faults: how many faults at most; None for any number.
        grace: the server redeems a spent token once more.
        sibling: there is another process.
        crashes, stops, loads, ages: the host does such things.
        server_faults, store_faults: those parts may fail.
        callers: how many explicit refreshes may be open at once.
        pauses: the application does not keep up.
        codes: with which the hub closes.
    """

    linked: bool = False
    begin: Literal["paired", "revoked", "absent"] = "paired"
    faults: int | None = None
    grace: bool = True
    sibling: bool = True
    crashes: bool = True
    stops: bool = True
    loads: bool = True
    ages: bool = True
    server_faults: bool = True
    store_faults: bool = True
    callers: int = 1
    pauses: bool = False
    codes: tuple[int, ...] = (1006, 1009, 4002)


class Next(NamedTuple):
    """One thing that may happen.

    Attributes:
        label: what.
        healthy: it is the good course of things.
        state: what comes of it.
        effects: what the session asked for.
    """

    label: Label
    healthy: bool
    state: Global
    effects: tuple[tuple[Any, ...], ...]


def carried_out(record: Record | None, operation: Operation) -> tuple[Record | None, tuple[Any, ...]]:
    """The record afterwards, and the answer: compare and swap, as `clawproto.effects` asks for."""
    match operation.kind:
        case "reload":
            return record, ("reloaded", record)
        case "intent":
            if record is None or record[1] == NONE or record[0] != operation.generation:
                return record, ("conflict", record)
            return (record[0], record[1], operation.pair, record[3]), ("stored", record[0])
        case "persist":
            if (None if record is None else record[0]) != operation.replaces:
                return record, ("conflict", record)
            return (operation.generation, operation.pair, NONE, NONE), ("stored", operation.generation)
        case _:
            if record is None or record[0] != operation.replaces:
                return record, ("conflict", record)
            generation = record[0] + 1
            return (generation, NONE, NONE, operation.pair), ("stored", generation)


def minted(state: Global) -> Age:
    """The age of a pair that the server mints now: later than all before it."""
    newest = max((NEW.index(age) + 1 for age in state.ages if age in NEW), default=1 if "short" in state.ages else 0)
    return NEW[min(newest, len(NEW) - 1)]


def _own_number(pair: int, known: list[int]) -> int:
    if pair == NONE:
        return NONE
    if pair not in known:
        known.append(pair)
    return known.index(pair)


def inward(move: Move, known: list[int]) -> Move:
    """The event in the session's own numbers; pairs that are new to it are appended to ``known``."""
    kind = move[0]
    if kind == "http" and move[1][0] == "rotated":
        return kind, ("rotated", _own_number(move[1][1], known))
    if kind == "store" and move[2][0] in ("conflict", "reloaded"):
        return kind, move[1], (move[2][0], _own_record(move[2][1], known))
    if kind in ("start", "restart", "load"):
        return kind, _own_record(move[1], known), *move[2:]
    return move


def _own_record(record: Record | None, known: list[int]) -> Record | None:
    if record is None:
        return None
    generation, pair, intent, refused = record
    return generation, _own_number(pair, known), _own_number(intent, known), _own_number(refused, known)


def lowered(state: Global, by: int) -> Global:
    """The same with generations that count from another one."""

    def record(one: Record | None) -> Record | None:
        return None if one is None else (one[0] - by, *one[1:])

    def answer(one: tuple[Any, ...] | None) -> tuple[Any, ...] | None:
        if one is None or one[0] == "failed":
            return one
        return ("stored", one[1] - by) if one[0] == "stored" else (one[0], record(one[1]))

    return state._replace(
        store=record(state.store),
        sibling=None if state.sibling is None else (state.sibling[0], state.sibling[1] - by),
        operations=tuple(
            one._replace(
                generation=one.generation - by if one.kind in ("intent", "persist") else 0,
                replaces=None if one.replaces is None else one.replaces - by,
                answer=answer(one.answer),
            )
            for one in state.operations
        ),
    )


def _expected(operation: Operation, store: Record | None) -> tuple[int, int | None]:
    """Generation and what it replaces. The store refuses what it has left behind, by whatever number, and then nobody
    asks for the rest of an operation that is awaited no more."""
    generation, replaces = operation.generation, operation.replaces
    expects = generation if operation.kind == "intent" else replaces
    if operation.number or store is None or expects is None or expects >= store[0]:
        return generation, replaces
    return _OUTRUN, None if operation.kind == "intent" else _OUTRUN


def renumbered(state: Global) -> Global:
    """The same with pairs numbered in the order in which they are met; those that nobody has any more are forgotten."""
    new: dict[int, int] = {NONE: NONE}

    def number(pair: int) -> int:
        found = new.get(pair)
        if found is None:
            found = new[pair] = len(new) - 1
        return found

    def record(one: Record | None) -> Record | None:
        return None if one is None else (one[0], number(one[1]), number(one[2]), number(one[3]))

    def answer(one: tuple[Any, ...] | None) -> tuple[Any, ...] | None:
        if one is None or one[0] in ("failed", "stored"):
            return one
        return one[0], record(one[1])

    pairs = tuple([number(pair) for pair in state.pairs])
    store = record(state.store)
    live = number(state.live)
    requests = tuple(
        [
            Request(one.awaited, number(one.pair), ("rotated", number(one.answer[1])))
            if one.answer is not None and one.answer[0] == "rotated"
            else Request(one.awaited, number(one.pair), one.answer)
            for one in state.requests
        ]
    )
    operations = tuple(
        [
            Operation(one.number, one.kind, number(one.pair), *_expected(one, store), answer(one.answer))
            for one in state.operations
        ]
    )
    sibling = None
    if state.sibling is not None:
        current = store is not None and store[0] == state.sibling[1]
        sibling = number(state.sibling[0]), state.sibling[1] if current else _OUTRUN
    previous = new.get(state.previous, NONE)  # whom nobody has any more nobody can present
    spent = tuple(sorted([new[pair] for pair in state.spent if pair in new]))
    ages: list[Age] = [state.ages[pair] for pair in new if pair != NONE]
    return Global(
        state.node, pairs, live, previous, requests, operations, store, sibling, spent, tuple(ages), state.faults
    )
