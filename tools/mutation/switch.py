"""What mutated modules call in place of their functions: the function itself, or the one mutant that is switched on.

mutmut brings a switch of its own, which looks the mutant up at every call. In a process that judges one mutant the
answer never changes, so here it is settled once (`switch_on`), and all other functions cost one more call.
"""

import os
from collections.abc import Callable
from functools import wraps
from typing import Any, Final, TypeAlias

from attrs import define

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

    @property
    def name(self) -> str:
        """Its module and its name in the names of its mutants: ``clawproto.jwt.x_decode``."""
        mutant = next(name for name in self.mutants if name != "_mutmut_orig")
        return function_of(f"{self.function.__module__}.{mutant}")

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


def note_calls(note: Callable[[Slot], None]) -> None:
    """Tell of every call of a function that has mutants."""
    for slot in slots:

        def run(*args: Any, slot: Slot = slot, **named: Any) -> Any:
            note(slot)
            return slot.function(*args, **named)

        slot.run = run
