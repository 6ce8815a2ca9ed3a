"""Detects a run that comes twice in one listing: then the listing changed while it was paged through."""

from array import array
from collections.abc import Sequence
from typing import Any

from usage.models import EnvironmentUsage

BUCKETS = 256
NAMELESS = EnvironmentUsage.nameless_prefix
NAMELESS_LENGTH = len(NAMELESS) + 32  # equal records without an id differ only in the number behind


class DuplicateDetector:
    """Remembers the ids of one listing, eight bytes each; `fingerprint` is the sum of the hashes of its rows."""

    def __init__(self) -> None:
        self.fingerprint = 0
        self._hashes = [array("q") for _ in range(BUCKETS)]

    def add(self, rows: Sequence[tuple[Any, ...]]) -> None:
        """Remember the rows of a page."""
        for row in rows:
            record_id = row[0]
            number = hash(record_id[:NAMELESS_LENGTH] if record_id.startswith(NAMELESS) else record_id)
            self._hashes[number % BUCKETS].append(number)
            self.fingerprint += hash(row)

    def has_duplicates(self) -> bool:
        """Return whether a record came more than once."""
        return any(len(set(hashes)) < len(hashes) for hashes in self._hashes)
