"""ClawChat Protocol v2 for trio.

::

    async with connect("agent.db") as client:
        async for event in client:
            ...
"""

from typing import TYPE_CHECKING

from clawproto.lazy_names import lazy_names

if TYPE_CHECKING:
    from clawproto_trio._client import Client
    from clawproto_trio._connect import connect, pair
    from clawproto_trio._fleet import Fleet, fleet, run_fleet
else:
    __getattr__, __dir__ = lazy_names(
        globals(),
        {
            "clawproto_trio._client": "Client",
            "clawproto_trio._connect": "connect pair",
            "clawproto_trio._fleet": "Fleet fleet run_fleet",
        },
    )

__all__ = ["Client", "Fleet", "connect", "fleet", "pair", "run_fleet"]
