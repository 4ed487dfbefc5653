"""The development hub over real sockets, as an ordinary client sees it."""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, cast

import aiohttp
import httpx2
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from clawproto.hub import Hub, HubAgent, HubSettings
from clawproto_io.hub_server import HubServer, serve
from clawproto_io.hub_thread import HubThread

FLAGS = {"reliable_delivery": True, "reliable_delivery_v2": True}


def run(coroutine: Any) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(20):
            await coroutine

    asyncio.run(bounded())


def agent_of(server: HubServer) -> HubAgent:
    return server.call(lambda hub: hub.create_agent(hub.create_user("Dora"), "Robo", "d1"))


async def receive(socket: ClientConnection) -> dict[str, Any]:
    return cast("dict[str, Any]", json.loads(await socket.recv()))


async def closed(socket: ClientConnection) -> ConnectionClosed:
    """Read until the socket has ended."""
    while True:
        try:
            await socket.recv()
        except ConnectionClosed as ended:
            return ended


async def hello(socket: ClientConnection, token: str, device_id: str = "d1") -> dict[str, Any]:
    challenge = await receive(socket)
    payload = {
        "token": token,
        "nonce": challenge["payload"]["nonce"],
        "device_id": device_id,
        "capabilities": FLAGS,
    }
    frame = {"version": "2", "event": "connect", "trace_id": "c-1", "emitted_at": 1, "payload": payload}
    await socket.send(json.dumps(frame))
    return await receive(socket)


@asynccontextmanager
async def session(server: HubServer, token: str, device_id: str = "d1") -> AsyncGenerator[ClientConnection, None]:
    """A socket past ``replay.done``."""
    async with connect(server.ws_url) as socket:
        assert (await hello(socket, token, device_id))["event"] == "hello-ok"
        while (await receive(socket))["event"] != "replay.done":
            pass
        yield socket


def message(chat_id: str, text: str, message_id: str) -> str:
    content: Any = {"body": {"fragments": [{"kind": "text", "text": text}]}, "context": {"mentions": [], "reply": None}}
    payload = {"message_id": message_id, "message_mode": "normal", "message": content}
    frame = {"version": "2", "event": "message.send", "trace_id": "s-1", "emitted_at": 1, "chat_id": chat_id}
    return json.dumps({**frame, "payload": payload})


async def refresh(server: HubServer, token: str, device_id: str = "d1") -> Any:
    async with httpx2.AsyncClient() as http:
        answer = await http.post(
            f"{server.base_url}/v1/auth/refresh", json={"refresh_token": token}, headers={"X-Device-Id": device_id}
        )
    assert answer.status_code == 200
    return answer.json()


def test_pair_connect_send_refresh_reconnect() -> None:
    async def scenario() -> None:
        async with serve() as server, httpx2.AsyncClient(base_url=server.base_url) as http:
            agent = agent_of(server)
            paired = (
                await http.post(
                    "/v1/agents/connect",
                    json={"code": agent.pairing_code, "platform": "test", "type": "clawbot"},
                    headers={"X-Device-Id": "lab"},
                )
            ).json()
            assert paired["code"] == 0
            data = paired["data"]
            assert data["agent"]["user_id"] == agent.user_id
            assert data["conversation"]["id"] == agent.conversation_id
            bearer = {"Authorization": f"Bearer {data['access_token']}"}
            me = await http.get("/v1/users/me", headers=bearer)
            assert me.json()["data"]["user_id"] == agent.user_id

            owner = server.call(lambda hub: hub.issue_tokens(agent.owner_id, "phone"))
            async with (
                session(server, data["access_token"], "lab") as robo,
                session(server, owner["access_token"], "phone") as dora,
            ):
                await robo.send(message(agent.conversation_id, "lunch?", "msg-1"))
                ack = await receive(robo)
                assert (ack["event"], ack["payload"]["message_id"]) == ("message.ack", "msg-1")
                assert (await receive(dora))["payload"]["message_id"] == "msg-1"

            rotated = await refresh(server, data["refresh_token"], "lab")
            assert rotated["code"] == 0
            assert (await refresh(server, data["refresh_token"], "lab"))["code"] == 10003
            async with session(server, rotated["data"]["access_token"], "lab"):
                pass

    run(scenario())


@pytest.mark.rule("HS-13", "HS-12")
def test_hello_fail_ends_without_a_close_frame() -> None:
    async def scenario() -> None:
        async with serve() as server, connect(server.ws_url) as socket:
            failed = await hello(socket, "no such token")
            assert failed["payload"] == {"reason": "authentication failed"}
            ended = await closed(socket)
            assert ended.rcvd is None
            assert socket.close_code == 1006

    run(scenario())


@pytest.mark.rule("HS-20", "LIM-1")
def test_frame_limits_before_and_after_the_handshake() -> None:
    async def scenario() -> None:
        settings = HubSettings(connect_limit=2048, frame_limit=8192)
        async with serve(settings) as server:
            agent = agent_of(server)
            async with connect(server.ws_url) as socket:
                await receive(socket)
                await socket.send("x" * 2049)
                ended = await closed(socket)
                assert ended.rcvd is not None
                assert ended.rcvd.code == 1009
            for length in (8193, 80_000):
                async with session(server, agent.access_token) as socket:
                    await socket.send("x" * length)
                    ended = await closed(socket)
                    assert ended.rcvd is not None
                    assert ended.rcvd.code == 1009

    run(scenario())


@pytest.mark.rule("CLOSE-8")
def test_takeover_closes_the_older_socket_with_4001() -> None:
    async def scenario() -> None:
        async with serve() as server:
            agent = agent_of(server)
            async with session(server, agent.access_token) as older, session(server, agent.access_token):
                ended = await closed(older)
                assert ended.rcvd is not None
                assert ended.rcvd.code == 4001

    run(scenario())


def test_kick_and_cut_show_as_1006() -> None:
    async def scenario() -> None:
        async with serve() as server:
            agent = agent_of(server)
            for action in (partial(server.call, Hub.kick), server.cut_all):
                async with session(server, agent.access_token) as socket:
                    assert action() == 1
                    await closed(socket)
                    assert socket.close_code == 1006

    run(scenario())


@pytest.mark.rule("HB-1")
def test_a_client_that_answers_pings_stays_and_one_that_does_not_is_cut() -> None:
    async def scenario() -> None:
        settings = HubSettings(ping_interval_ms=200, pong_timeout_ms=1_500)
        async with serve(settings) as server, aiohttp.ClientSession() as http:
            agent = agent_of(server)
            async with (
                session(server, agent.access_token) as answering,
                http.ws_connect(server.ws_url, autoping=False) as mute,
            ):
                nonce = (await mute.receive_json())["payload"]["nonce"]
                payload = {"token": agent.access_token, "nonce": nonce, "device_id": "d2"}
                await mute.send_json({"version": "2", "event": "connect", "trace_id": "c", "payload": payload})
                kinds = {(await mute.receive()).type for _ in range(3)}
                assert kinds == {aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.PING}
                while (await mute.receive()).type != aiohttp.WSMsgType.CLOSED:
                    pass
                assert mute.close_code == 1006
                await answering.send(json.dumps({"version": "2", "event": "ping", "trace_id": "p", "emitted_at": 7}))
                assert (await receive(answering))["event"] == "pong"

    run(scenario())


@pytest.mark.rule("CLOSE-14")
def test_a_client_that_does_not_read_is_kicked_and_loses_nothing() -> None:
    async def scenario() -> None:
        async with serve(HubSettings(send_buffer_bytes=1_000_000)) as server:
            agent = agent_of(server)
            async with connect(server.ws_url, max_queue=1) as lazy:
                assert (await hello(lazy, agent.access_token))["event"] == "hello-ok"
                posted = 0
                while not server.hub.state()["kicks"]:
                    server.call(lambda hub: hub.post(agent.conversation_id, agent.owner_id, "x" * 100_000))
                    posted += 1
                    assert posted < 1_000
                    await asyncio.sleep(0)
                lazy.transport.abort()
            seen: set[str] = set()
            async with connect(server.ws_url) as again:
                await hello(again, agent.access_token, "d2")
                while (frame := await receive(again))["event"] != "replay.done":
                    seen.add(frame["payload"]["message_id"])
            assert len(seen) == posted

    run(scenario())


def test_media_over_http() -> None:
    async def scenario() -> None:
        async with serve(HubSettings(upload_limit=1000)) as server, httpx2.AsyncClient() as http:
            bearer = {"Authorization": f"Bearer {agent_of(server).access_token}"}
            address = f"{server.base_url}/media/upload"
            made = await http.post(address, files={"file": ("A.PNG", b"abc", "image/png")}, headers=bearer)
            data = made.json()["data"]
            assert (data["name"], data["kind"], data["size"]) == ("A.png", "image", 3)
            assert (await http.get(data["url"])).content == b"abc"
            for length in (1001, 3_000_000):
                refused = await http.post(address, files={"file": ("a", b"x" * length, "a/b")}, headers=bearer)
                assert (refused.status_code, refused.json()["code"]) == (413, 41301)

    run(scenario())


@pytest.mark.rule("REF-39")
def test_scripted_refresh_calls() -> None:
    async def scenario() -> None:
        async with serve() as server, httpx2.AsyncClient(base_url=server.base_url) as http:
            agent = agent_of(server)
            body, headers = {"refresh_token": agent.refresh_token}, {"X-Device-Id": "d1"}
            server.call(lambda hub: hub.fail_refresh("code", 1))
            server.call(lambda hub: hub.fail_refresh("status", 503, retry_after="7"))
            server.call(lambda hub: hub.fail_refresh("timeout", 50))
            server.call(lambda hub: hub.fail_refresh("lost"))
            first = await http.post("/v1/auth/refresh", json=body, headers=headers)
            assert (first.status_code, first.json()["code"]) == (200, 1)
            second = await http.post("/v1/auth/refresh", json=body, headers=headers)
            assert (second.status_code, second.headers["retry-after"]) == (503, "7")
            for rotations in (0, 1):
                with pytest.raises(httpx2.TransportError):
                    await http.post("/v1/auth/refresh", json=body, headers=headers)
                assert server.hub.state()["rotations"] == ({agent.user_id: 1} if rotations else {})
            last = await http.post("/v1/auth/refresh", json=body, headers=headers)
            assert last.json()["code"] == 10003

    run(scenario())


def test_control_endpoint_turns_switches() -> None:
    async def scenario() -> None:
        async with serve() as server, httpx2.AsyncClient(base_url=server.control_url + "/") as http:
            agent = agent_of(server)
            assert (await http.post("outage", json={})).json() == {"ok": True, "result": None}
            async with connect(server.ws_url) as socket:
                failed = await hello(socket, agent.access_token)
                assert failed["payload"]["reason"] == "remote auth service unavailable"
            assert (await http.post("clear", json={})).status_code == 200
            async with session(server, agent.access_token) as socket:
                assert (await http.post("kick", json={"user_id": agent.user_id})).json()["result"] == 1
                await closed(socket)
            state = (await http.get("state")).json()["result"]
            assert state["kicks"] == 1
            assert agent.access_token not in json.dumps(state)
            assert agent.refresh_token not in json.dumps(state)
            assert (await http.post("kick", data={"user_id": "x"})).status_code == 415
            assert (await http.post("nonsense", json={})).status_code == 404
            assert (await http.post("kick", json={"user_id": 5})).status_code == 400

    run(scenario())


def test_refused_connections_come_back_on_the_same_port() -> None:
    async def scenario() -> None:
        async with serve() as server, httpx2.AsyncClient() as http:
            address = f"{server.base_url}/health"
            await server.refuse_connections(True)
            with pytest.raises(httpx2.ConnectError):
                await http.get(address)
            await server.refuse_connections(False)
            assert (await http.get(address)).text == "ok"

    run(scenario())


@pytest.mark.parametrize("path", ["/v1/auth/refresh", "/control/outage"])
def test_a_client_that_dies_in_the_middle_of_a_request_is_no_error_of_the_hub(
    path: str, caplog: pytest.LogCaptureFixture
) -> None:
    head = f"POST {path} HTTP/1.1\r\nHost: hub\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{{"

    async def scenario() -> None:
        async with serve() as server, httpx2.AsyncClient(base_url=server.base_url) as http:
            _, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(head.encode())
            await writer.drain()
            assert (await http.get("/health")).text == "ok"  # it has begun to read by now
            writer.transport.abort()
            for _ in range(3):
                assert (await http.get("/health")).text == "ok"
            server.call(lambda hub: hub.fail_refresh("lost"))  # dropped without an answer, on purpose
            with pytest.raises(httpx2.TransportError):
                await http.post("/v1/auth/refresh", json={"refresh_token": agent_of(server).refresh_token})

    run(scenario())
    assert [record.message for record in caplog.records if record.name.startswith("aiohttp")] == []


def test_hub_in_a_thread() -> None:
    with HubThread() as hub:
        agent = hub.create_agent()
        with httpx2.Client() as http:
            bearer = {"Authorization": f"Bearer {agent.access_token}"}
            assert http.get(f"{hub.base_url}/v1/users/me", headers=bearer).status_code == 200
            hub.call(lambda machine: machine.revoke(agent.user_id))
            assert http.get(f"{hub.base_url}/v1/users/me", headers=bearer).status_code == 401
        with pytest.raises(KeyError):
            hub.call(lambda machine: machine.create_agent("nobody"))
