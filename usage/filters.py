"""What usage may be asked by: one filter set per kind, the same for lists, exports and whoever else asks.

A filter set understands everything it is given or refuses it: unknown, empty, repeated and malformed parameters
are each named, with what is allowed.
"""

import re
from collections import OrderedDict
from collections.abc import Iterable
from datetime import date, datetime, time
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

from django import forms
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import QueryDict
from django_filters import rest_framework as django_filters
from django_filters.rest_framework import DjangoFilterBackend
from rest_framework import exceptions
from rest_framework.request import Request
from rest_framework.views import APIView

from usage.access import visible_sources
from usage.models import EnvironmentUsage, RecipeUsage, ResourceUsage, Source
from usage.moments import EXPECTED, EXPECTED_ZONE, as_moment, as_zone, in_zone

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
    """Comma-separated values, each cleaned by `of`; spaces around them do not count."""

    def __init__(self, *, of: forms.Field, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.of = of

    def clean(self, value: Any) -> list[Any]:
        """Return the values; raises ValidationError that names the one that is wrong."""
        text = super().clean(value)
        return [self.cleaned(part.strip()) for part in text.split(",")] if text else []

    def cleaned(self, part: str) -> Any:
        """Return one cleaned value."""
        try:
            return self.of.clean(part)
        except ValidationError as error:
            raise ValidationError(f"“{part}”: {' '.join(error.messages)}") from None


class WholeField(forms.CharField):
    """A whole number that a BIGINT holds."""

    def clean(self, value: Any) -> int:
        """Return the number."""
        text = super().clean(value)
        if WHOLE.fullmatch(text) and -LARGEST <= int(text) <= LARGEST:
            return int(text)
        raise ValidationError("Give a whole number of at most 64 bits.")


class SlugsField(SeveralField):
    """Names out of those that whoever asks can see; the filter set gives the names."""

    names: frozenset[str] = frozenset()

    def cleaned(self, part: str) -> str:
        """Return a name; raises ValidationError that lists the ones there are."""
        if part not in self.names:
            raise ValidationError(f"There is no “{part}”; there are: {', '.join(sorted(self.names)) or 'none'}.")
        return part


class RangeForm(forms.Form):
    """Checks that a range does not run backwards."""

    def clean(self) -> dict[str, Any]:
        """Return what was cleaned; an empty range is a range."""
        cleaned: dict[str, Any] = super().clean() or {}
        start, end = cleaned.get("from"), cleaned.get("to")
        if start is not None and end is not None and start > end:
            self.add_error("from", "The range runs backwards: from must not be after to.")
        return cleaned


class InstantsForm(RangeForm):
    """Checks a range of instants; `instants` names the parameters that become instants of the zone `tz`."""

    instants: ClassVar[tuple[str, ...]] = ("from", "to", "updated_since")

    def clean(self) -> dict[str, Any]:
        """Turn dates into their first instants."""
        zone = self.cleaned_data.get("tz") or UTC_ZONE
        for name in self.instants:
            if self.cleaned_data.get(name) is not None:
                self.set_instant(name, zone)
        return super().clean()

    def set_instant(self, name: str, zone: ZoneInfo) -> None:
        """Replace a date by its first instant."""
        try:
            self.cleaned_data[name] = in_zone(self.cleaned_data[name], zone)
        except ValueError as error:
            self.add_error(name, str(error))


class WholeDaysForm(InstantsForm):
    """Checks a range over records that are kept per UTC day: such a day cannot be cut."""

    def clean(self) -> dict[str, Any]:
        """Turn the bounds into UTC dates; refuse one that is not the start of a UTC day."""
        cleaned = super().clean()
        for name in ("from", "to"):
            bound: datetime | None = cleaned.get(name)
            if bound is None:
                continue
            cleaned[name] = bound.date()
            if bound.time() != time():
                text = f"{bound.isoformat().removesuffix('+00:00')}Z is not the start of a UTC day, which is the"
                self.add_error(name, f"{text} least that this usage is kept by.")
        return cleaned


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


class SlugsFilter(TextsFilter):
    """Comma-separated names of sources or vendors."""

    base_field_class = SlugsField  # type: ignore[assignment]


class ChoiceFilter(django_filters.ChoiceFilter):
    """One of a few words."""

    def __init__(self, *words: str, **kwargs: Any) -> None:
        messages = {"invalid_choice": f"“%(value)s” is not one of: {', '.join(words)}."}
        super().__init__(choices=[(word, word) for word in words], empty_label=None, error_messages=messages, **kwargs)


class OfSourcesFilter(django_filters.FilterSet):
    """What rows of sources may be asked by; `sources` are the ones that whoever asks may know of.

    `source_path` leads from a row to its source's id.
    """

    source_path: ClassVar[str] = "source_id"

    source = SlugsFilter(method="of_sources", help_text="Slugs of sources, comma-separated.")
    vendor = SlugsFilter(method="of_vendors", help_text="Names of vendors, comma-separated.")

    def __init__(self, data: QueryDict | dict[str, Any] | None = None, *args: Any, **kwargs: Any) -> None:
        known: QuerySet[Source] | None = kwargs.pop("sources", None)
        super().__init__(data, *args, **kwargs)
        asked = {"source", "vendor"} & set(data or ())
        known = Source.objects.all() if known is None else known
        self.sources = list(known.values_list("pk", "slug", "vendor")) if asked else []

    def get_form_class(self) -> type[forms.Form]:
        """Return the form, which knows the names that may be asked for."""
        form: type[forms.Form] = super().get_form_class()
        names = {"source": [slug for _, slug, _ in self.sources], "vendor": [vendor for *_, vendor in self.sources]}
        for name, known in names.items():
            form.base_fields[name].names = frozenset(known)  # type: ignore[attr-defined]
        return form

    def of_sources(self, queryset: QuerySet[Any], name: str, value: list[str]) -> QuerySet[Any]:
        """Keep the rows of the sources with these slugs."""
        return self.of_ids(queryset, [pk for pk, slug, _ in self.sources if slug in value])

    def of_vendors(self, queryset: QuerySet[Any], name: str, value: list[str]) -> QuerySet[Any]:
        """Keep the rows of the sources at these vendors."""
        return self.of_ids(queryset, [pk for pk, _, vendor in self.sources if vendor in value])

    def of_ids(self, queryset: QuerySet[Any], ids: list[int]) -> QuerySet[Any]:
        """Keep the rows of these sources; one is compared with directly, so that an index gives the order too."""
        if len(ids) == 1:
            return queryset.filter(**{self.source_path: ids[0]})
        return queryset.filter(**{f"{self.source_path}__in": ids})


class UsageFilter(OfSourcesFilter):
    """What every kind of usage may be asked by."""

    tz = ZoneFilter(help_text=f"The zone that dates are of: {EXPECTED_ZONE}. Default: UTC.")
    updated_since = MomentFilter(
        field_name="changed_at",
        lookup_expr="gte",
        help_text="Only what changed at or after: a date or an instant. With include_withdrawn=true and "
        "ordering=changed_at, everything that happened since, in the order it happened.",
    )
    include_withdrawn = ChoiceFilter(
        "true", "false", method="with_withdrawn", help_text="true: also records that the vendor has withdrawn."
    )

    class Meta:
        form = InstantsForm

    @classmethod
    def get_filters(cls) -> OrderedDict[str, django_filters.Filter]:
        """Add the range over the kind's own instant, whose names no Python class body can hold."""
        instant = getattr(getattr(cls.Meta, "model", None), "instant", "")
        about = f"the half-open range of {instant}: {EXPECTED}"
        bounds: dict[str, django_filters.Filter] = {
            "from": MomentFilter(field_name=instant, lookup_expr="gte", help_text=f"Begins {about}."),
            "to": MomentFilter(field_name=instant, lookup_expr="lt", help_text=f"Ends {about}. Not included."),
        }
        return OrderedDict(bounds | super().get_filters())

    def with_withdrawn(self, queryset: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:
        """Leave `queryset` as it is: `filter_queryset` leaves withdrawn records out."""
        return queryset

    def filter_queryset(self, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Apply every filter; withdrawn records are left out unless they are asked for."""
        filtered = super().filter_queryset(queryset)
        return filtered if self.form.cleaned_data["include_withdrawn"] == "true" else filtered.filter(withdrawn_at=None)


class EnvironmentUsageFilter(UsageFilter):
    """What environment usage may be asked by."""

    record_id = TextsFilter(help_text="The vendor's ids of the records, comma-separated.")
    environment_id = TextsFilter(help_text="Comma-separated.")
    project_id = TextsFilter(help_text="Comma-separated.")
    user_id = TextsFilter(help_text="Comma-separated.")
    runner_id = TextsFilter(help_text="Comma-separated.")
    environment_class_id = TextsFilter(help_text="Comma-separated.")

    class Meta(UsageFilter.Meta):
        model = EnvironmentUsage
        fields: tuple[str, ...] = ()


class ResourceUsageFilter(UsageFilter):
    """What resource usage may be asked by; ranges are of whole UTC days."""

    resource_type = TextsFilter(help_text="Comma-separated.")
    project_id = NumbersFilter(help_text="Comma-separated.")
    region_id = NumbersFilter(help_text="Comma-separated.")
    resource_id = TextsFilter(help_text="Comma-separated.")
    billing_metric = TextsFilter(help_text="Comma-separated.")
    consumed_unit = TextsFilter(help_text="Comma-separated.")

    class Meta:
        model = ResourceUsage
        fields: tuple[str, ...] = ()
        form = WholeDaysForm


class RecipeUsageFilter(UsageFilter):
    """What recipe usage may be asked by."""

    workspace_id = NumbersFilter(help_text="Comma-separated.")
    external_id = TextsFilter(help_text="Comma-separated.")
    recipe_id = NumbersFilter(help_text="Comma-separated.")
    folder_id = NumbersFilter(help_text="Comma-separated.")
    deleted_recipes = ChoiceFilter(
        "include",
        "exclude",
        "only",
        method="of_deleted",
        help_text="What to do with the rows of recipes that were deleted since (recipe_id null). Default: include.",
    )

    class Meta(UsageFilter.Meta):
        model = RecipeUsage
        fields: tuple[str, ...] = ()

    def of_deleted(self, queryset: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:
        """Take in, leave out or single out the rows of deleted recipes."""
        return queryset if value == "include" else queryset.filter(recipe_id__isnull=value == "only")


class StrictFilterBackend(DjangoFilterBackend):
    """Filters a list by the view's filter set and refuses every parameter that nothing there understands."""

    def get_filterset_class(self, view: Any, queryset: Any = None) -> Any:
        """Return the view's filter set where it lists; a single record is not filtered."""
        return super().get_filterset_class(view, queryset) if getattr(view, "detail", None) is False else None

    def get_filterset_kwargs(self, request: Any, queryset: QuerySet[Any], view: APIView) -> dict[str, Any]:
        """Tell the filter set which sources the request may know of."""
        asked: dict[str, Any] = super().get_filterset_kwargs(request, queryset, view)
        of_sources = issubclass(self.get_filterset_class(view, queryset), OfSourcesFilter)
        return {**asked, "sources": visible_sources(request)} if of_sources else asked

    def filter_queryset(self, request: Any, queryset: QuerySet[Any], view: APIView) -> QuerySet[Any]:
        """Return the filtered rows; raises ValidationError that names every parameter that was not understood."""
        filterset = self.get_filterset(request, queryset, view)
        understood = set(filterset.filters if filterset else ()) | set(getattr(view, "parameters", ()))
        problems = misused(request, understood)
        if filterset is not None and not filterset.is_valid():
            for name, errors in filterset.errors.items():
                problems.setdefault(name, []).extend(errors)
        if problems:
            raise exceptions.ValidationError(problems)
        return filterset.qs if filterset else queryset


def misused(request: Request, understood: Iterable[str]) -> dict[str, list[str]]:
    """Return what is wrong with parameters whatever their meaning: unknown, given twice, or empty."""
    allowed = sorted(understood)
    problems: dict[str, list[str]] = {}
    for name, values in request.query_params.lists():
        if name not in allowed:
            problems[name] = [f"Unknown parameter; allowed are: {', '.join(allowed) or 'none'}."]
        elif len(values) > 1:
            problems[name] = ["Given more than once; several values go into one, separated by commas."]
        elif not values[0].strip():
            problems[name] = ["Empty; give a value or leave the parameter out."]
    return problems
