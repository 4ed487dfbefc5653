"""Where the development hub keeps uploads: files in a temporary folder that goes away with it."""

import tempfile
from pathlib import Path

from clawproto.hub.media_store import MediaObject


class MediaFolder:
    """Uploads as files, for nobody else to read; see `clawproto.hub.media_store.MediaStore`. Close it at the end."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="clawproto-media-")
        self._kept: dict[str, tuple[str, str, int]] = {}  # id to name, type and size, oldest first
        self._total = 0

    @property
    def path(self) -> Path:
        return Path(self._folder.name)

    def put(self, object_id: str, item: MediaObject, room: int) -> None:
        """See `clawproto.hub.media_store.MediaStore.put`."""
        while self._kept and self._total > room:
            oldest = next(iter(self._kept))
            self._total -= self._kept.pop(oldest)[2]
            (self.path / oldest).unlink(missing_ok=True)
        (self.path / object_id).write_bytes(item.content)
        self._kept[object_id] = item.name, item.mime, len(item.content)
        self._total += len(item.content)

    def get(self, object_id: str) -> MediaObject | None:
        """See `clawproto.hub.media_store.MediaStore.get`."""
        kept = self._kept.get(object_id)
        return None if kept is None else MediaObject(kept[0], kept[1], (self.path / object_id).read_bytes())

    def close(self) -> None:
        """Delete everything."""
        self._folder.cleanup()
