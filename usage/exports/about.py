"""The description in a file: the request, the state of the records, and the data quality."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from usage.datetimes import UTC_ZONE
from usage.formatting import format_lag
from usage.labels import get_label

Line = tuple[str, str]


@dataclass(frozen=True, slots=True)
class ExportRequest:
    """The request of a file: the rows called `title`, at `url`, by `params`.

    `zone`: that of the instants of a workbook. `bom`: whether CSV begins with a byte order mark.
    """

    title: str = ""
    url: str = ""
    params: Iterable[Line] = ()
    zone: ZoneInfo = UTC_ZONE
    bom: bool = False


def describe_request(
    request: ExportRequest, as_of: str, replica_lag: float | None, sentences: Iterable[str]
) -> Iterator[Line]:
    """Yield (name, text) of the request, of the instant whose state the rows have, and of their data quality."""
    yield "Contents", request.title
    yield "As of", as_of
    if replica_lag is not None:
        yield "Read from a standby", format_lag(replica_lag)
    yield "Asked at", request.url
    for name, value in request.params:
        if name != "tz":
            yield get_label(name), value
    yield "Time zone", request.zone.key
    for sentence in sentences:
        yield "How far it can be trusted", sentence
