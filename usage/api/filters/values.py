"""Filters of names, numbers, tags and details, and the form fields that parse them."""

import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from functools import reduce
from operator import and_, or_
from typing import Any
from unicodedata import normalize

from django import forms
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Q, QuerySet
from django_filters import rest_framework as django_filters
from drf_spectacular.drainage import set_override

from usage.api.filters.fields import (
    ChoicesFilter,
    CommaSeparatedFilter,
    IntegerTextField,
    TextsFilter,
    cast_to_bigint,
)
from usage.api.filters.widgets import HoursInput, RepeatedInput
from usage.categories import CATEGORIES, CATEGORY_NAMES, KNOWN_TYPES, OTHER
from usage.param_values import NO_VALUE, parse_value, split_values
from usage.text_search import build_search

LEAST_LETTERS = 3
# Each colon of a tag and each value of a field of details is a condition of its own, and the planner looks at them all:
# a few thousand took it a minute.
MOST_COLONS = 100
MOST_OF_DETAILS = 500
BOUNDS = ("gte", "gt", "lte", "lt")
IN_WORDS = {"gte": "At least", "gt": "More than", "lte": "At most", "lt": "Less than"}
# PostgreSQL has no NUMERIC beyond these digits.
NUMBER = re.compile(r"-?\d{1,500}(\.\d{1,500})?", re.ASCII)


@models.TextField.register_lookup
class ContainsAnyCase(models.Lookup[Any]):
    """`column ILIKE '%text%'`: a trigram index over the column itself finds it."""

    lookup_name = "contains_any_case"

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, tuple[Any, ...]]:
        """Return the comparison, with the wildcards of the text escaped."""
        column, params = self.process_lhs(compiler, connection)
        pattern = connection.ops.prep_for_like_query(self.rhs)
        return f"{column} ILIKE %s", (*params, f"%{pattern}%")


class CategoryFilter(ChoicesFilter):
    """Comma-separated categories of resources: rows of one of their types."""

    def __init__(self) -> None:
        super().__init__(*CATEGORY_NAMES, field_name="resource_type", help_text="What resources are for.")

    def filter(self, qs: QuerySet[Any], value: list[str]) -> QuerySet[Any]:
        if not value:
            return qs
        types = [name for category in value for name in CATEGORIES.get(category, ())]
        conditions = Q(resource_type__in=types)
        return qs.filter(conditions | ~Q(resource_type__in=KNOWN_TYPES) if OTHER in value else conditions)


class ContainsField(forms.CharField):
    """A part of a name, with each letter and its accents as one character where Unicode has it."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(min_length=LEAST_LETTERS, **kwargs)
        self.error_messages["min_length"] = f"Give at least {LEAST_LETTERS} characters."
        self.validators[0].message = self.error_messages["min_length"]  # type: ignore[attr-defined]

    def to_python(self, value: Any) -> str:
        """Return the text in the form whose characters are counted."""
        return normalize("NFC", super().to_python(value) or "")


class ContainsFilter(django_filters.CharFilter):
    """A part of a name, in any case and in both normal forms of Unicode."""

    field_class = ContainsField

    def __init__(self, field_name: str, lookup_expr: str = "contains_any_case", **kwargs: Any) -> None:
        text = f"At least {LEAST_LETTERS} characters, in upper or lower case."
        super().__init__(field_name, lookup_expr=lookup_expr, help_text=text, **kwargs)

    def filter(self, qs: QuerySet[Any], value: str) -> QuerySet[Any]:
        return qs.filter(build_search([f"{self.field_name}__{self.lookup_expr}"], value)) if value else qs


class ExactNumberField(forms.CharField):
    """A number with all its digits."""

    def clean(self, value: Any) -> Decimal | None:
        """Return the number with all its digits, None for no text."""
        text = super().clean(value)
        if not text:
            return None
        if not NUMBER.fullmatch(text):
            raise ValidationError(f"“{text[:40]}” is not a number such as 1440 or 0.25.")
        return Decimal(text)


class BoundFilter(django_filters.CharFilter):
    """A bound of a column's values; rows without a value never match.

    No index holds the values, as it would double what a load costs: they narrow what a range or an id has found.
    """

    field_class: type[forms.CharField] = ExactNumberField


class SecondsBoundFilter(BoundFilter):
    """A bound of a column of seconds, whose input in a form takes hours."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, widget=HoursInput, **kwargs)


class CountBoundFilter(BoundFilter):
    """A bound of a column of whole numbers."""

    field_class = IntegerTextField

    def filter(self, qs: QuerySet[Any], value: int | None) -> QuerySet[Any]:
        return qs if value is None else super().filter(qs, cast_to_bigint(value))


def build_bounds(*columns: str, of: type[BoundFilter] = BoundFilter) -> dict[str, django_filters.Filter]:
    """Return the bounds by name: `<column>__gte`, `__gt`, `__lte`, `__lt`."""
    advice = "To be fast, give from and to or an id as well."
    return {
        f"{column}__{bound}": of(column, lookup_expr=bound, help_text=f"{IN_WORDS[bound]} this {column}. {advice}")
        for column in columns
        for bound in BOUNDS
    }


Tag = tuple[str | None, str | None]


class TagsField(forms.Field):
    """Several tags as usage/param_values.py has them."""

    widget = RepeatedInput

    def clean(self, value: Any) -> list[Tag]:
        """Return (key, value) pairs; raises ValidationError that quotes what is not `key:value`."""
        tags = [self.parse_tag(tag_text) for text in value or [] for tag_text in split_values(text)]
        if sum(text.count(":") for text in value or []) > MOST_COLONS:
            raise ValidationError(f"At most {MOST_COLONS} colons, of all tags together.")
        return tags

    @staticmethod
    def parse_tag(tag_text: str) -> Tag:
        """Return what stands before and after the first colon; a value, or both, may be none."""
        text = parse_value(tag_text)
        if text is None:
            return None, None
        key, colon, value = text.partition(":")
        if not colon or not key:
            raise ValidationError(f"“{tag_text}” is not a key and a value with a colon between them, e.g. team:data.")
        if "\x00" in text:
            raise ValidationError("Null characters are not allowed.")
        if tag_text.endswith(f":{NO_VALUE}"):
            return text.removesuffix(f":{NO_VALUE}"), None
        return key, value


def build_missing_condition(column: str, key: str) -> Q:
    """Return the condition that a JSON object lacks a member, or has it as null or an empty text."""
    empty = (Q(**{f"{column}__contains": {key: nothing}}) for nothing in (None, ""))
    return reduce(or_, empty, ~Q(**{f"{column}__has_key": key}))


class TagsFilter(django_filters.Filter):
    """Tags as `key:value`: `key:~none` is of rows without this tag or its value, `~none` of rows without any tag.

    `tag_mode` (of the same form): whether a row must have all of them or one.
    """

    field_class = TagsField
    repeatable = True
    parent: django_filters.FilterSet

    def __init__(self, *args: Any, help_text: str, **kwargs: Any) -> None:
        super().__init__(*args, help_text=help_text, **kwargs)
        texts = {"type": "array", "items": {"type": "string"}}  # OpenAPI's default: one parameter for each item
        set_override(self, "field", {**texts, "description": help_text})

    def filter(self, qs: QuerySet[Any], value: list[Tag]) -> QuerySet[Any]:
        """Keep the rows with the tags; a repeated key has the list of its values."""
        if not value:
            return qs
        conditions = [self.build_condition(*tag) for tag in value]
        combine = or_ if self.parent.form.cleaned_data.get("tag_mode") == "or" else and_
        return qs.filter(reduce(combine, conditions))

    def build_condition(self, key: str | None, value: str | None) -> Q:
        if key is None:
            return Q(**{str(self.field_name): {}})
        if value is None:
            return build_missing_condition(str(self.field_name), key)
        return reduce(or_, self.build_conditions(f"{key}:{value}"))

    def build_conditions(self, text: str) -> Iterator[Q]:
        """Yield a condition for each colon of a tag, as keys and values may have colons too."""
        for colon in re.finditer(":", text):
            key, value = text[: colon.start()], text[colon.end() :]
            yield Q(**{f"{self.field_name}__contains": {key: value}})
            yield Q(**{f"{self.field_name}__contains": {key: [value]}})


class TagKeysFilter(TextsFilter):
    """Comma-separated keys of tags; a row matches with one of them, whatever its value."""

    def build_conditions(self, values: list[Any]) -> list[Q]:
        return [Q(**{f"{self.field_name}__has_any_keys": values})]

    def build_empty_condition(self) -> Q:
        return Q(**{str(self.field_name): {}})


class DetailFilter(CommaSeparatedFilter):
    """Comma-separated values of one field of `details`; a row matches with one of them."""

    def __init__(self, field: str, **kwargs: Any) -> None:
        text = f"{field} of the resource, comma-separated, at most {MOST_OF_DETAILS}."
        super().__init__(field_name="details", help_text=text, most=MOST_OF_DETAILS, **kwargs)
        self.within = field

    def build_conditions(self, values: list[Any]) -> list[Q]:
        return [Q(details__contains={self.within: value}) for value in values]

    def build_empty_condition(self) -> Q:
        return build_missing_condition("details", self.within)


class DetailTextsFilter(DetailFilter, django_filters.CharFilter):
    """Texts of a field of `details`."""


class DetailNumbersFilter(DetailFilter, django_filters.CharFilter):
    """Whole numbers of a field of `details`."""

    of = IntegerTextField


# The documented fields of the types of resources that are texts, and those that are whole numbers
# (docs/vendors/gcore.md).
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


def build_detail_filters() -> Mapping[str, django_filters.Filter]:
    """Return the filters of details by name: `details.<field>`."""
    texts = {f"details.{field}": DetailTextsFilter(field) for field in DETAIL_TEXTS}
    return {**texts, **{f"details.{field}": DetailNumbersFilter(field) for field in DETAIL_NUMBERS}}
