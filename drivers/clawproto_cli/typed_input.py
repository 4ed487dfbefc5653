"""TEXT of a command: as it stands, or ``-`` for what comes in on standard input."""

import codecs
import os
import sys
from collections.abc import AsyncGenerator

import anyio.to_thread

_PIECE = 64 * 1024  # bytes, at most


async def whole(text: str) -> str:
    """All of it."""
    if text != "-":
        return text
    return await anyio.to_thread.run_sync(sys.stdin.read, abandon_on_cancel=True)


async def pieces(text: str) -> AsyncGenerator[str]:
    """All of it, piece by piece as it comes in; bytes that are no UTF-8 are replaced."""
    if text != "-":
        yield text
        return
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    standard_input = sys.stdin.buffer.fileno()
    while True:
        read = await anyio.to_thread.run_sync(os.read, standard_input, _PIECE, abandon_on_cancel=True)
        piece = decoder.decode(read, final=not read)
        if piece:
            yield piece
        if not read:
            return
