"""Uploaded objects, in memory."""

from attrs import define, field, frozen


@frozen
class MediaObject:
    """One stored upload."""

    name: str
    mime: str
    content: bytes = field(repr=False)


@define
class MediaStore:
    """Uploads by id, oldest first; the oldest make room."""

    objects: dict[str, MediaObject] = field(factory=dict[str, MediaObject], repr=False)
    total: int = 0

    def put(self, object_id: str, item: MediaObject, room: int) -> None:
        """Keep an object; afterwards at most ``room`` bytes are kept, this one aside."""
        while self.objects and self.total > room:
            self.total -= len(self.objects.pop(next(iter(self.objects))).content)
        self.objects[object_id] = item
        self.total += len(item.content)
