"""Everything a test or an operator can do to the hub from outside the protocol (HUB-2, HUB-5, HUB-6).

``user_id`` None means everyone, ``device_id`` None every device of the user, ``times`` None until `clear`. Methods that
act on sockets return how many they reached.
"""

from typing import Literal

from attrs import asdict, evolve, fields

from clawproto.hub import delivery
from clawproto.hub.connection import Connection, DseqFault, Phase
from clawproto.hub.frames import JsonObject, encode
from clawproto.hub.handlers.messages import message_row
from clawproto.hub.inbox import Row
from clawproto.hub.provisioning import Provisioning
from clawproto.hub.settings import HubSettings
from clawproto.hub.switches import Charges, HandshakeFault, HttpFault, Rejection, Verdict
from clawproto.json_types import Json

REFRESH_PATH = "/v1/auth/refresh"


class Controls(Provisioning):
    """The hub's handles. Effects of what they do are fetched with `Hub.take_effects`."""

    # --- settings and credentials ----------------------------------------------------------------------------------

    def configure(self, changes: dict[str, Json]) -> None:
        """Replace settings by name while the hub runs.

        Raises:
            ValueError: an unknown name, or a value out of range; nothing was changed.
            TypeError: a value of a wrong type; nothing was changed.
        """
        current = self._context.settings
        for name, value in changes.items():
            if name not in {attribute.name for attribute in fields(HubSettings)}:
                raise ValueError(f"unknown setting {name!r}")
            if type(value) is not type(getattr(current, name)):
                raise TypeError(f"{name} must be {type(getattr(current, name)).__name__}")
        self._context.settings = evolve(current, **changes)  # type: ignore[arg-type]

    def verdict(self, key: str, verdict: Verdict | None) -> None:
        """What the token verifier says about a user id or an access token; None: the truth again (AUTH-6)."""
        if verdict is None:
            self._context.switches.verdicts.pop(key, None)
        else:
            self._context.switches.verdicts[key] = verdict

    def outage(self, on: bool = True) -> None:
        """The auth service is down: hello-fail ``remote auth service unavailable``, REST 503, refresh code 1."""
        self._context.switches.outage = on

    def revoke(self, user_id: str) -> None:
        """End the user's sessions: access tokens are refused, refreshing answers 10003. Live sockets stay (AUTH-4)."""
        self._context.tokens.revoke(user_id)

    def reject_access(self, user_id: str) -> None:
        """Refuse the user's present access tokens; after a rotation all is well again."""
        self._context.tokens.reject_access(user_id)

    def fail_http(
        self,
        path: str,
        kind: Literal["code", "status", "timeout", "lost", "delay", "garbage"],
        value: int = 0,
        *,
        retry_after: str | None = None,
        code: int | None = None,
        user_id: str | None = None,
        times: int | None = 1,
    ) -> None:
        """Script the next calls of ``path`` (``*``: of any); see `HttpFault` for the kinds (REF-39)."""
        charges = self._context.switches.http.setdefault(path, Charges[HttpFault]())
        charges.add(HttpFault(kind, value, retry_after, code), key=user_id, times=times)

    def fail_refresh(
        self,
        kind: Literal["code", "status", "timeout", "lost", "delay", "garbage"],
        value: int = 0,
        *,
        retry_after: str | None = None,
        user_id: str | None = None,
        times: int | None = 1,
    ) -> None:
        """`fail_http` for the refresh call: ``code`` with 1 is the hub's internal error, ``lost`` rotates and drops."""
        self.fail_http(REFRESH_PATH, kind, value, retry_after=retry_after, user_id=user_id, times=times)

    # --- handshake and sockets -------------------------------------------------------------------------------------

    def hello_fail(self, reason: str, *, user_id: str | None = None, times: int | None = 1) -> None:
        """Answer the next handshakes with ``hello-fail`` and this reason."""
        self._context.switches.handshake.add(HandshakeFault(reason=reason), key=user_id, times=times)

    def close_before_hello(self, code: int | None = None, *, user_id: str | None = None, times: int | None = 1) -> None:
        """End the next handshakes with this close code, or with a cut."""
        self._context.switches.handshake.add(HandshakeFault(code=code), key=user_id, times=times)

    def take_over(self, user_id: str | None = None, device_id: str | None = None) -> int:
        """Close as if a newer session had come (4001)."""
        return self.close(4001, "session taken over", user_id=user_id, device_id=device_id)

    def close(self, code: int, reason: str = "", *, user_id: str | None = None, device_id: str | None = None) -> int:
        """Close with any code."""
        targets = self._targets(user_id, device_id)
        for connection in targets:
            self._context.close(connection, code, reason)
        return len(targets)

    def kick(self, user_id: str | None = None, device_id: str | None = None) -> int:
        """Close without a frame and without a status."""
        targets = self._targets(user_id, device_id)
        for connection in targets:
            delivery.kick(self._context, connection)
        return len(targets)

    def buffer_full(self, on: bool = True, *, user_id: str | None = None, device_id: str | None = None) -> int:
        """Pretend that the send buffer is full: answers are lost, the next message kicks (SILENT-11, CLOSE-14)."""
        targets = self._targets(user_id, device_id)
        for connection in targets:
            connection.buffer_full = on
            delivery.pump(self._context, connection)
        return len(targets)

    def silence(self, on: bool = True, *, user_id: str | None = None) -> None:
        """Sockets stay open, but nothing is processed and nothing is sent; for everyone, HTTP hangs as well."""
        if on:
            self._context.switches.silent.add(user_id)
            return
        self._context.switches.silent.discard(user_id)
        for connection in self._targets(user_id, None):
            delivery.pump(self._context, connection)

    def delay(self, milliseconds: int, *, user_id: str | None = None) -> None:
        """Hold every downlink back for this long; 0 ends it."""
        self._context.switches.delays[user_id] = max(0, milliseconds)

    def fail_cursor_reset(self, on: bool = True) -> None:
        """``device.cursor.reset`` does nothing (HIST-15)."""
        self._context.reset_fails = on

    def clear(self) -> None:
        """Turn every switch off. Settings, revocations and data stay."""
        switches = self._context.switches
        for charges in (switches.handshake, switches.rejections, switches.lost_acks, switches.duplicates):
            charges.clear()
        switches.verdicts.clear()
        switches.http.clear()
        switches.delays.clear()
        switches.silent.clear()
        switches.outage = self._context.reset_fails = False
        self.buffer_full(False)

    def _targets(self, user_id: str | None, device_id: str | None) -> list[Connection]:
        return [
            connection
            for connection in self._context.sessions.values()
            if user_id in (None, connection.user_id) and device_id in (None, connection.device_id)
        ]

    # --- traffic ---------------------------------------------------------------------------------------------------

    def post(self, chat_id: str, sender_id: str, text: str, message_id: str | None = None) -> str:
        """A text message by a member, or by ``system``, without a socket; returns its id.

        Raises:
            KeyError: conversation or sender unknown.
        """
        context, chat = self._context, self._chat(chat_id)
        message_id = message_id or f"msg-{context.entropy.ulid(context.now.wall_ms)}"
        row = message_row(context, chat, sender_id, message_id, text)
        delivery.store(context, [member for member in chat.members if member != sender_id], row)
        return message_id

    def recall(self, chat_id: str, sender_id: str, target_message_id: str) -> None:
        """``message.recall`` to the members but the sender (RECALL).

        Raises:
            KeyError: conversation or sender unknown.
        """
        context, chat = self._context, self._chat(chat_id)
        slot = f"rcl:{target_message_id}"
        frame = context.build("message.recall", {"message_id": slot, "target_message_id": target_message_id})
        frame |= {"chat_id": chat_id, "chat_type": chat.chat_type, "sender": context.sender(sender_id)}
        row = Row(0, slot, encode(frame), sender_id, stamped=False)
        delivery.store(context, [member for member in chat.members if member != sender_id], row)

    def signal(self, user_id: str, kind: str, entity_id: str, version: int | None = None) -> str:
        """A ``notify.signal`` for one user, kept in its slot (NOTIFY-5); returns its ``event_id``.

        Raises:
            KeyError: the user is unknown.
        """
        context = self._context
        known, slot = context.directory.users[user_id], f"notify:{kind}:{entity_id}"
        event_id = f"evt_{context.entropy.ulid(context.now.wall_ms)}"
        payload: JsonObject = {
            "type": kind,
            "entity_id": entity_id,
            "version": context.now.wall_ms if version is None else version,
            "event_id": event_id,
            "message_id": slot,
        }
        row = Row(0, slot, encode(context.build("notify.signal", payload)), "system", signal=True)
        delivery.store(context, [known.user_id], row)
        return event_id

    def invalidate_metadata(self, chat_id: str, scope: list[Json] | None = None, version: int | None = None) -> None:
        """``chat.metadata.invalidated`` to the members with ``chat_meta_events`` (META-5).

        Raises:
            KeyError: the conversation is unknown.
        """
        context, chat = self._context, self._chat(chat_id)
        payload: JsonObject = {"updated_at": context.now.wall_ms}
        if scope is not None:
            payload["scope"] = scope
        if version is not None:
            payload["version"] = version
        frame = context.build("chat.metadata.invalidated", payload)
        frame |= {"chat_id": chat_id, "chat_type": chat.chat_type}
        for member in chat.members:
            delivery.push(context, member, frame, "chat_meta_events")

    def permission(self, agent_user_id: str, event: Literal["request", "resolved"], payload: dict[str, Json]) -> int:
        """``permission.request`` or ``permission.resolved`` to the owner's devices (PERM-1); the payload as given.

        Raises:
            KeyError: there is no such agent.
        """
        agent = self._context.directory.agents[agent_user_id]
        frame = self._context.build(f"permission.{event}", payload)
        frame["chat_id"] = agent.conversation_id
        return delivery.push(self._context, agent.owner_id, frame, "permission_events")

    def inject(
        self,
        frame: dict[str, Json],
        *,
        user_id: str | None = None,
        device_id: str | None = None,
        stamped: bool = False,
    ) -> int:
        """Send any frame; missing envelope fields are filled in; ``stamped`` adds the next dseq on v2 connections."""
        targets = self._targets(user_id, device_id)
        for connection in targets:
            whole: JsonObject = {**self._context.build("future.event", {}), **frame}
            if stamped:
                delivery.send_stamped(self._context, connection, encode(whole), None)
            else:
                self._context.send(connection, encode(whole))
        return len(targets)

    def inject_text(self, text: str, *, user_id: str | None = None, device_id: str | None = None) -> int:
        """Send any text, JSON or not."""
        targets = self._targets(user_id, device_id)
        for connection in targets:
            self._context.send(connection, text)
        return len(targets)

    def dseq_fault(self, fault: DseqFault, *, user_id: str | None = None, device_id: str | None = None) -> int:
        """Spoil the next dseq: leave one out, repeat the last, step back, or write it as text."""
        targets = self._targets(user_id, device_id)
        for connection in targets:
            connection.dseq_fault = fault
        return len(targets)

    def lose_acks(self, times: int | None = 1, *, user_id: str | None = None) -> None:
        """Accept the next messages of a user without sending ``message.ack``."""
        self._context.switches.lost_acks.add(True, key=user_id, times=times)

    def duplicate(self, times: int | None = 1, *, user_id: str | None = None) -> None:
        """Deliver the next inbox rows of a user twice."""
        self._context.switches.duplicates.add(True, key=user_id, times=times)

    def reject_messages(
        self, code: str, reason: str = "", *, user_id: str | None = None, times: int | None = 1
    ) -> None:
        """Answer the next messages of a user with ``message.error`` and this code."""
        self._context.switches.rejections.add(Rejection(code, reason), key=user_id, times=times)

    def prune(self, user_id: str, keep: int = 0) -> int:
        """Delete all but the newest ``keep`` inbox rows of a user; returns how many went (HIST-11)."""
        return self._context.inbox(user_id).prune(keep)

    # --- looking ---------------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Json]:
        """Counts, connections, inboxes and rotations as JSON; no token in it."""
        context = self._context
        return {
            "connections": [_connection_view(connection) for connection in context.connections.values()],
            "ready": sum(connection.phase is Phase.LIVE for connection in context.connections.values()),
            "rotations": dict(context.tokens.rotations),
            "grace_redemptions": dict(context.tokens.grace_redemptions),
            "takeovers": context.counts["takeovers"],
            "kicks": context.counts["kicks"],
            "pairings": context.counts["pairings"],
            "counts": dict(context.counts),
            "inboxes": {user_id: len(inbox) for user_id, inbox in context.inboxes()},
            "cursors": {user_id: dict(inbox.cursors) for user_id, inbox in context.inboxes()},
        }

    def uplinks(self, user_id: str | None = None) -> list[Json]:
        """The recorded uplinks with their fates, oldest first (HUB-3)."""
        return [asdict(record) for record in self._context.uplinks if user_id in (None, record.user_id)]


def _connection_view(connection: Connection) -> JsonObject:
    return {
        "conn": connection.conn,
        "phase": connection.phase.value,
        "user_id": connection.user_id,
        "device_id": connection.device_id,
        "generation": connection.generation.value,
        "dseq": connection.dseq,
        "acked": connection.acked,
        "unacked": len(connection.window),
        "unwritten": len(connection.unwritten),
    }
