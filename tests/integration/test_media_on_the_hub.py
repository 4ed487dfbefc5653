"""Uploads and downloads on the development hub, with both drivers."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from clawproto import errors
from clawproto.app_events import MessageReceived
from clawproto.hub import HubSettings
from clawproto.json_types import Json
from clawproto.wire.values import MediaFragment
from clawproto_io.hub_thread import HubThread
from clawproto_io.stores import MemoryStore
from tests.integration.driver_adapters import ADAPTERS, PairingAdapter
from tests.integration.test_drivers_on_the_hub import POLICY, next_of, record, run


@pytest.fixture
def hub() -> Iterator[HubThread]:
    with HubThread(HubSettings(upload_limit=3 * 1024 * 1024)) as running:
        yield running


@pytest.fixture(params=ADAPTERS, ids=lambda adapter: adapter.name)
def driver(request: pytest.FixtureRequest) -> PairingAdapter:
    adapter: PairingAdapter = request.param
    return adapter


@pytest.mark.rule("MEDIA-1", "MEDIA-4", "FRAG-5")
def test_upload_send_and_download(driver: PairingAdapter, hub: HubThread, tmp_path: Path) -> None:
    agent, other = hub.create_agent(), hub.create_agent()
    chat = hub.call(lambda machine: machine.create_conversation([agent.user_id, other.user_id]))
    content = bytes(range(256)) * 8192  # 2 MiB, more than one chunk
    picture, copy = tmp_path / "big.PNG", tmp_path / "copy.png"
    picture.write_bytes(content)
    steps: list[tuple[int, int]] = []

    async def scenario() -> None:
        async with (
            driver.connect(MemoryStore(record(hub, agent)), policy=POLICY) as client,
            driver.connect(MemoryStore(record(hub, other)), policy=POLICY) as receiver,
        ):
            fragment = await client.upload(picture, width=3, progress=lambda sent, total: steps.append((sent, total)))
            assert (fragment["kind"], fragment["name"], fragment["size"]) == ("image", "big.png", len(content))
            assert fragment["width"] == 3
            parts: list[dict[str, Json]] = [{"kind": "text", "text": "look"}, fragment]
            await client.send(chat, parts)
            message: MessageReceived = await next_of(receiver, MessageReceived)
            media = message.message.fragments[1]
            assert isinstance(media, MediaFragment) and media.url == fragment["url"]
            assert await receiver.download(media) == content
            assert await receiver.download(media, copy) == copy

    run(driver, scenario)
    assert copy.read_bytes() == content
    assert steps[0] == (0, len(content)) and steps[-1] == (len(content), len(content))
    assert steps == sorted(steps) and len(steps) > 3


@pytest.mark.rule("MEDIA-3", "REST-4")
def test_a_refused_token_is_refreshed_and_the_upload_repeated_once(driver: PairingAdapter, hub: HubThread) -> None:
    agent = hub.create_agent()
    starts: list[int] = []

    async def scenario() -> None:
        async with driver.connect(MemoryStore(record(hub, agent)), policy=POLICY) as client:
            await client.wait_ready()
            hub.call(lambda machine: machine.reject_access(agent.user_id))
            fragment = await client.upload(b"x" * 1000, name="a.txt", progress=lambda sent, _: starts.append(sent))
            assert fragment["size"] == 1000
            assert client.credentials is not None and client.credentials.generation > 1

    run(driver, scenario)
    assert starts.count(0) == 2


@pytest.mark.rule("MEDIA-8")
def test_too_large_is_noticed_before_anything_is_sent(driver: PairingAdapter, hub: HubThread, tmp_path: Path) -> None:
    agent = hub.create_agent()
    huge, empty = tmp_path / "huge", tmp_path / "empty"
    with huge.open("wb") as file:
        file.truncate(100 * 1024 * 1024 + 1)
    empty.touch()

    async def scenario() -> None:
        async with driver.connect(MemoryStore(record(hub, agent)), policy=POLICY) as client:
            await client.wait_ready()
            with pytest.raises(errors.MediaTooLarge) as caught:
                await client.upload(huge, progress=lambda *_: pytest.fail("nothing may be sent"))
            assert caught.value.size == 100 * 1024 * 1024 + 1
            with pytest.raises(ValueError, match="nothing in it"):
                await client.upload(empty)
            with pytest.raises(FileNotFoundError):
                await client.upload(tmp_path / "missing")
            with pytest.raises(errors.MediaTooLarge):  # the server's limit is lower here
                await client.upload(b"x" * (3 * 1024 * 1024 + 1))

    run(driver, scenario)


@pytest.mark.rule("MEDIA-2", "MEDIA-5")
@pytest.mark.parametrize(("code", "status"), [(40001, 400), (41501, 415), (50001, 500), (50301, 503), (50001, 200)])
def test_what_the_server_refuses(driver: PairingAdapter, hub: HubThread, code: int, status: int) -> None:
    agent = hub.create_agent()

    async def scenario() -> None:
        async with driver.connect(MemoryStore(record(hub, agent)), policy=POLICY) as client:
            await client.wait_ready()
            if status == 200:
                hub.call(lambda machine: machine.fail_http("/media/upload", "code", code))
            else:
                hub.call(lambda machine: machine.fail_http("/media/upload", "status", status, code=code))
            with pytest.raises(errors.UploadFailed) as caught:
                await client.upload(b"abc")
            assert caught.value.code == code

    run(driver, scenario)


def test_who_watches_may_end_it(driver: PairingAdapter, hub: HubThread, tmp_path: Path) -> None:
    agent = hub.create_agent()
    path = tmp_path / "a.bin"
    path.write_bytes(b"x" * 2_000_000)

    def watch(sent: int, _total: int) -> None:
        if sent:
            raise LookupError("enough")

    async def scenario() -> None:
        async with driver.connect(MemoryStore(record(hub, agent)), policy=POLICY) as client:
            await client.wait_ready()
            with pytest.raises(LookupError, match="enough"):
                await client.upload(path, progress=watch)
            assert (await client.upload(b"abc"))["size"] == 3, "the session goes on"

    run(driver, scenario)


def test_a_file_that_shrinks_meanwhile_is_no_upload(driver: PairingAdapter, hub: HubThread, tmp_path: Path) -> None:
    agent = hub.create_agent()
    path = tmp_path / "a.bin"
    path.write_bytes(b"x" * 1_000_000)

    def watch(sent: int, _total: int) -> None:
        if sent == 0:
            path.write_bytes(b"x" * 10)

    async def scenario() -> None:
        async with driver.connect(MemoryStore(record(hub, agent)), policy=POLICY) as client:
            await client.wait_ready()
            with pytest.raises(errors.RestFailed, match="changed its size"):
                await client.upload(path, progress=watch)

    run(driver, scenario)


def test_a_cancelled_upload_is_withdrawn(driver: PairingAdapter, hub: HubThread, tmp_path: Path) -> None:
    agent = hub.create_agent()
    path = tmp_path / "a.bin"
    path.write_bytes(b"x" * 2_000_000)

    async def scenario() -> None:
        async with driver.connect(MemoryStore(record(hub, agent)), policy=POLICY) as client:
            await client.wait_ready()

            async def work(stop: Callable[[], None]) -> None:
                def watch(sent: int, _total: int) -> None:
                    if sent:
                        stop()

                await client.upload(path, progress=watch)

            assert await driver.cancelled(work)
            assert (await client.upload(b"abc"))["size"] == 3

    run(driver, scenario)


def test_media_goes_away_with_the_hub() -> None:
    with HubThread() as hub:
        folder = hub.call(lambda machine: machine._context.media).path  # type: ignore[attr-defined]
        assert folder.is_dir() and folder.stat().st_mode & 0o077 == 0
    assert not folder.exists()
