"""The applied filters of a page as chips, each with the address of the page without it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from usage.api.filters import SourceRelatedFilterSet
from usage.api.filters.fields import CommaSeparatedField
from usage.api.filters.widgets import HoursInput, to_hours
from usage.directory.lookup import NAMED_COLUMNS, Names, find_names
from usage.labels import get_label
from usage.models import NameKind, UsageRecord
from usage.param_values import list_values, parse_value, split_values

RANGE = ("from", "to")


@dataclass(frozen=True, slots=True)
class Chip:
    """An applied filter, and the address of the page without it."""

    label: str
    remove_url: str


@dataclass(frozen=True)
class FilterChips:
    """Builds the chips of a filter set's parameters. The range has a menu of its own (usage/ranges.py).

    `errors`: by parameter; `build_url(name, value)` gives the address without that value of a parameter. `model`: the
    records, None for several kinds.
    """

    filterset: SourceRelatedFilterSet
    model: type[UsageRecord] | None
    errors: Mapping[str, Sequence[Any]]
    build_url: Callable[[str, str], str]

    def build(self) -> Iterator[Chip]:
        """Yield the chips of the parameters that are filters and are valid."""
        params: Any = self.filterset.data
        for name, values in params.lists():
            if name in self.filterset.form.fields and name not in (*RANGE, *self.errors):
                yield from (Chip(self.describe(name, value), self.build_url(name, value)) for value in values)

    def describe(self, name: str, value: str) -> str:
        """Return an applied filter as a chip shows it: `Project: 5`."""
        field = self.filterset.form.fields[name]
        if isinstance(field, CommaSeparatedField):
            values = [parse_value(text) for text in split_values(value)]
            texts = ["none" if parsed is None else self.get_text(name, parsed) for parsed in values]
            return f"{get_label(name)}: {', '.join(texts)}"
        if isinstance(field.widget, HoursInput):
            hours = to_hours(value)
            return f"{get_label(name)}: {f'{value} s' if hours is None else f'{hours} h'}"
        return f"{get_label(name)}: {dict(getattr(field, 'choices', ())).get(value, value)}"

    def get_text(self, name: str, value: str) -> str:
        """Return the text of a filter's value: of an id its name, where the directory has it."""
        kind = self.name_kinds.get(name)
        return (self.names.get(kind, value) if kind else "") or value

    @property
    def name_kinds(self) -> dict[str, NameKind]:
        return NAMED_COLUMNS[self.model] if self.model else {}

    @cached_property
    def names(self) -> Names:
        params: Any = self.filterset.data
        ids: dict[NameKind, list[str]] = {}
        for column, kind in self.name_kinds.items():
            if column in params and column not in self.errors:
                ids[kind] = list_values(params, column)
        source_ids = list(self.filterset.visible_sources.values_list("pk", flat=True)) if ids else []
        return find_names(ids, source_ids, self.filterset.names)
