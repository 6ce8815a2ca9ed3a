"""The form of the question: every part of it as a labelled input that holds what the address says."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Final
from zoneinfo import ZoneInfo

from django.http import QueryDict
from django.urls import reverse

from usage.admin.records.suggestions import suggested_by
from usage.explore.address import Said, changed, text, without
from usage.explore.asking import Problems
from usage.explore.kinds import Kind, label_of
from usage.explore.ranges import RANGES, named, range_of
from usage.filters.values import DETAIL_TEXTS
from usage.moments import THROUGH, as_zone, last_before
from usage.summaries.shapes import SHAPES

UTC: Final = ZoneInfo("UTC")
LIMITS: Final = ("5", "10", "20", "50", "100")
MOST_BOXES: Final = 12  # sources to tick; more are typed
FEWEST_GROUPS: Final = 2
FROM_TO: Final = frozenset({"from", "to", "tz", "source", "vendor", "include_withdrawn", "tag"})
ALL_INTERVALS: Final = "No interval"


@dataclass(frozen=True, slots=True)
class Option:
    """A choice of an input."""

    value: str
    label: str
    chosen: bool = False


@dataclass(frozen=True, slots=True)
class Field:
    """An input. `sort`: text, number, date, select, or boxes to tick; `parameter`: whose mistakes stand beside it.

    `suggestions`: the address that gives values to choose from while typing.
    """

    name: str
    label: str
    parameter: str
    value: str = ""
    sort: str = "text"
    options: tuple[Option, ...] = ()
    help: str = ""
    errors: tuple[str, ...] = ()
    suggestions: str = ""
    place: int = 0

    @property
    def id(self) -> str:
        """The input's id."""
        return f"ask-{self.name.strip('_').replace('.', '-')}" + (f"-{self.place}" if self.place else "")


@dataclass(frozen=True, slots=True)
class Preset:
    """A range with a name, and the query that asks for it."""

    label: str
    query: str
    current: bool


@dataclass(frozen=True, slots=True)
class Form:
    """All inputs in their groups, and the mistakes that belong to none of them."""

    presets: list[Preset]
    range: list[Field]
    groups: list[Field]
    numbers: list[Field]
    filters: list[Field]
    further: list[Field]
    problems: list[str] = field(default_factory=list)
    active_filters: int = 0


def form_of(kind: Kind, data: QueryDict, sources: list[str], problems: Problems) -> Form:
    """Return the form; `data`: the summary's parameters; `sources`: the slugs that this person may know of."""
    zone = zone_of(data)
    groups = list(grouping(kind, data))
    made = {
        "range": list(ranging(kind, data)),
        "groups": groups,
        "numbers": list(summing(kind, data)),
        "filters": list(filtering(kind, data, sources)),
        "further": list(more_filters(kind, data)),
    }
    known = {one.parameter for fields in made.values() for one in fields}
    judged = {
        name: [replace(one, errors=errors_of(one, fields, problems)) for one in fields] for name, fields in made.items()
    }
    loose = [f"{label_of(name)}: {text}" for name, texts in problems.items() if name not in known for text in texts]
    return Form(
        presets=list(presets(kind, data, zone)), problems=loose, active_filters=asked_filters(kind, data), **judged
    )


def errors_of(one: Field, fields: list[Field], problems: Problems) -> tuple[str, ...]:
    """Return the mistakes of an input's parameter; of several inputs of one parameter, the first shows them."""
    first = next(other for other in fields if other.parameter == one.parameter)
    return tuple(problems.get(one.parameter, ())) if one is first else ()


def zone_of(data: QueryDict) -> ZoneInfo:
    """Return the zone of the question, UTC where it is none."""
    try:
        return as_zone(text(data, "tz") or "UTC")
    except ValueError:
        return UTC


def asked_filters(kind: Kind, data: QueryDict) -> int:
    """Return how many filters are asked for."""
    return sum(name in data for name in kind.understood if name not in {"from", "to", "tz"})


def presets(kind: Kind, data: QueryDict, zone: ZoneInfo) -> Iterator[Preset]:
    """Yield the ranges that have a name."""
    current = named(text(data, "from"), text(data, "to"), zone)
    said: Said = [("kind", kind.name), *((name, value) for name, values in data.lists() for value in values)]
    for name, (label, _) in RANGES.items():
        first, end = range_of(name, zone)
        rest = without(said, lambda one: one in {"from", "to"})
        query = changed([rest[0], ("from", str(first)), ("to", str(end)), *rest[1:]])
        yield Preset(label, query, name == current)


def ranging(kind: Kind, data: QueryDict) -> Iterator[Field]:
    """Yield the inputs of the range: two dates, both included, or two instants where the address has such."""
    start, end = text(data, "from"), text(data, "to")
    if is_date(start) and is_date(end):
        yield Field("from", "From", "from", start, "date")
        yield Field(THROUGH, "Through", "to", last_before(end), "date", help="This day is included.")
    else:
        yield Field("from", "From", "from", start)
        yield Field("to", "To, not included", "to", end)
    yield Field("tz", "Time zone", "tz", text(data, "tz") or "UTC", suggestions=suggestions(kind, "tz"))


def is_date(written: str) -> bool:
    """Tell whether nothing or a date is written."""
    try:
        return not written or (bool(date.fromisoformat(written)) and len(written) == 10)
    except ValueError:
        return False


def grouping(kind: Kind, data: QueryDict) -> Iterator[Field]:
    """Yield the inputs of what to group by: one per dimension and one more, and the interval."""
    asked = grouped_by(data)
    interval = interval_of(kind, data)
    parameter = "interval" if kind.shape is None else "group_by"
    if kind.shape is not None:
        known = [*kind.shape.dimensions, *(f"details.{one}" for one in DETAIL_TEXTS[1:] if kind.shape.json)]
        chosen = [name for name in asked if name != interval]
        for place in range(max(FEWEST_GROUPS, len(chosen) + 1)):
            value = chosen[place] if place < len(chosen) else ""
            offered = [*known, *([value] if value and value not in known else [])]
            options = (Option("", "–"), *(Option(name, label_of(name), name == value) for name in offered))
            label = ("Group by", "Then by")[place] if place < 2 else f"Then by ({place + 1})"
            yield Field("_group", label, parameter, value, "select", options, place=place + 1)
        if kind.shape.json:
            where = suggestions(kind, "tag_key")
            yield Field("_tag", "Group by a tag", parameter, help="The tag's key, e.g. team.", suggestions=where)
    options = (
        Option("", ALL_INTERVALS),
        *(Option(name, f"By {name}", name == interval) for name in kind.intervals),
    )
    yield Field("_interval", "Interval", parameter, interval, "select", options)


def grouped_by(data: QueryDict) -> list[str]:
    """Return the names that the address groups by."""
    return [name.strip() for name in text(data, "group_by").split(",") if name.strip()]


def interval_of(kind: Kind, data: QueryDict) -> str:
    """Return the interval that the address asks for, '' for none."""
    if kind.shape is None:
        return text(data, "interval")
    return next((name for name in grouped_by(data) if name in kind.intervals), "")


def summing(kind: Kind, data: QueryDict) -> Iterator[Field]:
    """Yield the inputs of what to add up and how to give it back."""
    if kind.shape is None:
        return
    asked = [name.strip() for name in text(data, "measures").split(",") if name.strip()] or kind.shape.default
    boxes = tuple(Option(name, label_of(name), name in asked) for name in kind.shape.measures)
    yield Field("measures", "Numbers", "measures", sort="boxes", options=boxes)
    limit = text(data, "limit")
    limits = [*LIMITS, *([limit] if limit and limit not in LIMITS else [])]
    # In an order of dimensions alone the first ones are not the largest ones.
    named = [name.strip().removeprefix("-") for name in text(data, "order_by").split(",") if name.strip()]
    series = interval_of(kind, data) and len(grouped_by(data)) > 1
    word = "First" if named and not series and named[0] not in kind.shape.measures else "Top"
    tops = (Option("", "All rows"), *(Option(one, f"{word} {one} + others", one == limit) for one in limits))
    yield Field("limit", "Rows", "limit", limit, "select", tops)
    if "basis" in kind.parameters:
        basis = text(data, "basis")
        bases = (
            Option("", "when stopped"),
            Option("accrued", "while running", basis == "accrued"),
        )
        yield Field("basis", "Runtime counts", "basis", basis, "select", bases)
    yield flag("compare", "With period before", "previous", data)
    yield flag("fill", "Empty intervals too", "zero", data)


def flag(name: str, label: str, value: str, data: QueryDict) -> Field:
    """Return one box to tick."""
    return Field(name, "", name, sort="boxes", options=(Option(value, label, text(data, name) == value),))


def filtering(kind: Kind, data: QueryDict, sources: list[str]) -> Iterator[Field]:
    """Yield the inputs of the filters that are often asked for."""
    asked = [slug.strip() for slug in text(data, "source").split(",")]
    if len(sources) <= MOST_BOXES and set(filter(None, asked)) <= set(sources):
        boxes = tuple(Option(slug, slug, slug in asked) for slug in sources)
        yield Field("source", "Source", "source", sort="boxes", options=boxes)
    else:
        yield Field("source", "Source", "source", text(data, "source"), help="Names, with commas between them.")
    for name in kind.filters:
        yield typed(kind, name, text(data, name))
    if "tag" in kind.understood:
        for place, value in enumerate([*data.getlist("tag"), ""]):
            where = suggestions(kind, "tag")
            hint = "Key and value, e.g. team:data." if not place else ""
            yield Field("tag", "Tag", "tag", value, help=hint, suggestions=where, place=place + 1)
    if "include_withdrawn" in kind.understood:
        yield flag("include_withdrawn", "Withdrawn records too", "true", data)


def typed(kind: Kind, name: str, value: str) -> Field:
    """Return the input of a filter."""
    return Field(name, label_of(name), name, value, suggestions=suggestions(kind, name))


def more_filters(kind: Kind, data: QueryDict) -> Iterator[Field]:
    """Yield the inputs of other filters that are asked for, and two to ask for one more."""
    others = [name for name in kind.understood if name not in {*FROM_TO, *kind.filters}]
    others = [*(["vendor"] if "vendor" in kind.understood else []), *others]
    for name in others:
        if name in data:
            yield typed(kind, name, text(data, name))
    left = tuple(Option(name, label_of(name)) for name in others if name not in data)
    yield Field("_filter", "Another filter", "_filter", sort="select", options=(Option("", "–"), *left))
    yield Field("_value", "is", "_value", help="Several values go with commas between them.")


def suggestions(kind: Kind, name: str) -> str:
    """Return the address of the values of a filter that may be chosen from, '' where there is none."""
    model = kind.model or next(iter(SHAPES.values())).kind
    if name not in suggested_by(model) or (kind.model is None and name != "tz"):
        return ""
    return reverse(f"admin:usage_{model._meta.model_name}_suggest", args=[name])
