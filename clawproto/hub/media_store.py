"""Uploaded objects. The hub keeps them in memory; whoever runs it may give it another place (`MediaStore`)."""

from typing import Protocol

from attrs import define, field

from clawproto.deferred import frozen


@frozen
class MediaObject:
    """One stored upload."""

    name: str
    mime: str
    content: bytes = field(repr=False)


class MediaStore(Protocol):
    """Uploads by id, oldest first; the oldest make room."""

    def put(self, object_id: str, item: MediaObject, room: int) -> None:
        """Keep an object; afterwards at most ``room`` bytes are kept, this one aside."""
        ...

    def get(self, object_id: str) -> MediaObject | None:
        """The object, or None if it is gone."""
        ...


@define
class MediaMemory:
    """Uploads in memory."""

    objects: dict[str, MediaObject] = field(factory=dict[str, MediaObject], repr=False)
    total: int = 0

    def put(self, object_id: str, item: MediaObject, room: int) -> None:
        """See `MediaStore.put`."""
        while self.objects and self.total > room:
            self.total -= len(self.objects.pop(next(iter(self.objects))).content)
        self.objects[object_id] = item
        self.total += len(item.content)

    def get(self, object_id: str) -> MediaObject | None:
        """See `MediaStore.get`."""
        return self.objects.get(object_id)
