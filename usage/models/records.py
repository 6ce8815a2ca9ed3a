"""Usage records: what the vendors reported, one typed table per kind of usage on a common base.

`Row` types are what a reader hands to the engine: one field per column, in the order of the binary COPY.
JSON columns travel as JSON text, None meaning an empty object.
"""

from datetime import datetime
from decimal import Decimal
from typing import Any, ClassVar, NamedTuple, Self
from uuid import UUID

from django.contrib.postgres.indexes import GinIndex, OpClass
from django.db import models
from django.db.models import F, Q, Value
from django.db.models.functions import Now

from usage.fields import NumericField
from usage.models.source import Source

EMPTY = Value({}, models.JSONField())


def searched(name: str, *columns: str, names: tuple[str, ...] = ()) -> GinIndex:
    """Return the one index behind a table's searches that give no order.

    It holds `columns` by their value and `names` by their trigrams; any of them alone can be looked up, and
    several are intersected. It takes new rows in bulk, so that it costs a load less than a B-tree for each.
    """
    return GinIndex(*columns, *(OpClass(F(column), name="gin_trgm_ops") for column in names), name=name)


class UsageQuerySet(models.QuerySet[Any]):
    """Questions one asks of any kind of usage."""

    def current(self) -> Self:
        """Leave out what the vendor has withdrawn."""
        return self.filter(withdrawn_at=None)


class UsageRecord(models.Model):
    """What every usage record has: where it came from, when it was seen, and whether it still stands.

    `row`: the type readers produce. `key`: the columns that, with the source, identify a record; the unique
    constraint over them makes a double load impossible. `instant`: the column ranges are asked by.
    `measures`: the columns whose sums a day is checked and restated by.
    """

    row: ClassVar[type[tuple[Any, ...]]]
    key: ClassVar[tuple[str, ...]]
    instant: ClassVar[str]
    measures: ClassVar[tuple[str, ...]]
    unit: ClassVar[str] = ""

    source = models.ForeignKey(Source, models.PROTECT, related_name="+", db_index=False)
    day = models.DateField(help_text="The source day it belongs to.")
    extra = models.JSONField(
        default=dict,
        db_default=EMPTY,
        blank=True,
        help_text="What the vendor said beyond the portal's columns.",
    )
    first_seen_at = models.DateTimeField(db_default=Now())
    changed_at = models.DateTimeField(db_default=Now())
    revision = models.PositiveIntegerField(default=1, db_default=1)
    withdrawn_at = models.DateTimeField(null=True, blank=True)

    objects = UsageQuerySet.as_manager()

    class Meta:
        abstract = True


class Seconds(models.Func):
    """The seconds of an interval as an exact NUMERIC, to the microsecond."""

    template = "EXTRACT(EPOCH FROM %(expressions)s)"
    output_field = NumericField()


class EnvironmentRow(NamedTuple):
    """One completed environment run as a reader hands it over."""

    record_id: str
    environment_id: str
    project_id: str
    user_id: str
    runner_id: str
    environment_class_id: str
    created_at: datetime | None
    stopped_at: datetime
    extra: str | None = None


class EnvironmentUsage(UsageRecord):
    """One completed run of an environment; it belongs to the day it stopped. Runtime is in seconds."""

    row = EnvironmentRow
    key = ("record_id",)
    instant = "stopped_at"
    measures = ("runtime_seconds",)

    record_id = models.TextField(help_text="The vendor's id; begins with ~ where the vendor gave none.")
    environment_id = models.TextField(blank=True, default="", db_default="")
    project_id = models.TextField(blank=True, default="", db_default="")
    user_id = models.TextField(blank=True, default="", db_default="")
    runner_id = models.TextField(blank=True, default="", db_default="")
    environment_class_id = models.TextField(blank=True, default="", db_default="")
    created_at = models.DateTimeField(null=True, blank=True)
    stopped_at = models.DateTimeField()
    runtime_seconds = models.GeneratedField(
        expression=Seconds(F("stopped_at") - F("created_at")),
        output_field=NumericField(null=True),
        db_persist=True,
    )

    class Meta:
        verbose_name_plural = "environment usage"
        constraints = [
            models.UniqueConstraint("source", "record_id", name="environmentusage_once"),
            models.CheckConstraint(
                condition=Q(created_at=None) | Q(stopped_at__gte=F("created_at")),
                name="environmentusage_runs_forward",
            ),
        ]
        indexes = [
            models.Index("source", "stopped_at", "id", name="environmentusage_source"),
            models.Index("stopped_at", "id", name="environmentusage_stopped"),
            models.Index("changed_at", "id", name="environmentusage_changed"),
            models.Index("project_id", "stopped_at", "id", name="environmentusage_project"),
            models.Index("user_id", "stopped_at", "id", name="environmentusage_user"),
            models.Index("environment_id", "stopped_at", "id", name="environmentusage_env"),
            searched("environmentusage_search", "runner_id", "environment_class_id", "runtime_seconds"),
        ]

    def __str__(self) -> str:
        return self.record_id


class ResourceRow(NamedTuple):
    """One resource's usage of one metric on one day as a reader hands it over."""

    resource_key: UUID
    resource_type: str
    billing_metric: str
    consumed_quantity: Decimal
    consumed_unit: str
    project_id: int | None
    region_id: int | None
    resource_id: str
    resource_name: str
    first_seen: datetime | None
    last_seen: datetime | None
    details: str | None = None
    tags: str | None = None
    extra: str | None = None


class ResourceUsage(UsageRecord):
    """What one resource consumed of one billing metric on one UTC day: the vendor's only additive grain.

    `resource_key` is a digest of what identifies the row within a day (contracts.md). `details` holds the
    fields of the resource's type (flavor, volume_type, ip_address, …). `tags` is one object per row: a key given
    once maps to its value, a repeated key to the list of its values in the vendor's order.
    """

    row = ResourceRow
    key = ("day", "resource_key")
    instant = "day"
    measures = ("consumed_quantity",)
    unit = "consumed_unit"

    resource_key = models.UUIDField()
    resource_type = models.TextField()
    billing_metric = models.TextField(blank=True, default="", db_default="")
    consumed_quantity = NumericField()
    consumed_unit = models.TextField(blank=True, default="", db_default="")
    project_id = models.BigIntegerField(null=True, blank=True)
    region_id = models.BigIntegerField(null=True, blank=True)
    resource_id = models.TextField(
        blank=True, default="", db_default="", help_text="The resource's uuid, where it has one."
    )
    resource_name = models.TextField(blank=True, default="", db_default="", help_text="Its last known name.")
    first_seen = models.DateTimeField(null=True, blank=True)
    last_seen = models.DateTimeField(null=True, blank=True)
    details = models.JSONField(default=dict, db_default=EMPTY, blank=True)
    tags = models.JSONField(default=dict, db_default=EMPTY, blank=True)

    class Meta:
        verbose_name_plural = "resource usage"
        constraints = [
            models.UniqueConstraint("source", "day", "resource_key", name="resourceusage_once"),
            models.CheckConstraint(condition=~Q(resource_type=""), name="resourceusage_has_type"),
        ]
        indexes = [
            models.Index("day", "id", name="resourceusage_by_day"),
            models.Index("changed_at", "id", name="resourceusage_changed"),
            models.Index("project_id", "day", "id", name="resourceusage_project"),
            models.Index("resource_type", "day", "id", name="resourceusage_type"),
            models.Index("resource_id", "day", "id", name="resourceusage_resource"),
            GinIndex(fields=["tags"], name="resourceusage_tags"),
            GinIndex(fields=["details"], opclasses=["jsonb_path_ops"], name="resourceusage_details"),
            searched(
                "resourceusage_search",
                "region_id",
                "billing_metric",
                "consumed_unit",
                "consumed_quantity",
                names=("resource_name",),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.resource_type} {self.resource_name or self.resource_id or self.resource_key}"


class RecipeRow(NamedTuple):
    """One hour of one recipe, or of a workspace's deleted recipes, as a reader hands it over."""

    workspace_id: int
    external_id: str
    workspace_name: str
    recipe_id: int | None
    recipe_name: str
    folder_id: int | None
    folder_name: str
    starts_at: datetime
    ends_at: datetime
    task_count: int | None
    job_succeeded_count: int | None
    job_failed_count: int | None
    recipe_count: int | None
    extra: str | None = None


class RecipeUsage(UsageRecord):
    """One hour of one recipe; `recipe_id` None stands for all recipes of the workspace that were deleted since.

    A count is None where the vendor did not report it: missing is never taken as zero.
    """

    row = RecipeRow
    key = ("workspace_id", "recipe_id", "starts_at")
    instant = "starts_at"
    measures = ("task_count", "job_succeeded_count", "job_failed_count")

    workspace_id = models.BigIntegerField()
    external_id = models.TextField(blank=True, default="", db_default="")
    workspace_name = models.TextField(blank=True, default="", db_default="")
    recipe_id = models.BigIntegerField(null=True, blank=True)
    recipe_name = models.TextField(blank=True, default="", db_default="")
    folder_id = models.BigIntegerField(null=True, blank=True)
    folder_name = models.TextField(blank=True, default="", db_default="")
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField()
    task_count = models.BigIntegerField(null=True, blank=True)
    job_succeeded_count = models.BigIntegerField(null=True, blank=True)
    job_failed_count = models.BigIntegerField(null=True, blank=True)
    recipe_count = models.BigIntegerField(
        null=True,
        blank=True,
        help_text="How many distinct recipes the row stands for: 1, or the deleted ones.",
    )

    class Meta:
        verbose_name_plural = "recipe usage"
        constraints = [
            models.UniqueConstraint(
                "source",
                "workspace_id",
                "recipe_id",
                "starts_at",
                name="recipeusage_once",
                nulls_distinct=False,
            ),
            models.CheckConstraint(condition=Q(ends_at__gt=F("starts_at")), name="recipeusage_half_open"),
        ]
        indexes = [
            models.Index("source", "starts_at", "id", name="recipeusage_source"),
            models.Index("starts_at", "id", name="recipeusage_starts"),
            models.Index("changed_at", "id", name="recipeusage_changed"),
            models.Index("workspace_id", "starts_at", "id", name="recipeusage_workspace"),
            models.Index("recipe_id", "starts_at", "id", name="recipeusage_recipe"),
            models.Index("folder_id", "starts_at", "id", name="recipeusage_folder"),
            searched(
                "recipeusage_search",
                "external_id",
                names=("workspace_name", "recipe_name", "folder_name"),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.workspace_name or self.workspace_id} · {self.recipe_name or self.recipe_id or 'deleted recipes'}"


KINDS: dict[str, type[UsageRecord]] = {
    "environment-usage": EnvironmentUsage,
    "resource-usage": ResourceUsage,
    "recipe-usage": RecipeUsage,
}
