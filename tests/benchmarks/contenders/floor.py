"""The floor: what the same rows cost with nothing around them, by binary COPY and merge into the portal's own table.

`rows`: the rows are in memory already. `pages`: they are read over HTTP first, page by page, with the libraries
the portal uses (httpx2, msgspec) in the plainest way there is: no retry, no check, no unknown field kept. Digits of a
time beyond the microsecond, which half of the sandbox's runs have, go to `extra` as the portal stores them: without
them the rows would not be the same.
"""

import os
import sys
from collections.abc import Iterable, Iterator
from datetime import date, datetime, timedelta
from typing import Any

import django
import httpx2
import msgspec
import psycopg

from tests.benchmarks.contenders import lane

COLUMNS = {
    "record_id": "text",
    "environment_id": "text",
    "project_id": "text",
    "user_id": "text",
    "runner_id": "text",
    "environment_class_id": "text",
    "created_at": "timestamptz",
    "stopped_at": "timestamptz",
    "extra": "text",
}
NAMES = ", ".join(COLUMNS)
REST = [name for name in COLUMNS if name != "record_id"]
SPOOL = ", ".join(f"{name} {kind}" for name, kind in COLUMNS.items())
INCOMING = NAMES.replace("extra", "COALESCE(n.extra::jsonb, '{}')")
MERGE = f"""
    INSERT INTO usage_environmentusage AS t (source_id, day, {NAMES})
    SELECT 1, %s, {INCOMING} FROM spool n
    ON CONFLICT (source_id, record_id, day) DO UPDATE SET {", ".join(f"{name} = excluded.{name}" for name in REST)}
    WHERE ({", ".join(f"t.{name}" for name in REST)})
        IS DISTINCT FROM ({", ".join(f"excluded.{name}" for name in REST)})
"""
MICROSECONDS = len("2026-01-31T12:00:00.123456Z")
LIST = "/gitpod.v1.UsageService/ListEnvironmentUsageRecords"

Row = tuple[Any, ...]


class Record(msgspec.Struct, rename="camel", gc=False):
    """A record as the sandbox sends it."""

    id: str
    stopped_at: str
    created_at: str = ""
    environment_id: str = ""
    project_id: str = ""
    user_id: str = ""
    runner_id: str = ""
    environment_class_id: str = ""


class Pagination(msgspec.Struct):
    """Where the listing goes on."""

    next_token: str = msgspec.field(default="", name="nextToken")


class Answer(msgspec.Struct):
    """A page."""

    records: list[Record]
    pagination: Pagination


def build_rows(records: Iterable[Record]) -> list[Row]:
    """Return the rows of a page, in the order of COLUMNS."""
    parse = datetime.fromisoformat
    return [
        (
            record.id,
            record.environment_id,
            record.project_id,
            record.user_id,
            record.runner_id,
            record.environment_class_id,
            parse(record.created_at) if record.created_at else None,
            parse(record.stopped_at),
            build_extra(record),
        )
        for record in records
    ]


def build_extra(record: Record) -> str | None:
    """Return the times with more digits than a column holds as JSON; None where there is none."""
    times = {"createdAt": record.created_at, "stoppedAt": record.stopped_at}
    precise = {name: text for name, text in times.items() if len(text) > MICROSECONDS}
    return msgspec.json.encode(precise).decode() if precise else None


def iterate_pages(base_url: str, day: date) -> Iterator[list[Row]]:
    """Yield the rows of a day's pages, read over one connection."""
    decode = msgspec.json.Decoder(Answer).decode
    span = {"startTime": f"{day}T00:00:00Z", "endTime": f"{day + timedelta(days=1)}T00:00:00Z"}
    headers = {"Authorization": "Bearer sandbox-key", "Content-Type": "application/json"}
    token = ""
    with httpx2.Client(headers=headers, verify=False) as client:
        while True:
            pagination = {"pageSize": 100, "token": token}
            body = msgspec.json.encode({"filter": {"dateRange": span}, "pagination": pagination})
            answer = decode(client.post(base_url + LIST, content=body).content)
            yield build_rows(answer.records)
            token = answer.pagination.next_token
            if not token:
                return


def load_day(database: psycopg.Connection, day: date, batches: Iterable[list[Row]]) -> int:
    """Copy a day's rows into a temporary table and merge them, in one transaction."""
    loaded = 0
    with database.transaction(), database.cursor() as cursor:
        cursor.execute(f"CREATE TEMPORARY TABLE spool ({SPOOL}) ON COMMIT DROP")
        with cursor.copy(f"COPY spool ({NAMES}) FROM STDIN (FORMAT BINARY)") as copy:
            copy.set_types(list(COLUMNS.values()))
            for batch in batches:
                loaded += len(batch)
                for row in batch:
                    copy.write_row(row)
        cursor.execute(MERGE, [day])
    return loaded


def create_partitions(days: list[date]) -> None:
    """Create the partitions of these days, as planning does for the portal."""
    django.setup()
    from django.db import connection

    from usage.models import EnvironmentUsage
    from usage.partitions import ensure_partitions

    ensure_partitions(EnvironmentUsage, days[0], days[-1] + timedelta(days=1))
    connection.close()


def main() -> None:
    """Race with `rows|pages`, the base URL, the first day and the number of days given as arguments; a day a turn."""
    kind, base_url, first, count = sys.argv[1:]
    days = [date.fromisoformat(first) + timedelta(days=offset) for offset in range(int(count))]
    create_partitions(days)
    httpx2.Client(verify=False).close()  # imports its transport, as a worker long has
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as database:
        if kind == "rows":
            pages_by_day = {day: list(iterate_pages(base_url, day)) for day in days}
            loads = (load_day(database, day, pages_by_day[day]) for day in days)
        else:
            loads = (load_day(database, day, iterate_pages(base_url, day)) for day in days)
        lane.run(lambda: next(loads), turns=len(days))


if __name__ == "__main__":
    main()
