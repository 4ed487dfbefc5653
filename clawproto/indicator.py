"""The typing indicator: shown while we are online, and ended with the connection.

Rules: TYPE-1, TYPE-2, SEND-20, CLOSE-12.
"""

from clawproto.effects import SendFrame
from clawproto.evolving import evolve
from clawproto.link_state import LinkState, Online
from clawproto.turn import Turn
from clawproto.wire.codec import encode_typing


def set_typing(link: LinkState, chat_id: str, *, is_typing: bool, turn: Turn) -> LinkState:
    """Send a typing update now; offline it is dropped, not queued (SEND-20). Repeated false is suppressed (TYPE-2)."""
    phase = link.phase
    if not isinstance(phase, Online) or (not is_typing and chat_id not in link.typing):
        return link
    send_typing(phase.generation, chat_id, is_typing, turn)
    others = tuple(chat for chat in link.typing if chat != chat_id)
    return evolve(link, typing=(*others, chat_id) if is_typing else others)


def forget_typing(link: LinkState, chats: tuple[str, ...]) -> LinkState:
    """These chats take no uplinks any more, not even the end of our typing."""
    return evolve(link, typing=tuple(chat for chat in link.typing if chat not in chats)) if chats else link


def send_typing(number: int, chat_id: str, is_typing: bool, turn: Turn) -> None:
    """One update on socket ``number``."""
    trace_id = f"t-{turn.mint()}"
    text = encode_typing(trace_id=trace_id, emitted_at=turn.wall, chat_id=chat_id, is_typing=is_typing)
    turn.do(SendFrame(number, text, "typing.update"))
