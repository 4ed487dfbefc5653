"""ClawChat Protocol v2 for trio.

::

    async with connect("agent.db") as client:
        async for event in client:
            ...
"""

from clawproto_trio._client import Client
from clawproto_trio._connect import connect, pair

__all__ = ["Client", "connect", "pair"]
