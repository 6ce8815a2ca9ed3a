"""Days of every kind with unusual values in two months, of which the first can be archived, stored without the engine."""

from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from tests.support.factories import EnvironmentUsageFactory, RecipeUsageFactory, ResourceUsageFactory, SourceFactory
from usage.days import iterate_days
from usage.models import EnvironmentUsage, RecipeUsage, ResourceUsage, Source, SourceDay, UsageRecord
from usage.rollups import roll_up_days
from usage.stored import read_stored_day

# Older than the months that the tests' database has, so that these are the only ones before KEPT.
MONTH, NEXT_MONTH = date(2025, 6, 1), date(2025, 7, 1)
FIRST, END = date(2025, 6, 28), date(2025, 7, 4)
VENDORS = {EnvironmentUsage: "ona", ResourceUsage: "gcore", RecipeUsage: "workato"}
QUANTITIES = ("1440.0", "0.250", "1e30", "0.0000000000000000001", "7", "123456789012345678901234567890.10")
TEXTS = ("", '"quoted", \\.', "line\nbreak\r\n", "=1+1", "ß\u00e9\x01 🎈", "Zebra", "ähre", "a-b", "ab", "~none")


def make_source(kind: type[UsageRecord], slug: str, **values: Any) -> Source:
    """Return a source of a kind whose history begins on FIRST."""
    source: Source = SourceFactory(slug=slug, vendor=VENDORS[kind], backfill_from=FIRST, **values)
    return source


def store_days(source: Source, first: date = FIRST, end: date = END, count: int = 7) -> None:
    """Store `count` records on each day, with values of all kinds, and the days, final and rolled up."""
    kind: Any = next(kind for kind, vendor in VENDORS.items() if vendor == source.vendor)
    for number, span in enumerate(iterate_days(first, end, source.zone)):
        for index in range(count):
            FILLERS[kind](source, span.date, span.start, number * count + index)
        values = {"complete": True, "final": True, "verification": "none", "state": "loaded", "loaded_at": span.end}
        day = SourceDay(source=source, day=span.date, starts_at=span.start, ends_at=span.end, **values)
        read_stored_day(kind, day).write_to(day)
        day.save()
    roll_up_days()


def add_run(source: Source, day: date, start: datetime, number: int) -> None:
    """Store a run; two of three stop at the same instant, some never started."""
    stopped = start + timedelta(hours=number // 3 % 24, microseconds=number // 3 * 250_000)
    EnvironmentUsageFactory(
        source=source,
        day=day,
        record_id=f"{source.slug}-{number}",
        stopped_at=stopped,
        created_at=None if number % 5 == 4 else stopped - timedelta(minutes=number, microseconds=1),
        project_id=TEXTS[number % len(TEXTS)],
        user_id=f"user-{number % 3}",
        extra={"note": TEXTS[number % len(TEXTS)], "exact": 1.5, "list": [1, None]} if number % 2 else {},
        first_seen_at=stopped if number % 2 else None,
        revision=number % 4 + 1,
    )


def add_resource(source: Source, day: date, start: datetime, number: int) -> None:
    """Store a resource's day, with a quantity that has zeros at its end or more digits than a decimal of the lake."""
    ResourceUsageFactory(
        source=source,
        day=day,
        resource_key=UUID(int=(number * 0x9E3779B97F4A7C15F39CC0605CEDC835) % 2**128),
        resource_type=("instance", "volume", "external_ip")[number % 3],
        consumed_quantity=Decimal(QUANTITIES[number % len(QUANTITIES)]),
        project_id=None if number % 4 == 0 else 9_007_199_254_740_993 + number,
        resource_name=TEXTS[number % len(TEXTS)],
        first_seen=None if number % 2 else start,
        tags={"team": TEXTS[number % len(TEXTS)], "n": ["a", "b"]},
        details={"flavor": "g1"},
    )


def add_hour(source: Source, day: date, start: datetime, number: int) -> None:
    """Store an hour of a recipe, some of deleted ones, some without counts."""
    RecipeUsageFactory(
        source=source,
        day=day,
        starts_at=start + timedelta(hours=number % 24),
        workspace_id=number,
        recipe_id=None if number % 3 == 0 else 9000 + number,
        recipe_name=TEXTS[number % len(TEXTS)],
        task_count=None if number % 4 == 0 else number,
    )


FILLERS = {EnvironmentUsage: add_run, ResourceUsage: add_resource, RecipeUsage: add_hour}
