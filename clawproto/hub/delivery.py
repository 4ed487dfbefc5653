"""Storing and delivering: one pump serves replay and live traffic alike (RPL, R1, R2).

Every inbox downlink goes through the recipient's inbox. A connection owns a position in it; the pump moves the position
over the rows, sends what this device is due and skips the rest. When it catches up for the first time it sends
``replay.done``; from then on a stored row is delivered as it comes. Cursors move on write (legacy), on
``message.cursor_ack`` (v1) or on ``message.sync_ack`` (v2).
"""

from attrs import evolve

from clawproto.hub.connection import Connection, Generation, Phase, Unacked
from clawproto.hub.context import Context
from clawproto.hub.frames import JsonObject, encode, with_stamps
from clawproto.hub.inbox import Row


def store(context: Context, recipients: list[str], row: Row) -> None:
    """Put a copy of ``row`` into each inbox under a new seq and deliver it (SEND-18)."""
    for user_id in recipients:
        context.inbox(user_id).put(evolve(row, seq=context.next_seq()))
    for user_id in recipients:
        for connection in context.of_user(user_id):
            pump(context, connection)


def push(
    context: Context,
    user_id: str,
    frame: JsonObject,
    capability: str | None = None,
    except_for: Connection | None = None,
) -> int:
    """Send an ephemeral frame to the user's live connections; return how many got it (RPL-9).

    A full send buffer loses it (META-5), and so does a replay in progress: nothing live precedes ``replay.done``.
    """
    reached = 0
    for connection in context.of_user(user_id):
        if connection is except_for:
            continue
        if connection.phase is Phase.LIVE and (capability is None or connection.can(capability)):
            reached += context.answer(connection, frame)
    return reached


def pump(context: Context, connection: Connection) -> None:
    """Send what the inbox holds beyond the connection's position, as far as windows and buffers allow."""
    if not connection.ready or context.switches.is_silent(connection.user_id):
        return
    for row in context.inbox(connection.user_id).after(connection.position):
        due = _is_due(connection, row) and not _is_lost(context, connection, row)
        if due and not _has_room(context, connection):
            return
        connection.position = row.seq
        if due:
            send_row(context, connection, row)
            if context.switches.duplicates.take(connection.user_id):
                send_row(context, connection, row)
    if connection.phase is Phase.REPLAYING:
        cover(context, connection)
        connection.phase = Phase.LIVE
        send_stamped(context, connection, encode(context.build("replay.done", {})), None)


def _is_due(connection: Connection, row: Row) -> bool:
    if row.target_device is not None and row.target_device != connection.device_id:
        return False  # HIST-5
    if row.author_id == connection.user_id and row.author_device == connection.device_id:
        return False  # RPL-11
    if row.signal and not connection.can("notify_signals"):
        return connection.generation is not Generation.V2 and connection.phase is Phase.REPLAYING  # NOTIFY-4
    return True


def _is_lost(context: Context, connection: Connection, row: Row) -> bool:
    """A live signal that finds the buffer full is dropped; its row stays (NOTIFY-6)."""
    return row.signal and connection.phase is Phase.LIVE and context.buffer_is_full(connection)


def _has_room(context: Context, connection: Connection) -> bool:
    """Whether a row may go out now. A replay waits for room; a live connection without any is kicked."""
    settings = context.settings
    if connection.phase is Phase.REPLAYING:
        return (
            not connection.buffer_full
            and len(connection.unwritten) < settings.replay_burst
            and len(connection.window) < settings.replay_pause
        )
    if context.buffer_is_full(connection) or len(connection.window) >= settings.window_limit:
        kick(context, connection)  # CLOSE-14, R2-25
        return False
    return True


def send_row(context: Context, connection: Connection, row: Row) -> None:
    """Send one inbox row, stamped as this connection needs it."""
    seq = row.seq if connection.stamps_seq else None
    if connection.generation is Generation.V2 and row.stamped:
        send_stamped(context, connection, row.text, row, seq)
    else:
        context.send(connection, with_stamps(row.text, seq, None), (row.seq, row.message_id))


def send_stamped(context: Context, connection: Connection, text: str, row: Row | None, seq: int | None = None) -> None:
    """Send a frame under the next dseq, if this is a v2 connection (R2-4, R2-5)."""
    delivered = None if row is None else (row.seq, row.message_id)
    if connection.generation is not Generation.V2:
        context.send(connection, with_stamps(text, seq, None), delivered)
        return
    if not connection.window:
        connection.quiet_since = context.now.mono_ms
    fault, connection.dseq_fault = connection.dseq_fault, None
    connection.dseq += {"gap": 2, "repeat": 0, "back": -1}.get(fault or "", 1)
    connection.covered = connection.position
    transit = row.message_id if row is not None and row.target_device is not None else None
    connection.window.append(Unacked(connection.dseq, connection.covered, transit))
    shown = str(connection.dseq) if fault == "text" else connection.dseq
    context.send(connection, with_stamps(text, seq, shown), delivered)


def cover(context: Context, connection: Connection) -> None:
    """Send a ``sync.mark`` if rows were skipped that no stamped frame covers (R2-20)."""
    if connection.generation is Generation.V2 and connection.position > connection.covered:
        mark = context.build("sync.mark", {"covers_seq": connection.position})
        send_stamped(context, connection, encode(mark), None)


def written(context: Context, connection: Connection, number: int) -> None:
    """Frames up to ``number`` have reached the transport."""
    inbox = context.inbox(connection.user_id) if connection.user_id else None
    while connection.unwritten and connection.unwritten[0].number <= number:
        frame = connection.unwritten.popleft()
        connection.unwritten_bytes -= frame.size
        if inbox is None or frame.row is None or connection.generation is Generation.V2:
            continue
        seq, message_id = frame.row
        if connection.generation is Generation.LEGACY:
            inbox.advance(connection.device_id, seq)  # RPL-8
        row = inbox.get(message_id)
        if row is not None and row.seq == seq and row.target_device is not None:
            inbox.remove(message_id)  # HIST-9
    pump(context, connection)


def cursor_ack(context: Context, connection: Connection, seq: int) -> None:
    """v1: move the cursor to the maximum of old and acked value (R1-5)."""
    context.inbox(connection.user_id).advance(connection.device_id, seq)


def sync_ack(context: Context, connection: Connection, dseq: int, epoch: str) -> bool:
    """v2: settle everything up to ``dseq``. Tell whether the ack counted (R2-21, R2-22)."""
    if connection.generation is not Generation.V2 or epoch != connection.epoch:
        return False
    if not connection.acked < dseq <= connection.dseq:
        return False
    connection.acked = dseq
    connection.quiet_since = context.now.mono_ms
    inbox = context.inbox(connection.user_id)
    while connection.window and connection.window[0].dseq <= dseq:
        settled = connection.window.popleft()
        inbox.advance(connection.device_id, settled.covers)
        if settled.message_id is not None:
            inbox.remove(settled.message_id)  # HIST-9
    context.kicks.pop((connection.user_id, connection.device_id), None)
    pump(context, connection)
    return True


def sweep(context: Context, connection: Connection) -> None:
    """Every 30 s per v2 connection: cover skipped rows, and kick a client that does not ack (R2-23, R2-24)."""
    if connection.phase is Phase.LIVE:
        cover(context, connection)
    settings, now = context.settings, context.now.mono_ms
    if connection.window and now - connection.quiet_since >= settings.ack_silence_ms:
        history = context.kicks.setdefault((connection.user_id, connection.device_id), [])
        history[:] = [at for at in history if now - at < settings.kick_memory_ms]
        if not history or now >= history[-1] + _kick_backoff(context, len(history)):
            history.append(now)
            kick(context, connection)
            return
    context.timers.set(connection.conn, "sweep", now + settings.sweep_interval_ms)


def _kick_backoff(context: Context, kicks: int) -> int:
    """How long after the last kick the next one has to wait."""
    settings = context.settings
    if kicks < settings.kicks_before_backoff:
        return 0
    doublings = min(kicks - settings.kicks_before_backoff, 16)
    return min(settings.kick_backoff_first_ms << doublings, settings.kick_backoff_max_ms)


def kick(context: Context, connection: Connection) -> None:
    """Close without any frame and without a status code."""
    context.counts["kicks"] += 1
    context.cut(connection)
