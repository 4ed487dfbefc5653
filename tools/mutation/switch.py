"""What mutated modules call in place of their functions: the function itself, or the one mutant that is switched on.

mutmut brings a switch of its own, which looks the mutant up at every call. In a process that judges one mutant the
answer never changes, so here it is settled once (`switch_on`), and all other functions cost one more call.
"""

import os
from collections.abc import Callable
from functools import wraps
from typing import Any, Final, TypeAlias

from attrs import define

NOTE: Final = "_mutmut_note"  # what mutated modules call `note`
VARIABLE: Final = "CLAWPROTO_MUTANT"  # for the processes that a test starts

Function: TypeAlias = Callable[..., Any]
MutantDict: TypeAlias = dict[str, Function]  # the name is what mutmut writes into mutated modules


@define
class Slot:
    """A function that has mutants.

    Attributes:
        run: what a call of it runs into.
    """

    function: Function
    mutants: MutantDict
    run: Function

    def has(self, mutant: str) -> bool:
        """Is this, say, ``clawproto.jwt.x_decode__mutmut_3``, one of its mutants?"""
        module, _, name = mutant.rpartition(".")
        return self.function.__module__ == module and name in self.mutants

    def switch_on(self, mutant: str) -> None:
        """Run into this mutant from now on."""
        chosen: Any = self.mutants[mutant.rpartition(".")[2]]
        self.run = getattr(chosen, "__func__", chosen)  # what a class method is made of


slots: Final[list[Slot]] = []


def function_of(mutant: str) -> str:
    """The name of a mutant without its number."""
    return mutant.rpartition("__mutmut_")[0]


def note(place: str) -> None:
    """What the originals call before each statement: it does nothing, until somebody wants to know (`take_notes`)."""
    del place


def wrap_in_trampoline(mutants: MutantDict, is_classmethod: bool = False) -> Callable[[Function], Function]:
    """Decorate a function with the dictionary that its mutants are going to be in."""
    del is_classmethod  # the class is the first argument of a function like any other

    def decorate(function: Function) -> Function:
        slot = Slot(function, mutants, function)
        slots.append(slot)

        @wraps(function)
        def call(*args: Any, **named: Any) -> Any:
            return slot.run(*args, **named)

        if VARIABLE in os.environ:

            def settle(*args: Any, **named: Any) -> Any:
                slot.run = function
                if slot.has(os.environ[VARIABLE]):
                    slot.switch_on(os.environ[VARIABLE])
                return slot.run(*args, **named)

            slot.run = settle
        return call

    return decorate


def switch_on(mutant: str) -> None:
    """Let this process, and those that it starts, run into one mutant.

    Raises:
        LookupError: no function that was imported has it.
    """
    slot = next((one for one in slots if one.has(mutant)), None)
    if slot is None:
        raise LookupError(mutant)
    slot.switch_on(mutant)
    os.environ[VARIABLE] = mutant


def take_notes(places: set[str]) -> None:
    """Let the originals put the places that are run into there."""
    for slot in slots:
        slot.function.__globals__[NOTE] = places.add


def take_no_notes() -> None:
    """Let the originals run that note nothing."""
    for slot in slots:
        original: Any = slot.mutants["_mutmut_orig"]
        slot.run = getattr(original, "__func__", original)
