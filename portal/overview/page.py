"""The overview put together: what needs a person, then every vendor with its sources, as the template shows them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import groupby
from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.safestring import SafeString

from portal.overview import needs, troubles
from portal.overview.figures import Calendar, Line, Months, Reach, calendars, figures, kind_of, together
from portal.overview.needs import Rights, Way
from portal.overview.trend import SPANS, drawn
from portal.overview.words import Shown, growth, shown
from sync.admin.states import source_health
from sync.health import Condition
from sync.vendors import readers
from usage.access import in_staff_scope, staff_scope
from usage.admin.display import ago, exact
from usage.coverage import coverage_of, days_in_words
from usage.models import KINDS, Source, UsageRecord


@dataclass(frozen=True, slots=True)
class Row:
    """One unit's line: amounts in the order of the heads and with their words, the change, and the chart."""

    label: str
    amounts: list[tuple[Shown, str]]
    change: str
    chart: SafeString


@dataclass(frozen=True, slots=True)
class Head:
    """The head of a column of amounts: which days it is of, what is lacking of them, and what may still change."""

    title: str
    span: str
    lacking: str
    open: str

    @property
    def words(self) -> str:
        """All but what may still change, for where there is no room for a head."""
        return f"{self.title}, {'; '.join(filter(None, (self.span, self.lacking)))}"


@dataclass(frozen=True, slots=True)
class Usage:
    """The table of a source or a vendor; `more` says what it leaves out."""

    heads: list[Head]
    rows: list[Row]
    more: str


@dataclass(frozen=True, slots=True)
class Card:
    """A source: how it does, what was used, and where to look further. `usage` None: this person may not see it."""

    slug: str
    url: str
    state: SafeString
    words: str
    read: str
    records: str
    usage: Usage | None
    links: Sequence[Way]


@dataclass(frozen=True, slots=True)
class Vendor:
    """A vendor: what it reports, its sources, and their usage together where there are several."""

    title: str
    reports: str
    cards: list[Card]
    together: Usage | None


def context(request: HttpRequest) -> dict[str, Any]:
    """Return what the template shows to this person.

    The number of queries does not depend on how many sources there are, nor their cost on how many records.
    """
    days = chosen_days(request)
    rights = Rights.of(request)
    sees_sources = request.user.has_perm("usage.view_source")
    sources = list(in_staff_scope(Source.objects.defer("credential"), request, "id")) if sees_sources else []
    conditions = conditions_of(sources)
    todo = [*troubles.of_sources(conditions, rights), *needs.of_tokens(request, rights)]
    return {
        "needs": todo,
        "calm": calm(conditions) if conditions and not todo else "",
        "vendors": vendors(request, conditions, rights, days),
        "spans": [(span, span == days) for span in SPANS],
        "start": None if sources else start(request, sees_sources=sees_sources),
    }


def chosen_days(request: HttpRequest) -> int:
    """Return how many days the charts show; anything that is not on offer is the first that is."""
    asked = request.GET.get("days", "")
    return next((span for span in SPANS if str(span) == asked), SPANS[0])


def conditions_of(sources: Sequence[Source]) -> list[Condition]:
    """Return how each source does."""
    covered, now = coverage_of(sources), timezone.now()
    return [Condition(source, covered[source.pk], now) for source in sources]


def calm(conditions: Sequence[Condition]) -> str:
    """Return what is said where nothing needs a person."""
    read = [one for one in conditions if one.source.enabled]
    if not read:
        return "Every source is switched off, so nothing is read."
    through = [one.coverage.complete_through for one in read]
    said = "1 source is" if len(read) == 1 else f"All {len(read):,} sources are"
    held = [day for day in through if day]
    if len(held) < len(read):
        return f"{said} being read as planned."
    return f"{said} read as planned, complete through {min(held).day} {min(held):%b %Y}."


def start(request: HttpRequest, *, sees_sources: bool) -> dict[str, Any]:
    """Return what a person is told who has no source to see."""
    limited = staff_scope(request) is not None
    may_add = request.user.has_perm("usage.add_source") and not limited
    return {
        "closed": not sees_sources,
        "limited": limited,
        "add": reverse("admin:usage_source_add") if may_add else "",
        "titles": ", ".join(reader.title for reader in readers().values()),
    }


def vendors(request: HttpRequest, conditions: Sequence[Condition], rights: Rights, days: int) -> list[Vendor]:
    """Return every vendor with its sources, by their titles."""
    todays = {one.source.pk: one.now.astimezone(one.source.zone).date() for one in conditions}
    kept = calendars([one.source for one in conditions], todays, days)
    by_vendor = sorted(conditions, key=lambda one: (title_of(one.source), one.source.vendor, one.source.slug))
    return [
        vendor(request, list(ones), kept, rights, days) for _, ones in groupby(by_vendor, lambda one: one.source.vendor)
    ]


def vendor(request: HttpRequest, ones: list[Condition], kept: dict[int, Calendar], rights: Rights, days: int) -> Vendor:
    """Return one vendor with its sources."""
    kind = kind_of(ones[0].source)
    visible = may_see(request, kind)
    all_of_them = None
    if visible and len(ones) > 1:
        all_of_them = usage_of(together([kept[one.source.pk] for one in ones]), kind, days)
    return Vendor(
        title=title_of(ones[0].source),
        reports=str(kind._meta.verbose_name_plural) if kind else "",
        cards=[card(one, kept[one.source.pk], rights, days, visible=visible) for one in ones],
        together=all_of_them,
    )


def title_of(source: Source) -> str:
    """Return the vendor's own name."""
    reader = readers().get(source.vendor)
    return reader.title if reader else source.vendor


def may_see(request: HttpRequest, kind: type[UsageRecord] | None) -> bool:
    """Tell whether someone may see usage of a kind; of a kind that nobody knows, who may see every kind."""
    kinds = (kind,) if kind else KINDS.values()
    return all(request.user.has_perm(f"usage.view_{one._meta.model_name}") for one in kinds)


def card(condition: Condition, calendar: Calendar, rights: Rights, days: int, *, visible: bool) -> Card:
    """Return one source."""
    source, kind = condition.source, kind_of(condition.source)
    return Card(
        slug=source.slug,
        url=reverse("admin:usage_source_change", args=[source.pk]),
        state=source_health(condition),
        words=condition.coverage.words,
        read=ago(condition.coverage.latest_read),
        records=exact(condition.coverage.records_held),
        usage=usage_of(calendar, kind, days) if visible else None,
        links=[*usage_links(source, kind, calendar), *coverage_link(source, rights)] if visible else [],
    )


def usage_links(source: Source, kind: type[UsageRecord] | None, calendar: Calendar) -> list[Way]:
    """Return where this month's usage of a source is charted and listed."""
    if kind is None:
        return []
    name = next(name for name, known in KINDS.items() if known is kind)
    this_month = {
        "source": source.slug,
        "from": str(Months.of(calendar.today).so_far.first),
        "to": str(calendar.today + timedelta(days=1)),
        "tz": source.time_zone,
    }
    charted = urlencode({"kind": name, **this_month, "group_by": "day"})
    records = reverse(f"admin:usage_{kind._meta.model_name}_changelist")
    return [
        Way("Explore", f"{reverse('admin:explore')}?{charted}"),
        Way("Records", f"{records}?{urlencode(this_month)}"),
    ]


def coverage_link(source: Source, rights: Rights) -> list[Way]:
    """Return where a source's days are shown, for who may see them."""
    return [Way("Days", f"{reverse('admin:coverage')}?{urlencode({'source': source.slug})}")] if rights.see_days else []


def usage_of(calendar: Calendar, kind: type[UsageRecord] | None, days: int) -> Usage:
    """Return the table of a source's or a vendor's usage."""
    found = figures(calendar, kind)
    heads = [
        head("This month so far", found.so_far, calendar),
        head("Last month, same days", found.same_part, calendar),
        head("Last month", found.last, calendar),
    ]
    return Usage(
        heads=heads,
        rows=[row(line, calendar, heads, days) for line in found.lines],
        more=f"{found.more_units} more units are in Explore." if found.more_units else "",
    )


def row(line: Line, calendar: Calendar, heads: list[Head], days: int) -> Row:
    """Return the line of one unit."""
    unit = line.measure.unit
    return Row(
        label=line.measure.label,
        amounts=[
            (shown(amount, unit), head.words)
            for amount, head in zip((line.so_far, line.same_part, line.last), heads, strict=True)
        ],
        change=growth(line.change) or ("new" if line.comparable and line.so_far and not line.same_part else "–"),
        chart=drawn(calendar, line.measure, days),
    )


def head(title: str, reach: Reach, calendar: Calendar) -> Head:
    """Return the head of a column."""
    said = []
    if reach.early:
        said.append(f"kept from {calendar.held_from.day} {calendar.held_from:%b} only")
    if reach.missing:
        said.append(f"{days_in_words(reach.missing)} not read")
    if reach.partial:
        said.append(f"{days_in_words(reach.partial)} not complete")
    still = f"{days_in_words(reach.open)} may still change" if reach.open else ""
    return Head(title, reach.span.words, "; ".join(said), still)
