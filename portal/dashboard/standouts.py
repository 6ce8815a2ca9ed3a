"""The first card of the overview: whether yesterday is complete, and what moved most, as lines with links."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final
from urllib.parse import urlencode

from django.urls import reverse

from portal.dashboard.movers import ComparedDays, Mover, Movers, SourceComparison
from portal.dashboard.tables import format_change
from portal.dashboard.usage_stats import DateSpan, UsageCalendar
from portal.incidents.alerts import AlertLink
from usage.decimals import subtract_exactly
from usage.formatting import Amount, get_sign, scale_amount
from usage.models import KIND_NAMES, Source, UsageRecord
from usage.param_values import write_value

ONE_DAY: Final = timedelta(days=1)
CHART_BEFORE: Final = timedelta(days=13)  # of a day: two weeks show the weekday before, too


@dataclass(frozen=True, slots=True)
class StandoutLine:
    """A mover: its name, metric and source, how much more or less, and where it is charted."""

    name: str
    is_id: bool
    metric: str
    source: str
    url: str
    difference: str
    change: str
    rises: bool
    before: Amount
    now: Amount
    dates: str
    share: str


@dataclass(frozen=True, slots=True)
class StandoutList:
    """The movers of a comparison; `dates` where all its sources compare the same; `notes`: what is left out."""

    title: str
    dates: str
    lines: Sequence[StandoutLine]
    notes: Sequence[str]


@dataclass(frozen=True, slots=True)
class Yesterday:
    """Whether the day before today is complete, in each source's zone: `incomplete` are the sources where it is not."""

    text: str
    is_complete: bool
    incomplete: Sequence[AlertLink]


def build_standouts(movers: Movers) -> list[StandoutList]:
    """Return the lists of both comparisons that have days to compare."""
    return [
        build_list("Latest complete day against the same weekday", movers.week, movers.comparisons, week=True),
        build_list("Month to date against the month before", movers.month, movers.comparisons, week=False),
    ]


def build_list(
    title: str, movers: Sequence[Mover], comparisons: Sequence[SourceComparison], *, week: bool
) -> StandoutList:
    """Return the list of a comparison."""
    compared = [(comparison.source, comparison.week if week else comparison.month) for comparison in comparisons]
    dates = {describe_days(days) for _, days in compared if days.pairs}
    shared = next(iter(dates)) if len(dates) == 1 else ""
    notes = [note for source, days in compared if (note := describe_gaps(source, days))]
    lines = [build_line(mover, week=week, shared=shared) for mover in movers]
    return StandoutList(title, shared, lines, notes)


def build_line(mover: Mover, *, week: bool, shared: str) -> StandoutLine:
    """Return the line of a mover; its dates only where they are not those of all lines."""
    days = mover.comparison.week if week else mover.comparison.month
    difference = subtract_exactly(mover.now, mover.before)
    percent = difference / abs(mover.before) * 100 if mover.before else None
    change = format_change(percent) if percent is not None else "new"
    dates = describe_days(days)
    return StandoutLine(
        name=mover.name or mover.key or "without a project",
        is_id=not mover.name and bool(mover.key),
        metric=mover.metric.replace("_", " ") if mover.metric else "without a metric",
        source=mover.comparison.source.slug,
        url=build_url(mover, days, week=week),
        difference=f"{get_sign(difference)}{scale_amount(difference.copy_abs(), mover.unit)}",
        change=change if mover.now else "none any more",
        rises=difference > 0,
        before=scale_amount(mover.before, mover.unit),
        now=scale_amount(mover.now, mover.unit),
        dates="" if dates == shared else dates,
        share=f"{round(mover.share * 100)} % of the source's total in this unit",
    )


def describe_days(days: ComparedDays) -> str:
    """Return the compared days: `Mon 30 Nov against Mon 23 Nov`, `1–22 Nov against 1–22 Oct`."""
    first, last = days.pairs[0], days.pairs[-1]
    if len(days.pairs) == 1:
        return " against ".join(f"{day:%a} {day.day} {day:%b}" for day in first)
    return " against ".join(DateSpan(start, end + ONE_DAY).text for start, end in zip(first, last, strict=True))


def describe_gaps(source: Source, days: ComparedDays) -> str:
    """Return which days of a source are left out, '' for none."""
    missing = days.expected - len(days.pairs)
    if not missing:
        return ""
    if not days.pairs:
        return f"{source.slug}: not compared, because the days before are not complete."
    return f"{source.slug}: {len(days.pairs)} of {days.expected} days are complete on both sides and compared."


def build_url(mover: Mover, days: ComparedDays, *, week: bool) -> str:
    """Return the address of Explore that charts a mover by day over both sides of the comparison."""
    source, last = mover.comparison.source, days.pairs[-1][0]
    first = last - CHART_BEFORE if week else days.pairs[0][1]
    name = KIND_NAMES[mover.kind]
    params = {
        "kind": name,
        "from": str(first),
        "to": str(last + ONE_DAY),
        **get_zone_param(source, mover.kind),
        "source": source.slug,
        "workspace_id" if name == "recipe-usage" else "project_id": write_value(mover.key or None),
    }
    if name == "resource-usage":
        params["billing_metric"] = write_value(mover.metric or None)
        params["consumed_unit"] = write_value(mover.unit or None)
    return f"{reverse('admin:explore')}?{urlencode({**params, 'group_by': 'day'})}"


def get_zone_param(source: Source, kind: type[UsageRecord]) -> dict[str, str]:
    """Return the parameter of the source's zone, none for usage that is stored by UTC days."""
    return {} if kind.instant == "day" or source.time_zone == "UTC" else {"tz": source.time_zone}


def build_yesterday(
    sources: Sequence[Source], calendars: Mapping[int, UsageCalendar], *, can_view_days: bool
) -> Yesterday | None:
    """Return whether yesterday is complete at the sources that are switched on; None for no source."""
    enabled = [source for source in sources if source.enabled and is_expected(calendars[source.pk])]
    if not enabled:
        return None
    incomplete = [
        source for source in enabled if not calendars[source.pk].get(get_yesterday(source, calendars)).complete
    ]
    yesterdays = sorted({get_yesterday(source, calendars) for source in enabled})
    day = " / ".join(f"{yesterday:%a} {yesterday.day} {yesterday:%b}" for yesterday in yesterdays)
    if not incomplete:
        coverage = "its source" if len(enabled) == 1 else f"all {len(enabled)} sources"
        return Yesterday(f"Yesterday ({day}) is complete for {coverage}.", True, ())
    number = f"{len(enabled) - len(incomplete)} of {len(enabled)} sources"
    links = [build_day_link(source, get_yesterday(source, calendars), can_view_days) for source in incomplete]
    return Yesterday(f"Yesterday ({day}) is complete for {number}; not yet for", False, links)


def is_expected(calendar: UsageCalendar) -> bool:
    """Return whether a source should have yesterday."""
    return calendar.today - ONE_DAY >= calendar.first


def get_yesterday(source: Source, calendars: Mapping[int, UsageCalendar]) -> date:
    """Return the day before today in a source's zone."""
    return calendars[source.pk].today - ONE_DAY


def build_day_link(source: Source, day: date, can_view_days: bool) -> AlertLink:
    """Return the link to a day's page of the calendar, without an address for those who may not see days."""
    query = urlencode({"source": source.slug, "day": str(day)})
    return AlertLink(source.slug, f"{reverse('admin:coverage')}?{query}" if can_view_days else "")
