"""NDJSON: the objects of the API's lists, one a line."""

from collections.abc import Iterator

from usage.exports.copy import ExportQuery
from usage.exports.formats.base import ExportFormat


class Format(ExportFormat):
    """Rows as PostgreSQL writes them."""

    name = "ndjson"
    media_type = "application/x-ndjson"
    title = "NDJSON"
    hint = "one JSON object a line"
    position = 3

    def write(self, query: ExportQuery) -> Iterator[bytes]:
        yield from map(b"".join, query.read_json())
