"""The filter sets: everything that each kind of usage may be asked by."""

from collections import OrderedDict
from datetime import datetime
from typing import Any, ClassVar

from django import forms
from django.db.models import QuerySet
from django.http import QueryDict
from django_filters import rest_framework as django_filters

from usage.filters.fields import ChoiceFilter, MomentFilter, NumbersFilter, SlugsFilter, TextsFilter, ZoneFilter
from usage.filters.forms import CreatedForm, InstantsForm, SeenForm
from usage.filters.values import (
    ContainsFilter,
    CountBoundFilter,
    DetailTextsFilter,
    TagKeysFilter,
    TagsFilter,
    bounds_of,
    details,
)
from usage.models import EnvironmentUsage, RecipeUsage, ResourceUsage, Source
from usage.moments import EXPECTED, EXPECTED_ZONE


class OfSourcesFilter(django_filters.FilterSet):
    """What rows of sources may be asked by; `sources` are the ones that whoever asks may know of.

    `source_path` leads from a row to its source's id.
    """

    source_path: ClassVar[str] = "source_id"

    source = SlugsFilter(method="of_sources", help_text="Slugs of sources, comma-separated.")
    vendor = SlugsFilter(method="of_vendors", help_text="Names of vendors, comma-separated.")

    def __init__(self, data: QueryDict | dict[str, Any] | None = None, *args: Any, **kwargs: Any) -> None:
        known: QuerySet[Source] | None = kwargs.pop("sources", None)
        if data is not None:
            self.base_filters = self.needed(data)
        super().__init__(data, *args, **kwargs)
        asked = {"source", "vendor"} & set(data or ())
        known = Source.objects.all() if known is None else known
        self.sources = list(known.values_list("pk", "slug", "vendor")) if asked else []

    @classmethod
    def needed(cls, data: QueryDict | dict[str, Any]) -> OrderedDict[str, django_filters.Filter]:
        """Return the filters that are asked for, and the zone, which is UTC where it is not.

        The others filter nothing, and to copy dozens of them for every request takes longer than the query.
        """
        kept = ((name, one) for name, one in cls.base_filters.items() if name in data or isinstance(one, ZoneFilter))
        return OrderedDict(kept)

    @classmethod
    def unasked(cls, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return the rows that are left where no filter is asked for."""
        return queryset

    def get_form_class(self) -> type[forms.Form]:
        """Return the form, which knows the names that may be asked for."""
        form: type[forms.Form] = super().get_form_class()
        names = {"source": [slug for _, slug, _ in self.sources], "vendor": [vendor for *_, vendor in self.sources]}
        for name in names.keys() & form.base_fields.keys():
            form.base_fields[name].names = frozenset(names[name])  # type: ignore[attr-defined]
        return form

    def of_sources(self, queryset: QuerySet[Any], name: str, value: list[str]) -> QuerySet[Any]:
        """Keep the rows of the sources with these slugs."""
        return self.of_ids(queryset, [pk for pk, slug, _ in self.sources if slug in value])

    def of_vendors(self, queryset: QuerySet[Any], name: str, value: list[str]) -> QuerySet[Any]:
        """Keep the rows of the sources at these vendors."""
        return self.of_ids(queryset, [pk for pk, _, vendor in self.sources if vendor in value])

    def source_ids(self) -> list[int] | None:
        """Return the ids of the sources that are asked for by slug and vendor, None where neither is."""
        slugs, vendors = self.form.cleaned_data.get("source"), self.form.cleaned_data.get("vendor")
        if not slugs and not vendors:
            return None
        return [
            pk
            for pk, slug, vendor in self.sources
            if (not slugs or slug in slugs) and (not vendors or vendor in vendors)
        ]

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
        "ordering=changed_at, everything that happened since, in the order it happened. The answer's settled_until "
        "is the updated_since to ask with next time.",
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
        return OrderedDict(bounds | super().get_filters() | cls.further())

    @classmethod
    def further(cls) -> dict[str, django_filters.Filter]:
        """Return the kind's own filters that are many of one sort, or whose names no Python class body can hold."""
        return {}

    @classmethod
    def unasked(cls, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Leave out withdrawn records, as ever where they are not asked for."""
        return queryset.filter(withdrawn_at=None)

    def with_withdrawn(self, queryset: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:
        """Leave `queryset` as it is: `filter_queryset` leaves withdrawn records out."""
        return queryset

    def filter_queryset(self, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Apply every filter; withdrawn records are left out unless they are asked for."""
        filtered = super().filter_queryset(queryset)
        withdrawn_too = self.form.cleaned_data.get("include_withdrawn") == "true"
        return filtered if withdrawn_too else self.unasked(filtered)


class EnvironmentUsageFilter(UsageFilter):
    """What environment usage may be asked by."""

    record_id = TextsFilter(method="of_records", help_text="The vendor's ids of the records, comma-separated.")
    environment_id = TextsFilter(help_text="Comma-separated.")
    project_id = TextsFilter(help_text="Comma-separated.")
    user_id = TextsFilter(help_text="Comma-separated.")
    runner_id = TextsFilter(help_text="Comma-separated.")
    environment_class_id = TextsFilter(help_text="Comma-separated.")

    class Meta:
        model = EnvironmentUsage
        fields: tuple[str, ...] = ()
        form = CreatedForm

    @classmethod
    def further(cls) -> dict[str, django_filters.Filter]:
        """Add the bounds of the runtime and of the start of a run."""
        return {
            **bounds_of("runtime_seconds"),
            "created_at__gte": MomentFilter(method="created_from", help_text=f"Created at or after: {EXPECTED}."),
            "created_at__lt": MomentFilter(
                field_name="created_at", lookup_expr="lt", help_text=f"Created before: {EXPECTED}."
            ),
        }

    def of_records(self, queryset: QuerySet[Any], name: str, value: list[str]) -> QuerySet[Any]:
        """Keep the records with these ids, looked up by the key that each has within its source."""
        if not value:
            return queryset
        sources = Source.objects.order_by().values("pk")
        return queryset.filter(record_id__in=value, source_id__in=sources)

    def created_from(self, queryset: QuerySet[Any], name: str, value: datetime) -> QuerySet[Any]:
        """Keep the runs that were created then or later; as none stops before, an index on the stop finds them."""
        return queryset.filter(created_at__gte=value, stopped_at__gte=value)


class ResourceUsageFilter(UsageFilter):
    """What resource usage may be asked by; ranges are of whole UTC days."""

    resource_type = TextsFilter(help_text="Comma-separated.")
    project_id = NumbersFilter(help_text="Comma-separated.")
    region_id = NumbersFilter(help_text="Comma-separated.")
    resource_id = TextsFilter(help_text="Comma-separated.")
    billing_metric = TextsFilter(help_text="Comma-separated.")
    consumed_unit = TextsFilter(help_text="Comma-separated.")
    resource_name = TextsFilter(help_text="Whole names, comma-separated.")
    resource_name__contains = ContainsFilter("resource_name")
    flavor = DetailTextsFilter("flavor")
    tag = TagsFilter(
        field_name="tags", help_text="key:value; give the parameter again for another. tag_mode says how they combine."
    )
    tag_mode = ChoiceFilter("and", "or", method="with_mode", help_text="Whether all tags are needed (and) or one (or).")
    tag_key = TagKeysFilter(field_name="tags", help_text="Keys of tags, comma-separated: one of them, with any value.")

    class Meta:
        model = ResourceUsage
        fields: tuple[str, ...] = ()
        form = SeenForm

    @classmethod
    def further(cls) -> dict[str, django_filters.Filter]:
        """Add the fields of details, and the bounds of the quantity and of when a resource was seen."""
        seen = {
            f"{column}__{bound}": MomentFilter(
                column, lookup_expr=bound, help_text=f"{column} {words}: {EXPECTED}. Give from or to as well."
            )
            for column in ("first_seen", "last_seen")
            for bound, words in (("gte", "at or after"), ("lt", "before"))
        }
        return {**details(), **bounds_of("consumed_quantity"), **seen}

    def with_mode(self, queryset: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:
        """Leave `queryset` as it is: the tags themselves look at the mode."""
        return queryset


class RecipeUsageFilter(UsageFilter):
    """What recipe usage may be asked by."""

    workspace_id = NumbersFilter(help_text="Comma-separated.")
    external_id = TextsFilter(help_text="Comma-separated.")
    recipe_id = NumbersFilter(help_text="Comma-separated.")
    folder_id = NumbersFilter(help_text="Comma-separated.")
    workspace_name__contains = ContainsFilter("workspace_name")
    recipe_name__contains = ContainsFilter("recipe_name")
    folder_name__contains = ContainsFilter("folder_name")
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

    @classmethod
    def further(cls) -> dict[str, django_filters.Filter]:
        """Add the bounds of the counts."""
        return bounds_of("task_count", "job_succeeded_count", "job_failed_count", "recipe_count", of=CountBoundFilter)

    def of_deleted(self, queryset: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:
        """Take in, leave out or single out the rows of deleted recipes."""
        return queryset if value == "include" else queryset.filter(recipe_id__isnull=value == "only")
