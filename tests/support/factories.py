"""Factories of sources, days and usage records, whose keys differ."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db import connection
from factory.declarations import LazyAttribute, Sequence, SubFactory
from factory.django import DjangoModelFactory

from tests.support.database import MONTHS
from usage.models import EnvironmentUsage, RecipeUsage, ResourceUsage, Source, SourceDay
from usage.partitions import ensure_partitions

FIRST_DAY = date(2026, 1, 1)
FIRST = datetime(2026, 1, 1, tzinfo=UTC)


class SourceFactory(DjangoModelFactory[Source]):
    """An enabled source of a vendor that exists only here; give `vendor` where a reader is needed."""

    class Meta:
        model = Source

    slug = Sequence(lambda n: f"source-{n}")
    vendor = "acme"
    base_url = "http://127.0.0.1:1/acme"
    credential_env = "PORTAL_VENDOR_ACME"
    backfill_from = FIRST_DAY


class SourceDayFactory(DjangoModelFactory[SourceDay]):
    """One UTC day of a source, due, not read yet; the next one each time."""

    class Meta:
        model = SourceDay

    source = SubFactory(SourceFactory)
    day = Sequence(lambda n: FIRST_DAY + timedelta(days=n))
    starts_at = LazyAttribute(lambda source_day: datetime.combine(source_day.day, datetime.min.time(), UTC))
    ends_at = LazyAttribute(lambda source_day: source_day.starts_at + timedelta(days=1))


class UsageFactory(DjangoModelFactory[Any]):
    """A usage record, whose month is created where it is none of those that the tests' database begins with."""

    class Meta:
        abstract = True

    @classmethod
    def _create(cls, model_class: type[Any], *args: Any, **kwargs: Any) -> Any:
        if not MONTHS[0] <= kwargs["day"] < MONTHS[1]:
            ensure_partitions(model_class, kwargs["day"], kwargs["day"] + timedelta(days=1))
        return super()._create(model_class, *args, **kwargs)


class EnvironmentUsageFactory(UsageFactory):
    """One run of an hour that stopped on 2026-01-01, a second after the one before."""

    class Meta:
        model = EnvironmentUsage

    source = SubFactory(SourceFactory)
    record_id = Sequence(lambda n: f"run-{n}")
    environment_id = Sequence(lambda n: f"environment-{n % 7}")
    project_id = Sequence(lambda n: f"project-{n % 3}")
    user_id = Sequence(lambda n: f"user-{n % 5}")
    runner_id = "runner-1"
    environment_class_id = "class-1"
    stopped_at = Sequence(lambda n: FIRST + timedelta(hours=6, seconds=n % 60_000))
    created_at = LazyAttribute(lambda record: record.stopped_at - timedelta(hours=1))
    day = LazyAttribute(lambda record: record.stopped_at.date())


class ResourceUsageFactory(UsageFactory):
    """What one instance ran on 2026-01-01, in minutes."""

    class Meta:
        model = ResourceUsage

    source = SubFactory(SourceFactory)
    day = FIRST_DAY
    resource_key = Sequence(lambda n: UUID(int=n))
    resource_type = "instance"
    billing_metric = "instance_minutes"
    consumed_quantity = Decimal(1440)
    consumed_unit = "minutes"
    project_id = 11
    region_id = 7
    resource_id = LazyAttribute(lambda record: str(record.resource_key))
    resource_name = Sequence(lambda n: f"web-{n}")


class RecipeUsageFactory(UsageFactory):
    """One hour of one recipe on 2026-01-01 or after; the next hour each time."""

    class Meta:
        model = RecipeUsage

    source = SubFactory(SourceFactory)
    workspace_id = 501
    external_id = "customer-501"
    workspace_name = "Customer 501"
    recipe_id = 9001
    recipe_name = "Sync orders"
    folder_id = 31
    folder_name = "Orders"
    starts_at = Sequence(lambda n: FIRST + timedelta(hours=n))
    ends_at = LazyAttribute(lambda record: record.starts_at + timedelta(hours=1))
    day = LazyAttribute(lambda record: record.starts_at.date())
    task_count = 12
    job_succeeded_count = 3
    job_failed_count = 1
    recipe_count = 1


def create_many_environments(source: Source, count: int) -> None:
    """Insert `count` runs of a source at once, one for each second of 2026-01-01 from 06:00 on."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO usage_environmentusage
                (source_id, day, record_id, environment_id, project_id, user_id, created_at, stopped_at)
            SELECT %s, '2026-01-01', 'many-' || g, 'environment-' || g %% 7, 'project-' || g %% 3, 'user-' || g %% 5,
                   timestamptz '2026-01-01 05:00Z' + g * interval '1 second',
                   timestamptz '2026-01-01 06:00Z' + g * interval '1 second'
            FROM generate_series(0, %s) AS g
            """,
            [source.pk, count - 1],
        )
