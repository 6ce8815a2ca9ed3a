"""From an address to numbers: the parameters, checked as the API checks them, and the answer within a time limit."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from django.http import HttpRequest, QueryDict
from rest_framework.exceptions import ValidationError

from usage.api.access import get_staff_name_access, get_staff_scope
from usage.api.filters import SourceRelatedFilterSet, find_param_errors
from usage.data_quality import VENDOR_KINDS, IntervalQuality, assess_intervals, get_reporting_sources
from usage.explore.kinds import SummaryKind
from usage.models import Source
from usage.snapshot import consistent_snapshot
from usage.summaries.combined import CombinedFilterSet, parse_interval, summarize_all
from usage.summaries.intervals import cut_intervals
from usage.summaries.params import parse_params
from usage.summaries.query import SummaryQuery
from usage.summaries.result import summarize
from usage.summaries.rows import get_bounds

PATIENCE_SECONDS: Final = 15
Problems = dict[str, list[str]]


@dataclass(frozen=True, slots=True)
class Answer:
    """The numbers of a question. `summary`: the API's own answer; `query`: None for everything at once.

    `bounds`: of the intervals, empty without one; `days`: the data quality of the sources' days in them; `sources`:
    those that it is about.
    """

    kind: SummaryKind
    summary: dict[str, Any]
    query: SummaryQuery | None
    interval: str
    bounds: list[datetime] = field(default_factory=list)
    days: list[IntervalQuality] = field(default_factory=list)
    sources: list[Source] = field(default_factory=list)


def build_filterset(kind: SummaryKind, data: QueryDict, request: HttpRequest) -> SourceRelatedFilterSet:
    """Return the filter set of an address' parameters, not yet validated, with the rights of a request."""
    rows = kind.model.objects.all() if kind.model else Source.objects.all()
    return kind.filterset(data, rows, row_scope=get_staff_scope(request), names=get_staff_name_access(request))


def validate(kind: SummaryKind, filterset: Any) -> None:
    """Raise ValidationError as the API does, unless all parameters are valid."""
    problems = find_param_errors(filterset.data, filterset, kind.parameters)
    if problems:
        raise ValidationError(problems)


def ask(kind: SummaryKind, filterset: Any, take_slot: Callable[[], None], *, days: bool = True) -> Answer:
    """Return the answer, the numbers and their data quality from one state of the database.

    `take_slot` is called where the answer is large (usage/slots.py). `days`: also assess the days of each interval.
    Raises ValidationError, and QueryTimeout (usage/timeouts.py) after PATIENCE_SECONDS.
    """
    validate(kind, filterset)
    with consistent_snapshot(seconds=PATIENCE_SECONDS):
        if kind.metrics is None:
            return ask_combined(kind, filterset, take_slot, days=days)
        query = parse_params(filterset.data, kind.metrics, filterset)
        summary = summarize(query, take_slot)
        bounds = (get_bounds(query) or []) if days and query.interval else []
        bounds_within = clip_bounds(bounds, query.start, query.end)
        qualities = assess_intervals(query.sources, bounds_within, rolled_up=has_rollups(summary))
        return Answer(kind, summary, query, query.interval, bounds, qualities, query.sources)


def ask_combined(
    kind: SummaryKind, filterset: CombinedFilterSet, take_slot: Callable[[], None], *, days: bool
) -> Answer:
    """Return the answer about every kind of usage."""
    data: Any = filterset.data
    interval = parse_interval(data.get("interval"))
    summary = summarize_all(filterset, interval, take_slot)
    cleaned = filterset.form.cleaned_data
    start, end = cleaned.get("from"), cleaned.get("to")
    sources = get_reporting_sources(None, filterset.get_source_ids(), filterset.row_scope)
    bounds = []
    if days and sources and interval and start and end:
        bounds = cut_intervals(interval, cleaned["tz"], start, end)
    qualities = assess_intervals(sources, clip_bounds(bounds, start, end), rolled_up=has_rollups(summary))
    return Answer(kind, summary, None, interval, bounds, qualities, sources)


def has_rollups(summary: dict[str, Any]) -> bool:
    """Return whether the answer has the sums of days without stored records, from roll-ups."""
    return bool(summary["meta"]["pruned_days"]["rolled_up"])


def clip_bounds(bounds: list[datetime], start: datetime | None, end: datetime | None) -> list[datetime]:
    """Return the bounds without the parts of the first and the last interval that lie outside of the range."""
    if not bounds:
        return bounds
    first = bounds[0] if start is None else max(bounds[0], start)
    last = bounds[-1] if end is None else min(bounds[-1], end)
    return [first, *bounds[1:-1], last]


def list_totals_notes(answer: Answer) -> list[str]:
    """Return what the totals leave out of every kind of usage that the sources report."""
    kinds = [answer.kind.model] if answer.kind.model else [VENDOR_KINDS.get(source.vendor) for source in answer.sources]
    return list(dict.fromkeys(kind.totals_note for kind in kinds if kind and kind.totals_note))


def get_problems(detail: Any) -> Problems:
    """Return the texts of a ValidationError's detail, by parameter."""
    return {name: [str(text) for text in texts] for name, texts in detail.items()}
