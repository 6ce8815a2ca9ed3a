"""Usage records: what the vendors reported, one table for each kind of usage, with common columns.

`Row` types are what a reader returns to the engine: one field per column, in the order of the binary COPY.
JSON columns travel as JSON text, None meaning an empty object.
"""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, ClassVar, Final, NamedTuple, Self
from uuid import UUID

from django.contrib.postgres.indexes import BrinIndex, GinIndex, OpClass
from django.db import models
from django.db.models import F, Q, Value
from django.db.models.functions import Now

from usage.fields import FirstSeenField, NumericField
from usage.models.source import Source

EMPTY = Value({}, models.JSONField())
ONE_DAY = timedelta(days=1)
ID_BLOCK_BITS: Final = 7


def build_search_index(name: str, *columns: str | OpClass, names: tuple[str, ...] = ()) -> GinIndex:
    """Return the index for filters without an order: `columns` by their value, `names` by their trigrams.

    Each column can be looked up alone, and several are intersected. GIN takes new rows in bulk, which costs a load
    less than a B-tree for each column.
    """
    return GinIndex(*columns, *(OpClass(F(column), name="gin_trgm_ops") for column in names), name=name)


def build_id_index(name: str) -> BrinIndex:
    """Return the index that finds a record by its id: ids grow as rows are stored, so it is all but empty."""
    return BrinIndex(fields=["id"], name=name, pages_per_range=32, autosummarize=True)


class IdBlock(models.Func):
    """The number of the block of ids that an id is in."""

    template = f"(%(expressions)s >> {ID_BLOCK_BITS})"
    arity = 1
    output_field = models.BigIntegerField()


def build_changes_index(name: str) -> models.Index:
    """Return the index for readers of changes, in the order of `changed_at` and `id`.

    Records that a merge stored have one `changed_at`. With the block of the id in place of the id, those of a block
    share an entry: 7 bytes a row in place of 32. A page sorts the blocks that it reads by id (usage/api/pagination.py).
    """
    return models.Index(F("changed_at"), IdBlock("id"), name=name)


class UsageQuerySet(models.QuerySet[Any]):
    """Queries over any kind of usage."""

    def current(self) -> Self:
        """Leave out records that the vendor has withdrawn."""
        return self.filter(withdrawn_at=None)

    def in_range(self, start: date | None = None, end: date | None = None) -> Self:
        """Return the records of the half-open range of the kind's instant, aware instants or UTC dates.

        The bounds of `day` name the partitions: a day of some zone begins and ends within a day of the UTC date.
        """
        instant, rows = self.model.instant, self
        if start is not None:
            rows = rows.filter(**{f"{instant}__gte": start})
        if end is not None:
            rows = rows.filter(**{f"{instant}__lt": end})
        if instant != "day" and isinstance(start, datetime):
            rows = rows.filter(day__gte=start.astimezone(UTC).date() - ONE_DAY)
        if instant != "day" and isinstance(end, datetime):
            rows = rows.filter(day__lte=end.astimezone(UTC).date() + ONE_DAY)
        return rows


class UsageRecord(models.Model):
    """What every usage record has: its source and day, when it was seen, and whether the vendor has withdrawn it.

    The table is partitioned by month of `day` (usage/partitions.py).

    `row`: the type that readers produce. `key`: the columns that, with the source, identify a record; the unique
    constraint over them makes a double load impossible. Where they leave out `day`, the vendor can move a record to
    another day, which the merge looks for. `instant`: the column that ranges filter by.
    `measures`: the columns whose sums a day is checked by. `optional_measures`: those of them that the
    vendor may leave out of a record. `guarded`: columns whose values a read may not take away from many records.
    `nameless_prefix`: how the name begins that the portal gives to a record without an id; "" where the vendor names
    every record. `totals_note`: what its totals leave out, for people. `added`: the columns that came since days are
    stored; in digests they count only where they differ from their default.
    """

    row: ClassVar[type[tuple[Any, ...]]]
    key: ClassVar[tuple[str, ...]]
    instant: ClassVar[str]
    measures: ClassVar[tuple[str, ...]]
    optional_measures: ClassVar[tuple[str, ...]] = ()
    added: ClassVar[tuple[str, ...]] = ()
    guarded: ClassVar[tuple[str, ...]] = ()
    unit: ClassVar[str] = ""
    nameless_prefix: ClassVar[str] = ""
    totals_note: ClassVar[str] = ""

    # The row of the source day has the constraint; here it would be checked for every record.
    source = models.ForeignKey(Source, models.PROTECT, related_name="+", db_index=False, db_constraint=False)
    day = models.DateField(help_text="The source day it belongs to, and what the table is partitioned by.")
    extra = models.JSONField(
        default=dict,
        db_default=EMPTY,
        blank=True,
        help_text="What the vendor said beyond the portal's columns.",
    )
    first_seen_at = FirstSeenField()
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
    """One completed environment run as a reader returns it."""

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
    guarded = ("created_at", "project_id", "user_id")
    nameless_prefix = "~"
    totals_note = "The credits that agents use are not in these totals: Ona reports them apart from its usage records."

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
            models.UniqueConstraint("source", "record_id", "day", name="environmentusage_once"),
            models.CheckConstraint(
                condition=Q(created_at=None) | Q(stopped_at__gte=F("created_at")),
                name="environmentusage_runs_forward",
            ),
        ]
        # A list in an order uses the index's columns and sorts the few rows that are equal in them by id.
        indexes = [
            build_id_index("environmentusage_id"),
            # The merge of a day, and the list of a source.
            models.Index("source", "stopped_at", name="environmentusage_source"),
            # The list of all.
            models.Index("stopped_at", name="environmentusage_stopped"),
            # For readers of changes.
            build_changes_index("environmentusage_changed"),
            # The lists of a project, a user and an environment.
            models.Index("project_id", "stopped_at", name="environmentusage_project"),
            models.Index("user_id", "stopped_at", name="environmentusage_user"),
            models.Index("environment_id", "stopped_at", name="environmentusage_env"),
            build_search_index("environmentusage_search", "runner_id", "environment_class_id"),
        ]

    def __str__(self) -> str:
        return self.record_id


class ResourceRow(NamedTuple):
    """One resource's usage of one metric on one day as a reader returns it."""

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

    `resource_key` is a digest of what identifies the row within a day (docs/vendors/gcore.md). `details` has the
    fields of the resource's type (flavor, volume_type, ip_address, …). `tags` is one object per row: a single key
    maps to its value, a repeated key to the list of its values in the vendor's order.
    """

    row = ResourceRow
    key = ("day", "resource_key")
    instant = "day"
    measures = ("consumed_quantity",)
    guarded = ("project_id", "first_seen")
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
            # Also the list of all, in its order.
            models.UniqueConstraint("day", "source", "resource_key", name="resourceusage_once"),
            models.CheckConstraint(condition=~Q(resource_type=""), name="resourceusage_has_type"),
        ]
        indexes = [
            build_id_index("resourceusage_id"),
            # For readers of changes.
            build_changes_index("resourceusage_changed"),
            # The lists of a project, a type and a resource. Equal values share an entry, so none of them has the key;
            # with its day each entry of a resource would be one of its own: 68 bytes a row in place of 9.
            models.Index("project_id", "day", name="resourceusage_project"),
            models.Index("resource_type", "day", name="resourceusage_type"),
            models.Index("resource_id", name="resourceusage_resource"),
            build_search_index(
                "resourceusage_search",
                "tags",
                OpClass(F("details"), name="jsonb_path_ops"),
                "region_id",
                "billing_metric",
                "consumed_unit",
                names=("resource_name",),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.resource_type} {self.resource_name or self.resource_id or self.resource_key}"


class RecipeRow(NamedTuple):
    """One hour of one recipe, or of a workspace's deleted recipes, as a reader returns it."""

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
    key = ("day", "workspace_id", "recipe_id", "starts_at")
    instant = "starts_at"
    measures = optional_measures = ("task_count", "job_succeeded_count", "job_failed_count")

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
                "day",
                name="recipeusage_once",
                nulls_distinct=False,
            ),
            models.CheckConstraint(condition=Q(ends_at__gt=F("starts_at")), name="recipeusage_half_open"),
        ]
        indexes = [
            build_id_index("recipeusage_id"),
            # The merge of a day, and the list of a source; all rows of an hour share an entry.
            models.Index("source", "starts_at", name="recipeusage_source"),
            # The list of all.
            models.Index("starts_at", name="recipeusage_starts"),
            # For readers of changes.
            build_changes_index("recipeusage_changed"),
            # The lists of a workspace, a recipe and a folder.
            models.Index("workspace_id", "starts_at", name="recipeusage_workspace"),
            models.Index("recipe_id", "starts_at", name="recipeusage_recipe"),
            models.Index("folder_id", "starts_at", name="recipeusage_folder"),
            build_search_index(
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
KIND_NAMES: Final = {kind: name for name, kind in KINDS.items()}
