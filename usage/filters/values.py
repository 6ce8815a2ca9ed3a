"""Parameters about names, sizes, tags and details: how their text is understood, and what they filter by."""

import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from functools import reduce
from operator import and_, or_
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Q, QuerySet
from django_filters import rest_framework as django_filters

from usage.filters.fields import SeveralFilter, TextsFilter, WholeField, as_bigint

LEAST_LETTERS = 3
# Each colon of a tag and each value of a field of details is a condition of its own, and the planner looks at them all:
# a few thousand took it a minute.
MOST_COLONS = 100
MOST_OF_DETAILS = 500
BOUNDS = ("gte", "gt", "lte", "lt")
IN_WORDS = {"gte": "At least", "gt": "More than", "lte": "At most", "lt": "Less than"}
# Beyond these digits no NUMERIC can be asked for.
NUMBER = re.compile(r"-?\d{1,500}(\.\d{1,500})?", re.ASCII)


@models.TextField.register_lookup
class ContainsAnyCase(models.Lookup[Any]):
    """`column ILIKE '%text%'`: a trigram index over the column itself finds it."""

    lookup_name = "contains_any_case"

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, tuple[Any, ...]]:
        """Return the comparison, the wildcards in the text taken as they are."""
        column, params = self.process_lhs(compiler, connection)
        sought = connection.ops.prep_for_like_query(self.rhs)
        return f"{column} ILIKE %s", (*params, f"%{sought}%")


class PartField(forms.CharField):
    """A part of a name."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(min_length=LEAST_LETTERS, **kwargs)
        self.error_messages["min_length"] = f"Give at least {LEAST_LETTERS} characters."
        self.validators[0].message = self.error_messages["min_length"]  # type: ignore[attr-defined]


class ContainsFilter(django_filters.CharFilter):
    """A part of a name, in any case."""

    field_class = PartField

    def __init__(self, field_name: str, lookup_expr: str = "contains_any_case", **kwargs: Any) -> None:
        text = f"A part of {field_name}, at least {LEAST_LETTERS} characters; capitals do not count."
        super().__init__(field_name, lookup_expr=lookup_expr, help_text=text, **kwargs)


class ExactNumberField(forms.CharField):
    """A number with all its digits."""

    def clean(self, value: Any) -> Decimal | None:
        """Return the number exactly as it is written, None for nothing."""
        text = super().clean(value)
        if not text:
            return None
        if not NUMBER.fullmatch(text):
            raise ValidationError(f"“{text[:40]}” is not a number such as 1440 or 0.25.")
        return Decimal(text)


class BoundFilter(django_filters.CharFilter):
    """A bound of a column's values; rows without a value are within no bound."""

    field_class: type[forms.CharField] = ExactNumberField


class CountBoundFilter(BoundFilter):
    """A bound of a column of whole numbers.

    No index holds the counts, as it would double what a load costs: they narrow what a range or an id has found.
    """

    field_class = WholeField

    def filter(self, qs: QuerySet[Any], value: int | None) -> QuerySet[Any]:
        """Keep the rows within the bound."""
        return qs if value is None else super().filter(qs, as_bigint(value))


def bounds_of(*columns: str, of: type[BoundFilter] = BoundFilter) -> dict[str, django_filters.Filter]:
    """Return the bounds by name: `<column>__gte`, `__gt`, `__lte`, `__lt`."""
    advice = " To be fast, give from and to or an id as well." if of is CountBoundFilter else ""
    return {
        f"{column}__{bound}": of(column, lookup_expr=bound, help_text=f"{IN_WORDS[bound]} this {column}.{advice}")
        for column in columns
        for bound in BOUNDS
    }


class ListedField(forms.Field):
    """A parameter that may be given several times."""

    widget = forms.MultipleHiddenInput

    def clean(self, value: Any) -> list[tuple[str, str]]:
        """Return (key, value) pairs; raises ValidationError that quotes what is no `key:value`."""
        pairs = [self.pair(text) for text in value or []]
        if sum(text.count(":") for text in value or []) > MOST_COLONS:
            raise ValidationError(f"At most {MOST_COLONS} colons, of all tags together.")
        return pairs

    @staticmethod
    def pair(text: str) -> tuple[str, str]:
        """Return what stands before and after the first colon."""
        key, colon, value = text.partition(":")
        if not colon or not key:
            raise ValidationError(f"“{text}” is not a key and a value with a colon between them, e.g. team:data.")
        if "\x00" in text:
            raise ValidationError("Null characters are not allowed.")
        return key, value


class TagsFilter(django_filters.Filter):
    """Tags as `key:value`, each in a parameter of its own, because a value may hold commas.

    `tag_mode` (of the same form) says whether a row must have all of them or one.
    """

    field_class = ListedField
    repeatable = True
    parent: django_filters.FilterSet

    def filter(self, qs: QuerySet[Any], value: list[tuple[str, str]]) -> QuerySet[Any]:
        """Keep the rows with the tags; a key that was given more than once holds the list of its values."""
        if not value:
            return qs
        has = [reduce(or_, self.readings(f"{key}:{said}")) for key, said in value]
        together = or_ if self.parent.form.cleaned_data.get("tag_mode") == "or" else and_
        return qs.filter(reduce(together, has))

    def readings(self, text: str) -> Iterator[Q]:
        """Yield what a tag may mean: a key may hold colons as well as a value, so each may be the one between them."""
        for colon in re.finditer(":", text):
            key, said = text[: colon.start()], text[colon.end() :]
            yield Q(**{f"{self.field_name}__contains": {key: said}})
            yield Q(**{f"{self.field_name}__contains": {key: [said]}})


class TagKeysFilter(TextsFilter):
    """Comma-separated keys of tags: one of them is enough, whatever its value."""

    def filter(self, qs: QuerySet[Any], value: list[Any]) -> QuerySet[Any]:
        """Keep the rows that have one of the keys."""
        return qs.filter(**{f"{self.field_name}__has_any_keys": value}) if value else qs


class WithinFilter(SeveralFilter):
    """Comma-separated values of one field of `details`: one of them is enough."""

    def __init__(self, field: str, **kwargs: Any) -> None:
        text = f"{field} of the resource, comma-separated, at most {MOST_OF_DETAILS}."
        super().__init__(field_name="details", help_text=text, most=MOST_OF_DETAILS, **kwargs)
        self.within = field

    def filter(self, qs: QuerySet[Any], value: list[Any]) -> QuerySet[Any]:
        """Keep the rows whose details hold one of the values, compared as they are stored."""
        if not value:
            return qs
        return qs.filter(reduce(or_, (Q(details__contains={self.within: one}) for one in value)))


class DetailTextsFilter(WithinFilter, django_filters.CharFilter):
    """Texts of a field of `details`."""


class DetailNumbersFilter(WithinFilter, django_filters.CharFilter):
    """Whole numbers of a field of `details`."""

    of = WholeField


# The documented fields of the types of resources (contracts.md) that are texts, and those that are whole numbers.
DETAIL_TEXTS = (
    "flavor",
    "volume_type",
    "file_share_type",
    "instance_type",
    "instance_name",
    "ip_address",
    "port_id",
    "vm_id",
    "network_id",
    "subnet_id",
    "attached_to_vm",
    "source_volume_uuid",
    "schedule_id",
    "size_unit",
)
DETAIL_NUMBERS = ("last_size",)


def details() -> Mapping[str, django_filters.Filter]:
    """Return the filters of details by name: `details.<field>`."""
    texts = {f"details.{field}": DetailTextsFilter(field) for field in DETAIL_TEXTS}
    return {**texts, **{f"details.{field}": DetailNumbersFilter(field) for field in DETAIL_NUMBERS}}
