"""DataQuality: whether an answer is complete, which days stand against it, and from when it may change."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from django.db.models import QuerySet
from django.utils import timezone

from usage.data_quality.days import LISTS, TouchedDays, fetch_touched_days, get_last_expected_day
from usage.datetimes import format_iso, get_local_date, get_shared_zone
from usage.days import midnight
from usage.models import Source, UsageRecord
from usage.standby import get_data_time, get_replica_lag

# The kind of usage that each vendor reports; `sync` fills it. A source of a vendor that is not in it may report any.
VENDOR_KINDS: Final[dict[str, type[UsageRecord]]] = {}
TICK: Final = timedelta(microseconds=1)
ONE_DAY: Final = timedelta(days=1)
# What an answer has archived days from.
LAKE: Final = "lake"
ROLLUPS: Final = "roll-ups"
FIRST_INSTANT: Final = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class DataQuality:
    """How complete and how final an answer is, judged by the source days that it is made from.

    `start`, `end`, `zone`: the range of the answer, None for an open side.
    `complete`: every day was read after its end and every record of it was stored. A range that begins before the first
    day of all its sources, or that has not ended yet, is not complete.
    `later_sources`: those that are stored from a day after the start of the range on, as
    `{"source": slug, "first_day": date}`; of them, no earlier day counts while another source has it.
    `source_zones`: the time zones of sources whose days are not those of `zone`, by slug.
    `complete_through`: the last date of `zone` up to which, from `start` on, that is so.
    `lists`: by their names in LISTS, `{"total": …, "days": [{"source": slug, "day": date}, …]}`, the earliest days
    first: days never read, not complete, suspect, unverified, found different by the check of stored records, and
    without their records, which were pruned, or archived in the lake; a day that is not over is in `open_days` and in
    none of the first two.
    A partial or unverified day also has `accepted`: None, or why and when a
    person accepted its findings. The list of pruned days has `rolled_up`: whether the answer has their sums by their
    roll-ups; otherwise they are gaps. The list of archived days has `answered_from`: LAKE or ROLLUPS, from which the
    answer has them; None where it lacks them.
    `provisional_from`: the first day that is not final and that no person accepted for good.
    `unsettled_from`: the first of these that waits for more than the closing read of its month.
    `restated_since`: when one of the days last came back different; an older answer is out of date.
    `replica_lag`: the seconds that a standby, whose answer it is, was behind; None for an answer of the primary.
    """

    start: datetime | None
    end: datetime | None
    zone: ZoneInfo
    complete: bool
    complete_through: date | None
    lists: dict[str, dict[str, Any]]
    later_sources: list[dict[str, str]]
    source_zones: dict[str, str]
    provisional_from: date | None
    unsettled_from: date | None
    restated_since: datetime | None
    as_of: datetime
    replica_lag: float | None

    def build_period_meta(self) -> dict[str, Any]:
        """Return the `meta` of a period, without the zone and the instant of the answer; JSON-ready."""
        return {
            "from": format_iso(self.start),
            "to": format_iso(self.end),
            "complete": self.complete,
            "complete_through": format_iso(self.complete_through),
            **self.lists,
            "later_sources": self.later_sources,
            "source_zones": self.source_zones,
            "provisional_from": format_iso(self.provisional_from),
            "unsettled_from": format_iso(self.unsettled_from),
            "restated_since": format_iso(self.restated_since),
        }

    def meta(self) -> dict[str, Any]:
        period = self.build_period_meta()
        bounds = {name: period.pop(name) for name in ("from", "to")}
        lag = {} if self.replica_lag is None else {"replica_lag_seconds": self.replica_lag}
        return {**bounds, "tz": self.zone.key, **period, "as_of": format_iso(self.as_of), **lag}


def assess(
    kind: type[UsageRecord] | None,
    *,
    source_ids: Collection[int] | None,
    start: datetime | None,
    end: datetime | None,
    zone: ZoneInfo | None,
    row_scope: frozenset[int] | None,
    accrued: bool = False,
    reads_rollups: Callable[[], bool] = lambda: False,
    reads_lake: bool = False,
) -> DataQuality:
    """Return the data quality of an answer about `[start, end)` of a kind, over sources within the row scope.

    `kind` None stands for every kind, `source_ids` None for every source. `zone`: None for a question without bounds
    and without a zone; its dates are those of the sources' days if they share a zone, else of UTC. With `accrued`, the
    days up to yesterday count too: a vendor reports a run when it stops, so runtime of the range may come with any
    later day.
    `reads_rollups` tells whether the answer is made from roll-ups; it is called where records of the range are no
    longer stored. `reads_lake`: the answer has the records of archived days.
    """
    now = timezone.now()
    sources = get_reporting_sources(kind, source_ids, row_scope)
    zone = zone or get_shared_zone(source.zone for source in sources)
    until = end if not accrued else max(filter(None, (end, now - ONE_DAY)))
    touched = [days for days in (get_touched_days(source, start, until, now) for source in sources) if days]
    columns = fetch_touched_days(touched, now)
    provisional_from, unsettled_from = columns["provisional_from"], columns["unsettled_from"]
    if accrued and start is not None:
        first = get_local_date(start, zone)
        provisional_from, unsettled_from = (day and min(day, first) for day in (provisional_from, unsettled_from))
    rolled_up = (columns["pruned_days"]["total"] or columns["archived_days"]["total"]) > 0 and reads_rollups()
    gaps = "gaps" if rolled_up else "lake_gaps" if reads_lake else "record_gaps"
    gap = get_first_gap(touched, columns[gaps], start)
    complete_until = min(gap or now, end or now, now)
    return DataQuality(
        start=start,
        end=end,
        zone=zone,
        complete=gap is None and end is not None and end <= now,
        complete_through=get_last_complete_date(start, end, complete_until, zone) if touched else None,
        lists=format_lists(columns, rolled_up=rolled_up, reads_lake=reads_lake),
        later_sources=[
            {"source": days.source.slug, "first_day": days.source.backfill_from.isoformat()}
            for days in sorted(touched, key=lambda days: days.source.slug)
            if days.begins_before_source
        ],
        source_zones={days.source.slug: days.source.time_zone for days in touched if days.source.time_zone != zone.key},
        provisional_from=provisional_from,
        unsettled_from=unsettled_from,
        restated_since=columns["restated_since"],
        as_of=get_data_time(),
        replica_lag=get_replica_lag(),
    )


def assess_filtered(
    filterset: Any, *, reads_rollups: Callable[[], bool] = lambda: False, reads_lake: bool = False
) -> DataQuality:
    """Return the data quality of what a valid filter set of a kind of usage keeps; see `assess`.

    `reads_lake`: the answer is an export, which has the records of archived days.
    """
    names_zone = bool({"tz", "from", "to"} & set(filterset.data or ()))
    start, end = filterset.get_range()
    return assess(
        filterset._meta.model,
        source_ids=filterset.get_source_ids(),
        start=start,
        end=end,
        zone=filterset.form.cleaned_data["tz"] if names_zone else None,
        row_scope=filterset.row_scope,
        reads_rollups=reads_rollups,
        reads_lake=reads_lake,
    )


def format_lists(columns: dict[str, Any], *, rolled_up: bool, reads_lake: bool) -> dict[str, dict[str, Any]]:
    """Return the lists of days; those of days without stored records also have where their numbers come from."""
    lists = {name: format_list(columns[name]) for name in LISTS}
    lists["pruned_days"]["rolled_up"] = rolled_up
    lists["archived_days"]["answered_from"] = ROLLUPS if rolled_up else LAKE if reads_lake else None
    return lists


def format_list(day_list: dict[str, Any]) -> dict[str, Any]:
    """Return a list of days with the instants of acceptances as JSON has them elsewhere."""
    for day in day_list["days"]:
        if day.get("accepted"):
            day["accepted"]["at"] = format_iso(datetime.fromisoformat(day["accepted"]["at"]))
    return day_list


def get_first_gap(touched: Collection[TouchedDays], gaps: dict[str, str], start: datetime | None) -> datetime | None:
    """Return the first incomplete instant of the range, None where it is complete."""
    zones = {str(days.source.pk): days.source.zone for days in touched}
    instants = [midnight(date.fromisoformat(day), zones[pk]) for pk, day in gaps.items()]
    if touched and all(days.begins_before_source for days in touched):
        instants.append(start or FIRST_INSTANT)
    return min(instants, default=None)


def get_reporting_sources(
    kind: type[UsageRecord] | None, source_ids: Collection[int] | None, row_scope: frozenset[int] | None
) -> list[Source]:
    """Return the sources that report `kind`, of those with these ids, within the row scope; None stands for all."""
    sources = select_reporting_sources(kind, source_ids, row_scope)
    return list(sources.only("slug", "vendor", "time_zone", "backfill_from", "look_back_days", "retired_after"))


def select_reporting_sources(
    kind: type[UsageRecord] | None, source_ids: Collection[int] | None, row_scope: frozenset[int] | None
) -> QuerySet[Source]:
    """Return the query for the sources of `get_reporting_sources`."""
    other_vendors = [vendor for vendor, reported_kind in VENDOR_KINDS.items() if kind not in (None, reported_kind)]
    sources = Source.objects.exclude(vendor__in=other_vendors)
    for allowed in (source_ids, row_scope):
        sources = sources if allowed is None else sources.filter(pk__in=allowed)
    return sources


def get_touched_days(source: Source, start: datetime | None, end: datetime | None, now: datetime) -> TouchedDays | None:
    """Return the days of a source that overlap `[start, end)` and have begun, from its first day on; None for none.

    Of a retired source no day after its last is expected.
    """
    if start is not None and end is not None and start >= end:
        return None
    first = source.backfill_from if start is None else get_local_date(start, source.zone)
    last = get_last_expected_day(source, now)
    if end is not None:
        end_date = get_local_date(end - TICK if end > FIRST_INSTANT else end, source.zone)
        if start is None and end_date < first:
            return TouchedDays(source, first, end_date, begins_before_source=True)
        last = min(last, end_date)
    if first > last:
        return None
    return TouchedDays(source, max(first, source.backfill_from), last, first < source.backfill_from)


def get_last_complete_date(
    start: datetime | None, end: datetime | None, until: datetime, zone: ZoneInfo
) -> date | None:
    """Return the last date of `zone` that lies in `[start, until)` as far as it lies in `[start, end)` at all."""
    if start is not None and until <= start:
        return None
    try:
        last = (until - TICK).astimezone(zone).date()
    except OverflowError:  # no date is before the calendar's first
        return None
    if until != end and midnight(last + ONE_DAY, zone) > until:
        last -= ONE_DAY
    return last if start is None or last >= start.astimezone(zone).date() else None
