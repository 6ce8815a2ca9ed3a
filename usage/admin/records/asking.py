"""What a person asks of a usage list: the API's own filters, understood fully or refused with every fault named."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property
from typing import Any, Self
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from django.db.models import QuerySet
from django.http import HttpRequest, QueryDict

from usage.access import in_staff_scope
from usage.admin.paging import POSITION
from usage.admin.records.cells import day_in_words
from usage.admin.records.inputs import Form, form_of, label
from usage.explore.ranges import RANGES, named, range_of
from usage.filters import UsageFilter, problems_of
from usage.filters.fields import UTC_ZONE
from usage.models import Source
from usage.moments import DATE, THROUGH, end_after
from usage.pagination import Ordering, Orderings
from usage.trust import VENDOR_KINDS

ORDERING = "ordering"
NOT_FILTERS = (*POSITION, ORDERING)
SHORT = {"tag": "Tag", "to": "To", THROUGH: "Through"}
TIMES = frozenset({"stopped_at", "starts_at", "changed_at", "day"})
NAMES_OF_RANGES = ("this-month", "last-month", "last-7-days", "last-30-days", "this-year")


@dataclass(frozen=True, slots=True)
class Chip:
    """An applied filter in words, and the address of the list without it."""

    words: str
    without: str


@dataclass(frozen=True, slots=True)
class Shortcut:
    """A range that has a name, the address of the list with it, and whether it is the one that is shown."""

    words: str
    address: str
    current: bool


@dataclass(frozen=True, slots=True)
class Offered:
    """What a list offers besides its filters: its orders and the usual one, the filters shown at once, suggestions."""

    orderings: Orderings
    default: str
    common: Sequence[str]
    suggested: Sequence[str]


@dataclass(frozen=True)
class Asked:
    """The parameters of one request. `filterset` is checked; `errors` name what is wrong, by parameter.

    `said`: the parameters that are not empty; `given`: the filters among them. `sources`: (slug, vendor) of those
    that report this usage and that the person may know of.
    """

    said: QueryDict
    given: QueryDict
    filterset: UsageFilter
    errors: Mapping[str, Sequence[str]]
    sources: Sequence[tuple[str, str]]
    offered: Offered

    @classmethod
    def of(
        cls, said: QueryDict, request: HttpRequest, rows: QuerySet[Any], filters: type[UsageFilter], offered: Offered
    ) -> Self:
        """Return what parameters ask of `rows`, which are within the row scope of who asks."""
        known = in_staff_scope(Source.objects.all(), request, "id")
        asked = QueryDict(mutable=True)
        for name, values in said.lists():
            if name not in NOT_FILTERS:
                asked.setlist(name, values)
        filterset = filters(asked, rows, sources=known)
        errors = {name: [str(fault) for fault in faults] for name, faults in problems_of(asked, filterset, ()).items()}
        if fault := Ordering.misnamed(said.get(ORDERING, offered.default), offered.orderings):
            errors[ORDERING] = [fault]
        others = [vendor for vendor, kind in VENDOR_KINDS.items() if kind is not rows.model]
        sources = tuple(known.exclude(vendor__in=others).values_list("slug", "vendor"))
        return cls(said, asked, filterset, errors, sources, offered)

    @property
    def rows(self) -> QuerySet[Any]:
        """The filtered rows; only where nothing is wrong."""
        found: QuerySet[Any] = self.filterset.qs
        return found

    @property
    def ordering(self) -> str:
        """The name of the order, - before it for its reverse."""
        return self.said.get(ORDERING, self.offered.default)

    @property
    def order(self) -> Ordering:
        """The order itself."""
        return Ordering.named(self.ordering, self.offered.orderings)

    @property
    def filters(self) -> dict[str, list[str]]:
        """The filters as they were given."""
        return {name: [str(value) for value in values] for name, values in self.given.lists()}

    @property
    def kept(self) -> dict[str, list[str]]:
        """What the address of another page of this list says."""
        return {name: [str(value) for value in values] for name, values in self.said.lists() if name not in POSITION}

    @cached_property
    def form(self) -> Form:
        """The form with what was given."""
        known = {
            "source": [slug for slug, _ in self.sources],
            "vendor": sorted({vendor for _, vendor in self.sources}),
        }
        filters = type(self.filterset).base_filters
        return form_of(filters, self.offered.common, self.filters, self.errors, known, self.offered.suggested)

    @property
    def unknown(self) -> dict[str, Sequence[str]]:
        """What is wrong with parameters that the form has no input for."""
        inputs = {one.name for one in self.form}
        return {name: faults for name, faults in self.errors.items() if name not in inputs and name != ORDERING}

    @property
    def hidden(self) -> list[tuple[str, str]]:
        """Filters that are in use and have no input: they stay when the form is sent."""
        inputs = {one.name for one in self.form} | set(self.unknown)
        return [(name, value) for name, values in self.filters.items() if name not in inputs for value in values]

    @property
    def orders(self) -> list[tuple[str, str, bool]]:
        """The orders on offer: name, words, and whether it is this one."""
        names = [sign + name for name in self.offered.orderings for sign in ("-", "")]
        return [(name, order_in_words(name), name == self.ordering) for name in names]

    @property
    def chips(self) -> list[Chip]:
        """The applied filters, each with the way to remove it; the two bounds of a range of dates are one."""
        words = {one.name: one for one in self.form}
        chips = []
        for name, values in self.filters.items():
            for value in values:
                if name == "to" and self.dates:
                    continue
                if name == "from" and self.dates:
                    chips.append(Chip(span(*self.dates), self.address(without=("from", "to"))))
                    continue
                said = words[name].said(value) if name in words else value
                called = SHORT.get(words[name].sent if name in words else name) or label(name)
                chips.append(Chip(f"{called}: {said}", self.address(without=(name,), value=value)))
        return chips

    @property
    def dates(self) -> tuple[date, date] | None:
        """The range, where both its bounds are dates."""
        said = [self.said.get(name, "") for name in ("from", "to")]
        if {"from", "to"} & set(self.errors) or not all(DATE.fullmatch(text) for text in said):
            return None
        return date.fromisoformat(said[0]), date.fromisoformat(said[1])

    @property
    def shortcuts(self) -> list[Shortcut]:
        """Ranges with a name."""
        zone: ZoneInfo = self.filterset.form.cleaned_data.get("tz") or UTC_ZONE
        now = named(self.said.get("from", ""), self.said.get("to", ""), zone)
        found = []
        for name in NAMES_OF_RANGES:
            first, end = range_of(name, zone)
            address = self.address(without=("from", "to"), **{"from": first.isoformat(), "to": end.isoformat()})
            found.append(Shortcut(RANGES[name][0], address, name == now))
        return found

    def address(self, without: Sequence[str] = (), value: str = "", **changed: str) -> str:
        """Return the address of the list with some parameters left out (of several, only `value`) or changed."""
        kept = {name: values for name, values in self.kept.items() if name not in without}
        for name in without if value else ():
            kept[name] = [one for one in self.kept.get(name, ()) if one != value]
        return f"?{urlencode({**kept, **changed}, doseq=True)}"


def without_blanks(given: QueryDict, only: Collection[str] | None = None) -> QueryDict:
    """Return the parameters that say something (`only` of these): a form sends its empty inputs along.

    The last day of a range, which a form asks for, becomes its end, as an address has it.
    """
    said = QueryDict(mutable=True)
    if last := given.get(THROUGH, "").strip():
        given = given.copy()
        del given[THROUGH]
        given["to"] = end_after(last)
    for name, values in given.lists():
        kept = [value for value in values if value.strip()]
        if kept and (only is None or name in only):
            said.setlist(name, kept)
    return said


def order_in_words(name: str) -> str:
    """Return what an order is called, e.g. `Stopped at, newest`."""
    column, reverse = name.removeprefix("-"), name.startswith("-")
    if column == "id":
        return "As stored, latest" if reverse else "As stored, earliest"
    if column in TIMES:
        return f"{label(column)}, {'newest' if reverse else 'oldest'}"
    return f"{label(column)}, {'highest' if reverse else 'lowest'}"


def span(first: date, end: date) -> str:
    """Return a half-open range of dates as people say it: `1 Nov 2026 – 30 Nov 2026`."""
    if end <= first:
        return f"No day: {day_in_words(first)} to {day_in_words(end)}"
    last = end - timedelta(days=1)
    return day_in_words(first) if first == last else f"{day_in_words(first)} – {day_in_words(last)}"
