"""ClawChat Protocol v2 for asyncio.

::

    async with connect("agent.db") as client:
        async for event in client:
            ...
"""

from clawproto_asyncio._client import Client
from clawproto_asyncio._connect import connect, pair
from clawproto_asyncio._fleet import Fleet, fleet, run_fleet

__all__ = ["Client", "Fleet", "connect", "fleet", "pair", "run_fleet"]
