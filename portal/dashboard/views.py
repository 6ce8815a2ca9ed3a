"""The overview: alerts, then every vendor with its sources and their usage."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import groupby
from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest
from django.urls import reverse
from django.utils.safestring import SafeString

from portal.dashboard.movers import find_movers
from portal.dashboard.sparkline import CHART_DAYS
from portal.dashboard.standouts import build_standouts, build_yesterday
from portal.dashboard.tables import UsageTable, build_table
from portal.dashboard.usage_stats import ComparedMonths, UsageCalendar, combine_calendars, fetch_calendars, get_kind
from portal.incidents.alerts import AlertLink, get_source_url
from portal.incidents.source_alerts import build_source_alerts, fetch_conditions
from portal.incidents.system_alerts import list_open_alerts
from portal.incidents.token_alerts import build_token_alerts
from sync.admin.badges import HEALTH, build_health_badge
from sync.health import Condition, Health
from sync.vendors import get_title, readers
from usage.api.access import filter_by_staff_scope, get_staff_name_access, get_staff_scope
from usage.data_quality.messages import describe_through
from usage.explore.saved_pages import get_pinned
from usage.formatting import format_age, format_date, format_number
from usage.models import KIND_NAMES, KINDS, Source, UsageRecord


@dataclass(frozen=True, slots=True)
class SourceCard:
    """A source: its health, its usage, and links. `usage` is None where this person may not see it."""

    slug: str
    url: str
    badge: SafeString
    coverage: str
    last_sync: str
    records: str
    usage: UsageTable | None
    links: Sequence[AlertLink]


@dataclass(frozen=True, slots=True)
class VendorSection:
    """A vendor: what it reports, its sources, and their usage together where there are several."""

    title: str
    reports: str
    cards: list[SourceCard]
    together: UsageTable | None


def build_overview(request: HttpRequest) -> dict[str, Any]:
    """Return the context of the template for this person.

    The number of queries does not depend on how many sources there are, nor their cost on how many records.
    """
    days = parse_days(request)
    has_perm = request.user.has_perm
    can_view_sources = has_perm("usage.view_source")
    sources = list(filter_by_staff_scope(Source.objects.defer("credential"), request, "id")) if can_view_sources else []
    conditions = fetch_conditions(sources)
    alerts = [
        *list_open_alerts(has_perm),
        *build_source_alerts(conditions, has_perm),
        *build_token_alerts(request, has_perm),
    ]
    return {
        "alerts": alerts,
        "pinned": get_pinned(request),
        "summary": summarize(conditions) if conditions and not alerts else None,
        **build_usage(request, conditions, days),
        "chart_days": [(choice, choice == days) for choice in CHART_DAYS],
        "start": None if sources else build_start(request, can_view_sources=can_view_sources),
    }


@dataclass(frozen=True, slots=True)
class Summary:
    """What is shown instead of alerts; `tone`: good only for an all-clear, else warn or plain."""

    tone: str
    text: str


def parse_days(request: HttpRequest) -> int:
    """Return how many days the charts show; the first choice where the parameter is none of them."""
    param = request.GET.get("days", "")
    return next((choice for choice in CHART_DAYS if str(choice) == param), CHART_DAYS[0])


def summarize(conditions: Sequence[Condition]) -> Summary:
    """Return the summary where there are no alerts; an all-clear only where every source is healthy.

    A source may be unhealthy without an alert: while it catches up, and for a person who may not see days.
    """
    enabled = [condition for condition in conditions if condition.source.enabled]
    if not enabled:
        return Summary("plain", "Every source is switched off, so nothing is synced.")
    unhealthy = [condition for condition in enabled if condition.health != Health.OK]
    if unhealthy:
        badges = [HEALTH[condition.health] for condition in unhealthy]
        descriptions = [
            f"{condition.source.slug} ({label.lower()})"
            for condition, (label, _) in zip(unhealthy, badges, strict=True)
        ]
        tone = "warn" if {tone for _, tone in badges} - {"plain"} else "plain"
        return Summary(tone, f"Not every source is healthy: {', '.join(descriptions)}.")
    subject = "1 source is" if len(enabled) == 1 else f"All {len(enabled):,} sources are"
    through = [day for condition in enabled if (day := condition.coverage.complete_through)]
    if len(through) < len(enabled):
        return Summary("good", f"No alerts. {subject} being synced.")
    zones = {condition.source.time_zone for condition in enabled}
    zone_note = "" if len(zones) == 1 else ", each in its own time zone"
    complete = describe_through(format_date(min(through)))
    return Summary("good", f"No alerts. {subject} synced as planned. {complete}{zone_note}.")


def build_start(request: HttpRequest, *, can_view_sources: bool) -> dict[str, Any]:
    """Return what a person sees who has no source to see."""
    is_limited = get_staff_scope(request) is not None
    can_add = request.user.has_perm("usage.add_source") and not is_limited
    return {
        "closed": not can_view_sources,
        "limited": is_limited,
        "add_url": reverse("admin:usage_source_add") if can_add else "",
        "vendors": ", ".join(reader.title for reader in readers().values()),
    }


def build_usage(request: HttpRequest, conditions: Sequence[Condition], days: int) -> dict[str, Any]:
    """Return what stands out, whether yesterday is complete, and every vendor with its sources."""
    sources = [condition.source for condition in conditions]
    todays = {condition.source.pk: condition.now.astimezone(condition.source.zone).date() for condition in conditions}
    calendars = fetch_calendars(sources, todays, days)
    kinds = {source: kind for source in sources if (kind := get_kind(source)) and can_view_usage(request, kind)}
    can_view_days = request.user.has_perm("usage.view_sourceday")
    movers = find_movers(kinds, todays, get_staff_name_access(request))
    return {
        "standouts": build_standouts(movers) if kinds else [],
        "too_slow": movers.too_slow,
        "yesterday": build_yesterday(sources, calendars, can_view_days=can_view_days),
        "vendors": build_vendors(request, conditions, calendars, days),
    }


def build_vendors(
    request: HttpRequest, conditions: Sequence[Condition], calendars: dict[int, UsageCalendar], days: int
) -> list[VendorSection]:
    """Return every vendor with its sources, in the order of the kinds that they report, as everywhere."""
    ordered = sorted(conditions, key=lambda condition: rank_source(condition.source))
    return [
        build_vendor(request, list(group), calendars, days)
        for _, group in groupby(ordered, lambda condition: condition.source.vendor)
    ]


def build_vendor(
    request: HttpRequest, conditions: list[Condition], calendars: dict[int, UsageCalendar], days: int
) -> VendorSection:
    """Return a vendor with its sources."""
    source = conditions[0].source
    kind = get_kind(source)
    visible = can_view_usage(request, kind)
    together = None
    if visible and len(conditions) > 1:
        combined = combine_calendars([calendars[condition.source.pk] for condition in conditions])
        together = build_table(combined, kind, days)
    return VendorSection(
        title=get_title(source.vendor),
        reports=str(kind._meta.verbose_name_plural) if kind else "",
        cards=[
            build_card(request, condition, calendars[condition.source.pk], days, visible=visible)
            for condition in conditions
        ],
        together=together,
    )


def rank_source(source: Source) -> tuple[int, str, str, str]:
    """Return the place of a source on the page."""
    kinds: list[Any] = [*KINDS.values(), None]
    return kinds.index(get_kind(source)), get_title(source.vendor), source.vendor, source.slug


def can_view_usage(request: HttpRequest, kind: type[UsageRecord] | None) -> bool:
    """Return whether a person may see usage of a kind; for an unknown kind, whether they may see every kind."""
    kinds = (kind,) if kind else KINDS.values()
    return all(request.user.has_perm(f"usage.view_{kind._meta.model_name}") for kind in kinds)


def build_card(
    request: HttpRequest, condition: Condition, calendar: UsageCalendar, days: int, *, visible: bool
) -> SourceCard:
    """Return the card of a source."""
    source, kind = condition.source, get_kind(condition.source)
    return SourceCard(
        slug=source.slug,
        url=get_source_url(source),
        badge=build_health_badge(condition),
        coverage=condition.coverage.description,
        last_sync=format_age(condition.coverage.latest_read),
        records=format_number(condition.coverage.records_held),
        usage=build_table(calendar, kind, days) if visible else None,
        links=[*build_usage_links(source, kind, calendar), *build_coverage_links(request, source)] if visible else [],
    )


def build_usage_links(source: Source, kind: type[UsageRecord] | None, calendar: UsageCalendar) -> list[AlertLink]:
    """Return where this month's usage of a source is charted and listed."""
    if kind is None:
        return []
    this_month = {
        "source": source.slug,
        "from": str(ComparedMonths.build(calendar.today).so_far.first),
        "to": str(calendar.today + timedelta(days=1)),
        "tz": source.time_zone,
    }
    explore = urlencode({"kind": KIND_NAMES[kind], **this_month, "group_by": "day"})
    records = reverse(f"admin:usage_{kind._meta.model_name}_changelist")
    return [
        AlertLink("Explore", f"{reverse('admin:explore')}?{explore}"),
        AlertLink("Records", f"{records}?{urlencode(this_month)}"),
    ]


def build_coverage_links(request: HttpRequest, source: Source) -> list[AlertLink]:
    """Return the link to the source's calendar, for a person who may see days."""
    if not request.user.has_perm("usage.view_sourceday"):
        return []
    return [AlertLink("Coverage", f"{reverse('admin:coverage')}?{urlencode({'source': source.slug})}")]
