"""TSV: one record a line, cells with a tab between them."""

import json
from collections.abc import Iterator

from usage.exports.copy import ExportQuery
from usage.exports.formats.base import ExportFormat


class Format(ExportFormat):
    """Rows as the API's objects have them; a tab or a line break in a cell becomes a space."""

    name = "tsv"
    media_type = "text/tab-separated-values"
    title = "TSV"
    hint = "for tools that split by tabs"
    position = 5

    def write(self, query: ExportQuery) -> Iterator[bytes]:
        """Yield the header, then blocks of about 64 KB."""
        yield ("\t".join(column.name for column in query.columns) + "\n").encode()
        for records in query.read_json():
            yield "".join(render_row(bytes(record)) for record in records).encode()


def render_row(record: bytes) -> str:
    """Return one JSON object as a line."""
    cells = ("" if value is None else str(value) for value in json.loads(record).values())
    return "\t".join(" ".join(cell.split()) for cell in cells) + "\n"
