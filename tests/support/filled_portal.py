"""A portal with a month of synced days: sources of three vendors, days in every state, and their records."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.utils import timezone

from sync.models import LoadAttempt, SyncRun, SyncRunDay, Trigger
from sync.vendors import readers
from tests.support.database import store_or_restore
from tests.support.factories import EnvironmentUsageFactory, RecipeUsageFactory, ResourceUsageFactory, SourceFactory
from usage.data_quality import VENDOR_KINDS
from usage.days import Day
from usage.models import (
    DayState,
    EnvironmentUsage,
    RecipeUsage,
    RejectedRecord,
    ResourceUsage,
    Restatement,
    Source,
    SourceDay,
    Verification,
)
from usage.stored import read_stored_day

CREDENTIAL = "secret-that-no-page-may-show"
FIRST = date(2026, 10, 20)
DAYS = 30


@dataclass(frozen=True, slots=True)
class VendorSources:
    """The sources of a filled portal, one per vendor."""

    environments: Source
    resources: Source
    recipes: Source


def fill_portal() -> VendorSources:
    """Create the sources, days, records, runs and days with problems."""
    sources = VendorSources(
        create_source("ona-main", "ona", credential=CREDENTIAL, credential_env=""),
        create_source("gcore-main", "gcore"),
        create_source("workato-emea", "workato", time_zone="Europe/Berlin", options={"workspace_ids": [501]}),
    )
    for source in (sources.environments, sources.resources, sources.recipes):
        create_days(source)
    create_records(sources)
    count_records_of_days()
    create_problems(sources)
    return sources


def fill_portal_once() -> VendorSources:
    """Fill an empty database; the first call of a process creates the rows, later calls restore them."""
    store_or_restore("filled", fill_portal)
    return get_vendor_sources()


def get_vendor_sources() -> VendorSources:
    """Return the sources that `fill_portal` created, from the database."""
    return VendorSources(*(Source.objects.get(slug=slug) for slug in ("ona-main", "gcore-main", "workato-emea")))


def create_source(slug: str, vendor: str, **values: Any) -> Source:
    """Create a source at the vendor's own address."""
    source: Source = SourceFactory.create(
        slug=slug, vendor=vendor, base_url=readers()[vendor].base_url, backfill_from=FIRST, **values
    )
    return source


def create_days(source: Source) -> None:
    """Create a month of loaded days, the last three provisional: read only within their look-back."""
    verified = Verification.VERIFIED if source.vendor != "ona" else Verification.NONE
    spans = [Day.of(FIRST + timedelta(days=number), source.zone) for number in range(DAYS)]
    SourceDay.objects.bulk_create(
        SourceDay(
            source=source,
            day=span.date,
            starts_at=span.start,
            ends_at=span.end,
            state=DayState.LOADED,
            complete=True,
            final=number < DAYS - 3,
            loaded_at=timezone.now() - timedelta(hours=2) if number < DAYS - 3 else span.end + timedelta(hours=1),
            covered_until=span.end,
            attempt=1,
            verification=verified,
        )
        for number, span in enumerate(spans)
    )


def create_records(sources: VendorSources) -> None:
    """Create records of every kind, a few of them withdrawn."""
    EnvironmentUsage.objects.bulk_create(build_environment(sources.environments, number) for number in range(120))
    ResourceUsage.objects.bulk_create(build_resource(sources.resources, number) for number in range(90))
    RecipeUsage.objects.bulk_create(build_recipe(sources.recipes, number) for number in range(72))


def build_environment(source: Source, number: int) -> EnvironmentUsage:
    """Return an unsaved run; each begins three hours before the one with the next lower number."""
    stopped = datetime(2026, 11, 18, 22, tzinfo=UTC) - timedelta(hours=3 * number)
    return EnvironmentUsageFactory.build(
        source=source,
        record_id=str(UUID(int=7919 * (number + 1) << 90)),
        environment_id=str(UUID(int=104729 * (number % 9 + 1) << 96)),
        stopped_at=stopped,
        created_at=stopped - timedelta(minutes=17 * (number % 23 + 1), microseconds=250_000),
        withdrawn_at=timezone.now() if number % 40 == 3 else None,
    )


def build_resource(source: Source, number: int) -> ResourceUsage:
    """Return an unsaved record of one of three resources, three a day."""
    return ResourceUsageFactory.build(
        source=source,
        day=date(2026, 11, 18) - timedelta(days=number // 3),
        resource_type=("instance", "volume", "egress_traffic")[number % 3],
        billing_metric=("g2-standard-4-8", "standard", "egress_traffic")[number % 3],
        consumed_unit=("minutes", "gbminutes", "bytes")[number % 3],
        consumed_quantity=(Decimal(1440), Decimal("70512.125"), Decimal(98_304_111_872))[number % 3],
        details={"flavor": "g2-standard-4-8"} if number % 3 == 0 else {"volume_type": "standard"},
        tags={"team": "data", "env": ["dev", "test"]},
        extra={"vat_code": "<b>S</b>"},
    )


def build_recipe(source: Source, number: int) -> RecipeUsage:
    """Return an unsaved hour of a recipe."""
    return RecipeUsageFactory.build(
        source=source,
        starts_at=datetime(2026, 11, 18, 20, tzinfo=UTC) - timedelta(hours=number),
        recipe_id=9001 if number % 6 else None,
        recipe_name="Sync orders" if number % 6 else "",
        task_count=12 * number,
    )


def count_records_of_days() -> None:
    """Store the counts and sums of every day that has records, as a merge does."""
    kinds = VENDOR_KINDS.values()
    days_with_records = {key for kind in kinds for key in kind.objects.values_list("source", "day")}
    days = [day for day in SourceDay.objects.select_related("source") if (day.source_id, day.day) in days_with_records]
    for day in days:
        read_stored_day(VENDOR_KINDS[day.source.vendor], day).write_to(day)
    SourceDay.objects.bulk_update(days, ["records", "withdrawn", "sums"])


def create_problems(sources: VendorSources) -> None:
    """Create a failed, a suspect, a partial and a restated day, and the run of the failed one."""
    failed, suspect, partial, restated = SourceDay.objects.filter(source=sources.resources).order_by("-day")[4:8]
    for day, state, error in (
        (failed, DayState.FAILED, "api.gcore.com cannot answer now (HTTP 503). Gave up after 6 attempts."),
        (suspect, DayState.SUSPECT, ""),
        (partial, DayState.PARTIAL, ""),
    ):
        SourceDay.objects.filter(pk=day.pk).update(state=state, error=error, complete=False, final=False)
    SourceDay.objects.filter(pk=suspect.pk).update(
        suspicion={"held": suspect.records, "reported": 1, "would_withdraw": suspect.records - 1, "digest": "0" * 32}
    )
    SourceDay.objects.filter(pk=partial.pk).update(rejected=1, findings="1" * 32)
    RejectedRecord.objects.create(
        source_day=partial,
        payload='{"type":"instance","billing_value":"<script>alert(1)</script>"}',
        payload_digest="1" * 32,
        reason="billing_value: a number is expected",
        attempt=1,
    )
    SourceDay.objects.filter(pk=restated.pk).update(restated_at=timezone.now())
    Restatement.objects.create(
        source_day=restated,
        attempt=2,
        records_before=restated.records - 1,
        records_after=restated.records,
        inserted=1,
        changed=1,
        sums_before={**restated.sums, "minutes": "1400"},
        sums_after=restated.sums,
    )
    LoadAttempt.objects.create(
        source_day=failed,
        number=1,
        worker="worker-1",
        outcome=LoadAttempt.Outcome.FAILED,
        finished_at=timezone.now(),
        requests=6,
        retries=5,
        error="api.gcore.com cannot answer now (HTTP 503). Gave up after 6 attempts.",
    )
    run = SyncRun.objects.create(
        source=sources.resources,
        trigger=Trigger.ADMIN,
        requested_by="alex",
        from_day=FIRST,
        to_day=FIRST + timedelta(days=DAYS),
        days_total=DAYS,
        days_done=DAYS - 12,
        days_failed=1,
        fetched=81_234,
        seconds=Decimal("41.207"),
    )
    SyncRunDay.objects.create(run=run, source_day=failed, outcome=SyncRunDay.Outcome.FAILED)
