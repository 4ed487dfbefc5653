"""History: pieces of it from device to device, and the reset that makes the hub replay everything.

Rules: HIST-1, HIST-3, HIST-13 to HIST-16, SILENT-12.

    ResetCursor --> device.cursor.reset --> waiting -- closed without a status --> done, reconnect, everything again
                                               |---- 10 s pass ------------------> not done; it may be tried again
                                               '---- closed for another reason --> not done
"""

from clawproto.credentials import Identity
from clawproto.deferred import frozen
from clawproto.effects import SendFrame
from clawproto.events import ResetCursor, TransferHistory
from clawproto.evolving import evolve
from clawproto.results import Done, LocalResult, LoggedOutResult, NotDone, StoppedResult
from clawproto.turn import Turn
from clawproto.wire.codec import encode_envelope, encode_transit

PLAIN_CLOSES = (1000, 1005, 1006)  # HIST-13: no frame and no status, as different sides report it


@frozen
class Reset:
    """A reset that waits for its close.

    Attributes:
        commands: whoever asked.
        due: monotonic ms of giving up (HIST-15).
    """

    commands: tuple[int, ...]
    generation: int
    due: int


def transfer(
    command: TransferHistory, identity: Identity | None, device_id: str | None, online: int | None, turn: Turn
) -> LocalResult:
    """Send a piece of history; the hub answers nothing on success (HIST-2).

    Args:
        device_id: our own, as the hub resolved it.
    """
    if not turn.config.capabilities.history_sync:
        return NotDone("capability-off", "history_sync is not among the capabilities (HIST-1)")
    if online is None or identity is None:
        return NotDone("offline", "history is passed on while connected only")
    try:
        text = encode_transit(
            trace_id=f"h-{turn.mint()}",
            emitted_at=turn.wall,
            target_device_id=command.target_device_id,
            user_id=identity.user_id,
            device_id=device_id or identity.device_id,
            kind=command.kind,
            data=command.data,
            ciphertext_fragments=command.ciphertext_fragments,
        )
    except ValueError as error:
        return NotDone("unencodable", str(error))
    size = len(text.encode("utf-8", "surrogatepass"))
    if size > turn.policy.frame_limit:
        return NotDone("frame_too_large", f"{size} bytes, the limit is {turn.policy.frame_limit}")
    turn.do(SendFrame(online, text, "history.transit"))
    return Done()


def begin_reset(reset: Reset | None, command: ResetCursor, online: int | None, turn: Turn) -> Reset | None:
    """Ask for the reset, or join the one under way."""
    if online is None:
        turn.resolve(command.command, NotDone("offline", "the cursor can be reset while connected only"))
        return reset
    if reset is not None:
        return evolve(reset, commands=(*reset.commands, command.command))
    text = encode_envelope("device.cursor.reset", trace_id=f"h-{turn.mint()}", emitted_at=turn.wall, payload_text="{}")
    turn.do(SendFrame(online, text, "device.cursor.reset"))
    return Reset((command.command,), online, turn.mono + turn.policy.cursor_reset_timeout_ms)


def is_confirmation(reset: Reset | None, generation: int, code: int) -> bool:
    """Whether this close is the hub's answer to the reset (HIST-14)."""
    return reset is not None and reset.generation == generation and code in PLAIN_CLOSES


def end_reset(reset: Reset | None, result: LocalResult | LoggedOutResult | StoppedResult, turn: Turn) -> None:
    """Tell whoever asked."""
    for command in () if reset is None else reset.commands:
        turn.resolve(command, result)


def advance(reset: Reset | None, turn: Turn) -> Reset | None:
    """Give up waiting: the hub could not do it, and says nothing (HIST-15)."""
    if reset is None or turn.mono < reset.due:
        return reset
    end_reset(reset, NotDone("no-answer", "the hub did not close the connection"), turn)
    return None


def deadline(reset: Reset | None) -> int | None:
    """Monotonic ms at which `advance` has something to do."""
    return None if reset is None else reset.due
