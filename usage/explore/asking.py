"""From an address to numbers: the question, checked as the API checks it, and its answer within a bounded time."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from django.db import DEFAULT_DB_ALIAS
from django.http import QueryDict
from rest_framework.exceptions import ValidationError

from usage.bounded import bounded
from usage.explore.kinds import Kind
from usage.exports.copying import one_state
from usage.filters import UsageFilter, problems_of
from usage.models import Source
from usage.summaries.answer import answer
from usage.summaries.intervals import bounds_of as cut
from usage.summaries.overall import OverallFilter, interval_of, overall
from usage.summaries.question import Question, asked
from usage.summaries.relation import extent
from usage.trust import DaysTold, days_of_trust, reporting

PATIENCE_SECONDS: Final = 15
Problems = dict[str, list[str]]
Scope = frozenset[int] | None


@dataclass(frozen=True, slots=True)
class Answer:
    """What was found. `said`: the API's own answer; `question`: None for everything at once.

    `bounds`: of the intervals, empty without one; `days`: what the sources' days in them are worth; `sources`: those
    that it is about.
    """

    kind: Kind
    said: dict[str, Any]
    question: Question | None
    interval: str
    bounds: list[datetime] = field(default_factory=list)
    days: list[DaysTold] = field(default_factory=list)
    sources: list[Source] = field(default_factory=list)


def checked(kind: Kind, data: QueryDict, scope: Scope) -> Any:
    """Return the valid filter set of an address' parameters; raises ValidationError as the API does."""
    visible = Source.objects.all() if scope is None else Source.objects.filter(pk__in=sorted(scope))
    rows = kind.model.objects.all() if kind.model else visible
    filterset = kind.filterset(data, rows, sources=visible)
    problems = problems_of(data, filterset, kind.parameters)
    if problems:
        raise ValidationError(problems)
    return filterset


def question_of(kind: Kind, filterset: UsageFilter, data: QueryDict, scope: Scope) -> Question:
    """Return the question about one kind of usage; raises ValidationError."""
    shape = kind.shape
    assert shape is not None  # noqa: S101 (everything at once has no question)
    return asked(data, shape, filterset, lambda ids: reporting(shape.kind, ids, scope), scope)


def ask(kind: Kind, data: QueryDict, scope: Scope, *, days: bool = True) -> Answer:
    """Return the answer, the numbers and what is said of them from one state of the database.

    `days`: also tell of the days of each interval. Raises ValidationError, and TookTooLong
    (usage/bounded.py) after PATIENCE_SECONDS.
    """
    filterset = checked(kind, data, scope)
    with one_state(DEFAULT_DB_ALIAS), bounded(PATIENCE_SECONDS):
        if kind.shape is None:
            return of_everything(kind, filterset, data, scope, days=days)
        question = question_of(kind, filterset, data, scope)
        said = answer(question)
        bounds = bounds_asked(question) if days and question.interval else []
        told = days_of_trust(question.sources, within(bounds, question.start, question.end))
        return Answer(kind, said, question, question.interval, bounds, told, question.sources)


def of_everything(kind: Kind, filterset: OverallFilter, data: QueryDict, scope: Scope, *, days: bool) -> Answer:
    """Return the answer about every kind of usage."""
    interval = interval_of(data.get("interval"))
    said = overall(filterset, interval, scope)
    cleaned = filterset.form.cleaned_data
    start, end = cleaned.get("from"), cleaned.get("to")
    sources = reporting(None, filterset.source_ids(), scope)
    bounds = cut(interval, cleaned["tz"], start, end) if days and sources and interval and start and end else []
    return Answer(kind, said, None, interval, bounds, days_of_trust(sources, within(bounds, start, end)), sources)


def bounds_asked(question: Question) -> list[datetime]:
    """Return the bounds of the question's intervals, an open side closed by what there is."""
    reach = extent(question)
    return question.bounds(*reach) if reach is not None and reach[0] < reach[1] else []


def within(bounds: list[datetime], start: datetime | None, end: datetime | None) -> list[datetime]:
    """Return the bounds without what of the first and the last interval the range leaves out: it is not asked about."""
    if not bounds:
        return bounds
    first = bounds[0] if start is None else max(bounds[0], start)
    last = bounds[-1] if end is None else min(bounds[-1], end)
    return [first, *bounds[1:-1], last]


def in_words(problems: Any) -> Problems:
    """Return what a ValidationError says, by parameter."""
    return {name: [str(text) for text in texts] for name, texts in problems.items()}
