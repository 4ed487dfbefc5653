"""Fleets on a hub, for both drivers."""

from collections.abc import Iterator

import pytest

from clawproto.hub import HubSettings
from clawproto_io.hub_thread import HubThread


@pytest.fixture
def hub() -> Iterator[HubThread]:
    with HubThread(HubSettings(access_token_life_ms=4_000)) as running:
        yield running
