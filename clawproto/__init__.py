"""ClawChat Protocol v2 as a sans-IO state machine.

Events go in, effects come out; nothing here reads a clock, draws a random number or touches a socket. Begin with
`Session`; the drivers ``clawproto_asyncio`` and ``clawproto_trio`` do the IO for you.
"""

from typing import TYPE_CHECKING

from clawproto.lazy_names import lazy_names

if TYPE_CHECKING:
    from clawproto.config import Capabilities, Config, Features
    from clawproto.credentials import Credentials, Guard, Identity, Intent, TokenPair
    from clawproto.http import HttpAnswer, HttpRequest
    from clawproto.instant import Instant
    from clawproto.policy import Policy
    from clawproto.secret import Secret
    from clawproto.session import Session, step
    from clawproto.state import State
else:
    __getattr__, __dir__ = lazy_names(
        globals(),
        {
            "clawproto.config": "Capabilities Config Features",
            "clawproto.credentials": "Credentials Guard Identity Intent TokenPair",
            "clawproto.http": "HttpAnswer HttpRequest",
            "clawproto.instant": "Instant",
            "clawproto.policy": "Policy",
            "clawproto.secret": "Secret",
            "clawproto.session": "Session step",
            "clawproto.state": "State",
        },
    )

__all__ = [
    "Capabilities",
    "Config",
    "Credentials",
    "Features",
    "Guard",
    "HttpAnswer",
    "HttpRequest",
    "Identity",
    "Instant",
    "Intent",
    "Policy",
    "Secret",
    "Session",
    "State",
    "TokenPair",
    "step",
]
