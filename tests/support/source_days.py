"""Source days for records that tests stored without the engine, rolled up or not."""

from collections.abc import Iterable

from django.db import connection

from usage.days import Day
from usage.models import KINDS, Source, SourceDay
from usage.rollups import roll_up_days


def create_source_days(*, rolled: bool) -> None:
    """Create a source day for every day that has records, and roll it up where `rolled`."""
    first, *others = (kind.objects.order_by().values_list("source_id", "day") for kind in KINDS.values())
    missing = {*first.union(*others)} - {*SourceDay.objects.values_list("source_id", "day")}
    if missing:
        zones = {source.pk: source.zone for source in Source.objects.all()}
        spans = [(pk, Day.of(on, zones[pk])) for pk, on in sorted(missing)]
        SourceDay.objects.bulk_create(
            SourceDay(source_id=pk, day=span.date, starts_at=span.start, ends_at=span.end, records=1)
            for pk, span in spans
        )
    if rolled:
        SourceDay.objects.update(rolled_up=False)
        roll_up_days()


def copy_days(source: Source, targets: Iterable[Source]) -> None:
    """Copy the days of `source` to `targets`, in the database: tens of thousands of days in a second."""
    columns = [field.column for field in SourceDay._meta.concrete_fields if field.column not in {"id", "source_id"}]
    names = ", ".join(f'"{column}"' for column in columns)
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO usage_sourceday (source_id, {names}) SELECT target, {names}"
            " FROM usage_sourceday CROSS JOIN unnest(%s) AS target WHERE source_id = %s",
            [[target.pk for target in targets], source.pk],
        )
