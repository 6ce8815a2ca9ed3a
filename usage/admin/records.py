"""The three usage tables: browsed by range, source and id, looked into, and exported as filtered."""

from datetime import date
from typing import Any, ClassVar

from django.contrib import admin, messages
from django.contrib.admin.options import IncorrectLookupParameters
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import redirect
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from usage.admin.base import ReadOnlyAdmin
from usage.admin.display import NOTHING, laid_out, quantity, runtime
from usage.admin.filters import RangeFilter, SourceFilter, WithdrawnFilter, exact
from usage.coverage import trust_in_words
from usage.exports import Refused, export
from usage.models import EnvironmentUsage, RecipeUsage, ResourceUsage, SourceDay, UsageRecord

ABOUT_US = ("source", "day", "day_trust", "first_seen_at", "changed_at", "revision", "withdrawn_at")


class UsageAdmin(ReadOnlyAdmin):
    """Lists, details and export of one kind of usage.

    `asked_by`: the indexed columns that may be filtered by. The order is that of the index on the kind's
    instant, so the newest page is read off the index however long the table is.
    """

    change_list_template = "admin/usage/record_list.html"
    row_is, rows_are = "record", "records"
    keyset = ()
    source_path = "source_id"
    kind: ClassVar[type[UsageRecord]]
    asked_by: ClassVar[tuple[str, ...]]
    said_apart: ClassVar[tuple[str, ...]] = ("extra",)

    def get_list_filter(self, request: HttpRequest) -> list[Any]:
        """Range, source, one input per id column, and whether withdrawn records are shown."""
        ids = [exact(self.kind, column) for column in self.asked_by]
        return [(self.kind.instant, RangeFilter), SourceFilter, *ids, WithdrawnFilter]

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        """Only what the filters offer."""
        instant = self.kind.instant
        return lookup in {
            f"{instant}__range__gte",
            f"{instant}__range__lte",
            "source",
            "withdrawn",
            *self.asked_by,
        }

    def get_ordering(self, request: HttpRequest) -> tuple[str, str]:
        """Newest first, along the index on the kind's instant."""
        return (f"-{self.kind.instant}", "-id")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Fetch the source along, without the credential."""
        return super().get_queryset(request).select_related("source").defer("source__credential")

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Every field: the vendor's own, what it said besides, and what the portal knows of the record."""
        shown_elsewhere = {"id", "source", "day", *ABOUT_US, *self.said_apart}
        own = [field.name for field in self.opts.concrete_fields if field.name not in shown_elsewhere]
        besides = [f"{name}_laid_out" for name in self.said_apart]
        return [
            ("As the vendor reports it", {"fields": [self.shown_as(name) for name in own]}),
            ("What else it says", {"fields": besides}),
            ("In the portal", {"fields": ABOUT_US}),
        ]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        """Everything."""
        return [name for _, section in self.get_fieldsets(request, obj) for name in section["fields"]]

    def shown_as(self, column: str) -> str:
        """Return the name that a column is shown under on the detail page."""
        return f"{column}_shown" if hasattr(self, f"{column}_shown") else column

    @admin.display(description="its day")
    def day_trust(self, record: UsageRecord) -> SafeString | str:
        """How far the record's source day can be trusted, with a link to it."""
        day = SourceDay.objects.filter(source=record.source_id, day=record.day).first()
        if day is None:
            return NOTHING
        return format_html(
            '<a href="{}">{}</a> · {}',
            reverse("admin:usage_sourceday_change", args=[day.pk]),
            day.day.isoformat(),
            trust_in_words(day),
        )

    @admin.display(description="extra")
    def extra_laid_out(self, record: UsageRecord) -> SafeString | str:
        """Fields unknown to the portal."""
        return laid_out(record.extra)

    def get_urls(self) -> list[URLPattern]:
        """Add the export beside the list."""
        export = path("export/", self.admin_site.admin_view(self.export), name=f"usage_{self.opts.model_name}_export")
        return [export, *super().get_urls()]

    def export(self, request: HttpRequest) -> HttpResponse | StreamingHttpResponse:
        """Stream the filtered set, all of it and not the page, as CSV."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        try:
            listed = self.get_changelist_instance(request)
        except IncorrectLookupParameters:
            # The filter has left a message that says what it did not understand; the list shows it.
            return redirect(f"admin:usage_{self.opts.model_name}_changelist")
        try:
            return export(listed.queryset.select_related(None).defer(None), self.file_name(request))
        except Refused as refused:
            self.message_user(request, str(refused.detail), messages.ERROR)
            return redirect(f"admin:usage_{self.opts.model_name}_changelist")

    def file_name(self, request: HttpRequest) -> str:
        """Return e.g. `resource-usage_gcore-main_2026-11-01_2026-11-30_as-of-2026-12-02T0915Z.csv`."""
        instant = self.kind.instant
        bounds = [as_date(request.GET.get(f"{instant}__range__{end}", "")) for end in ("gte", "lte")]
        said = [self.opts.verbose_name_plural.replace(" ", "-"), request.GET.get("source", ""), *bounds]  # type: ignore[union-attr]
        return "_".join([*filter(None, said), f"as-of-{timezone.now():%Y-%m-%dT%H%MZ}"]) + ".csv"


def as_date(typed: str) -> str:
    """Return a typed date, or nothing where it is none."""
    try:
        return date.fromisoformat(typed).isoformat()
    except ValueError:
        return ""


def code(value: Any) -> SafeString:
    """Return an id as a narrow cell that can be copied whole."""
    return format_html('<span class="code" title="{0}">{0}</span>', NOTHING if value in (None, "") else value)


def identifier(column: str, title: str) -> Any:
    """Return a list column that shows an id."""

    @admin.display(description=title)
    def shown(record: UsageRecord) -> SafeString:
        return code(getattr(record, column))

    shown.__name__ = f"{column}_code"
    return shown


def count(column: str, title: str) -> Any:
    """Return a list column that shows a count."""

    @admin.display(description=title)
    def shown(record: UsageRecord) -> SafeString:
        return quantity(getattr(record, column))

    shown.__name__ = f"{column}_number"
    return shown


def struck(record: UsageRecord, text: str) -> SafeString | str:
    """Return the first cell of a record, marked where the vendor no longer reports it."""
    if record.withdrawn_at is None:
        return text
    return format_html('<s class="withdrawn">{}</s><span class="visually-hidden"> withdrawn</span>', text)


@admin.register(EnvironmentUsage)
class EnvironmentUsageAdmin(UsageAdmin):
    """Completed runs of environments."""

    kind = EnvironmentUsage
    asked_by = ("project_id", "user_id", "environment_id")
    list_display = (
        "stopped",
        "source",
        identifier("environment_id", "environment"),
        identifier("project_id", "project"),
        identifier("user_id", "user"),
        identifier("environment_class_id", "class"),
        "runtime",
    )

    @admin.display(description="stopped (UTC)")
    def stopped(self, record: EnvironmentUsage) -> SafeString | str:
        """When the run ended."""
        return struck(record, f"{record.stopped_at:%Y-%m-%d %H:%M:%S}")

    @admin.display(description="runtime")
    def runtime(self, record: EnvironmentUsage) -> SafeString:
        """How long it ran."""
        return runtime(record.runtime_seconds)

    runtime_seconds_shown = runtime


@admin.register(ResourceUsage)
class ResourceUsageAdmin(UsageAdmin):
    """What resources consumed, by day and billing metric."""

    kind = ResourceUsage
    asked_by = ("project_id", "resource_type", "resource_id")
    said_apart = ("details", "tags", "extra")
    list_display = (
        "on",
        "source",
        "resource_type",
        "resource",
        "billing_metric",
        identifier("project_id", "project"),
        identifier("region_id", "region"),
        "consumed",
    )

    @admin.display(description="day (UTC)")
    def on(self, record: ResourceUsage) -> SafeString | str:
        """The day of consumption."""
        return struck(record, f"{record.day:%Y-%m-%d}")

    @admin.display(description="resource")
    def resource(self, record: ResourceUsage) -> SafeString | str:
        """Its name, or its id where it has none."""
        return record.resource_name or code(record.resource_id)

    @admin.display(description="consumed quantity")
    def consumed(self, record: ResourceUsage) -> SafeString:
        """The quantity in its own unit."""
        return quantity(record.consumed_quantity, record.consumed_unit)

    consumed_quantity_shown = consumed

    @admin.display(description="details")
    def details_laid_out(self, record: ResourceUsage) -> SafeString | str:
        """The fields of the resource's type."""
        return laid_out(record.details)

    @admin.display(description="tags")
    def tags_laid_out(self, record: ResourceUsage) -> SafeString | str:
        """The resource's tags."""
        return laid_out(record.tags)


@admin.register(RecipeUsage)
class RecipeUsageAdmin(UsageAdmin):
    """Hours of recipes, and of the recipes that were deleted since."""

    kind = RecipeUsage
    asked_by = ("workspace_id", "recipe_id", "folder_id")
    list_display = (
        "hour",
        "source",
        "workspace",
        "recipe",
        "folder_name",
        count("task_count", "tasks"),
        count("job_succeeded_count", "jobs succeeded"),
        count("job_failed_count", "jobs failed"),
    )

    @admin.display(description="hour (UTC)")
    def hour(self, record: RecipeUsage) -> SafeString | str:
        """When the hour began."""
        return struck(record, f"{record.starts_at:%Y-%m-%d %H:%M}")

    @admin.display(description="workspace")
    def workspace(self, record: RecipeUsage) -> str:
        """Its name, or its id where it has none."""
        return record.workspace_name or str(record.workspace_id)

    @admin.display(description="recipe")
    def recipe(self, record: RecipeUsage) -> SafeString | str:
        """Its name or id; deleted recipes are one row per workspace and hour."""
        if record.recipe_id is None:
            return format_html('<span class="quiet">{}</span>', "deleted recipes")
        return record.recipe_name or str(record.recipe_id)
