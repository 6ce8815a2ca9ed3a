"""The inputs of a usage list's filter form: one per filter of the API, the common ones first."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from django_filters import rest_framework as django_filters

from usage.explore.kinds import label_of
from usage.filters import ChoiceFilter, MomentFilter, NumbersFilter, TextsFilter
from usage.filters.values import BoundFilter, ContainsFilter, TagsFilter, WithinFilter
from usage.moments import DATE, THROUGH, last_before

LABELS: Final = {
    "from": "From",
    "to": "To, not included",
    THROUGH: "Through",
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
GROUPS: Final = ("Ids and names", "Sizes", "Details of the resource", "Times", "Other")
HELP: Final = {
    "from": "A date, or an instant such as 2026-01-31T08:00:00Z.",
    "to": "The first day or instant that is no longer shown.",
    THROUGH: "This day is included.",
    "tz": "The zone that dates are of, e.g. Europe/Berlin.",
    "updated_since": "A date or an instant.",
    "tag": "Each in a field of its own.",
}


@dataclass(frozen=True, slots=True)
class Input:
    """One input: `sort` is text, date, number, choice or tags; `values` are what was given, `errors` what is wrong.

    `options`: (value, words) of a choice. `suggests`: whether the portal knows what could be typed.
    `sent`: the name that it is sent by; the end of a range is asked for by its last day, as people say it.
    """

    name: str
    label: str
    sort: str
    help: str = ""
    values: Sequence[str] = ()
    errors: Sequence[str] = ()
    options: Sequence[tuple[str, str]] = ()
    suggests: bool = False
    sent: str = ""

    @property
    def ident(self) -> str:
        """Its id on the page."""
        return f"filter-{self.name.replace('.', '-')}"

    @property
    def value(self) -> str:
        """What was given, the first of it."""
        return self.said(self.values[0]) if self.values and self.sent == THROUGH else "".join(self.values[:1])

    @property
    def told(self) -> bool:
        """Whether its help is shown: what a date is needs no words."""
        return self.sort != "date" or self.sent == THROUGH

    @property
    def blanks(self) -> Sequence[str]:
        """What was given, and an empty one for another."""
        return (*self.values, "")

    def said(self, value: str) -> str:
        """Return a value as a person reads it."""
        if self.sent == THROUGH:
            return last_before(value)
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


def left_out(name: str, one: django_filters.Filter) -> bool:
    """Tell whether another input says as much; by an address it may be asked for all the same."""
    return name == "details.flavor" or (isinstance(one, BoundFilter) and name.endswith(("__gt", "__lt")))


def sort_of(name: str, one: django_filters.Filter, given: str, *, wrong: bool) -> str:
    """Return which sort of input a filter takes; a moment is a date while it is one, or nothing."""
    if isinstance(one, TagsFilter):
        return "tags"
    if isinstance(one, ChoiceFilter) or name in {"source", "vendor"}:
        return "choice"
    if isinstance(one, MomentFilter):
        return "date" if not wrong and (not given or DATE.fullmatch(given)) else "text"
    return "number" if isinstance(one, (NumbersFilter, BoundFilter)) else "text"


def help_of(name: str, one: django_filters.Filter) -> str:
    """Return a line about what may be typed, where the form as a whole does not say it."""
    if isinstance(one, ContainsFilter):
        return "At least 3 characters; capitals do not count."
    return HELP.get(name, "")


def options_of(name: str, given: Sequence[str], known: Mapping[str, Sequence[str]]) -> tuple[tuple[str, str], ...]:
    """Return the options of a choice; a value that was given and is none of them is one more."""
    held = (("", f"All {name}s"), *((value, value) for value in known.get(name, ())))
    options = held if name in known else CHOICES[name]
    return (*options, *((value, value) for value in given if value not in dict(options)))


def group_of(one: django_filters.Filter) -> str:
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
        sort = sort_of(name, filters[name], "".join(values[:1]), wrong=name in errors)
        sent = THROUGH if name == "to" and sort == "date" else name
        return Input(
            name,
            label(sent),
            sort,
            help_of(sent, filters[name]),
            values,
            errors.get(name, ()),
            options_of(name, values, known) if sort == "choice" else (),
            name in suggested,
            sent,
        )

    further: dict[str, list[Input]] = {group: [] for group in GROUPS}
    for name, one in filters.items():
        if name not in common and not left_out(name, one):
            further[group_of(one)].append(made(name))
    return Form([made(name) for name in common], {group: inputs for group, inputs in further.items() if inputs})
