"""Realistic usage by the million, made by PostgreSQL itself; the same rows every time.

`python -m tests.benchmarks.rows KIND ROWS DAYS` fills the database of DATABASE_URL: two sources, ROWS records over the
DAYS before today in the order in which they would have been loaded, a loaded and complete source day each, and the
rollups; it prints a token. The indexes are made after the rows, which takes a fraction of the time; they are the
migrations' own.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from typing import Any

import django
import psycopg
from psycopg.sql import SQL, Identifier

from tests.benchmarks.contenders.columns import table

SOURCES = 2
VENDORS = {"environment-usage": "ona", "resource-usage": "gcore", "recipe-usage": "workato"}
# A row's day (e from the first on), its place in the day, when it was loaded, and one in 200 withdrawn since.
NUMBERED = f"""
    SELECT e * %(per_day)s + i AS n, i, (%(sources)s::bigint[])[1 + mod(i, {SOURCES})] AS source_id, d AS day,
        d::timestamp AT TIME ZONE 'UTC' AS midnight, random() AS r, random() AS q, random() AS p,
        (d + INTERVAL '27 hours') AT TIME ZONE 'UTC' AS loaded,
        CASE WHEN mod(i, 200) = 7 THEN (d + INTERVAL '27 hours') AT TIME ZONE 'UTC' END AS first_seen_at,
        CASE WHEN mod(i, 200) = 7 THEN (d + INTERVAL '51 hours') AT TIME ZONE 'UTC' END AS withdrawn_at
    FROM generate_series(0::bigint, %(days)s - 1) AS e,
        LATERAL (SELECT %(first)s::date + e::int AS d) AS dated,
        LATERAL generate_series(0::bigint, %(per_day)s - 1) AS i
"""
# 200 projects and 2,000 users, some much busier than others; runs of minutes to a day, a few without a start.
ENVIRONMENTS = f"""
    INSERT INTO usage_environmentusage (source_id, day, first_seen_at, changed_at, withdrawn_at, record_id,
        environment_id, project_id, user_id, runner_id, environment_class_id, created_at, stopped_at)
    SELECT source_id, day, first_seen_at, COALESCE(withdrawn_at, loaded), withdrawn_at, md5('run' || n)::uuid::text,
        md5('environment' || n / 3)::uuid::text, md5('project' || floor(200 * r * r))::uuid::text,
        md5('user' || floor(2000 * r * q))::uuid::text, md5('runner' || mod(n, 5))::uuid::text,
        md5('class' || mod(n / 7, 4))::uuid::text,
        CASE WHEN mod(n, 100) <> 3 THEN stopped - floor(LEAST(-ln(1 - p), 12) * 7200000) * INTERVAL '1 millisecond' END,
        stopped
    FROM (SELECT *, midnight + floor(86400000 * q) * INTERVAL '1 millisecond' AS stopped FROM ({NUMBERED}) AS numbered)
        AS timed
"""
# The same resources day after day: 6 types over 200 projects and 4 regions, with tags and a flavor. They are stored in
# the order in which a merge inserts those of a day.
RESOURCES = f"""
    INSERT INTO usage_resourceusage (source_id, day, first_seen_at, changed_at, withdrawn_at, resource_key,
        resource_type, billing_metric, consumed_quantity, consumed_unit, project_id, region_id, resource_id,
        resource_name, first_seen, last_seen, details, tags)
    SELECT source_id, day, first_seen_at, COALESCE(withdrawn_at, loaded), withdrawn_at, md5('resource' || i)::uuid,
        (ARRAY['instance', 'volume', 'floatingip', 'egress_traffic', 'load_balancer', 'snapshot'])[1 + mod(i, 6)],
        (ARRAY['standard_v2', 'ssd', 'ip', 'traffic', 'lb', 'snapshot'])[1 + mod(i, 6)],
        round((1440 * r)::numeric, 4),
        (ARRAY['minutes', 'gbminutes', 'minutes', 'bytes', 'minutes', 'gbminutes'])[1 + mod(i, 6)],
        1000 + mod(i * i / 6, 200), 1 + mod(i / 6, 4), md5('id' || i)::uuid::text, 'resource ' || i, midnight,
        midnight + INTERVAL '23 hours', jsonb_build_object('flavor', 'g1-standard-' || mod(i / 3, 8)),
        jsonb_build_object('team', 'team ' || mod(i / 5, 40), 'stage', (ARRAY['dev', 'test', 'live'])[1 + mod(i, 3)])
    FROM ({NUMBERED}) AS numbered ORDER BY day, source_id, md5('resource' || i)
"""
# The same recipes hour after hour, over 200 workspaces of three folders each; of few rows, others hour after hour, so
# that what is asked by workspace and month has as many groups whatever the number of rows.
RECIPES = f"""
    INSERT INTO usage_recipeusage (source_id, day, first_seen_at, changed_at, withdrawn_at, workspace_id, external_id,
        workspace_name, recipe_id, recipe_name, folder_id, folder_name, starts_at, ends_at, task_count,
        job_succeeded_count, job_failed_count, recipe_count)
    SELECT source_id, day, first_seen_at, COALESCE(withdrawn_at, loaded), withdrawn_at, 1 + mod(k, 200),
        'customer-' || mod(k, 200), 'Workspace ' || mod(k, 200), 10000 + k, 'Recipe ' || k, 500 + mod(k, 600),
        'Folder ' || mod(k, 600), starts, starts + INTERVAL '1 hour', floor(1000 * r * r), floor(100 * q),
        floor(3 * r * q), 1
    FROM (SELECT *, midnight + h * INTERVAL '1 hour' AS starts,
              mod((i - div(h * %(per_day)s + 23, 24)::bigint) / 2 + 24 * (n / %(per_day)s) + h,
                  GREATEST(%(per_day)s / 48 + 1, 600)) AS k
          FROM (SELECT *, i * 24 / %(per_day)s AS h FROM ({NUMBERED}) AS numbered) AS hourly) AS recipes
"""
ROWS = {"environment-usage": ENVIRONMENTS, "resource-usage": RESOURCES, "recipe-usage": RECIPES}
INDEXES = """
    SELECT pg_get_indexdef(i.indexrelid), c.relname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
    WHERE i.indrelid = %s::regclass
"""

Connection = psycopg.Connection[Any]


def fill(connection: Connection, kind: str, rows: int, days: int, source_ids: list[int]) -> None:
    """Insert the rows of a kind; raises ValueError where the days would not be of one length."""
    per_day, uneven = divmod(rows, days)
    if uneven:
        raise ValueError(f"{rows:,} rows do not make {days} equal days.")
    with without_indexes(connection, table(kind)):
        connection.execute("SELECT setseed(0.42)")
        first = datetime.now(UTC).date() - timedelta(days=days)
        connection.execute(ROWS[kind], {"first": first, "days": days, "per_day": per_day, "sources": source_ids})
    connection.execute(SQL("VACUUM (ANALYZE) {}").format(Identifier(table(kind))))


@contextmanager
def without_indexes(connection: Connection, name: str) -> Iterator[None]:
    """Drop the indexes of a partitioned table, and make them again at the end."""
    indexes = connection.execute(INDEXES, (name,)).fetchall()
    for _, index in indexes:
        connection.execute(SQL("DROP INDEX {}").format(Identifier(index)))
    yield
    connection.execute("SET maintenance_work_mem = '1GB'")
    for definition, _ in indexes:
        connection.execute(definition.replace(" ON ONLY ", " ON "))


def main(kind: str, rows: str, days: str) -> None:
    """Fill the database and print the secret of a token that reads it all."""
    django.setup()
    from portal.accounts.models import Scope, create_token
    from usage.models import KINDS
    from usage.partitions import ensure_partitions

    sources = new_sources(kind, int(days))
    ensure_partitions(KINDS[kind], sources[0].backfill_from, datetime.now(UTC).date() + timedelta(days=1))
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as connection:
        fill(connection, kind, int(rows), int(days), [source.pk for source in sources])
        mark_loaded(kind, sources)
        connection.execute("VACUUM (ANALYZE)")
    _, secret = create_token("benchmark", [Scope.USAGE_READ, Scope.MIRROR_READ])
    sys.stdout.write(secret)


def new_sources(kind: str, days: int) -> list[Any]:
    """Make the sources, which begin with the first of the days."""
    from usage.models import Source

    vendor, first = VENDORS[kind], datetime.now(UTC).date() - timedelta(days=days)
    return [
        Source.objects.create(
            slug=f"{vendor}-{number}", vendor=vendor, base_url="https://127.0.0.1", backfill_from=first
        )
        for number in range(SOURCES)
    ]


def mark_loaded(kind: str, sources: list[Any]) -> None:
    """Make the source days as if each had been read to its end the night after, with their sums and rollups."""
    from django.db import transaction

    from usage import rollups
    from usage.models import KINDS, SourceDay

    with transaction.atomic():
        days = SourceDay.objects.bulk_create(build_days(kind, sources))
    for day in days:
        with transaction.atomic():
            rollups.write_rollups(KINDS[kind], day).write_to(day)
            day.save(update_fields=["records", "withdrawn", "sums", "stored_digest"])


def build_days(kind: str, sources: list[Any]) -> list[Any]:
    """Return a complete and final source day for every day that has records."""
    from django.db.models import Count, Q

    from usage.days import Day
    from usage.models import KINDS, DayState, SourceDay

    withdrawn_count = Count("pk", filter=~Q(withdrawn_at=None))
    groups = KINDS[kind].objects.values("source_id", "day").annotate(all=Count("pk"), gone=withdrawn_count)
    counts: dict[tuple[int, date], tuple[int, int]] = {
        (group["source_id"], group["day"]): (group["all"] - group["gone"], group["gone"]) for group in groups
    }
    spans = {day: Day.of(day, "UTC") for _, day in counts}
    return [
        SourceDay(
            source_id=source,
            day=day,
            starts_at=spans[day].start,
            ends_at=spans[day].end,
            state=DayState.LOADED,
            attempt=1,
            final=True,
            complete=True,
            loaded_at=spans[day].start + timedelta(hours=27),
            covered_until=spans[day].end,
            records=current,
            withdrawn=withdrawn,
            rolled_up=True,
        )
        for (source, day), (current, withdrawn) in sorted(counts.items())
    ]


if __name__ == "__main__":
    main(*sys.argv[1:])
