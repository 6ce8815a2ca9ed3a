"""The answer to a question: totals, rows in order, what the limit left out, and what was before."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Context, Decimal, localcontext
from operator import itemgetter
from typing import Any, Final

from rest_framework.exceptions import ValidationError

from usage.exactly import EXACTLY, difference
from usage.summaries.intervals import label, previous
from usage.summaries.question import Question
from usage.summaries.relation import extent, relation_of
from usage.summaries.shapes import Measure
from usage.summaries.statement import MOST_GROUPS, Group, ask
from usage.trust import Trust, trust_of

RATIO: Final = Context(prec=12)
Key = tuple[tuple[Any, ...], int]


@dataclass(frozen=True, slots=True)
class Found:
    """What was found for one range: the bounds of its intervals, its groups and its totals."""

    bounds: list[datetime]
    groups: dict[Key, dict[str, Any]]
    totals: dict[tuple[Any, ...], dict[str, Any]]


def find(question: Question) -> Found:
    """Return the groups and totals of the question's own range."""
    reach: Any = (question.start, question.end)
    if question.interval or question.accrued:
        reach = extent(question)
    if reach is None or (None not in reach and reach[0] >= reach[1]):
        return Found([], {}, {})
    bounds = question.bounds(*reach) if None not in reach else []
    groups, totals = ask(question, relation_of(question, bounds))
    names = {source.pk: source.slug for source in question.sources}
    return Found(
        bounds,
        {(named(question, group, names), group.bucket): group.sums for group in groups},
        {fixed(question, group.key): group.sums for group in totals},
    )


def named(question: Question, group: Group, names: dict[int, str]) -> tuple[Any, ...]:
    """Return the values of a group's dimensions, a source by its slug: rows are ordered by what they say."""
    at = question.place_of_source
    if at is None:
        return group.key
    return (*group.key[:at], names.get(group.key[at], group.key[at]), *group.key[at + 1 :])


def fixed(question: Question, values: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return those of the dimensions' values by which totals are kept apart."""
    return tuple([values[at] for at in question.places_apart])


def trust_in(question: Question) -> Trust:
    """Return how far the answer can be trusted."""
    return trust_of(
        question.shape.kind,
        source_ids=[source.pk for source in question.sources],
        start=question.start,
        end=question.end,
        zone=question.zone,
        row_scope=question.row_scope,
        accrued=question.accrued,
    )


def answer(question: Question) -> dict[str, Any]:
    """Return the answer, JSON-ready; a sum over no value is null, never zero."""
    meta = trust_in(question).meta()  # first, so that it promises no more than the numbers hold
    past = question.between(*earlier(question)) if question.compare else None
    if past is not None:
        meta["previous"] = {name: said for name, said in trust_in(past).meta().items() if name not in {"tz", "as_of"}}
    found = find(question)
    before = find(past) if past is not None else None
    if question.fill:
        fill(question, found)
    if before is not None:
        follow(question, found, before)
    with localcontext(EXACTLY):
        keys = ordered(question, found)
        shown = limited(question, found, keys)
        left = [key for key in keys if key not in shown] if question.limit else []
        return {
            "meta": meta,
            "totals": totals(question, found, before),
            "results": [row(question, found, before, key) for key in shown],
            "others": others(question, found, before, left),
        }


def earlier(question: Question) -> tuple[datetime, datetime]:
    """Return the period before; raises ValidationError beyond the calendar, and where it would cut a record."""
    assert question.start is not None and question.end is not None  # noqa: S101, PT018 (checked where it is asked)
    try:
        start, end = previous(question.start, question.end, question.zone)
    except (ValueError, OverflowError):
        raise ValidationError({"compare": ["The period before reaches beyond the calendar."]}) from None
    question.check_cuts([start], "compare")  # its clocks may have stood otherwise then
    return start, end


def fill(question: Question, found: Found) -> None:
    """Give every group a row for every interval of the range."""
    count = len(found.bounds) - 1
    keys = {key for key, _ in found.groups} or ({()} if not question.dimensions else set())
    if len(keys) * count > MOST_GROUPS:
        raise ValidationError({"fill": [f"More than {MOST_GROUPS} rows; ask for less, or without fill."]})
    for key in keys:
        for bucket in range(1, count + 1):
            found.groups.setdefault((key, bucket), nothing(question))


def nothing(question: Question) -> dict[str, Any]:
    """Return the sums of a group without records."""
    return {name: 0 if measure.whole else Decimal(0) for name, measure in question.summed.items()}


def follow(question: Question, found: Found, before: Found) -> None:
    """Add the groups that are only in the period before, as groups of nothing, which is what no groups add up to."""
    for period in (found, before):
        if not period.groups:
            period.totals.clear()
    for key in before.groups:
        if key[1] < max(len(found.bounds), 1) or not question.interval:
            found.groups.setdefault(key, nothing(question))


def ordered(question: Question, found: Found) -> list[Key]:
    """Return the groups in order: as asked, then by interval, then the largest first, then by the dimensions."""
    by_interval = [(question.interval, False)] if question.interval else []
    return in_order(question, found, [*question.order, *by_interval, (question.main, True)])


def in_order(question: Question, found: Found, order: list[tuple[str, bool]]) -> list[Key]:
    """Return the groups by (name, descending) from first to last significance, then by the dimensions."""
    keys = sorted(found.groups, key=lambda key: [sortable(value) for value in key[0]])
    for name, descending in reversed(order):
        value = reader_of(question, found, name)
        keys.sort(key=lambda key, value=value: sortable(value(key)), reverse=descending)  # type: ignore[misc]
    return keys


def limited(question: Question, found: Found, keys: list[Key]) -> dict[Key, None]:
    """Return the groups that the limit leaves, in their order: so many of each metric and unit, which do not compare.

    With an interval besides other dimensions a group is whole: all of its intervals are there, or none.
    """
    if question.limit is None:
        return dict.fromkeys(keys)
    parts: dict[tuple[Any, ...], dict[tuple[Any, ...], None]] = {}
    for key in ranked(question, found):
        part = parts.setdefault(fixed(question, key[0]), {})
        if len(part) < question.limit:
            part[whole_of(question, key)] = None
    return {key: None for key in keys if whole_of(question, key) in parts[fixed(question, key[0])]}


def whole_of(question: Question, key: Key) -> tuple[Any, ...]:
    """Return what tells a group from others where it is limited: its dimensions, and its interval if that is all."""
    return key[0] if question.in_series else (*key[0], key[1])


def ranked(question: Question, found: Found) -> list[Key]:
    """Return one key of each group: the largest first, or as the measures that are ordered by say.

    What is ordered by besides arranges the rows and does not choose them. Of a group in a series all intervals are
    taken together; what cannot be added over them (distinct counts) is added all the same: it only tells who comes
    first.
    """
    order = [(name, descending) for name, descending in question.order if name in question.summed]
    whole = found
    if question.in_series:
        groups: dict[Key, dict[str, Any]] = {}
        for (dimensions, _), sums in found.groups.items():
            line = groups.get((dimensions, 0))
            if line is None:
                line = groups[dimensions, 0] = nothing(question)
            for name in question.summed:
                line[name] += sums[name] or 0
        whole = Found([], groups, {})
    return in_order(question, whole, [*order, (question.main, True)])


def reader_of(question: Question, found: Found, name: str) -> Callable[[Key], Any]:
    """Return what tells what a group has under a name: its interval, a dimension or a measure."""
    if name == question.interval:
        return itemgetter(1)
    if name in question.summed:
        return lambda key: found.groups[key][name]
    at = next(at for at, one in enumerate(question.dimensions) if one.name == name)
    return lambda key: key[0][at]


def sortable(value: Any) -> tuple[bool, Any]:
    """Return something that sorts: nothing comes before everything."""
    return (value is not None, 0 if value is None else value)


def totals(question: Question, found: Found, before: Found | None) -> list[dict[str, Any]]:
    """Return the totals of the whole filter, one per unit and metric where there are such."""
    always = [one.name for one in question.dimensions if one.name in question.shape.always]
    keys: Iterable[Any] = dict.fromkeys([*found.totals, *(before.totals if before else ())])
    if not always:
        keys = [()]
    lines = []
    for key in sorted(keys):
        sums = found.totals.get(key) or nothing(question)
        compared = change(question, sums, before.totals.get(key)) if before else {}
        lines.append({**dict(zip(always, key, strict=True)), **rendered(question, sums), **compared})
    return lines


def row(question: Question, found: Found, before: Found | None, key: Key) -> dict[str, Any]:
    """Return one row of the results."""
    values, bucket = key
    said: dict[str, Any] = {}
    if question.interval:
        said[question.interval] = label(found.bounds[bucket - 1], question.interval, question.zone)
    for dimension, value in zip(question.dimensions, values, strict=True):
        said[dimension.name] = value
    sums = found.groups[key]
    compared = change(question, sums, before.groups.get(key)) if before else {}
    return {**said, **rendered(question, sums), **compared}


def others(question: Question, found: Found, before: Found | None, left: list[Key]) -> dict[str, Any] | None:
    """Return what the limit left out: how many groups, and their sums per unit; None where nothing was left out.

    Of groups over intervals also the sums of each interval. Distinct counts cannot be added and are null.
    """
    if not left:
        return None
    apart = {key: fixed(question, key[0]) for key in left}
    said: dict[str, Any] = {
        "groups": len({whole_of(question, key) for key in left}),
        "totals": [line for _, line in lines_of(question, found, before, {key: (0, apart[key]) for key in left})],
    }
    if question.in_series and question.interval:
        name, zone = question.interval, question.zone
        said["results"] = [
            {name: label(found.bounds[bucket - 1], name, zone), **line}
            for bucket, line in lines_of(question, found, before, {key: (key[1], apart[key]) for key in left})
        ]
    return said


def lines_of(
    question: Question, found: Found, before: Found | None, parts: dict[Key, tuple[int, tuple[Any, ...]]]
) -> list[tuple[int, dict[str, Any]]]:
    """Return what the groups of each part add up to, as rows, in the order of the parts.

    A part is an interval's place, which each row comes with, and the values by which totals are kept apart.
    """
    always = [one.name for one in question.dimensions if one.name in question.shape.always]
    now, was = added(question, found, parts), added(question, before, parts) if before else {}
    lines = []
    for part in sorted(now):
        compared = change(question, now[part], was.get(part)) if before else {}
        values = dict(zip(always, part[1], strict=True))
        lines.append((part[0], {**values, **rendered(question, now[part]), **compared}))
    return lines


def added(question: Question, found: Found, parts: dict[Key, Any]) -> dict[Any, dict[str, Any]]:
    """Return the sums of each part's groups, as far as they were found."""
    whole: dict[Any, dict[str, Any]] = {}
    for key, part in parts.items():
        if key not in found.groups:
            continue
        line = whole.setdefault(part, dict.fromkeys(question.measures))
        for name, measure in question.summed.items():
            value = found.groups[key][name]
            if measure.additive and value is not None:
                line[name] = value if line[name] is None else line[name] + value
    return whole


def change(question: Question, sums: dict[str, Any], before: dict[str, Any] | None) -> dict[str, Any]:
    """Return the sums before, the difference, and the difference in parts of what was before (12 digits).

    The relative change is null where there was nothing before, and both are where a side is not known.
    """
    was = before or nothing(question)
    said: dict[str, dict[str, Any]] = {"previous": rendered(question, was), "change": {}, "relative_change": {}}
    for name, measure in question.summed.items():
        known = sums[name] is not None and was[name] is not None
        more = difference(Decimal(sums[name]), Decimal(was[name])) if known else None
        said["change"][name] = number(more, measure)
        ratio = None if more is None or not was[name] else RATIO.divide(more, Decimal(was[name]))
        said["relative_change"][name] = None if ratio is None else f"{ratio:f}"
    return said


def rendered(question: Question, sums: dict[str, Any]) -> dict[str, Any]:
    """Return sums as JSON has them."""
    return {name: number(sums[name], measure) for name, measure in question.summed.items()}


def number(value: Any, measure: Measure) -> Any:
    """Return a whole number as such and any other as a string with all its digits."""
    if value is None:
        return None
    return int(value) if measure.whole else f"{Decimal(value):f}"
