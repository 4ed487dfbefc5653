"""Exhaustive search through what a session can meet: ``python -m clawproto.testing.explore [--deep]``.

    search.py        breadth first: states, transitions, the shortest counterexample, the way back to a good state
    environment.py   server, network, store, a sibling process, the owner, the hub: everything that may happen next
    surroundings.py  the state of all that, and what may happen in a world
    client.py        the real ``step``, folded into an automaton, with the invariants
    vocabulary.py    the events that the automaton takes, and what it asks for
    totality.py      every event in every state
    canonical.py     one state out of all that behave alike, so that there are finitely many (with names.py)
    pool.py          the few pairs of tokens that are needed, and the scaled numbers of the policy
    worlds.py        what is explored, and how far
    messages.py      outbox and inbox, by themselves
    journal.py       counterexamples and figures for people
    diagrams.py      the state diagrams of the documents, from the moves that were seen

Checked in every state: the invariants of `clawproto.testing.invariants`; that nothing which is due is left undone; that
reports which nobody waits for change nothing, in every phase; that the one pair which the server still redeems is never
dropped. On the whole graph: no deadlock, and I12: from each state the good course of things leads to rest, which is
ready, waiting for credentials after something final, or at the end of the session.
"""

from clawproto.testing.explore.client import Client
from clawproto.testing.explore.journal import journal, table
from clawproto.testing.explore.search import Counterexample, Report, search
from clawproto.testing.explore.surroundings import Setting
from clawproto.testing.explore.totality import Violation
from clawproto.testing.explore.worlds import BOUNDED, DEEP, World

__all__ = [
    "BOUNDED",
    "DEEP",
    "Client",
    "Counterexample",
    "Report",
    "Setting",
    "Violation",
    "World",
    "journal",
    "search",
    "table",
]
