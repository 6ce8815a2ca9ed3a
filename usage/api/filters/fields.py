"""Filters of one parameter, and the form fields that parse them."""

import re
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from functools import reduce
from operator import or_
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

from django import forms
from django.core.exceptions import ValidationError
from django.db.models import BigIntegerField, Q, QuerySet, Value
from django.db.models.functions import Cast
from django_filters import rest_framework as django_filters
from drf_spectacular.drainage import set_override

from usage.api.filters.widgets import MomentInput, ValuesInput
from usage.datetimes import UTC_ZONE, parse_moment, parse_zone
from usage.param_values import parse_value, split_values

LARGEST = 2**63 - 1
WHOLE = re.compile(r"-?\d{1,19}", re.ASCII)


class MomentField(forms.CharField):
    """A date or an instant."""

    widget = MomentInput

    def clean(self, value: Any) -> date | datetime | None:
        """Return the parsed text, None for no text."""
        text = super().clean(value)
        try:
            return parse_moment(text) if text else None
        except ValueError as error:
            raise ValidationError(str(error)) from None


class ZoneField(forms.CharField):
    """An IANA time zone."""

    def clean(self, value: Any) -> ZoneInfo:
        """Return the zone, UTC for no text."""
        text = super().clean(value)
        try:
            return parse_zone(text) if text else UTC_ZONE
        except ValueError as error:
            raise ValidationError(str(error)) from None


class CommaSeparatedField(forms.CharField):
    """Several values as usage/param_values.py has them, each cleaned by the field `of`; at most `most` of them.

    `takes_none`: `~none` is valid.
    """

    widget = ValuesInput

    def __init__(self, *, of: forms.Field, most: int | None = None, takes_none: bool = True, **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "strip": False})  # white space after a backslash is part of a value
        self.of = of
        self.most = most
        self.takes_none = takes_none

    def clean(self, value: Any) -> list[Any]:
        """Return the values, None for `~none`; raises ValidationError that names the invalid value."""
        text = super().clean(value)
        parts = split_values(text) if text else []
        if self.most is not None and len(parts) > self.most:
            raise ValidationError(f"At most {self.most} values.")
        return [self.clean_part(part) for part in parts]

    def clean_part(self, part: str) -> Any:
        value = parse_value(part)
        if value is None and self.takes_none:
            return None
        try:
            return self.of.clean(part if value is None else value)
        except ValidationError as error:
            raise ValidationError(f"“{part}”: {' '.join(error.messages)}") from None


class ExactTextField(forms.CharField):
    """A text with the spaces around it."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(strip=False, **kwargs)


class IntegerTextField(forms.CharField):
    """A whole number within BIGINT."""

    def clean(self, value: Any) -> int | None:
        """Return the number, None for no text if the field is optional."""
        text = super().clean(value)
        if not text:
            return None
        if WHOLE.fullmatch(text) and -LARGEST <= int(text) <= LARGEST:
            return int(text)
        raise ValidationError("Give a whole number of at most 64 bits.")


class ChoiceTextField(forms.CharField):
    """One of a few values."""

    def __init__(self, choices: Sequence[str], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.choices = choices

    def clean(self, value: Any) -> str:
        """Return the value; raises ValidationError that lists the valid values."""
        if value not in self.choices:
            raise ValidationError(f"Not one of: {', '.join(self.choices)}.")
        return str(value)


class SlugsField(CommaSeparatedField):
    """Names of sources or vendors within the row scope; the filter set sets `names`."""

    names: frozenset[str] = frozenset()

    def clean_part(self, part: str) -> str:
        """Return the name, which has no comma; raises ValidationError that lists the valid names."""
        if part not in self.names:
            raise ValidationError(f"There is no “{part}”; there are: {', '.join(sorted(self.names)) or 'none'}.")
        return part


def cast_to_bigint(number: int) -> Cast:
    """Return a number as BIGINT, the type of its column: a GIN index finds nothing by another integer type."""
    return Cast(Value(number), BigIntegerField())


class MomentFilter(django_filters.CharFilter):
    """A date or an instant."""

    field_class = MomentField

    def __init__(self, *args: Any, help_text: str, **kwargs: Any) -> None:
        super().__init__(*args, help_text=help_text, **kwargs)
        formats = [{"type": "string", "format": "date"}, {"type": "string", "format": "date-time"}]
        set_override(self, "field", {"anyOf": formats, "description": help_text})


class ZoneFilter(django_filters.CharFilter):
    """The zone of the dates in other parameters; it filters nothing itself."""

    field_class = ZoneField

    def filter(self, qs: QuerySet[Any], value: Any) -> QuerySet[Any]:
        return qs


class CommaSeparatedFilter(django_filters.BaseCSVFilter):
    """Comma-separated values of a column, which may repeat; a row matches with one of them."""

    base_field_class: type[forms.Field] = CommaSeparatedField  # type: ignore[assignment]
    of: ClassVar[type[forms.Field]] = ExactTextField
    repeatable = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, of=self.of(), **kwargs)

    def filter(self, qs: QuerySet[Any], value: list[Any]) -> QuerySet[Any]:
        if not value:
            return qs
        present_values = [element for element in value if element is not None]
        conditions = self.build_conditions(present_values) if present_values else []
        return qs.filter(reduce(or_, [*conditions, self.build_empty_condition()] if None in value else conditions))

    def build_conditions(self, values: list[Any]) -> list[Q]:
        """Return conditions of which a row must meet one; a single value by `=`, so that an index gives the order."""
        look_up, operand = ("exact", values[0]) if len(values) == 1 else ("in", values)
        return [Q(**{f"{self.field_name}__{look_up}": operand})]

    def build_empty_condition(self) -> Q:
        return Q(**{f"{self.field_name}__isnull": True})


class TextsFilter(CommaSeparatedFilter, django_filters.CharFilter):
    """Comma-separated texts."""

    def build_empty_condition(self) -> Q:
        """Return the condition of an empty text: no column of texts is null."""
        return Q(**{str(self.field_name): ""})


class NumbersFilter(CommaSeparatedFilter, django_filters.NumberFilter):
    """Comma-separated whole numbers."""

    field_class: type[forms.Field] = forms.CharField  # type: ignore[assignment]
    of = IntegerTextField

    def get_max_validator(self) -> None:
        """Return None: each number is checked by its own field."""

    def build_conditions(self, values: list[Any]) -> list[Q]:
        return super().build_conditions([cast_to_bigint(number) for number in values])


class ChoicesFilter(TextsFilter):
    """Comma-separated values out of a few."""

    def __init__(self, *choices: str, help_text: str, **kwargs: Any) -> None:
        text = f"{help_text} Comma-separated."
        super().__init__(help_text=text, **kwargs)
        self.extra |= {"of": ChoiceTextField(choices), "takes_none": False}
        set_override(self, "field", {"type": "string", "enum": [*choices], "description": text})


class SlugsFilter(TextsFilter):
    """Comma-separated names of sources or vendors."""

    base_field_class = SlugsField  # type: ignore[assignment]


class ChoiceFilter(django_filters.ChoiceFilter):
    """One of a few values. `labels`: theirs in a form; that of '' describes the default."""

    def __init__(self, *values: str, labels: Mapping[str, str] | None = None, **kwargs: Any) -> None:
        labels = labels or {}
        super().__init__(
            choices=[(value, labels.get(value, value)) for value in values],
            empty_label=labels.get(""),
            error_messages={"invalid_choice": f"“%(value)s” is not one of: {', '.join(values)}."},
            **kwargs,
        )


class BooleanChoiceFilter(ChoiceFilter):
    """true or false: the value of a boolean column."""

    def __init__(self, *, help_text: str, **kwargs: Any) -> None:
        super().__init__("true", "false", help_text=help_text, **kwargs)
        set_override(self, "field", {"type": "string", "enum": ["true", "false"], "description": help_text})

    def filter(self, qs: QuerySet[Any], value: str) -> QuerySet[Any]:
        return qs.filter(**{str(self.field_name): value == "true"}) if value else qs


class PresenceFilter(BooleanChoiceFilter):
    """true or false: whether a column has a value."""

    def __init__(self, column: str, *, help_text: str) -> None:
        super().__init__(field_name=column, help_text=help_text)

    def filter(self, qs: QuerySet[Any], value: str) -> QuerySet[Any]:
        return qs.filter(**{f"{self.field_name}__isnull": value == "false"}) if value else qs
