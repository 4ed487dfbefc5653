"""Text for people: long answers in parts that each stand for themselves, and messages as plain text.

Rules: FRAG-3, MENT-3, MENT-7.
"""

import re
import unicodedata
from collections.abc import Iterable
from typing import Final

from clawproto.deferred import frozen
from clawproto.mentions import EVERYONE
from clawproto.wire.content import Fragment, MediaFragment, MentionFragment, TextFragment, UnknownFragment

DEFAULT_LIMIT: Final = 4000
LEAST_LIMIT: Final = 64  # characters; below, two fence lines might leave no room for what is between them
_LEAST_PIECE: Final = 16  # characters; a part that has room for fewer ends before a line that has to be cut

_FENCE: Final = re.compile(r"( {0,3})(`{3,}(?=[^`]*$)|~{3,})[^\S\n]*(.*)", re.DOTALL)
_SENTENCE: Final = re.compile(r"[.!?…。！？][\"')\]»”’]*\s+")  # noqa: RUF001  (the full-width ones end sentences, too)
_JOINERS: Final = ("\u200d", "\ufe0f", "\ufe0e", "\u20e3")

# --- splitting -----------------------------------------------------------------------------------------------------


@frozen
class _Fence:
    """A code block that is open: what begins it, and what ends it."""

    opening: str
    closing: str

    @property
    def room(self) -> int:
        """Characters for opening it again and closing it, line ends included."""
        return len(self.opening) + len(self.closing) + 2


def split_text(text: str, limit: int = DEFAULT_LIMIT) -> tuple[str, ...]:
    """Split a long text into messages of at most ``limit`` characters.

    It is cut where it hurts least: between paragraphs, else between lines, sentences, words, and only then anywhere,
    though not within a character that people see as one. A fenced code block (``` or ~~~) that has to be cut is closed
    at the end of one part and opened again, language and all, at the beginning of the next.

    Args:
        limit: characters, at least 64.

    Returns:
        The parts in order; none is empty, so a text of nothing but white space has none. A text that fits is one part,
        unchanged but for white space around it.

    Raises:
        ValueError: the limit is too small.
    """
    if limit < LEAST_LIMIT:
        raise ValueError(f"a part has at least {LEAST_LIMIT} characters")
    if len(text) <= limit:
        whole = text.strip("\n")
        return (whole,) if whole.strip() else ()
    return tuple(_Splitter(limit).split(text))


class _Splitter:
    """Fills parts line by line. The open part is a list of lines; a cut goes back to the best place in it."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._parts: list[str] = []
        self._fence: _Fence | None = None  # open at the end of the open part
        self._empty()

    def _empty(self) -> None:
        self._lines: list[str] = []
        self._size = -1  # of the open part, joined; each line has a line end before it but the first
        self._paragraphs = 0  # how many lines of it are whole paragraphs

    def split(self, text: str) -> list[str]:
        for line in text.split("\n"):
            self._take(line)
        self._close()
        return self._parts

    def _take(self, line: str) -> None:
        fence, after = self._fence, _fence_after(self._fence, line, self._limit)
        room = self._limit if after is None else self._limit - len(after.closing) - 1
        if fence is not None and after is None and self._size_with(line) > room:
            line = fence.closing  # it says no more, and there always is room for it
        fresh = room if fence is None else room - len(fence.opening) - 1
        if self._lines and self._size_with(line) > room and len(line) <= fresh:
            self._cut()
        while self._size_with(line) > room:
            line = self._take_piece(line, room)
        self._append(line)
        self._fence = after
        if after is None and not line.strip():
            self._paragraphs = len(self._lines)

    def _size_with(self, line: str) -> int:
        return self._size + 1 + len(line)

    def _append(self, line: str) -> None:
        self._size = self._size_with(line)
        self._lines.append(line)

    def _take_piece(self, line: str, room: int) -> str:
        """The beginning of a line that is longer than a part; returns the rest."""
        free = room - self._size_with("")
        if free < _LEAST_PIECE:
            self._cut()
            return line
        end = _best_end(line, free, code=self._fence is not None)
        self._append(line[:end])
        self._cut()
        return line[end:] if self._fence is not None else line[end:].lstrip(" ")

    def _cut(self) -> None:
        """End the open part, at its last paragraph if that is not too far back; the rest begins the next one."""
        fence, rest = self._fence, list[str]()
        if fence is not None and self._lines[-1] is fence.opening:  # nothing of the block but its first line is here
            self._lines.pop()
            self._fence = None
        if fence is None and len("\n".join(self._lines[: self._paragraphs])) * 2 >= self._limit:
            rest = self._lines[self._paragraphs :]
            del self._lines[self._paragraphs :]
        self._close()
        if fence is not None:
            self._append(fence.opening)
            self._fence = fence
        for line in rest:
            self._append(line)

    def _close(self) -> None:
        """End the open part here."""
        body = self._lines if self._fence is None else [*self._lines, self._fence.closing]
        part = "\n".join(body).strip("\n")
        if part.strip():
            self._parts.append(part)
        self._fence = None
        self._empty()


def _fence_after(fence: _Fence | None, line: str, limit: int) -> _Fence | None:
    """The code block that is open after ``line`` (CommonMark, 4.5). One whose first line is too long for opening it
    again and again is cut like any other text."""
    match = _FENCE.fullmatch(line)
    if match is None:
        return fence
    indent, marks, info = match.groups()
    if fence is None:
        opened = _Fence(line, indent + marks)
        return opened if opened.room * 2 <= limit else None
    return None if marks.startswith(fence.closing.strip()) and not info.strip() else fence


def _best_end(line: str, limit: int, *, code: bool) -> int:
    """Where to cut a longer line after at most ``limit`` characters: behind a sentence, a word, what is seen as one."""
    least = limit // 2
    if not code:
        ends = [match.end() for match in _SENTENCE.finditer(line, least, limit)]
        if ends:
            return ends[-1]
    space = line.rfind(" ", least, limit)
    if space != -1:
        return space + 1
    return next((end for end in range(limit, least, -1) if not _joins(line, end)), limit)


def _joins(line: str, index: int) -> bool:
    """Whether the characters on both sides of ``index`` are seen as one."""
    before, after = line[index - 1], line[index]
    if after in _JOINERS or before == "\u200d" or unicodedata.combining(after) or "\U0001f3fb" <= after <= "\U0001f3ff":
        return True
    if _is_flag(before) and _is_flag(after):  # flags are pairs, counted from the first of the row
        start = index
        while start > 0 and _is_flag(line[start - 1]):
            start -= 1
        return (index - start) % 2 == 1
    return unicodedata.category(after) in ("Mn", "Me", "Mc")


def _is_flag(character: str) -> bool:
    return "\U0001f1e6" <= character <= "\U0001f1ff"


# --- rendering -----------------------------------------------------------------------------------------------------


def render_text(fragments: Iterable[Fragment]) -> str:
    """A message as text, for a person or a language model.

    Mentions become ``@name``, by id if there is no name (MENT-7); media ``[image: cat.png https://…]``; and what this
    version does not know ``[unsupported: poll]`` (FRAG-3).
    """
    return "".join(map(_rendered, fragments))


def _rendered(fragment: Fragment) -> str:
    match fragment:
        case TextFragment(text=text):
            return text
        case MentionFragment(user_id=user_id, display=display):
            name = display or ("everyone" if user_id == EVERYONE else user_id) or "?"
            return f"@{name.removeprefix('@')}"
        case MediaFragment(kind=kind, url=url, name=name):
            return f"[{kind}: {url}]" if not name else f"[{kind}: {name} {url}]"
        case UnknownFragment(kind=kind):
            return f"[unsupported: {kind}]"
