"""A digest of a state, the same in every process, on every platform and Python, with and without its secrets.

    State ──► a digest for each branch ──► one for the whole
               tokens, link, inbox, …       nodes of the maps keep theirs: after a step only changed paths are hashed

Not ``hash()``: that is 64 bits of whatever the interpreter likes, and changes with the seed of its strings. Secrets
enter as what stands for them in a journal (`clawproto.redaction`), so a replay of the journal comes to the same digest.
"""

import hashlib
import weakref
from collections.abc import Mapping
from functools import cache
from typing import Any, Final, cast

from attrs import fields, has

from clawproto.inbox_state import Known
from clawproto.journal_encoding import class_of, classes, is_default, told_fields, type_name
from clawproto.persistent import IntMap, StrMap, is_node
from clawproto.recent import Block
from clawproto.redaction import Redactor
from clawproto.secret import Secret
from clawproto.state import State

_SIZE: Final = 16  # bytes
_SHARED: Final = (Block, Known)  # like nodes, they are passed on from state to state


def _digest(*parts: bytes) -> bytes:
    """Of the parts as a list: each with its length, so that no two lists look alike."""
    hasher = hashlib.blake2b(digest_size=_SIZE)
    for part in parts:
        hasher.update(len(part).to_bytes(8, "big"))
        hasher.update(part)
    return hasher.digest()


@cache
def schema() -> str:
    """Names the shape of the state: digests of two versions can be compared only if it is the same."""
    shape = [
        f"{name}({','.join(f'{attribute.name}:{attribute.type}' for attribute in fields(class_))})"
        for name, class_ in sorted({**classes(), "IntMap": IntMap, "StrMap": StrMap}.items())
    ]
    return _digest(*(text.encode() for text in shape)).hex()[:16]


class StateHasher:
    """Hashes the states of one session, one after the other; the more they have in common, the quicker."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._branches: dict[str, tuple[object, bytes]] = {}
        self._nodes: dict[int, tuple[weakref.ref[object], bytes]] = {}

    def state(self, state: State) -> str:
        """32 hexadecimal characters."""
        parts: list[bytes] = []
        for attribute in fields(State):
            branch = getattr(state, attribute.name)
            known = self._branches.get(attribute.name)
            if known is None or known[0] is not branch:
                known = self._branches[attribute.name] = (branch, self._part(branch))
            parts.append(known[1])
        return _digest(*parts).hex()

    def value(self, value: object) -> str:
        """32 hexadecimal characters of a part of a state."""
        return _digest(self._part(value)).hex()

    def _part(self, value: object) -> bytes:
        """What stands for a value in the digest of what it is a part of: a mark, and the value or its digest."""
        if value is None or type(value) in (bool, int, float):
            return b"n" + repr(value).encode()
        if type(value) is str:
            return b"s" + self._redactor.text(value).encode("utf-8", "surrogatepass")
        if isinstance(value, bytes):
            text = self._redactor.text(value.decode("utf-8", "surrogateescape"))
            return b"b" + text.encode("utf-8", "surrogateescape")
        if isinstance(value, tuple | list):
            return b"l" + _digest(*map(self._part, cast("tuple[object, ...] | list[object]", value)))
        if isinstance(value, Secret):
            return b"t" + self._redactor.secret(value).reveal().encode()
        if is_node(value) or class_of(value) in _SHARED:
            return b"m" + self._node(value)
        if has(class_of(value)):
            return b"o" + self._attrs(self._redactor.value(value))
        if isinstance(value, Mapping):
            pairs = [(self._part(key), self._part(item)) for key, item in cast(Mapping[object, object], value).items()]
            return b"j" + _digest(*(part for pair in sorted(pairs) for part in pair))
        return b"f" + type(value).__name__.encode()

    def _attrs(self, value: Any) -> bytes:
        class_ = class_of(value)
        parts = [type_name(class_).encode()]
        for attribute in told_fields(class_):
            item = getattr(value, attribute.name)
            if not is_default(attribute, item):
                parts += [attribute.name.encode(), self._part(item)]
        return _digest(*parts)

    def _node(self, node: object) -> bytes:
        """A part of a map or memory keeps its digest as long as it lives."""
        key = id(node)
        known = self._nodes.get(key)
        if known is not None:
            return known[1]
        digest = self._attrs(node)
        self._nodes[key] = (weakref.ref(node, lambda _: self._nodes.pop(key, None)), digest)
        return digest
