"""A question about usage, parsed and checked: every parameter that is wrong is named."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from functools import cached_property
from typing import Any, Final
from zoneinfo import ZoneInfo

from rest_framework.exceptions import ValidationError

from usage.days import midnight
from usage.filters import UsageFilter
from usage.models import Source
from usage.summaries.intervals import INTERVALS, TooMany, bounds_of
from usage.summaries.shapes import IS_DELETED, OF_RECIPES, Dimension, Measure, Shape
from usage.trust import written

PARAMETERS: Final = ("group_by", "measures", "order_by", "limit", "compare", "fill")
OF_ENVIRONMENTS: Final = (*PARAMETERS, "basis")
LARGEST_LIMIT: Final = 10_000
MOST_DIMENSIONS: Final = 12


@dataclass(frozen=True)
class Question:
    """What is asked of one kind of usage.

    `filterset`: the list's filters, valid. `sources`: those that report the kind and are asked for, within the
    row scope; `row_scope`: the ids of the only sources that may be seen, None for all. `start`, `end`: the
    range, half-open; None leaves a side open. `order`: (name, descending) from first to last significance.
    """

    shape: Shape
    filterset: UsageFilter
    sources: list[Source]
    row_scope: frozenset[int] | None
    zone: ZoneInfo
    start: datetime | None
    end: datetime | None
    group_by: tuple[str, ...] = ()
    interval: str = ""
    measures: tuple[str, ...] = ()
    order: tuple[tuple[str, bool], ...] = ()
    limit: int | None = None
    compare: bool = False
    fill: bool = False
    basis: str = "stopped"
    rollups: bool = True

    @property
    def accrued(self) -> bool:
        """Whether runs are split over the time they lasted."""
        return self.basis == "accrued"

    @cached_property
    def dimensions(self) -> tuple[Dimension, ...]:
        """What is grouped by, besides the interval: what was asked for, then what is always kept apart."""
        names = dict.fromkeys((*self.group_by, *self.shape.always))
        found = [dimension for name in names if (dimension := self.shape.dimension(name))]
        return (*found, IS_DELETED) if OF_RECIPES & set(names) else tuple(found)

    @cached_property
    def summed(self) -> dict[str, Measure]:
        """The measures by their names."""
        return {name: self.shape.measures[name] for name in self.measures}

    @property
    def main(self) -> str:
        """The measure that it is mostly about: the first that is no count of records."""
        return next((name for name in self.measures if name != "records"), self.measures[0])

    @cached_property
    def places_apart(self) -> tuple[int, ...]:
        """The places of the dimensions by which totals are kept apart."""
        return tuple(at for at, one in enumerate(self.dimensions) if one.name in self.shape.always)

    @cached_property
    def place_of_source(self) -> int | None:
        """The place of the source among the dimensions, None where it is none."""
        return next((at for at, one in enumerate(self.dimensions) if one.name == "source"), None)

    @cached_property
    def in_series(self) -> bool:
        """Whether a group has a row in every interval, and not only the one."""
        return bool(self.interval) and any(one.name not in self.shape.always for one in self.dimensions)

    def between(self, start: datetime, end: datetime) -> "Question":
        """Return the same question about another range."""
        return replace(self, start=start, end=end)

    def bounds(self, first: datetime, last: datetime) -> list[datetime]:
        """Return the bounds of the intervals over `[first, last)`, where they may be cut so; raises ValidationError."""
        if not self.interval:
            return [first, last]
        try:
            found = bounds_of(self.interval, self.zone, first, last)
        except TooMany as error:
            raise ValidationError({"group_by": [str(error)]}) from None
        except (ValueError, OverflowError):
            raise ValidationError({"from": ["The range reaches beyond the calendar."]}) from None
        self.check_cuts(found, "tz")
        return found

    def check_cuts(self, instants: list[datetime], parameter: str) -> None:
        """Refuse instants that cut what a record stands for; raises ValidationError that names the parameter."""
        for kept, zone, instant in self.cuts(instants):
            whole = "" if self.shape.smallest == "day" else "a whole hour or "
            advice = f"give {whole}a date" if zone == self.zone.key else f"ask with tz={zone}"
            also = ", or for other sources alone" if len(self.sources) > 1 and self.shape.smallest != "day" else ""
            raise ValidationError({parameter: [f"{kept}, and {written(instant)} lies within one; {advice}{also}."]})

    def cuts(self, instants: list[datetime]) -> Iterator[tuple[str, str, datetime]]:
        """Yield what is kept whole, in words, the zone whose it is, and the instant that lies within."""
        if self.shape.smallest == "day":
            within = (instant for instant in instants if instant.astimezone(UTC).time() != datetime.min.time())
            yield from (("This usage is kept by whole UTC days", "UTC", instant) for instant in within)
        elif self.shape.kind.instant == "starts_at":
            for source in self.sources:
                kept = f"The usage of {source.slug} is kept by whole hours of {source.time_zone}"
                within = (instant for instant in instants if past_hour(instant, source.zone))
                yield from ((kept, source.time_zone, instant) for instant in within)


def past_hour(instant: datetime, zone: ZoneInfo) -> bool:
    """Tell whether an instant lies within an hour of a zone's clock."""
    try:
        local = instant.astimezone(zone)
    except OverflowError:  # at an end of the calendar, where nothing is kept
        return False
    return bool(local.minute or local.second or local.microsecond)


@dataclass
class Asked:
    """The parameters of a summary, and what is wrong with them."""

    said: Mapping[str, str]
    shape: Shape
    problems: dict[str, list[str]] = field(default_factory=dict)

    def names(self, parameter: str) -> list[str]:
        """Return comma-separated names."""
        return [name.strip() for name in self.said[parameter].split(",")] if parameter in self.said else []

    def refuse(self, parameter: str, reason: str) -> None:
        """Note what is wrong."""
        self.problems.setdefault(parameter, []).append(reason)

    def group_by(self) -> tuple[tuple[str, ...], str]:
        """Return the dimensions and the interval, '' for none."""
        names = list(dict.fromkeys(self.names("group_by")))
        intervals = [name for name in names if name in INTERVALS]
        allowed = self.intervals()
        if len(intervals) > 1:
            self.refuse("group_by", f"One interval at most; these are several: {', '.join(intervals)}.")
        for name in names:
            if name in INTERVALS and name not in allowed:
                self.refuse("group_by", f"“{name}” would cut a UTC day, which is the least that this usage is kept by.")
            elif name not in INTERVALS and self.shape.dimension(name) is None:
                self.refuse("group_by", f"“{name}” is not one of: {', '.join(self.groupings())}.")
        dimensions = tuple(name for name in names if name not in INTERVALS)
        if len(dimensions) > MOST_DIMENSIONS:
            self.refuse("group_by", f"At most {MOST_DIMENSIONS} dimensions.")
        return dimensions, next(iter(intervals), "")

    def intervals(self) -> tuple[str, ...]:
        """Return the intervals that the kind may be cut into."""
        return INTERVALS[INTERVALS.index(self.shape.smallest) :]

    def groupings(self) -> list[str]:
        """Return everything that may be grouped by, in words."""
        inner = ["details.<field>", "tag:<key>"] if self.shape.json else []
        return [*self.shape.dimensions, *inner, *self.intervals()]

    def measures(self) -> tuple[str, ...]:
        """Return the measures, the kind's usual ones where none is named."""
        names = tuple(dict.fromkeys(self.names("measures")))
        for name in names:
            if name not in self.shape.measures:
                self.refuse("measures", f"“{name}” is not one of: {', '.join(self.shape.measures)}.")
        return names or self.shape.default

    def order(self, known: tuple[str, ...]) -> tuple[tuple[str, bool], ...]:
        """Return what to order by; `known`: everything that the rows have."""
        found = [(name.removeprefix("-"), name.startswith("-")) for name in self.names("order_by")]
        for name, _ in found:
            if name not in known:
                self.refuse("order_by", f"“{name}” is not one of: {', '.join(known)}, or - before one.")
        return tuple(found)

    def one_of(self, parameter: str, *words: str) -> str:
        """Return the word that a parameter says, the first where it says none."""
        word = self.said.get(parameter, words[0])
        if word not in words:
            self.refuse(parameter, f"“{word}” is not one of: {', '.join(filter(None, words))}.")
        return word

    def limit(self) -> int | None:
        """Return how many rows are asked for."""
        text = self.said.get("limit")
        if text is None:
            return None
        if not (text.isascii() and text.isdecimal() and len(text) < 6 and 1 <= int(text) <= LARGEST_LIMIT):
            self.refuse("limit", f"“{text}” is not a whole number from 1 to {LARGEST_LIMIT}.")
            return None
        return int(text)


def asked(
    said: Mapping[str, str],
    shape: Shape,
    filterset: UsageFilter,
    sources: Callable[[list[int] | None], list[Source]],
    row_scope: frozenset[int] | None,
    faults: Mapping[str, list[Any]] | None = None,
) -> Question:
    """Return the question that a request's parameters ask; raises ValidationError that names all that is wrong.

    `faults`: what was found to be wrong already; without any, `filterset` is valid. `sources` gives the sources
    behind ids, all that may be seen for None.
    """
    reading = Asked(said, shape)
    group_by, interval = reading.group_by()
    measures = reading.measures()
    cleaned = filterset.form.cleaned_data
    start, end = instant_of(cleaned.get("from")), instant_of(cleaned.get("to"))
    # The range is the question's from here on: accrued runtime and comparisons ask for another than the list does.
    cleaned.update({name: None for name in ("from", "to") if name in cleaned})
    compare = reading.one_of("compare", "", "previous") == "previous"
    fill = reading.one_of("fill", "", "zero") == "zero"
    deleted = (IS_DELETED.name,) if OF_RECIPES & set(group_by) else ()  # a column of the rows, too
    order = reading.order((*filter(None, (interval,)), *dict.fromkeys((*group_by, *shape.always, *deleted)), *measures))
    limit, basis = reading.limit(), reading.one_of("basis", "stopped", "accrued")
    if (compare or fill) and not {"from", "to"} <= set(filterset.data or ()):
        reading.refuse("compare" if compare else "fill", "Needs both from and to.")
    if fill and not interval:
        reading.refuse("fill", "Needs an interval in group_by.")
    if reading.problems or faults:
        raise ValidationError({**reading.problems, **(faults or {})})
    question = Question(
        shape=shape,
        filterset=filterset,
        sources=sources(filterset.source_ids()),
        row_scope=row_scope,
        zone=cleaned["tz"],
        start=start,
        end=end,
        group_by=group_by,
        interval=interval,
        measures=measures,
        order=order,
        limit=limit,
        compare=compare,
        fill=fill,
        basis=basis,
    )
    for name, instant in (("from", start), ("to", end)):
        if instant is not None:
            question.check_cuts([instant], name)
    return question


def instant_of(bound: date | datetime | None) -> datetime | None:
    """Return a bound of the range as an instant; a date is a UTC day's."""
    if bound is None or isinstance(bound, datetime):
        return bound
    return midnight(bound, ZoneInfo("UTC"))
