"""ClawChat Protocol v2 for trio.

::

    async with connect("agent.db") as client:
        async for event in client:
            ...
"""

from clawproto_trio._client import Client
from clawproto_trio._connect import connect, pair
from clawproto_trio._fleet import Fleet, fleet, run_fleet

__all__ = ["Client", "Fleet", "connect", "fleet", "pair", "run_fleet"]
