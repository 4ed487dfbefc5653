"""Fixtures of the IO tests. Every test marked ``anyio`` runs once on asyncio and once on trio."""

from collections.abc import AsyncGenerator, Callable, Generator

import pytest

from clawproto_io import HttpRunner
from tests.io.http_servers import TLS, Script, Server


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def serve() -> Generator[Callable[[Script], Server]]:
    servers: list[Server] = []

    def start(script: Script) -> Server:
        servers.append(Server(script))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.fixture
async def runner() -> AsyncGenerator[HttpRunner]:
    async with HttpRunner(ssl_context=TLS, trust_env=False, body_limit=100_000) as made:
        yield made
