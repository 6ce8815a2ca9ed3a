"""The pages of coverage: every source's years at a glance, one source's year by days, and reading a range again."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import islice
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

from sync.admin.actions import ask, may_sync, who
from sync.admin.coverage.calendar import NOTHING_HELD, months, rows_of, year_of
from sync.admin.coverage.drawing import SHAPES, Path, Year
from sync.admin.coverage.letters import LEGEND, LOOKS, Gap, Span, long, short, spans_of
from sync.admin.coverage.panel import Panel
from sync.admin.coverage.verdict import blocked, why
from sync.admin.coverage.verdict import records as in_words
from sync.admin.forms import RangeForm, faults
from sync.engine import plan
from sync.engine.plan import EARLIEST
from sync.models import Trigger
from usage.access import in_staff_scope
from usage.coverage import complete_through, days_in_words
from usage.models import Source, SourceDay

YEARS_AT_A_GLANCE: Final = 3  # without being asked for one; the others are a choice away
YEARS_OF_ONE: Final = 12
GAPS_AT_A_GLANCE: Final = 3
GAPS_OF_ONE: Final = 40


def urls(site: admin.AdminSite) -> list[URLPattern]:
    """Return the addresses of coverage within an admin site."""
    return [
        path("coverage/", site.admin_view(coverage), name="coverage"),
        path("coverage/<slug:slug>/read/", site.admin_view(read_range), name="coverage_read"),
    ]


class AskedForm(forms.Form):
    """What the calendar may be asked for; everything may be left out."""

    source = forms.SlugField(required=False)
    year = forms.IntegerField(required=False, min_value=1900, max_value=9999)
    day = forms.DateField(required=False, input_formats=["%Y-%m-%d"])
    gaps = forms.ChoiceField(required=False, choices=[("", "All sources"), ("only", "Only those with gaps")])


@dataclass(frozen=True, slots=True)
class GapShown:
    """A gap, the way to its day, and why it is there."""

    gap: Gap
    url: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Sign:
    """An entry of the legend: the shape in the pictures, the marks in the calendar, its name and what it means."""

    path: Path
    marks: str
    name: str
    means: str


@dataclass(frozen=True, slots=True)
class Line:
    """One source at a glance."""

    source: Source
    words: str
    years: Sequence[Year]
    gaps: Sequence[GapShown]
    more_gaps: int
    url: str


def coverage(request: HttpRequest) -> HttpResponse:
    """Show every source's years, or with `source` one year of it by days, or with `day` that day beside it."""
    if not request.user.has_perm("usage.view_sourceday"):
        raise PermissionDenied
    form = AskedForm(request.GET)
    if not form.is_valid():
        messages.error(request, "The calendar was not understood: " + "; ".join(faults(form)))
        return redirect("admin:coverage")
    asked, sources = form.cleaned_data, known_sources(request)
    if not drawable(asked["year"], sources):
        raise Http404
    if not asked["source"]:
        return at_a_glance(request, sources, asked)
    source = next((one for one in sources if one.slug == asked["source"]), None)
    if source is None or not drawable(asked["day"].year if asked["day"] else None, [source]):
        raise Http404
    if asked["day"] and getattr(request, "htmx", False):
        return fragment(request, "admin/coverage/panel.html", {"panel": Panel.of(request, source, asked["day"])})
    return one_source(request, sources, source, asked)


def at_a_glance(request: HttpRequest, sources: Sequence[Source], asked: dict[str, Any]) -> HttpResponse:
    """Show the years of every source."""
    offered = years_of(sources)
    shown = [asked["year"]] if asked["year"] else offered[:YEARS_AT_A_GLANCE]
    lines: list[Line] = []
    if sources and shown:
        spans = spans_of(sources, year_of(min(shown))[0], year_of(max(shown))[1])
        reached = complete_through([source.pk for source in sources])
        lines = [line(source, spans[source.pk], shown, reached.get(source.pk)) for source in sources]
    if asked["gaps"]:
        lines = [one for one in lines if one.gaps]
    context = {"title": "Coverage", "lines": lines, "sources": sources, "years": offered, "asked": asked}
    return page(request, "admin/coverage/glance.html", context)


def line(source: Source, span: Span, shown: Sequence[int], reached: date | None) -> Line:
    """Return one source at a glance."""
    first = first_day(source).year
    years = [Year(number, span.between(*year_of(number))) for number in shown if first <= number]
    found = [*span.gaps()]
    gaps = [GapShown(gap, address(source, day=gap.last)) for gap in found[:GAPS_AT_A_GLANCE]]
    through = f"Complete through {short(reached)}." if reached else "Not complete from its first day on."
    words = " ".join(filter(None, (through, blocked(source))))
    return Line(source, words, years, gaps, len(found) - len(gaps), address(source))


def one_source(request: HttpRequest, sources: Sequence[Source], source: Source, asked: dict[str, Any]) -> HttpResponse:
    """Show one year of one source day by day."""
    offered = years_of([source])[:YEARS_OF_ONE]
    chosen = (asked["day"].year if asked["day"] else None) or asked["year"] or offered[0]
    drawn = sorted({*offered, chosen}, reverse=True)
    span = spans_of([source], year_of(drawn[-1])[0], year_of(drawn[0])[1])[source.pk]
    first, last = year_of(chosen)
    rows, year = rows_of(source, first, last), span.between(first, last)
    gaps = [
        GapShown(gap, address(source, day=gap.last), why(source, gap.letter, rows.get(gap.last, NOTHING_HELD).error))
        for gap in islice(year.gaps(), GAPS_OF_ONE)
    ]
    context = {
        "title": f"Coverage of {source.slug}",
        "sources": sources,
        "source": source,
        "blocked": blocked(source),
        "asked": asked,
        "chosen": chosen,
        "years": [Year(number, span.between(*year_of(number))) for number in drawn],
        "words": year.words,
        "records": in_words(held) if (held := sum(row.records for row in rows.values())) else "",
        "months": months(year, rows, asked["day"]),
        "weekdays": WEEKDAYS,
        "today": plan.today(source),
        "gaps": gaps,
        "more_gaps": sum(1 for _ in year.gaps()) - len(gaps),
        "panel": Panel.of(request, source, asked["day"]) if asked["day"] else None,
        "may_sync": may_sync(request),
        "range": RangeForm(source),
    }
    return page(request, "admin/coverage/source.html", context)


def read_range(request: HttpRequest, slug: str) -> HttpResponse:
    """Say how many days would be read again and ask for a yes; have them read once it is given."""
    if not request.user.has_perm("usage.view_sourceday") or not may_sync(request):
        raise PermissionDenied
    source = next((one for one in known_sources(request) if one.slug == slug), None)
    if source is None:
        raise Http404
    form = RangeForm(source, request.POST if request.method == "POST" else request.GET)
    if form.is_valid() and request.method == "POST":
        return have_read(request, source, form.cleaned_data["first"], form.cleaned_data["last"])
    context: dict[str, Any] = {"title": f"Read days of {source.slug}", "source": source, "range": form}
    context |= {"back": address(source), "faults": faults(form)}
    if form.is_valid():
        first, last = form.cleaned_data["first"], form.cleaned_data["last"]
        words = spans_of([source], first, last)[source.pk].words
        context |= {"days": days_in_words(form.days), "first": long(first), "last": long(last), "words": words}
        context["back"] = address(source, year=first.year)
    if getattr(request, "htmx", False):
        return fragment(request, "admin/coverage/confirm.html", context)
    return page(request, "admin/coverage/confirm_page.html", context)


def have_read(request: HttpRequest, source: Source, first: date, last: date) -> HttpResponse:
    """Have the days from `first` to `last`, both included, read, and show the run that does it."""
    end = last + timedelta(days=1)
    runs = ask(request, lambda: plan.request_sync(source, first, end, Trigger.ADMIN, who(request)))
    if runs and request.user.has_perm("sync.view_syncrun"):
        return redirect("admin:sync_syncrun_change", runs[0].pk)
    return redirect(address(source, year=first.year))


def page(request: HttpRequest, template: str, context: dict[str, Any]) -> HttpResponse:
    """Return a whole page."""
    besides = {"legend": legend(), "words_of_letters": {letter: look.said for letter, look in LOOKS.items()}}
    answer = render(request, template, {**admin.site.each_context(request), **besides, **context})
    patch_vary_headers(answer, ("HX-Request",))
    return answer


def fragment(request: HttpRequest, template: str, context: dict[str, Any]) -> HttpResponse:
    """Return the part of a page that htmx asked for."""
    answer = render(request, template, context)
    patch_vary_headers(answer, ("HX-Request",))
    return answer


def legend() -> list[Sign]:
    """Return what every kind of day looks like and means, and a restated one."""
    shown = []
    for kind, (name, means) in LEGEND.items():
        shape = f"M0 0{SHAPES[kind]}" if kind in SHAPES else "M5 0v10"
        marks = " ".join(dict.fromkeys(look.mark for look in LOOKS.values() if look.kind == kind and look.mark))
        shown.append(Sign(Path(kind, "" if kind == "before" else shape), marks, name, means))
    return [*shown, Sign(Path("restated", f"M0 0{SHAPES['restated']}"), "R", "Restated", "came back different later")]


def known_sources(request: HttpRequest) -> list[Source]:
    """Return the sources that this person may know of, each with `earliest`, the first day that is held of it."""
    days = SourceDay.objects.filter(source=OuterRef("pk")).order_by("day").values("day")[:1]
    known = in_staff_scope(Source.objects.all(), request, "id").defer("credential")
    return list(known.annotate(earliest=Subquery(days)))


def first_day(source: Any) -> date:
    """Return the first day to hold or, where days before it are held too, the first of those."""
    first: date = min(filter(None, (source.backfill_from, source.earliest)))
    return first


def years_of(sources: Sequence[Source]) -> list[int]:
    """Return the years from the first day of any source until today, the latest first."""
    if not sources:
        return []
    last = max(plan.today(source) for source in sources).year
    first = min(first_day(source) for source in sources).year
    return list(range(last, min(first, last) - 1, -1))


def drawable(year: int | None, sources: Sequence[Source]) -> bool:
    """Tell whether a year may be asked for: none, or one near those offered, so that no address draws millennia."""
    offered = years_of(sources) or [timezone.now().year]
    return year is None or min(offered[-1] - 1, EARLIEST.year) <= year <= offered[0] + 1


def address(source: Source, **asked: Any) -> str:
    """Return where the calendar shows a source, and a year or a day of it."""
    return f"{reverse('admin:coverage')}?{urlencode({'source': source.slug, **asked})}"


WEEKDAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
