"""What every test file shares: the rule table, the choice of the JSON reader, and the event loops."""

import os
import signal
from collections.abc import Iterator
from typing import TYPE_CHECKING

import hypothesis
import pytest

if TYPE_CHECKING:
    from tests.postgres_server import PostgresServer

# Deadlines would judge the machine. A longer search: --hypothesis-profile=soak.
# Where others wait for the verdict (CI) the ways are the same each time; elsewhere every run takes others.
hypothesis.settings.register_profile("tests", deadline=None, derandomize="CI" in os.environ)
hypothesis.settings.register_profile("soak", deadline=None, max_examples=5_000)
hypothesis.settings.load_profile("tests")

pytest_plugins = ["pytester", "tests._rules"]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--json-backend",
        choices=["stdlib", "msgspec"],
        help="read JSON with this reader; without the option, with the one that users get",
    )


def pytest_configure(config: pytest.Config) -> None:
    from clawproto.wire import json_backend

    # What a shell runs in the background ignores SIGINT, and so would the programs that the tests interrupt.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    wanted = config.getoption("--json-backend")
    if wanted == "stdlib":
        json_backend.loads = json_backend.stdlib_loads
    elif wanted == "msgspec" and json_backend.name != "msgspec":
        raise pytest.UsageError("--json-backend=msgspec: msgspec is not installed")


def pytest_report_header() -> str:
    from clawproto.wire import json_backend

    return f"json reader: {json_backend.loads.__name__}"


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """Every test marked ``anyio`` runs once on asyncio and once on trio."""
    return str(request.param)


@pytest.fixture(scope="session")
def postgres() -> "Iterator[PostgresServer]":
    """A PostgreSQL server for all tests of this process. Do not stop it; a test that must makes its own."""
    pytest.importorskip("psycopg", reason="PostgreSQL stores need psycopg: pip install 'clawproto[postgres]'")
    from tests.postgres_server import NoServerError, PostgresServer

    try:
        server = PostgresServer(fsync="off")  # nobody pulls the plug
    except NoServerError as error:
        pytest.skip(str(error))
    yield server
    server.close()


@pytest.fixture
def database(postgres: "PostgresServer") -> str:
    """The connection string of a new database."""
    return postgres.create_database()
