"""From the upgrade to ``hello-ok`` (HS, CLOSE-8, CLOSE-10, RPL-2).

open -> connect.challenge -> connect -> checks -> [takeover delay] -> hello-ok -> truncated? -> read marks -> replay
                                          |
                                          +-> hello-fail, transport cut
"""

from collections import deque

from clawproto.deferred import frozen
from clawproto.hub import delivery
from clawproto.hub.connection import Connection, Generation, Phase
from clawproto.hub.context import Context
from clawproto.hub.frames import JsonObject, decode, encode, int_of, size, text_of
from clawproto.hub.handlers.presence import announce
from clawproto.hub.handlers.read_marks import snapshot
from clawproto.hub.switches import Verdict

INVALID_EVENT = "invalid connect event"
INVALID_PAYLOAD = "invalid connect payload"
NONCE_MISMATCH = "nonce mismatch"
AUTHENTICATION_FAILED = "authentication failed"
AUTH_UNAVAILABLE = "remote auth service unavailable"

TAKEOVER = 4001
REFUSED_DUPLICATE = 4002
TOO_LARGE = 1009


@frozen
class _Connect:
    trace_id: str
    token: str
    nonce: str
    device_id: str
    capabilities: frozenset[str]


def opened(context: Context, conn: int) -> None:
    """A socket was accepted: speak first (HS-1)."""
    connection = Connection(conn, context.entropy.nonce(), context.now.mono_ms)
    context.connections[conn] = connection
    context.counts["connections"] += 1
    context.timers.set(conn, "connect", context.now.mono_ms + context.settings.connect_timeout_ms)
    challenge = context.build("connect.challenge", {"nonce": connection.nonce}, trace_id="challenge")
    context.send(connection, encode(challenge))


def connect(context: Context, connection: Connection, data: str | bytes) -> None:
    """The first frame of a socket: answer it with ``hello-ok``, or with ``hello-fail`` and a cut (HS-12, HS-13)."""
    length = len(data) if isinstance(data, bytes) else size(data)
    if length > context.settings.connect_limit:
        context.close(connection, TOO_LARGE, "connect frame too large")  # HS-20
        return
    if context.switches.is_silent(None):
        return
    frame = decode(data)
    trace_id = "" if frame is None else text_of(frame.get("trace_id"))
    if frame is None or frame.get("version") != "2" or frame.get("event") != "connect":
        _fail(context, connection, trace_id, INVALID_EVENT)  # also O-4
        return
    request = _read(frame, trace_id)
    if request is None:
        _fail(context, connection, trace_id, INVALID_PAYLOAD)
    elif request.nonce != connection.nonce:
        _fail(context, connection, trace_id, NONCE_MISMATCH)
    else:
        _authenticate(context, connection, request)


def _read(frame: JsonObject, trace_id: str) -> _Connect | None:
    """Decode the payload: absent and null fields are empty, wrong types fail it."""
    payload = frame.get("payload")
    if not isinstance(payload, dict):
        return None
    texts = [payload.get(name) for name in ("token", "nonce", "device_id", "client_version")]
    if any(value is not None and not isinstance(value, str) for value in texts):
        return None
    number = payload.get("protocol_version")
    if number is not None and int_of(number) is None:
        return None
    flags = payload.get("capabilities")
    if flags is None:
        flags = {}
    if not isinstance(flags, dict) or not all(value is None or isinstance(value, bool) for value in flags.values()):
        return None
    capabilities = frozenset(name for name, value in flags.items() if value)
    token, nonce, device_id, _ = (text_of(value) for value in texts)
    return _Connect(trace_id, token, nonce, device_id.replace("\0", ""), capabilities)


def _authenticate(context: Context, connection: Connection, request: _Connect) -> None:
    owner = context.tokens.owner_of(request.token)
    fault = context.switches.handshake.take(owner)
    if fault is not None:
        if fault.reason is not None:
            _fail(context, connection, request.trace_id, fault.reason)
        elif fault.code is not None:
            context.close(connection, fault.code)
        else:
            context.cut(connection)
        return
    verdict = judge(context, request.token)
    if verdict == "unavailable":
        _fail(context, connection, request.trace_id, AUTH_UNAVAILABLE)
    elif verdict == "reject" or owner is None:
        _fail(context, connection, request.trace_id, AUTHENTICATION_FAILED)
    else:
        connection.user_id = owner
        connection.device_id = request.device_id or owner  # HS-5, DEV-7
        connection.connect_trace = request.trace_id
        connection.capabilities = request.capabilities
        _admit(context, connection)


def judge(context: Context, token: str) -> Verdict:
    """The token verifier (AUTH-6). A scripted verdict wins over the real one."""
    owner = context.tokens.owner_of(token)
    scripted = context.switches.verdicts.get(token)
    if scripted is None and owner is not None:
        scripted = context.switches.verdicts.get(owner)
    if scripted is not None:
        return scripted
    if context.switches.outage:
        return "unavailable"
    return "accept" if context.tokens.check_access(token, context.now.wall_ms) is not None else "reject"


def _fail(context: Context, connection: Connection, trace_id: str, reason: str) -> None:
    context.counts[f"hello-fail: {reason}"] += 1
    context.send(connection, encode(context.build("hello-fail", {"reason": reason}, trace_id=trace_id)))
    context.cut(connection, flush=True)


def _admit(context: Context, connection: Connection) -> None:
    """Install the session, after a delay if its pair is taken over again and again (CLOSE-10)."""
    context.timers.clear(connection.conn, "connect")
    connection.phase = Phase.INSTALLING
    settings, now = context.settings, context.now.mono_ms
    key = (connection.user_id, connection.device_id)
    if key not in context.sessions:
        install(context, connection)
        return
    if settings.duplicate_session == "refuse":
        context.close(connection, REFUSED_DUPLICATE, f"retry_after_ms={settings.refuse_retry_after_ms}")  # D-51
        return
    recent = context.takeovers.setdefault(key, deque())
    while recent and now - recent[0] >= settings.takeover_window_ms:
        recent.popleft()
    recent.append(now)
    if len(recent) > settings.takeovers_free:
        context.timers.set(connection.conn, "install", now + settings.takeover_delay_ms)
    else:
        install(context, connection)


def install(context: Context, connection: Connection) -> None:
    """Evict the older session of the pair, say ``hello-ok`` and start the replay (CLOSE-8, HS-7, RPL-2)."""
    older = context.sessions.get((connection.user_id, connection.device_id))
    if older is not None:
        context.counts["takeovers"] += 1
        context.close(older, TAKEOVER, "session taken over")
    first_device = not context.of_user(connection.user_id)
    context.install(connection)
    connection.phase = Phase.REPLAYING
    settings, now = context.settings, context.now.mono_ms
    payload: JsonObject = {"device_id": connection.device_id, "delivery_mode": "device_replay"}  # HS-22, CAP-4
    if connection.can("reliable_delivery_v2") and settings.grant_v2:
        connection.generation = Generation.V2
        connection.epoch = context.entropy.ulid(context.now.wall_ms)
        payload |= {"ack_mode": "dseq", "ack_epoch": connection.epoch}
        context.timers.set(connection.conn, "sweep", now + settings.sweep_interval_ms)
    elif connection.can("reliable_delivery"):
        connection.generation = Generation.V1
    context.send(connection, encode(context.build("hello-ok", payload, trace_id=connection.connect_trace)))
    connection.pong_ms = now
    context.timers.set(connection.conn, "ping", now + settings.ping_interval_ms)
    context.timers.set(connection.conn, "pong", now + settings.pong_timeout_ms)
    _start_replay(context, connection)
    if first_device and older is None:
        announce(context, connection.user_id, online=True)


def _start_replay(context: Context, connection: Connection) -> None:
    inbox = context.inbox(connection.user_id)
    cursor = inbox.cursor(connection.device_id)
    connection.position = connection.covered = cursor
    if inbox.pruned_to > cursor and connection.stamps_seq:
        truncated = context.build("history.truncated", {"oldest_seq": inbox.oldest_seq()})  # HIST-11, O-6
        context.send(connection, encode(truncated))
    if connection.can("multi_device"):
        snapshot(context, connection)
    delivery.pump(context, connection)
