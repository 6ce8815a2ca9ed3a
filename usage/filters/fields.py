"""One parameter: how its text is understood, and what it filters by."""

import re
from collections.abc import Sequence
from datetime import date, datetime
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

from django import forms
from django.core.exceptions import ValidationError
from django.db.models import BigIntegerField, QuerySet, Value
from django.db.models.functions import Cast
from django_filters import rest_framework as django_filters
from drf_spectacular.drainage import set_override

from usage.moments import as_moment, as_zone

UTC_ZONE = ZoneInfo("UTC")
LARGEST = 2**63 - 1
WHOLE = re.compile(r"-?\d{1,19}", re.ASCII)


class MomentField(forms.CharField):
    """A date or an instant."""

    def clean(self, value: Any) -> date | datetime | None:
        """Return what `as_moment` makes of the text, None for nothing."""
        text = super().clean(value)
        try:
            return as_moment(text) if text else None
        except ValueError as error:
            raise ValidationError(str(error)) from None


class ZoneField(forms.CharField):
    """An IANA time zone."""

    def clean(self, value: Any) -> ZoneInfo:
        """Return the zone, UTC for nothing."""
        text = super().clean(value)
        try:
            return as_zone(text) if text else UTC_ZONE
        except ValueError as error:
            raise ValidationError(str(error)) from None


class SeveralField(forms.CharField):
    """Comma-separated values, each cleaned by `of`; spaces around them do not count. `most`: how many there may be."""

    def __init__(self, *, of: forms.Field, most: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.of = of
        self.most = most

    def clean(self, value: Any) -> list[Any]:
        """Return the values; raises ValidationError that names the one that is wrong."""
        text = super().clean(value)
        parts = text.split(",") if text else []
        if self.most is not None and len(parts) > self.most:
            raise ValidationError(f"At most {self.most} values.")
        return [self.cleaned(part.strip()) for part in parts]

    def cleaned(self, part: str) -> Any:
        """Return one cleaned value."""
        try:
            return self.of.clean(part)
        except ValidationError as error:
            raise ValidationError(f"“{part}”: {' '.join(error.messages)}") from None


class WholeField(forms.CharField):
    """A whole number that a BIGINT holds."""

    def clean(self, value: Any) -> int | None:
        """Return the number, None for nothing where nothing is allowed."""
        text = super().clean(value)
        if not text:
            return None
        if WHOLE.fullmatch(text) and -LARGEST <= int(text) <= LARGEST:
            return int(text)
        raise ValidationError("Give a whole number of at most 64 bits.")


class WordField(forms.CharField):
    """One of a few words."""

    def __init__(self, words: Sequence[str], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.words = words

    def clean(self, value: Any) -> str:
        """Return the word; raises ValidationError that lists the ones there are."""
        if value not in self.words:
            raise ValidationError(f"Not one of: {', '.join(self.words)}.")
        return str(value)


class SlugsField(SeveralField):
    """Names out of those that whoever asks can see; the filter set gives the names."""

    names: frozenset[str] = frozenset()

    def cleaned(self, part: str) -> str:
        """Return a name; raises ValidationError that lists the ones there are."""
        if part not in self.names:
            raise ValidationError(f"There is no “{part}”; there are: {', '.join(sorted(self.names)) or 'none'}.")
        return part


def as_bigint(number: int) -> Cast:
    """Return a number as the BIGINT that its column is: a GIN index finds nothing by numbers of another width."""
    return Cast(Value(number), BigIntegerField())


class MomentFilter(django_filters.CharFilter):
    """A date or an instant."""

    field_class = MomentField


class ZoneFilter(django_filters.CharFilter):
    """The zone that dates are of; it filters nothing by itself."""

    field_class = ZoneField

    def filter(self, qs: QuerySet[Any], value: Any) -> QuerySet[Any]:
        """Leave `qs` as it is."""
        return qs


class SeveralFilter(django_filters.BaseCSVFilter):
    """Comma-separated values of a column: one of them is enough."""

    base_field_class: type[forms.Field] = SeveralField  # type: ignore[assignment]
    of: ClassVar[type[forms.Field]] = forms.CharField

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, of=self.of(), **kwargs)

    def filter(self, qs: QuerySet[Any], value: list[Any]) -> QuerySet[Any]:
        """Keep the rows with one of the values; one is compared with directly, so that an index gives the order."""
        if not value:
            return qs
        look_up, sought = ("exact", value[0]) if len(value) == 1 else ("in", value)
        return qs.filter(**{f"{self.field_name}__{look_up}": sought})


class TextsFilter(SeveralFilter, django_filters.CharFilter):
    """Comma-separated texts."""


class NumbersFilter(SeveralFilter, django_filters.NumberFilter):
    """Comma-separated whole numbers."""

    field_class: type[forms.Field] = forms.CharField  # type: ignore[assignment]
    of = WholeField

    def get_max_validator(self) -> None:
        """Each number is checked by itself."""

    def filter(self, qs: QuerySet[Any], value: list[Any]) -> QuerySet[Any]:
        """Keep the rows with one of the numbers."""
        return super().filter(qs, [as_bigint(number) for number in value or []])


class WordsFilter(TextsFilter):
    """Comma-separated words out of a few."""

    def __init__(self, *words: str, help_text: str, **kwargs: Any) -> None:
        text = f"{help_text} Comma-separated."
        super().__init__(help_text=text, **kwargs)
        self.extra["of"] = WordField(words)
        set_override(self, "field", {"type": "string", "enum": [*words], "description": text})


class SlugsFilter(TextsFilter):
    """Comma-separated names of sources or vendors."""

    base_field_class = SlugsField  # type: ignore[assignment]


class ChoiceFilter(django_filters.ChoiceFilter):
    """One of a few words."""

    def __init__(self, *words: str, **kwargs: Any) -> None:
        messages = {"invalid_choice": f"“%(value)s” is not one of: {', '.join(words)}."}
        super().__init__(choices=[(word, word) for word in words], empty_label=None, error_messages=messages, **kwargs)
