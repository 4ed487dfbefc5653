"""Fragments and mentions, from JSON (FRAG, MENT).

Two readers on purpose: fragments are content and are read strictly, one by one (FRAG-6); the ``context.mentions`` list
is relayed by the hub as its author wrote it and is read tolerantly (MENT-2, MENT-8).
"""

from collections.abc import Callable
from typing import Final, TypeAlias

from clawproto.json_types import Json
from clawproto.wire.values import Fragment, MediaFragment, Mention, MentionFragment, TextFragment, UnknownFragment

_Reader: TypeAlias = Callable[[dict[str, Json], object], Fragment]


def _made_when_needed(kind: str, type_: type[Fragment], *absent: str) -> _Reader:
    """A reader that has cattrs make another in its place, which does not look at ``absent`` fields."""

    def read(item: dict[str, Json], _type: object) -> Fragment:
        from clawproto.wire.structure import fragment_reader  # noqa: PLC0415

        reader = _READERS[kind] = fragment_reader(type_, *absent)
        return reader(item, None)

    return read


_READERS: Final[dict[str, _Reader]] = {
    "text": _made_when_needed("text", TextFragment),
    "mention": _made_when_needed("mention", MentionFragment),
    "image": _made_when_needed("image", MediaFragment, "duration"),
    "video": _made_when_needed("video", MediaFragment),
    "audio": _made_when_needed("audio", MediaFragment, "width", "height"),
    "file": _made_when_needed("file", MediaFragment, "width", "height", "duration"),
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
            continue
        try:
            fragments.append(reader(item, None))
        except (TypeError, KeyError):  # a wrong type; a required field that is not there
            continue
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
