"""A file that is sent while it is written."""

import io
from typing import Any


class Outbox(io.RawIOBase):
    """A file that keeps what is written until it is fetched."""

    def __init__(self) -> None:
        self.posted = bytearray()
        self.at = 0

    def writable(self) -> bool:
        """Yes."""
        return True

    def tell(self) -> int:
        """Return how much was ever written."""
        return self.at

    def write(self, data: Any) -> int:
        """Take bytes in."""
        self.posted += data
        self.at += len(data)
        return len(data)

    def emptied(self) -> bytes:
        """Return what was written since the last time."""
        posted = bytes(self.posted)
        self.posted.clear()
        return posted
