"""The filters of the other admin lists: inputs of one form; an invalid value gets a message and filters nothing."""

from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.http import HttpRequest
from rangefilter.filters import DateRangeFilter

from usage.api.access import filter_by_staff_scope
from usage.models import Source

# Days that have a day before and after them in every zone: Python's calendar ends with the years 1 and 9999.
DATE_LIMITS = (MinValueValidator(date(2, 1, 1)), MaxValueValidator(date(9998, 12, 31)))


class ChoiceListFilter(admin.SimpleListFilter):
    """A drop-down of the filter form."""

    template = "admin/portal/filter_choice.html"
    empty_label = "All"

    def __init__(self, request: HttpRequest, *args: Any) -> None:
        super().__init__(request, *args)
        if "\x00" in (self.value() or ""):  # no column has NUL, and the database rejects it
            raise self.build_error(request, f"The filter “{self.title}” does not take the character NUL.")

    def choices(self, changelist: ChangeList) -> Iterator[Any]:
        """Yield the options, the one that filters nothing first."""
        yield {"selected": not self.value(), "value": "", "display": self.empty_label}
        for value, title in self.lookup_choices:
            yield {"selected": self.value() == str(value), "value": value, "display": title}

    def build_error(self, request: HttpRequest, reason: str) -> IncorrectLookupParameters:
        """Leave a message and return the error by which Django shows the unfiltered list."""
        messages.error(request, reason)
        return IncorrectLookupParameters(reason)


class SourceListFilter(ChoiceListFilter):
    """The sources that have rows in the table; `path` leads from a row to its source."""

    title = "source"
    parameter_name = "source"
    empty_label = "All sources"
    path = "source"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]) -> list[tuple[str, str]]:
        """Return the slugs; each source costs one index lookup, whatever the number of its rows."""
        rows = model_admin.model._default_manager.filter(**{self.path: OuterRef("pk")})  # noqa: SLF001
        visible = filter_by_staff_scope(Source.objects.filter(Exists(rows)), request, "id")
        return [(slug, slug) for slug in visible.values_list("slug", flat=True)]

    def has_output(self) -> bool:
        """Return True, so that a link to a source without rows shows an empty list and not every row."""
        return True

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if not self.value():
            return queryset
        visible = filter_by_staff_scope(Source.objects.filter(slug=self.value()), request, "id")
        source = visible.values_list("pk", flat=True).first()
        if source is None:
            raise self.build_error(request, f"There is no source “{self.value()}”.")
        return queryset.filter(**{self.path: source})


class SourceOfDayListFilter(SourceListFilter):
    """The sources of rows that belong to a source day."""

    path = "source_day__source"


class TextListFilter(ChoiceListFilter):
    """An input for any text."""

    template = "admin/portal/filter_exact.html"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]) -> list[tuple[str, str]]:
        """Return nothing: any value may be typed."""
        return []

    def has_output(self) -> bool:
        return True


class ExactListFilter(TextListFilter):
    """An input that is compared exactly with one indexed column, `field`."""

    field: models.Field[Any, Any]

    @property
    def numeric(self) -> bool:
        return isinstance(self.field, models.IntegerField)

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        text = (self.value() or "").strip()
        if not text:
            return queryset
        try:
            value = self.field.to_python(text)
        except ValidationError:
            raise self.build_error(request, f"“{text}” is not a whole number, as {self.title} is.") from None
        return queryset.filter(**{self.field.attname: value})


class RangeListFilter(DateRangeFilter):  # type: ignore[misc]
    """Two dates, both included, in UTC."""

    template = "admin/portal/filter_range.html"

    def _get_form_fields(self) -> dict[str, forms.Field]:
        labels = {self.lookup_kwarg_gte: "from", self.lookup_kwarg_lte: "through"}
        picker = {"type": "date"}
        return {
            name: forms.DateField(
                label=label, required=False, widget=forms.DateInput(attrs=picker), validators=DATE_LIMITS
            )
            for name, label in labels.items()
        }

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Keep the rows from the beginning of the first date up to the end of the last."""
        if self.form.is_bound and not self.form.is_valid():
            messages.error(request, f"The range of “{self.title}” takes dates such as 2026-11-20.")
            raise IncorrectLookupParameters(self.form.errors)
        bounds: dict[str, Any] = dict(self.form.cleaned_data) if self.form.is_bound else {}
        return queryset.filter(**self._make_query_filter(request, bounds))

    def _make_query_filter(self, request: HttpRequest, validated_data: dict[str, Any]) -> dict[str, Any]:
        first, last = (validated_data.get(name) for name in (self.lookup_kwarg_gte, self.lookup_kwarg_lte))
        has_time = isinstance(self.field, models.DateTimeField)
        lookups = {}
        if first:
            lookups[f"{self.field_path}__gte"] = get_first_instant(first) if has_time else first
        if last:
            end = last + timedelta(days=1)
            lookups[f"{self.field_path}__lt"] = get_first_instant(end) if has_time else end
        return lookups


def get_first_instant(on: date) -> datetime:
    """Return the first instant of a UTC date."""
    return datetime(on.year, on.month, on.day, tzinfo=UTC)


def build_exact_filter(model: type[models.Model], column: str) -> type[ExactListFilter]:
    """Return the filter of one indexed column."""
    field = model._meta.get_field(column)
    members = {"title": str(getattr(field, "verbose_name", column)), "parameter_name": column, "field": field}
    return type(f"{column}Filter", (ExactListFilter,), members)


def build_choice_filter(
    name: str, title: str, choices: Mapping[str, tuple[str, Q]], empty_label: str = "All"
) -> type[ChoiceListFilter]:
    """Return a drop-down of a few values; `choices`: the label and the condition of each."""

    class FewChoicesFilter(ChoiceListFilter):
        def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]) -> list[tuple[str, str]]:
            return [(value, label) for value, (label, _) in choices.items()]

        def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
            value = self.value()
            if not value:
                return queryset
            if value not in choices:
                raise self.build_error(request, f"“{value}” is not one of: {', '.join(choices)}.")
            return queryset.filter(choices[value][1])

    members = {"title": title, "parameter_name": name, "empty_label": empty_label}
    return type(f"{name}Filter", (FewChoicesFilter,), members)


def build_column_filter(
    column: str, title: str, choices: type[models.TextChoices], empty_label: str = "All"
) -> type[ChoiceListFilter]:
    """Return the drop-down of a column with few known values."""
    conditions = {value: (str(label), Q(**{column: value})) for value, label in choices.choices}
    return build_choice_filter(column, title, conditions, empty_label)
