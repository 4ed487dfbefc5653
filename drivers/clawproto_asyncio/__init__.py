"""ClawChat Protocol v2 for asyncio.

::

    async with connect("agent.db") as client:
        async for event in client:
            ...
"""

from typing import TYPE_CHECKING

from clawproto.lazy_names import lazy_names

if TYPE_CHECKING:
    from clawproto_asyncio._client import Client
    from clawproto_asyncio._connect import connect, pair
    from clawproto_asyncio._fleet import Fleet, fleet, run_fleet
else:
    __getattr__, __dir__ = lazy_names(
        globals(),
        {
            "clawproto_asyncio._client": "Client",
            "clawproto_asyncio._connect": "connect pair",
            "clawproto_asyncio._fleet": "Fleet fleet run_fleet",
        },
    )

__all__ = ["Client", "Fleet", "connect", "fleet", "pair", "run_fleet"]
