"""Fragments and mentions, from JSON (FRAG, MENT).

Two readers on purpose: fragments are content and are read strictly, one by one (FRAG-6); the ``context.mentions`` list
is relayed by the hub as its author wrote it and is read tolerantly (MENT-2, MENT-8).
"""

from collections.abc import Callable
from functools import partial
from typing import Final, TypeAlias

from clawproto.evolving import constructor
from clawproto.json_types import Json
from clawproto.wire.optional import LEAST, MOST
from clawproto.wire.values import Fragment, MediaFragment, Mention, MentionFragment, TextFragment, UnknownFragment

_Object: TypeAlias = dict[str, Json]
_Reader: TypeAlias = Callable[[_Object], Fragment | None]

_new_text: Final = constructor(TextFragment)
_new_mention: Final = constructor(MentionFragment)
_new_media: Final = constructor(MediaFragment)


def _text(item: _Object) -> TextFragment | None:
    text, delta = item.get("text"), item.get("delta")
    if type(text) is str and (delta is None or type(delta) is str):
        return _new_text(text, delta)
    return None


def _mention(item: _Object) -> MentionFragment | None:
    user_id, display = item.get("user_id"), item.get("display")
    if (user_id is None or type(user_id) is str) and (display is None or type(display) is str):
        return _new_mention(user_id, display)
    return None


def _media(kind: str, sized: bool, timed: bool, item: _Object) -> MediaFragment | None:
    """One kind of media. Numbers that are not of its kind are unknown to it, and not looked at (FRAG-2, ENV-13)."""
    get = item.get
    url, name, mime, size = get("url"), get("name"), get("mime"), get("size")
    width, height = (get("width"), get("height")) if sized else (None, None)
    duration = get("duration") if timed else None
    if (
        type(url) is str
        and (name is None or type(name) is str)
        and (mime is None or type(mime) is str)
        and (size is None or (type(size) is int and LEAST <= size <= MOST))
        and (width is None or (type(width) is int and LEAST <= width <= MOST))
        and (height is None or (type(height) is int and LEAST <= height <= MOST))
        and (duration is None or (type(duration) is int and LEAST <= duration <= MOST))
    ):
        return _new_media(kind, url, name, mime, size, width, height, duration)
    return None


_READERS: Final[dict[str, _Reader]] = {
    "text": _text,
    "mention": _mention,
    "image": partial(_media, "image", True, False),  # not by name, which takes a quarter longer
    "video": partial(_media, "video", True, True),
    "audio": partial(_media, "audio", False, True),
    "file": partial(_media, "file", False, False),
}

KNOWN_KINDS: Final = frozenset(_READERS)


def read_fragments(items: list[Json]) -> tuple[tuple[Fragment, ...], int]:
    """The usable fragments in order, and how many were not usable (FRAG-3, FRAG-6). Never raises."""
    fragments: list[Fragment] = []
    for item in items:
        if type(item) is not dict or type(kind := item.get("kind")) is not str:
            continue
        reader = _READERS.get(kind)
        if reader is None:
            fragments.append(UnknownFragment(kind, item))
        elif (fragment := reader(item)) is not None:
            fragments.append(fragment)
    return tuple(fragments), len(items) - len(fragments)


def read_mentions(value: Json) -> tuple[Mention, ...]:
    """Whoever ``context.mentions`` names; anything that names nobody is left out (MENT-2, MENT-5). Never raises."""
    if type(value) is not list:
        return ()
    mentions: list[Mention] = []
    for item in value:
        user_id: Json
        display: Json
        if type(item) is str:
            user_id, display = item, None
        elif type(item) is dict and item.get("kind", "mention") in ("mention", None):
            user_id, display = item.get("user_id"), item.get("display")
        else:
            continue
        if type(user_id) is str and user_id:
            mentions.append(Mention(user_id, display if type(display) is str else None))
    return tuple(mentions)
