"""The inputs of a usage list's filter form: one per filter of the API, the common ones first."""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from django_filters import rest_framework as django_filters

from usage.explore.kinds import label_of
from usage.filters import ChoiceFilter, MomentFilter, NumbersFilter, TextsFilter
from usage.filters.values import BoundFilter, ContainsFilter, TagsFilter, WithinFilter
from usage.moments import DATE

LABELS: Final = {
    "from": "From",
    "to": "To, not included",
    "tz": "Time zone",
    "tag": "Tag, as key:value",
    "tag_mode": "Several tags",
    "tag_key": "Tag key",
    "include_withdrawn": "Withdrawn records",
    "updated_since": "Changed at or after",
    "deleted_recipes": "Deleted recipes",
    "environment_class_id": "Class",
}
MOMENTS: Final = {"__gte": " at or after", "__lt": " before"}
CHOICES: Final[dict[str, tuple[tuple[str, str], ...]]] = {
    "include_withdrawn": (("", "Left out"), ("true", "Shown, struck through")),
    "tag_mode": (("", "All are needed"), ("or", "One is enough")),
    "deleted_recipes": (("", "Shown"), ("exclude", "Left out"), ("only", "Only these")),
}
# Said by another input as well; by an address they may be asked for all the same.
LEFT_OUT: Final = re.compile(r"__(gt|lte)$|^details\.flavor$")
HELP: Final = {
    "from": "A date, or an instant such as 2026-01-31T08:00:00Z.",
    "to": "The first day or instant that is no longer shown.",
    "tz": "The zone that dates are of, e.g. Europe/Berlin.",
    "updated_since": "A date or an instant.",
    "tag": "Each in a field of its own.",
}


@dataclass(frozen=True, slots=True)
class Input:
    """One input: `sort` is text, date, number, choice or tags; `values` are what was given, `errors` what is wrong.

    `options`: (value, words) of a choice. `suggests`: whether the portal knows what could be typed.
    """

    name: str
    label: str
    sort: str
    help: str = ""
    values: Sequence[str] = ()
    errors: Sequence[str] = ()
    options: Sequence[tuple[str, str]] = ()
    suggests: bool = False

    @property
    def ident(self) -> str:
        """Its id on the page."""
        return f"filter-{self.name.replace('.', '-')}"

    @property
    def value(self) -> str:
        """What was given, the first of it."""
        return self.values[0] if self.values else ""

    @property
    def blanks(self) -> Sequence[str]:
        """What was given, and an empty one for another."""
        return (*self.values, "")

    def said(self, value: str) -> str:
        """Return a value as a person reads it."""
        return dict(self.options).get(value, value) if self.sort == "choice" else value


def label(name: str) -> str:
    """Return what people call a filter."""
    if name in LABELS:
        return LABELS[name]
    if name.endswith("__contains"):
        return f"{label_of(name.removesuffix('__contains'))} contains"
    for ending, words in MOMENTS.items():
        if name.endswith(ending) and name.startswith(("created_at", "first_seen", "last_seen")):
            return label_of(name.removesuffix(ending)) + words
    return label_of(name)


def sort_of(name: str, one: django_filters.Filter, given: str) -> str:
    """Return which sort of input a filter takes; a bound of the range is a date while it is one, or nothing."""
    if isinstance(one, TagsFilter):
        return "tags"
    if isinstance(one, ChoiceFilter) or name in {"source", "vendor"}:
        return "choice"
    if isinstance(one, MomentFilter):
        return "date" if not given or DATE.fullmatch(given) else "text"
    return "number" if isinstance(one, (NumbersFilter, BoundFilter)) else "text"


def help_of(name: str, one: django_filters.Filter, sort: str) -> str:
    """Return a line about what may be typed."""
    if name in HELP:
        return HELP[name]
    if isinstance(one, ContainsFilter):
        return "At least 3 characters; capitals do not count."
    return "Several with commas between." if isinstance(one, (TextsFilter, NumbersFilter)) and sort != "choice" else ""


def options_of(name: str, given: Sequence[str], known: Mapping[str, Sequence[str]]) -> tuple[tuple[str, str], ...]:
    """Return the options of a choice; a value that was given and is none of them is one more."""
    if name in known:
        options = (("", f"All {name}s"), *((value, value) for value in known[name]))
    else:
        options = CHOICES[name]
    return (*options, *((value, value) for value in given if value not in dict(options)))


def group_of(name: str, one: django_filters.Filter) -> str:
    """Return the group of further filters that a filter belongs to."""
    if isinstance(one, WithinFilter):
        return "Details of the resource"
    if isinstance(one, MomentFilter):
        return "Times"
    if isinstance(one, BoundFilter):
        return "Sizes"
    return "Ids and names" if isinstance(one, (TextsFilter, NumbersFilter, ContainsFilter)) else "Other"


@dataclass(frozen=True, slots=True)
class Form:
    """The inputs of a list, and what was given to them; `common` are shown at once, `further` on request, by group."""

    common: Sequence[Input]
    further: Mapping[str, Sequence[Input]]

    def __iter__(self) -> Iterator[Input]:
        yield from self.common
        for inputs in self.further.values():
            yield from inputs

    @property
    def opened(self) -> bool:
        """Whether one of the further filters is in use."""
        return any(one.values or one.errors for inputs in self.further.values() for one in inputs)


def form_of(
    filters: Mapping[str, django_filters.Filter],
    common: Sequence[str],
    given: Mapping[str, Sequence[str]],
    errors: Mapping[str, Sequence[str]],
    known: Mapping[str, Sequence[str]],
    suggested: Collection[str],
) -> Form:
    """Return the form of these filters; `known`: the values of choices that only the database knows."""

    def made(name: str) -> Input:
        values = given.get(name, ())
        sort = sort_of(name, filters[name], "".join(values[:1]))
        return Input(
            name,
            label(name),
            sort,
            help_of(name, filters[name], sort),
            values,
            errors.get(name, ()),
            options_of(name, values, known) if sort == "choice" else (),
            name in suggested,
        )

    further: dict[str, list[Input]] = {}
    for name, one in filters.items():
        if name not in common and not LEFT_OUT.search(name):
            further.setdefault(group_of(name, one), []).append(made(name))
    return Form([made(name) for name in common], further)
