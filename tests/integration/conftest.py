"""What several tests of sessions share."""

from collections.abc import Iterator

import pytest

from tests.integration.session_processes import Process


@pytest.fixture
def processes() -> Iterator[list[Process]]:
    made: list[Process] = []
    yield made
    for process in made:
        process.close()
