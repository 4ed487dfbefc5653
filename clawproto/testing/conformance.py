"""A suite that any driver can be put through: the drivers of this project run it, and a new one should.

Give it a `clawproto.testing.stage.DriverAdapter` for the loop in question, and run every function of `CHECKS`::

    @pytest.mark.parametrize("check", CHECKS)
    def test_conformance(check):
        run_check(MyAdapter(), check)

Each check meets a scripted peer on real sockets and raises AssertionError if the driver does not do what it should.
Rules: AUTH-2, AUTH-9, CLOSE-5, CLOSE-12, ENV-12, HB-2, HB-8, OUT-2, OUT-3, OUT-8, OUT-11, R2-9, REF-9, REF-10, REF-12,
REF-29, REF-32, REF-36, REF-43, REF-48, REST-4, R2-10, SEND-5, SEND-15, SEND-17, SEND-20.
"""

from types import ModuleType

from clawproto.testing.driver_checks import activities, application, cancelling, durability, ending, sockets, tokens
from clawproto.testing.stage import Check, run_check

__all__ = ["CHECKS", "run_check"]


def _checks(module: ModuleType) -> tuple[Check, ...]:
    return tuple(function for name, function in vars(module).items() if name.startswith("check_"))


CHECKS: tuple[Check, ...] = tuple(
    check
    for module in (cancelling, ending, sockets, tokens, application, activities, durability)
    for check in _checks(module)
)
