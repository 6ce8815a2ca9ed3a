"""Source days for records that tests stored without the engine, rolled up or not."""

from usage.days import Day
from usage.models import KINDS, Source, SourceDay
from usage.rollups import roll_up


def hold_days(*, rolled: bool) -> None:
    """Write down a source day for every day that has records, and roll it up where `rolled`."""
    sources = {source.pk: source for source in Source.objects.all()}
    for kind in KINDS.values():
        for pk, on in set(kind.objects.order_by().values_list("source_id", "day")):
            span = Day.of(on, sources[pk].zone)
            bounds = {"starts_at": span.start, "ends_at": span.end}
            SourceDay.objects.get_or_create(source_id=pk, day=on, defaults={**bounds, "records": 1})
    if rolled:
        SourceDay.objects.update(rolled_up=False)
        roll_up()
