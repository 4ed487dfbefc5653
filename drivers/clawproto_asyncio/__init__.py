"""ClawChat Protocol v2 for asyncio.

::

    async with connect("agent.db") as client:
        async for event in client:
            ...
"""

from clawproto_asyncio._client import Client
from clawproto_asyncio._connect import connect, pair

__all__ = ["Client", "connect", "pair"]
