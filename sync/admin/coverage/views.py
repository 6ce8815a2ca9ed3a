"""The pages of coverage: every source's years, one year of one source day by day, and syncing a range of days."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Final
from urllib.parse import urlencode

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import OuterRef, Subquery
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.cache import patch_vary_headers

from sync.admin.actions import get_username, has_sync_permission, start_runs
from sync.admin.coverage.calendar import build_months, get_year_bounds
from sync.admin.coverage.messages import describe_block, explain_gap
from sync.admin.coverage.panel import DayPanel
from sync.admin.coverage.status import (
    APPEARANCES,
    LEGEND,
    VERIFIED_MARK,
    CalendarDay,
    StatusRun,
    describe_days,
    fetch_calendars,
    find_gaps,
)
from sync.admin.coverage.year_chart import SHAPES, Path, YearChart
from sync.admin.forms import SyncRangeForm, list_errors
from sync.engine import plan
from sync.models import Trigger
from usage.api.access import filter_by_staff_scope
from usage.data_quality.coverage import get_complete_through
from usage.days import get_today
from usage.formatting import format_count, format_date, format_long_date
from usage.models import Source, SourceDay

DEFAULT_YEARS: Final = 3
MAX_YEARS_OF_SOURCE: Final = 12
MAX_GAPS_PER_SOURCE: Final = 3
MAX_GAPS_OF_SOURCE: Final = 40
WEEKDAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


def build_urls(site: admin.AdminSite) -> list[URLPattern]:
    """Return the addresses of coverage within an admin site."""
    return [
        path("coverage/", site.admin_view(show_coverage), name="coverage"),
        path("coverage/<slug:slug>/read/", site.admin_view(sync_range), name="coverage_read"),
    ]


class CoverageParams(forms.Form):
    """The query parameters of the calendar; all are optional."""

    source = forms.SlugField(required=False)
    year = forms.IntegerField(required=False, min_value=1900, max_value=9999)
    day = forms.DateField(required=False, input_formats=["%Y-%m-%d"])
    gaps = forms.ChoiceField(required=False, choices=[("", "All sources"), ("only", "Only those with gaps")])


@dataclass(frozen=True, slots=True)
class GapLink:
    """A gap, the address of its latest day, and why it is there."""

    gap: StatusRun
    url: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class LegendEntry:
    """An entry of the legend: the shape in the pictures, the marks in the calendar, its name and what it means."""

    path: Path
    marks: str
    name: str
    meaning: str


@dataclass(frozen=True, slots=True)
class SourceYears:
    """The years of one source with its latest gaps."""

    source: Source
    summary: str
    years: Sequence[YearChart]
    gaps: Sequence[GapLink]
    more_gaps: int
    url: str


def show_coverage(request: HttpRequest) -> HttpResponse:
    """Show every source's years, or with `source` one year of it by days, or with `day` that day beside it."""
    if not request.user.has_perm("usage.view_sourceday"):
        raise PermissionDenied
    form = CoverageParams(request.GET)
    if not form.is_valid():
        messages.error(request, "The calendar's parameters are not valid: " + "; ".join(list_errors(form)))
        return redirect("admin:coverage")
    params, sources = form.cleaned_data, list_visible_sources(request)
    if not is_year_allowed(params["year"], sources):
        raise Http404
    if not params["source"]:
        return show_all_sources(request, sources, params)
    source = next((source for source in sources if source.slug == params["source"]), None)
    if source is None or not is_year_allowed(params["day"].year if params["day"] else None, [source]):
        raise Http404
    if params["day"] and getattr(request, "htmx", False):
        panel = DayPanel.build(request, source, params["day"])
        return render_fragment(request, "admin/coverage/panel.html", {"panel": panel})
    return show_source(request, sources, source, params)


def show_all_sources(request: HttpRequest, sources: Sequence[Source], params: dict[str, Any]) -> HttpResponse:
    """Show the years of every source."""
    years = list_years(sources)
    shown = [params["year"]] if params["year"] else years[:DEFAULT_YEARS]
    entries: list[SourceYears] = []
    if sources and shown:
        calendars = fetch_calendars(sources, get_year_bounds(min(shown))[0], get_year_bounds(max(shown))[1])
        through = get_complete_through([source.pk for source in sources])
        entries = [
            build_source_years(source, calendars[source.pk], shown, through.get(source.pk)) for source in sources
        ]
    if params["gaps"]:
        entries = [entry for entry in entries if entry.gaps]
    context = {"title": "Coverage", "entries": entries, "sources": sources, "years": years, "params": params}
    return render_page(request, "admin/coverage/all_sources.html", context)


def build_source_years(
    source: Source, days: Sequence[CalendarDay], shown: Sequence[int], through: date | None
) -> SourceYears:
    """Return the years of one source; `through` is the end of its unbroken complete history."""
    first = get_first_day(source).year
    gaps = [*find_gaps(days)]
    links = [GapLink(gap, build_url(source, day=gap.last)) for gap in gaps[:MAX_GAPS_PER_SOURCE]]
    history = f"Complete through {format_date(through)}." if through else "Not complete from its first day."
    return SourceYears(
        source=source,
        summary=" ".join(filter(None, (history, describe_block(source)))),
        years=build_year_charts(source, days, [year for year in shown if first <= year]),
        gaps=links,
        more_gaps=len(gaps) - len(links),
        url=build_url(source),
    )


def build_year_charts(source: Source, days: Sequence[CalendarDay], years: Sequence[int]) -> list[YearChart]:
    """Return the pictures of some of the years of `days`."""
    today = get_today(source.zone)
    return [YearChart(year, select_year(days, year), today) for year in years]


def select_year(days: Sequence[CalendarDay], year: int) -> Sequence[CalendarDay]:
    """Return the days of one year among consecutive days."""
    first, last = get_year_bounds(year)
    offset = days[0].date.toordinal()
    return days[first.toordinal() - offset : last.toordinal() - offset + 1]


def show_source(
    request: HttpRequest, sources: Sequence[Source], source: Source, params: dict[str, Any]
) -> HttpResponse:
    """Show one year of one source day by day."""
    years = list_years([source])[:MAX_YEARS_OF_SOURCE]
    selected_year = (params["day"].year if params["day"] else None) or params["year"] or years[0]
    shown = sorted({*years, selected_year}, reverse=True)
    days = fetch_calendars([source], get_year_bounds(shown[-1])[0], get_year_bounds(shown[0])[1])[source.pk]
    year = select_year(days, selected_year)
    by_date = {day.date: day for day in year}
    gaps = [*find_gaps(year)]
    links = [
        GapLink(gap, build_url(source, day=gap.last), explain_gap(source, by_date[gap.last]))
        for gap in gaps[:MAX_GAPS_OF_SOURCE]
    ]
    records = sum(day.records for day in year)
    context = {
        "title": f"Coverage of {source.slug}",
        "sources": sources,
        "source": source,
        "blocked": describe_block(source),
        "params": params,
        "selected_year": selected_year,
        "years": build_year_charts(source, days, shown),
        "summary": describe_days(year),
        "records": format_count(records, "record") if records else "",
        "months": build_months(year, params["day"]),
        "weekdays": WEEKDAYS,
        "today": get_today(source.zone),
        "gaps": links,
        "more_gaps": len(gaps) - len(links),
        "panel": DayPanel.build(request, source, params["day"]) if params["day"] else None,
        "has_sync_permission": has_sync_permission(request),
        "range": SyncRangeForm(source),
    }
    return render_page(request, "admin/coverage/source.html", context)


def sync_range(request: HttpRequest, slug: str) -> HttpResponse:
    """Show how many days would be synced and ask for a confirmation; sync them on POST."""
    if not request.user.has_perm("usage.view_sourceday") or not has_sync_permission(request):
        raise PermissionDenied
    source = next((source for source in list_visible_sources(request) if source.slug == slug), None)
    if source is None:
        raise Http404
    form = SyncRangeForm(source, request.POST if request.method == "POST" else request.GET)
    if form.is_valid() and request.method == "POST":
        return start_sync(request, source, form.cleaned_data["first"], form.cleaned_data["last"])
    context: dict[str, Any] = {"title": f"Sync days of {source.slug}", "source": source, "range": form}
    context |= {"back": build_url(source), "errors": list_errors(form)}
    if form.is_valid():
        first, last = form.cleaned_data["first"], form.cleaned_data["last"]
        context |= {
            "days": format_count(form.days, "day"),
            "first": format_long_date(first),
            "last": format_long_date(last),
            "summary": describe_days(fetch_calendars([source], first, last)[source.pk]),
            "back": build_url(source, year=first.year),
        }
    if getattr(request, "htmx", False):
        return render_fragment(request, "admin/coverage/confirm.html", context)
    return render_page(request, "admin/coverage/confirm_page.html", context)


def start_sync(request: HttpRequest, source: Source, first: date, last: date) -> HttpResponse:
    """Start a run over the days from `first` to `last`, both included, and show it."""
    end = last + timedelta(days=1)
    runs = start_runs(request, lambda: plan.request_sync(source, first, end, Trigger.ADMIN, get_username(request)))
    if runs and request.user.has_perm("sync.view_syncrun"):
        return redirect("admin:sync_syncrun_change", runs[0].pk)
    return redirect(build_url(source, year=first.year))


def render_page(request: HttpRequest, template: str, context: dict[str, Any]) -> HttpResponse:
    """Return a page in the frame of the site, with the legend."""
    frame = {**admin.site.each_context(request), "legend": build_legend()}
    return render_fragment(request, template, {**frame, **context})


def render_fragment(request: HttpRequest, template: str, context: dict[str, Any]) -> HttpResponse:
    """Return a template whose address answers htmx and browsers differently."""
    response = render(request, template, context)
    patch_vary_headers(response, ("HX-Request",))
    return response


def build_legend() -> list[LegendEntry]:
    """Return how every kind of day looks and what it means, and a restated day."""
    entries = []
    for kind, (name, meaning) in LEGEND.items():
        shape = f"M0 0{SHAPES[kind]}" if kind in SHAPES else "M5 0v10"
        marks = [VERIFIED_MARK] if kind == "complete" else []
        marks += [appearance.mark for appearance in APPEARANCES.values() if appearance.kind == kind and appearance.mark]
        drawn = Path(kind, "" if kind == "before" else shape)
        entries.append(LegendEntry(drawn, " ".join(dict.fromkeys(marks)), name, meaning))
    restated = Path("restated", f"M0 0{SHAPES['restated']}")
    return [*entries, LegendEntry(restated, "R", "Restated", "a later sync found different records")]


def list_visible_sources(request: HttpRequest) -> list[Source]:
    """Return the sources in this person's scope, each with `earliest`, its first stored day."""
    days = SourceDay.objects.filter(source=OuterRef("pk")).order_by("day").values("day")[:1]
    sources = filter_by_staff_scope(Source.objects.all(), request, "id").defer("credential")
    return list(sources.annotate(earliest=Subquery(days)))


def get_first_day(source: Any) -> date:
    """Return the first day to store, or the first stored day where that is earlier."""
    first: date = min(filter(None, (source.backfill_from, source.earliest)))
    return first


def list_years(sources: Sequence[Source]) -> list[int]:
    """Return the years from the first day of any source until today, the latest first."""
    if not sources:
        return []
    last = max(get_today(source.zone) for source in sources).year
    first = min(get_first_day(source) for source in sources).year
    return list(range(last, min(first, last) - 1, -1))


def is_year_allowed(year: int | None, sources: Sequence[Source]) -> bool:
    """Return whether a year is near those of the sources, so that no address draws millennia."""
    years = list_years(sources) or [timezone.now().year]
    return year is None or min(years[-1] - 1, plan.EARLIEST.year) <= year <= years[0] + 1


def build_url(source: Source, **params: Any) -> str:
    """Return the address of the calendar of a source, and of a year or a day of it."""
    return f"{reverse('admin:coverage')}?{urlencode({'source': source.slug, **params})}"
